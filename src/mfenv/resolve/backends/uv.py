"""The default PyPI resolver: uv, a program of its own that comes with this package."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from mfenv.domain.channel import without_credentials
from mfenv.domain.cutoff import parse_cutoff
from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import PackageIndex
from mfenv.domain.platform import Platform, Target
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import ResolvedPypiPackage
from mfenv.domain.spec import IndexStrategy
from mfenv.errors import ResolutionFailed, ToolNotFound
from mfenv.formats import pylock_toml
from mfenv.formats.pylock_toml import WheelChoice
from mfenv.io.process import Completed, ProcessRunner
from mfenv.io.secrets import git_environment, with_credentials, without_secrets
from mfenv.io.uv_surroundings import UvSurroundings, hidden_variables
from mfenv.resolve.backends import uv_bound
from mfenv.resolve.binaries import BinaryPolicy
from mfenv.resolve.foreign import ForeignBuildError
from mfenv.resolve.pypi import Demand, OutOfReachError, Preferred, PypiRequest, UnknownExtrasError, hashes_of
from mfenv.resolve.stubs import write_candidates, write_index, write_stubs
from mfenv.resolve.versions import admits, normal_version
from mfenv.resolve.wheel_tags import wheel_tags

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
# A line of uv's answer: ``idna==3.4 ; marker  # via -r requirements.in, requests``.
_ANSWER = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)(\s@\s\S+|==(?P<version>[^\s;#]+))[^#\n]*(?:#\s*via\s(?P<via>.*))?$", re.MULTILINE
)
_UNKNOWN = re.compile(
    r"(?:Because|because|and) ([A-Za-z0-9._-]+) was not found in the (?:package registry|provided package)"
)
_WHEELS_FOR = re.compile(r"Wheels are available for `(?P<name>[^`]+)`[^:]*: (?P<tags>`[^`]+`(?:, `[^`]+`)*)")
_TAG = re.compile(r"`([^`]+)`")
_NO_EXTRA = re.compile(
    r"The package `(?P<name>[^`\s@=]+)(?:==(?P<version>[^`\s]+))?[^`]*` does not have an extra named `(?P<extra>[^`]+)`"
)
_DEPENDS = re.compile(
    r"(?P<by>[A-Za-z0-9][\w.-]*)(?:\[[^\]\s]*\])?(?:\{[^}]*\})?(?:[<>=!~]\S*)? depends? on "
    r"(?P<name>[A-Za-z0-9][\w-]*(?:\.[\w-]+)*)(?:\[[^\]\s]*\])?(?:\{[^}]*\})?(?P<specifier>[<>=!~]+[^\s,]+(?:,[<>=!~]+[^\s,]+)*)"
)


_ONE_AT_A_TIME = threading.Lock()


def find_uv() -> str:
    """Return the path of uv: the one installed with this package, or the one on PATH. Raises `ToolNotFound`."""
    try:
        from uv import find_uv_bin

        # `sysconfig`, which it asks, is filled on its first use, and seen half-filled by other threads (Python 3.11).
        with _ONE_AT_A_TIME:
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
        secret_urls: Mapping[str, str] | None = None,
        find_links: Sequence[str] = (),
        surroundings: UvSurroundings | None = None,
    ) -> None:
        """Run uv with `runner`; keep its cache in `cache`; `secret_urls` has credentials: see `mfenv.io.secrets`.

        `find_links` are folders and pages of wheels beside the indexes; `surroundings` is what the user has
        configured uv with.
        """
        self._runner = runner
        self._cache = cache
        self._secret_urls = {} if secret_urls is None else secret_urls
        self._find_links = find_links
        self._surroundings = surroundings or UvSurroundings()

    def resolve(self, request: PypiRequest) -> tuple[ResolvedPypiPackage, ...]:
        """See `mfenv.resolve.pypi.PypiResolver.resolve`.

        For another platform, wheels alone are tried first: what would have to be built there seldom can be here.
        """
        policy = BinaryPolicy.of(request.flags)
        wheels_first = policy.without_builds
        if request.may_build or wheels_first is None:
            return self._resolve(request, policy)
        try:
            return self._resolve(request, wheels_first)
        except (OutOfReachError, UnknownExtrasError):
            raise
        except ResolutionFailed as without_builds:
            if wheels := {
                found["name"]: _TAG.findall(found["tags"]) for found in _WHEELS_FOR.finditer(without_builds.hint or "")
            }:
                # Who publishes wheels by platform has something to compile.
                raise ForeignBuildError(
                    wheels, request.target.platform, output=without_builds.output
                ) from without_builds
            try:
                return self._resolve(request, policy)
            except (OutOfReachError, UnknownExtrasError):
                raise
            except ResolutionFailed:
                raise without_builds from None

    def _resolve(self, request: PypiRequest, policy: BinaryPolicy) -> tuple[ResolvedPypiPackage, ...]:
        with tempfile.TemporaryDirectory(prefix="mfenv-uv-") as name:
            folder = Path(name)
            arguments = ["--format", "pylock.toml", "-o", "pylock.toml", *policy.compile_arguments]
            if request.preferred:
                # uv stays with the versions that it finds in its output file, where it can.
                (folder / "pylock.toml").write_text(_preferences(request.preferred), encoding="utf-8")
            done = self._compile(request, folder, arguments, constraints=write_stubs(request.provided, folder))
            _refuse_unknown_extras(request, done.errors)
            choice = WheelChoice(tags=wheel_tags(request.target, request.python))
            content, hashes = (folder / "pylock.toml").read_bytes(), hashes_of(request)
            found = pylock_toml.load(content, choice, folder=folder.resolve(), hashes=hashes)
            stubs = folder.as_uri()
            wanted = [package for package in found if not (package.wheel and package.wheel.url.startswith(f"{stubs}/"))]
            for package in wanted:
                _refuse_without_hash(package, request, hashes)
            return tuple(wanted)

    def prefer(self, request: PypiRequest, candidates: Mapping[str, Sequence[str]] | None = None) -> Preferred:
        """See `mfenv.resolve.pypi.PypiResolver.prefer`.

        uv prefers the versions it finds in its output file. Candidates are an index before all others, and only the
        first index that has a project is asked for it, whatever the strategy is otherwise.
        """
        with tempfile.TemporaryDirectory(prefix="mfenv-uv-") as name:
            folder = Path(name)
            versions = {found.name: normal_version(found.version) for found in request.provided}
            preferred = "".join(f"{name}=={version}\n" for name, version in versions.items() if version)
            (folder / "out.txt").write_text(preferred)
            arguments = ["-o", "out.txt", "--annotation-style", "line"]
            stubs = candidates or dict.fromkeys(versions, ())
            arguments += BinaryPolicy.of(request.flags).sparing(stubs).compile_arguments
            if request.options.exclude_newer:
                # Stubs have no date of upload.
                arguments += [text for name in stubs for text in ("--exclude-newer-package", f"{name}=false")]
            if not candidates:
                # Also what no index has counts as there.
                write_stubs(request.provided, folder)
                self._compile(request, folder, arguments, links=folder)
            elif any(flag.name == "no-index" for flag in request.flags):
                # An index would not be looked at. Beside other places, they do not keep other versions out.
                write_candidates(candidates, folder)
                self._compile(request, folder, arguments, links=folder)
            else:
                write_index(candidates, folder / "candidates")
                options = replace(request.options, index_strategy=IndexStrategy.FIRST_INDEX)
                request = replace(request, options=options)
                self._compile(request, folder, arguments, first=folder / "candidates")
            return preferred_in((folder / "out.txt").read_text())

    def demands(self, failure: ResolutionFailed, request: PypiRequest) -> tuple[Demand, ...]:
        """See `mfenv.resolve.pypi.PypiResolver.demands`: read from uv's sentences."""
        return demands_in(failure.output, request)

    def _compile(
        self,
        request: PypiRequest,
        folder: Path,
        arguments: list[str],
        *,
        constraints: Sequence[str] = (),
        first: Path | None = None,
        links: Path | None = None,
    ) -> Completed:
        """Run uv; `first` is a folder that is the index before all others, `links` one of wheels beside them."""
        bound = [wanted for wanted in request.requirements if wanted.index and not wanted.url]
        _write(
            folder / "requirements.in", [_line(x, self._secret_urls) for x in request.requirements if x not in bound]
        )
        _write(folder / "constraints.txt", [*constraints, *_constraint_lines(request, self._secret_urls)])
        inputs = ["-c", "constraints.txt", "requirements.in"]
        if bound:
            (folder / "pyproject.toml").write_text(uv_bound.project_file(bound), encoding="utf-8")
            inputs += ["pyproject.toml"]
        command = [find_uv(), *compile_arguments(request), *self._surroundings.arguments(folder), *arguments, *inputs]
        environment = {
            **hidden_variables(os.environ),
            **self._surroundings.variables,
            **self._environment(request, first, links),
            **uv_bound.credentials(bound, self._secret_urls),
        }
        done = self._runner.run(command, environment=environment, folder=folder, timeout=_TIME_LIMIT)
        if done.code or done.timed_out:
            raise failure(request, done, self._secret_urls)
        return done

    def _environment(self, request: PypiRequest, first: Path | None, links: Path | None) -> dict[str, str]:
        """Return what uv is told by way of the environment: credentials, which others could see in its arguments."""
        environment = {"UV_CACHE_DIR": str(self._cache), "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
        # Sentences are looked for in what it says: it must not break them into lines.
        environment["COLUMNS"] = "10000"
        environment |= git_environment(self._secret_urls)
        indexes = ([first.as_uri()] if first else []) + [str(index) for index in request.indexes]
        places = [*self._find_links, *([str(links)] if links else [])]
        users = {**os.environ, **self._surroundings.variables}
        environment |= _places(indexes, request.default_index, request.flags, places, self._secret_urls, users)
        if osx := request.target.version_of("__osx"):
            environment["MACOSX_DEPLOYMENT_TARGET"] = osx
        return environment


def _places(
    indexes: Sequence[str],
    default_index: PackageIndex | None,
    flags: Sequence[ResolverFlag],
    find_links: Sequence[str],
    secret_urls: Mapping[str, str],
    users: Mapping[str, str],
) -> dict[str, str]:
    """Return the variables that say where packages are.

    They are set anew: what the user has in them, as in `users`, comes behind.
    """
    environment = {}
    if indexes:
        urls = [with_credentials(url, secret_urls) for url in indexes]
        environment["UV_INDEX"] = " ".join([*urls, *users.get("UV_INDEX", "").split()])
    if default_index:
        environment["UV_DEFAULT_INDEX"] = with_credentials(str(default_index), secret_urls)
    links = [with_credentials(flag.value, secret_urls) for flag in flags if flag.name == "find-links"]
    if links or find_links:
        # A comma ends an address here.
        written = [link.replace(",", "%2C") for link in (*links, *find_links)]
        environment["UV_FIND_LINKS"] = ",".join([*written, *filter(None, [users.get("UV_FIND_LINKS")])])
    if hosts := [flag.value for flag in flags if flag.name == "trusted-host"]:
        environment["UV_INSECURE_HOST"] = " ".join([*hosts, *users.get("UV_INSECURE_HOST", "").split()])
    return environment


def _preferences(versions: Iterable[tuple[str, str]]) -> str:
    """Return a lock file (PEP 751) that says of each project no more than its version."""
    rows = [f"[[packages]]\nname = {json.dumps(name)}\nversion = {json.dumps(version)}\n" for name, version in versions]
    return "\n".join(['lock-version = "1.0"\ncreated-by = "mfenv"\n', *rows])


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _constraint_lines(request: PypiRequest, secret_urls: Mapping[str, str]) -> list[str]:
    # A constraint can have neither extras nor be editable.
    bare = [replace(constraint, extras=(), is_editable=False) for constraint in request.constraints]
    return [_line(constraint, secret_urls) for constraint in bare]


def _line(requirement: Requirement, secret_urls: Mapping[str, str]) -> str:
    if requirement.is_editable:
        return f"-e {requirement.url}"
    # git gets its credentials elsewhere: uv would write them among its arguments.
    return str(replace(requirement, url=with_credentials(requirement.url, secret_urls)))


def build_environment(
    request: ResolutionRequest,
    secret_urls: Mapping[str, str],
    find_links: Sequence[str],
    surroundings: UvSurroundings,
) -> dict[str, str]:
    """Return what ``uv build`` is told, so that what a build needs comes from where the packages come from."""
    spec = request.spec
    indexes = [str(index) for index in spec.indexes]
    users = {**os.environ, **surroundings.variables}
    environment = {
        **surroundings.variables,
        "UV_INDEX_STRATEGY": spec.options.index_strategy.value,
        **_places(indexes, spec.default_index, spec.flags, find_links, secret_urls, users),
    }
    if spec.options.exclude_newer:
        moment = parse_cutoff(spec.options.exclude_newer, now=datetime.now(timezone.utc))
        environment["UV_EXCLUDE_NEWER"] = moment.isoformat()
    return environment


def build_arguments(request: ResolutionRequest) -> list[str]:
    """Return the options of ``uv build`` that follow from the request.

    Which versions are preferred is for the environment's packages; a build takes what its project says.
    """
    no_index = [f"--{flag.name}" for flag in request.spec.flags if flag.name == "no-index"]
    return [*no_index, *BinaryPolicy.of(request.spec.flags).build_arguments]


def compile_arguments(request: PypiRequest) -> list[str]:
    """Return the arguments of uv that follow from the request alone."""
    arguments = [
        *("pip", "compile", "--no-header", "--no-python-downloads"),
        *("--python", sys.executable, "--python-version", request.python),
        *("--python-platform", platform_name(request.target)),
        *("--index-strategy", request.options.index_strategy.value),
    ]
    if request.options.exclude_newer:
        # As a moment: a bare date would mean another one in every time zone.
        moment = parse_cutoff(request.options.exclude_newer, now=datetime.now(timezone.utc))
        arguments += ["--exclude-newer", moment.isoformat()]
    for flag in request.flags:
        match flag.name:
            case "no-index":
                arguments += ["--no-index"]
            case "prerelease" | "resolution":
                arguments += [f"--{flag.name}", flag.value]
    # Where an organisation has an index of its own, PyTorch's is not asked behind its back.
    if request.default_index is None and (backend := torch_backend(request.target)):
        arguments += ["--torch-backend", backend]
    return arguments


def _refuse_unknown_extras(request: PypiRequest, text: str) -> None:
    """Refuse extras that there are not: uv only warns, and what was to come with them would be missing.

    What dependencies ask of each other is theirs. Raises `UnknownExtrasError` for distributions of conda's that have
    not been looked into.
    """
    missing = list(_NO_EXTRA.finditer(text))
    unknown = {provided.name for provided in request.provided if provided.extra_requirements is None}
    if asked := sorted({match["name"] for match in missing} & unknown):
        raise UnknownExtrasError(asked)
    # An extra that brings nothing is not to be seen in what conda's packages say.
    known = {provided.name for provided in request.provided}
    wanted = {(found.name, extra) for found in request.requirements for extra in found.extras}
    refused = [match for match in missing if (match["name"], match["extra"]) in wanted and match["name"] not in known]
    if refused:
        names = [f"`{match['name']}` {match['version'] or ''}".strip() for match in refused]
        sentences = [f"{name} has no extra `{match['extra']}`" for name, match in zip(names, refused, strict=True)]
        raise ResolutionFailed(
            "; ".join(sentences),
            hint="Check the spelling in the project's documentation, or ask for a version that has it",
            packages=sorted({match["name"] for match in refused}),
        )


def _refuse_without_hash(
    package: ResolvedPypiPackage, request: PypiRequest, hashes: Mapping[str, Collection[str]]
) -> None:
    """Refuse what has no file with one of its hashes."""
    where, name = request.target.platform.value, f"`{package.name}` {package.version}".strip()
    if package.name in hashes and not package.wheel and not package.build:
        raise ResolutionFailed(
            f"no file of {name} for {where} has one of the given hashes",
            hint="The index serves other files than those that were pinned, or the hashes are those of files for "
            "another platform: pin the hashes of all files anew, as `uv pip compile --generate-hashes` does",
            packages=[package.name],
        )


def preferred_in(text: str) -> Preferred:
    """Read an answer of uv's with annotations, each on the line it belongs to."""
    versions, needed_by = {}, {}
    for match in _ANSWER.finditer(text):
        name = match["name"].lower()
        via = [part.strip() for part in (match["via"] or "").split(",")]
        versions[name] = match["version"] or ""
        needed_by[name] = tuple(name if part.startswith("-") else part for part in via if part)
    return Preferred(versions=versions, needed_by=needed_by)


def demands_in(text: str, request: PypiRequest) -> tuple[Demand, ...]:
    """Read from uv's explanation who needs versions of provided distributions other than those that are provided."""
    provided = {found.name: found.version for found in request.provided}
    found = {}
    for match in _DEPENDS.finditer(" ".join(text.split())):
        name, specifier = match["name"].lower(), match["specifier"].rstrip(".")
        if name in provided and not admits(specifier, provided[name]):
            demand = Demand(project=name, specifier=specifier, by=match["by"].lower())
            found[demand.project, demand.by] = demand
    return tuple(found.values())


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


def _two(version: str) -> tuple[int, int]:
    parts = [int(part) for part in re.findall(r"\d+", version)[:2]]
    return (parts[0], parts[1] if len(parts) > 1 else 0)


def failure(request: PypiRequest, done: Completed, secret_urls: Mapping[str, str]) -> ResolutionFailed:
    """Say in words why uv found nothing; its own text, without credentials, is kept below.

    It is an `OutOfReachError` where asking for other versions would not help.
    """
    text = without_secrets(done.errors, secret_urls).replace(f"{uv_bound.PROJECT} depends on", "you require")
    blamed = [wanted.name for wanted in request.requirements if re.search(rf"\b{re.escape(wanted.name)}\b", text)]
    kind = ResolutionFailed
    if done.timed_out:
        kind, message = OutOfReachError, f"uv did not find an answer within {_TIME_LIMIT:.0f} seconds"
    elif refused := _REFUSED.search(text):
        # uv calls the packages of an index that does not let it in unknown.
        kind, message = OutOfReachError, f"a package index answers {refused[0]}"
    elif unknown := sorted(set(_UNKNOWN.findall(text))):
        named = " and ".join(f"`{name}`" for name in unknown)
        message = f"there is no package {named} on {_index_of(unknown, request)}"
        blamed = sorted({*blamed, *unknown})
    elif "No solution found" in text:
        message = f"the PyPI packages cannot be had together for {request.target.platform.value}"
    elif "Git operation failed" in text:
        kind, message = OutOfReachError, f"the source of {_named(blamed)} cannot be had"
    elif forbidden := _BUILD_FORBIDDEN.search(text):
        message = f"`{forbidden[1]}` has to be built, and `only-binary` says that it must not be"
    elif "build backend returned an error" in text:
        message = f"{_named(blamed)} cannot be built, which is needed to know what it depends on"
    elif _NETWORK.search(text):
        kind, message = OutOfReachError, "the package index cannot be used"
    else:
        message = "uv could not resolve the PyPI packages"
    return kind(message, hint=_hint(text, request), output=_causes(text), packages=blamed)


def _index_of(names: Sequence[str], request: PypiRequest) -> str:
    """Name the index that projects must come from, when it is the same one."""
    bound = {wanted.name: without_credentials(wanted.index) for wanted in request.requirements if wanted.index}
    indexes = {bound.get(name.lower()) for name in names}
    (index,) = indexes if len(indexes) == 1 else (None,)
    return f"the index `{index}`" if index else "the package index"


# The words of uv 0.13 for what comes over the network; it ends with 2 then, but so it does for what it cannot read.
_NETWORK = re.compile(r"Failed to fetch|Request failed after|error sending request|Failed to download `|dns error")
_BUILD_FORBIDDEN = re.compile(r"Building source distributions for `([^`]+)` is disabled")


def _named(names: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in names) or "a package"


def _causes(text: str) -> str:
    """Keep uv's error and its causes; its hints are given as ours."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("hint:", "warning:"))]
    return "\n".join(lines)


_REFUSED = re.compile(r"\b(401 Unauthorized|403 Forbidden)\b")


# What uv would have one write on its command line, in our words.
_OURS = {
    "use `--index-strategy unsafe-best-match`": "set METAFLOW_CONDA_PYPI_INDEX_STRATEGY to `unsafe-best-match`",
    "with the `--system-certs` command-line flag": "with UV_SYSTEM_CERTS=true, or SSL_CERT_FILE",
    " (i.e., with `--no-build`)": "",
    " (i.e., with `--no-binary`)": "",
    " (try: `--find-links <uri>`)": "; name some with `find-links`",
}
_OURS_BY_PACKAGE = re.compile(r" \(i\.e\., with `--no-(?:binary|build)-package [^`]*`\)")


def _hint(text: str, request: PypiRequest) -> str:
    if _REFUSED.search(text):
        return "Check the credentials for that index: in its URL, in netrc, or in a keyring"
    hints = [line.removeprefix("hint:").strip() for line in text.splitlines() if line.startswith("hint:")]
    if hints:
        text = " ".join(hints)
        for option, setting in _OURS.items():
            text = text.replace(option, setting)
        return _OURS_BY_PACKAGE.sub("", text)
    unknown = {name.lower() for name in _UNKNOWN.findall(text)}
    if any(wanted.index and wanted.name in unknown for wanted in request.requirements):
        # uv does not tell when an index that only some come from lets nobody in.
        return "Check the spelling, and your credentials for that index: it may not show what is not for everybody"
    if unknown:
        return "Check the spelling, add the index that has it to `extra_indices`, or ask for it with @conda"
    if "does not satisfy Python" in text:
        return "Ask for another Python with `python=`, or loosen one of the versions named above"
    if "Git operation failed" in text:
        return "Check the address, that it can be reached from here, and your credentials for it"
    if _BUILD_FORBIDDEN.search(text):
        return "Add its name to `no-binary`, or leave `only-binary` out"
    if _NETWORK.search(text):
        return "Check that it can be reached from here, and run again"
    if "No solution found" in text:
        return "Loosen one of the versions named above"
    return "The lines above are uv's own words"
