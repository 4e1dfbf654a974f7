"""The default PyPI resolver: uv, a program of its own that comes with this package."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from mfenv.domain.cutoff import parse_cutoff
from mfenv.domain.index import IndexSecret
from mfenv.domain.platform import Platform, Target
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import ResolvedPypiPackage
from mfenv.errors import ResolutionFailed, ToolNotFound
from mfenv.formats import pylock_toml
from mfenv.formats.pylock_toml import WheelChoice
from mfenv.io.process import Completed, ProcessRunner
from mfenv.resolve.pypi import PypiRequest
from mfenv.resolve.stubs import write_stubs

_TIME_LIMIT = 600.0
# The glibc versions that uv 0.13 has a platform for, newest first.
_MANYLINUX = (
    (2, 40),
    (2, 39),
    (2, 38),
    (2, 37),
    (2, 36),
    (2, 35),
    (2, 34),
    (2, 33),
    (2, 32),
    (2, 31),
    (2, 28),
    (2, 17),
)
_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;#]+)", re.MULTILINE)


def find_uv() -> str:
    """Return the path of uv: the one installed with this package, or the one on PATH. Raises `ToolNotFound`."""
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise ToolNotFound(
            "uv, which resolves and installs PyPI packages, was found neither beside this Python nor on PATH",
            hint="Install metaflow-netflix-extensions with pip, which brings it",
        )
    return found


class UvResolver:
    """Resolves with ``uv pip compile`` (0.13)."""

    name = "uv"

    def __init__(
        self,
        runner: ProcessRunner,
        *,
        cache: Path,
        secrets: Iterable[IndexSecret] = (),
        find_links: Sequence[str] = (),
    ) -> None:
        """Run uv with `runner`; keep its cache in `cache`; `secrets` are the indexes' URLs with credentials.

        `find_links` are folders and pages of wheels beside the indexes.
        """
        self._runner = runner
        self._cache = cache
        self._secrets = {secret.index: secret.secret_url for secret in secrets}
        self._find_links = find_links

    def resolve(self, request: PypiRequest) -> tuple[ResolvedPypiPackage, ...]:
        """See `mfenv.resolve.pypi.PypiResolver.resolve`."""
        with tempfile.TemporaryDirectory(prefix="mfenv-uv-") as name:
            folder = Path(name)
            (folder / "constraints.txt").write_text("\n".join(write_stubs(request.provided, folder)))
            arguments = ["--format", "pylock.toml", "-o", "pylock.toml", "-c", "constraints.txt"]
            self._compile(request, folder, arguments)
            choice = WheelChoice(tags=wheel_tags(request.target, request.python))
            found = pylock_toml.load((folder / "pylock.toml").read_bytes(), choice)
            stubs = folder.as_uri()
            return tuple(
                package for package in found if not (package.wheel and package.wheel.url.startswith(f"{stubs}/"))
            )

    def prefer(self, request: PypiRequest) -> Mapping[str, str]:
        """See `mfenv.resolve.pypi.PypiResolver.prefer`: uv prefers the versions it finds in its output file."""
        with tempfile.TemporaryDirectory(prefix="mfenv-uv-") as name:
            folder = Path(name)
            preferred = "".join(f"{found.name}=={found.version}\n" for found in request.provided)
            (folder / "out.txt").write_text(preferred)
            self._compile(request, folder, ["-o", "out.txt", "--no-annotate"])
            text = (folder / "out.txt").read_text()
            return {match["name"].lower(): match["version"] for match in _PINNED.finditer(text)}

    def _compile(self, request: PypiRequest, folder: Path, arguments: list[str]) -> None:
        (folder / "requirements.in").write_text("".join(f"{_line(wanted)}\n" for wanted in request.requirements))
        command = [find_uv(), *compile_arguments(request), *arguments, "requirements.in"]
        done = self._runner.run(command, environment=self._environment(request), folder=folder, timeout=_TIME_LIMIT)
        if done.code or done.timed_out:
            raise failure(request, done, self._secrets.values())

    def _environment(self, request: PypiRequest) -> dict[str, str]:
        """Return what uv is told by way of the environment: credentials, which others could see in its arguments."""
        environment = {"UV_CACHE_DIR": str(self._cache), "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
        if request.indexes:
            environment["UV_INDEX"] = " ".join(self._secrets.get(index, str(index)) for index in request.indexes)
        if index := request.default_index:
            environment["UV_DEFAULT_INDEX"] = self._secrets.get(index, str(index))
        if self._find_links:
            environment["UV_FIND_LINKS"] = " ".join(self._find_links)
        if osx := request.target.version_of("__osx"):
            environment["MACOSX_DEPLOYMENT_TARGET"] = osx
        return environment


def _line(requirement: Requirement) -> str:
    return f"-e {requirement.url}" if requirement.is_editable else str(requirement)


def compile_arguments(request: PypiRequest) -> list[str]:
    """Return the arguments of uv that follow from the request alone."""
    arguments = [
        *("pip", "compile", "--quiet", "--no-header", "--no-python-downloads"),
        *("--python", sys.executable, "--python-version", request.python),
        *("--python-platform", platform_name(request.target)),
        *("--index-strategy", request.options.index_strategy.value),
    ]
    if request.options.exclude_newer:
        # As a moment: a bare date would mean another one in every time zone.
        moment = parse_cutoff(request.options.exclude_newer, now=datetime.now(timezone.utc))
        arguments += ["--exclude-newer", moment.isoformat()]
    if backend := torch_backend(request.target):
        arguments += ["--torch-backend", backend]
    if not request.may_build:
        arguments.append("--no-build")
    return arguments


# CUDA versions that uv 0.13 knows an index of PyTorch's for, newest first.
_TORCH_CUDA = (
    (13, 2),
    (13, 0),
    (12, 9),
    (12, 8),
    (12, 6),
    (12, 5),
    (12, 4),
    (12, 3),
    (12, 2),
    (12, 1),
    (12, 0),
    (11, 8),
)


def torch_backend(target: Target) -> str | None:
    """Return uv's name for the newest CUDA build of PyTorch that `target` can run; None without a GPU."""
    cuda = target.version_of("__cuda")
    if cuda is None:
        return None
    fitting = next((known for known in _TORCH_CUDA if known <= _two(cuda)), None)
    return f"cu{fitting[0]}{fitting[1]}" if fitting else None


def platform_name(target: Target) -> str:
    """Return uv's name for a target: the newest manylinux that the target's glibc allows (PEP 600), or Apple's."""
    match target.platform:
        case Platform.OSX_64:
            return "x86_64-apple-darwin"
        case Platform.OSX_ARM64:
            return "aarch64-apple-darwin"
    has = _two(target.version_of("__glibc") or "2.17")
    major, minor = next((known for known in _MANYLINUX if known <= has), _MANYLINUX[-1])
    machine = "x86_64" if target.platform is Platform.LINUX_64 else "aarch64"
    return f"{machine}-manylinux_{major}_{minor}"


def wheel_tags(target: Target, python: str) -> tuple[str, ...]:
    """Return the tags of wheels that run on `target` with that Python, best first (PEP 425, PEP 600)."""
    from packaging import tags

    version = _two(python)
    platforms = list(_platform_tags(target))
    found = [
        *tags.cpython_tags(python_version=version, abis=None if version >= (3, 8) else [], platforms=platforms),
        *tags.compatible_tags(python_version=version, interpreter=f"cp{version[0]}{version[1]}", platforms=platforms),
    ]
    return tuple(dict.fromkeys(map(str, found)))


_LEGACY_MANYLINUX = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}


def _platform_tags(target: Target) -> Iterable[str]:
    from packaging import tags

    if not target.platform.is_linux:
        machine = "arm64" if target.platform is Platform.OSX_ARM64 else "x86_64"
        yield from tags.mac_platforms(version=_two(target.version_of("__osx") or "11.0"), arch=machine)
        return
    machine = "x86_64" if target.platform is Platform.LINUX_64 else "aarch64"
    major, newest = _two(target.version_of("__glibc") or "2.17")
    oldest = 5 if machine == "x86_64" else 17
    for minor in range(newest, oldest - 1, -1):
        yield f"manylinux_{major}_{minor}_{machine}"
        if legacy := _LEGACY_MANYLINUX.get((major, minor)):
            yield f"{legacy}_{machine}"
    yield f"linux_{machine}"


def _two(version: str) -> tuple[int, int]:
    parts = [int(part) for part in re.findall(r"\d+", version)[:2]]
    return (parts[0], parts[1] if len(parts) > 1 else 0)


def failure(request: PypiRequest, done: Completed, secret_urls: Iterable[str]) -> ResolutionFailed:
    """Say in words why uv found nothing; its own text, without credentials, is kept below."""
    text = done.errors
    for secret in secret_urls:
        text = text.replace(secret, "***")
    blamed = [wanted.name for wanted in request.requirements if re.search(rf"\b{re.escape(wanted.name)}\b", text)]
    if done.timed_out:
        message = f"uv did not find an answer within {_TIME_LIMIT:.0f} seconds"
    elif "No solution found" in text:
        message = f"the PyPI packages cannot be had together for {request.target.platform.value}"
    elif done.code == 1:
        message = "uv could not resolve the PyPI packages"
    else:
        message = "the package index cannot be used"
    return ResolutionFailed(message, hint=_hint(text), output=_causes(text), packages=blamed)


def _causes(text: str) -> str:
    """Keep uv's error and its causes; its hints are given as ours."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("hint:", "warning:"))]
    return "\n".join(lines)


def _hint(text: str) -> str:
    hints = [line.removeprefix("hint:").strip() for line in text.splitlines() if line.startswith("hint:")]
    if hints:
        return " ".join(hints).replace(
            "use `--index-strategy unsafe-best-match`",
            "set METAFLOW_CONDA_PYPI_INDEX_STRATEGY to `unsafe-best-match`",
        )
    if any(code in text for code in ("401", "403")):
        return "Check the credentials for that index: in its URL, in netrc, or in a keyring"
    return "Loosen one of the versions named above"
