"""Build wheels with ``uv build``, in isolation, with the target's Python; each once, kept by what went in.

Two commits of a branch, or two states of a folder, never share a wheel: the key of a wheel holds the commit, or the
digest of the content.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.digest import identity
from mfenv.domain.locked import LockedPypiPackage
from mfenv.domain.platform import Platform
from mfenv.domain.resolved import BuildSource, ResolvedPypiPackage
from mfenv.errors import HydrationFailed, ResolutionFailed
from mfenv.io.filelock import held
from mfenv.io.files import sha256_of
from mfenv.io.process import Completed, ProcessRunner
from mfenv.io.secrets import git_environment, without_secrets
from mfenv.io.uv_surroundings import UvSurroundings, hidden_variables
from mfenv.resolve.foreign import ForeignBuildError

_TIME_LIMIT = 1800.0
# What a build leaves in a folder, or what has no part in one.
_NOT_SOURCE = frozenset(
    {".git", ".hg", ".svn", "__pycache__", ".venv", "venv", ".tox", ".nox", "build", "dist", ".eggs"}
)
_NOT_SOURCE |= {".mypy_cache", ".ruff_cache", ".pytest_cache", ".metaflow", "node_modules"}


@dataclass(frozen=True, kw_only=True)
class WheelBuilder:
    """Builds wheels for one platform."""

    runner: ProcessRunner
    uv: Callable[[], str]
    folder: Path
    """Where built wheels are kept."""
    cache: Path
    """uv's cache."""
    python: Callable[[str], Path]
    """Gives an interpreter of exactly this version, made if need be."""
    download: Callable[[str, str, str | None], Path]
    """Brings the file at a URL, called so, with this sha256."""
    secret_urls: Mapping[str, str]
    timeout: float
    environment: Mapping[str, str] = field(default_factory=dict)
    """What uv is told besides: where that comes from which a build needs."""
    arguments: Sequence[str] = ()
    """Options of ``uv build`` that say more of what a build needs."""
    surroundings: UvSurroundings = field(default_factory=UvSurroundings)
    """What the user has configured uv with."""
    time_limit: float = _TIME_LIMIT
    """Seconds for one build."""
    local_content: Mapping[str, str] = field(default_factory=dict)
    """The digest of what is in the local folders when a build was asked for, by project (``name``, ``name;marker``)."""

    def build(
        self, package: ResolvedPypiPackage, *, python: str, platform: Platform, host: Platform
    ) -> LockedPypiPackage:
        """Return the wheel of `package` for that Python (``3.11.7``) and `platform`, built unless it is kept.

        Raises `ResolutionFailed` naming the package when the build fails, or when it gives a wheel for `host` alone
        and `platform` is another.
        """
        assert package.build is not None
        source = package.build
        refusal = ForeignBuildError({package.name: ()}, platform)
        try:
            wheel = self._kept_or_built(package.name, source, python, host)
        except ResolutionFailed as failure:
            if platform is not host:
                raise ForeignBuildError(refusal.wheels, platform, output=failure.output) from failure
            raise
        name, version, is_pure = _parts(wheel.name)
        if platform is not host and not is_pure:
            raise refusal
        return LockedPypiPackage(
            name=package.name or name,
            version=version,
            artifact=LockedArtifact(
                file_name=wheel.name, url=wheel.as_uri(), size=wheel.stat().st_size, sha256=sha256_of(wheel)
            ),
            built_from=_origin(source),
        )

    def _kept_or_built(self, name: str, source: BuildSource, python: str, host: Platform) -> Path:
        content = digest_of_folder(_folder_of(source)) if source.url.startswith("file:") and not source.sha256 else ""
        if content:
            expected = [digest for key, digest in self.local_content.items() if key.partition(";")[0] == name]
            _refuse_changed(name, source, content, expected or [content])
        key = identity(
            "mfenv/wheel/1",
            {
                "url": source.url,
                "sha256": source.sha256,
                "commit": source.commit,
                "subdirectory": source.subdirectory,
                "content": content,
                "python": python.rpartition(".")[0],
                "platform": host.value,
            },
        )
        kept = self.folder / key
        with held(self.folder / f"{key}.lock", timeout=self.timeout):
            if found := sorted(kept.glob("*.whl")):
                with contextlib.suppress(OSError):
                    # When it was last used: nobody clears it away now.
                    os.utime(found[0])
                return found[0]
            with tempfile.TemporaryDirectory(prefix="mfenv-build-") as scratch:
                wheel = self._build(name, source, content, python, Path(scratch))
                kept.mkdir(parents=True, exist_ok=True)
                moved = kept / wheel.name
                shutil.copyfile(wheel, moved.with_suffix(".part"))
                return moved.with_suffix(".part").rename(moved)

    def _build(self, name: str, source: BuildSource, content: str, python: str, scratch: Path) -> Path:
        where = self._unpacked(name, source, scratch)
        if content:
            _refuse_changed(name, source, digest_of_folder(scratch / "source"), [content])
        out = scratch / "wheel"
        command = [self.uv(), "build", "--wheel", "--no-progress", "--no-python-downloads"]
        command += [*self.surroundings.arguments(scratch), *self.arguments]
        command += ["--python", str(self.python(python)), "--out-dir", str(out), str(where)]
        done = self._run(command, scratch)
        wheels = sorted(out.glob("*.whl"))
        if done.code or done.timed_out or not wheels:
            raise ResolutionFailed(
                f"`{name}` could not be built from `{_origin(source)}`",
                hint="The lines above are the build's own; a missing compiler or library has to be there for the build",
                output=without_secrets(done.errors, self.secret_urls),
                packages=[name],
            )
        return wheels[0]

    def _unpacked(self, name: str, source: BuildSource, scratch: Path) -> Path:
        """Have the source where a build may write: an archive as it is, a repository or folder as a copy."""
        if source.commit:
            folder = self._checked_out(name, source, scratch / "source")
        elif source.url.startswith("file:") and not source.sha256:
            folder = scratch / "source"
            shutil.copytree(_folder_of(source), folder, symlinks=True, ignore=_ignore_leftovers)
        else:
            file_name = unquote(urlsplit(source.url).path.rpartition("/")[2])
            return self.download(source.url, file_name, source.sha256)
        return folder / source.subdirectory if source.subdirectory else folder

    def _checked_out(self, name: str, source: BuildSource, folder: Path) -> Path:
        folder.mkdir()
        assert source.commit is not None
        checkout = ["git", "checkout", "--quiet", source.commit]
        for command in (
            ["git", "init", "--quiet"],
            # With a name: the addresses of submodules may be relative to it.
            ["git", "remote", "add", "origin", source.url.removeprefix("git+")],
            ["git", "fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"],
            checkout,
            ["git", "submodule", "update", "--quiet", "--init", "--recursive"],
        ):
            done = self._run(command, folder)
            if done.code and command is checkout:
                # A commit that is on no branch and under no tag.
                self._run(["git", "fetch", "--quiet", "origin", source.commit], folder)
                done = self._run(checkout, folder)
            if done.code or done.timed_out:
                raise ResolutionFailed(
                    f"`{name}`: the repository `{source.url}` could not be checked out at {source.commit}",
                    output=without_secrets(done.errors, self.secret_urls),
                    packages=[name],
                )
        return folder

    def _run(self, command: list[str], folder: Path) -> Completed:
        own = {"UV_CACHE_DIR": str(self.cache), "GIT_TERMINAL_PROMPT": "0", "NO_COLOR": "1"}
        told = {**git_environment(self.secret_urls), **self.environment, **own}
        environment = {**hidden_variables(os.environ), **told}
        return self.runner.run(command, environment=environment, folder=folder, timeout=self.time_limit)


def _refuse_changed(name: str, source: BuildSource, found: str, expected: list[str]) -> None:
    """Refuse to build what is not what the lock will be kept for: somebody may save a file at any moment."""
    if found not in expected:
        raise ResolutionFailed(
            f"`{name}`: `{_folder_of(source)}` was changed while it was read", hint="Run again", packages=[name]
        )


def digest_of_folder(folder: Path) -> str:
    """Return the SHA-256 of what is in a source folder: names, contents, and whether a file can be run.

    What builds and tools leave behind does not count. Raises `HydrationFailed` when there is no such folder.
    """
    if not folder.is_dir():
        raise HydrationFailed(f"`{folder}` is not a folder that a package can be built from")
    digest = hashlib.sha256()
    for path in sorted(_source_files(folder)):
        mode = b"x" if path.lstat().st_mode & 0o100 else b"-"
        content = path.readlink().as_posix().encode() if path.is_symlink() else path.read_bytes()
        name = path.relative_to(folder).as_posix().encode()
        digest.update(b"%d %s %s %d " % (len(name), name, mode, len(content)) + content)
    return digest.hexdigest()


def _source_files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name in _NOT_SOURCE or path.name.endswith((".egg-info", ".pyc")):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _source_files(path)
        elif path.is_symlink() or path.is_file():
            yield path


def _ignore_leftovers(folder: str, names: list[str]) -> list[str]:  # noqa: ARG001
    # The repository's own data stays: versions are often made from it.
    return [name for name in names if name in _NOT_SOURCE - {".git"} or name.endswith((".egg-info", ".pyc"))]


def _folder_of(source: BuildSource) -> Path:
    return Path(unquote(urlsplit(source.url).path))


def _origin(source: BuildSource) -> str:
    parts = [
        source.url,
        f"@{source.commit}" if source.commit else "",
        f"#sha256={source.sha256}" if source.sha256 else "",
    ]
    return "".join(parts) + (f"#subdirectory={source.subdirectory}" if source.subdirectory else "")


def _parts(file_name: str) -> tuple[str, str, bool]:
    """Return name, version, and whether a wheel runs anywhere (PEP 427)."""
    from packaging.utils import parse_wheel_filename

    name, version, _, tags = parse_wheel_filename(file_name)
    return name, str(version), all(tag.platform == "any" for tag in tags)
