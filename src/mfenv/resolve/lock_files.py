"""Lock files of other tools, read as they are for a target; nothing is resolved again."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mfenv.domain.artifact import Artifact
from mfenv.domain.base import LockFile, LockFileContent, LockFileKind, LockFilePypiPackage
from mfenv.domain.platform import Target
from mfenv.domain.resolved import BuildSource, ResolvedPackage, ResolvedPypiPackage
from mfenv.errors import LockError
from mfenv.formats import conda_lock_yml, explicit_txt, pixi_lock, pylock_toml, uv_lock
from mfenv.formats.lock_file import content_digest
from mfenv.formats.lock_markers import holds_for
from mfenv.formats.package_file import shown as safe
from mfenv.formats.pylock_toml import WheelChoice
from mfenv.io.files import sha256_of
from mfenv.io.process import ProcessRunner
from mfenv.io.uv_surroundings import hidden_variables
from mfenv.io.worker import Calls
from mfenv.resolve.backends.rattler import RattlerRecords
from mfenv.resolve.versions import admits
from mfenv.resolve.wheel_tags import wheel_tags

_TIME_LIMIT = 120.0
_TAGS_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class LockFileReader:
    """Reads lock files. Called from any thread; changes nothing."""

    runner: ProcessRunner
    uv: Callable[[], str]
    """Gives the path of uv."""
    cache: Path
    """uv's cache."""
    worker: Calls
    """Offers `mfenv.resolve.backends.rattler.OPERATIONS`."""
    records: RattlerRecords

    def content(self, lock_file: LockFile, target: Target) -> LockFileContent:
        """Return what `lock_file` holds for `target`.

        conda packages are whole and in install order; from PyPI's, `select` chooses those for a Python. Folders on
        this machine that wheels are built from have a URL that begins with ``file:`` and no sha256. Raises `LockError`
        naming file and field, `ResolutionFailed` when a conda package cannot be looked into.
        """
        text = _text_of(lock_file)
        found = self._read(lock_file, text, target)
        if lock_file.kind in {LockFileKind.UV, LockFileKind.PIXI}:
            # Others have read the file, or what lies beside it, a moment later.
            _text_of(lock_file)
        vague = [package for package in found.conda if isinstance(package, Artifact)]
        conda: tuple[ResolvedPackage, ...] = tuple(p for p in found.conda if isinstance(p, ResolvedPackage))
        if vague:
            conda = (*conda, *self.records.of(vague, shown=str(lock_file)))
        _check_platforms(conda, target, str(lock_file))
        return replace(found, conda=conda, pypi=tuple(_measured(package, str(lock_file)) for package in found.pypi))

    def _read(self, lock_file: LockFile, text: str, target: Target) -> LockFileContent:
        shown, folder = str(lock_file), lock_file.path.parent
        match lock_file.kind:
            case LockFileKind.PYLOCK:
                groups, extras = lock_file.groups, lock_file.extras
                return pylock_toml.read(text, shown=shown, folder=folder, target=target, groups=groups, extras=extras)
            case LockFileKind.UV:
                return pylock_toml.read(self._exported(lock_file), shown=shown, folder=folder, target=target)
            case LockFileKind.CONDA_LOCK:
                # Optional dependencies of a project are one more category there.
                chosen = (*lock_file.groups, *lock_file.extras)
                return conda_lock_yml.load(text, shown=shown, folder=folder, platform=target.platform, groups=chosen)
            case LockFileKind.EXPLICIT:
                return explicit_txt.load(text, shown=shown, folder=folder, platform=target.platform)
            case LockFileKind.PIXI:
                return self._pixi(lock_file, text, target)

    def _exported(self, lock_file: LockFile) -> str:
        """Have uv print its lock in the public format."""
        folder = lock_file.path.parent
        if not (folder / "pyproject.toml").is_file():
            raise LockError(
                f"{lock_file}: there is no `pyproject.toml` beside it, which says what the project is",
                hint="Name the `uv.lock` in the project's own folder",
            )
        command = [self.uv(), *uv_lock.export_arguments(groups=lock_file.groups, extras=lock_file.extras)]
        own = {"UV_CACHE_DIR": str(self.cache), "UV_NO_PROGRESS": "1", "NO_COLOR": "1", "COLUMNS": "10000"}
        # What the user has set for uv elsewhere, groups among it, must not change what is in the file.
        environment = {**hidden_variables(os.environ), **own}
        done = self.runner.run(command, environment=environment, folder=folder, timeout=_TIME_LIMIT)
        if done.timed_out:
            raise LockError(f"{lock_file}: uv did not print this lock within {_TIME_LIMIT:.0f} seconds")
        if done.code:
            raise uv_lock.refusal(done.errors, shown=str(lock_file))
        return done.output

    def _pixi(self, lock_file: LockFile, text: str, target: Target) -> LockFileContent:
        shown, platform = str(lock_file), target.platform
        pixi_lock.check_version(text, shown=shown)
        environment = pixi_lock.environment_of(lock_file.groups, shown=shown)
        answer: Mapping[str, object] = self.worker.call(
            "pixi_lock", {"text": text, "shown": shown, "environment": environment, "platform": platform.value}
        )
        return pixi_lock.content(
            answer, shown=shown, folder=lock_file.path.parent, platform=platform, environment=environment
        )


def select(
    packages: Sequence[LockFilePypiPackage],
    *,
    target: Target,
    python: str,
    requires_python: str = "",
    environments: Collection[str] = (),
) -> tuple[ResolvedPypiPackage, ...]:
    """Return the packages that a lock file has for CPython `python` (``3.11.7``) on `target`, each with its best wheel.

    `requires_python` and `environments` are those of its `LockFileContent`. Raises `LockError` when the file is not
    for that Python, when two packages of one name are left, or when a package has no wheel that fits and no source
    (PEP 751, "Installing").
    """
    if requires_python and not admits(requires_python, python):
        raise LockError(
            f"the lock file is for Python `{requires_python}`, and the environment has {python}",
            hint="Ask for another Python with `python=`, or lock again",
        )
    if environments and not any(_holds(marker, target, python) for marker in environments):
        raise LockError(
            f"the lock file has nothing for Python {python} on {target.platform.value}, only for "
            + ", ".join(f"`{marker}`" for marker in environments),
            hint="Ask for another Python with `python=`, or lock again",
        )
    choice = WheelChoice(tags=wheel_tags(target, python))
    chosen: dict[str, ResolvedPypiPackage] = {}
    for package in packages:
        if package.marker and not _holds(package.marker, target, python):
            continue
        if package.requires_python and not admits(package.requires_python, python):
            raise LockError(
                f"`{package.name}` {package.version} needs Python `{package.requires_python}`, and the environment has "
                f"{python}",
                hint="Ask for another Python with `python=`, or lock again",
            )
        found = _chosen(package, choice, target, python)
        if chosen.setdefault(package.name, found) != found:
            raise LockError(
                f"the lock file has `{package.name}` twice for Python {python} on {target.platform.value}: "
                f"{_named(chosen[package.name])} and {_named(found)}",
                hint="Name the groups or extras that are meant, or lock again",
            )
    return tuple(chosen.values())


def _holds(marker: str, target: Target, python: str) -> bool:
    return holds_for(marker, target=target, python=python, where="the lock file")


def _chosen(package: LockFilePypiPackage, choice: WheelChoice, target: Target, python: str) -> ResolvedPypiPackage:
    wheel = choice.best(package.wheels)
    if wheel is None and package.build is None:
        tags = ["-".join(found.file_name.removesuffix(".whl").split("-")[-3:]) for found in package.wheels]
        more = f" and {len(tags) - _TAGS_SHOWN} more" if len(tags) > _TAGS_SHOWN else ""
        listed = ", ".join(f"`{safe(tag)}`" for tag in tags[:_TAGS_SHOWN])
        raise LockError(
            f"`{package.name}` {package.version} has no wheel for Python {python} on {target.platform.value}, and no "
            f"source: it has wheels for {listed or 'nothing'}{more}",
            hint="Ask for another Python with `python=`, or lock again for this platform",
        )
    return ResolvedPypiPackage(
        name=package.name, version=package.version, wheel=wheel, build=None if wheel else package.build
    )


def _named(package: ResolvedPypiPackage) -> str:
    if package.wheel:
        return f"`{safe(package.wheel.file_name)}`"
    return f"`{safe(package.build.url)}`" if package.build else f"`{package.version}`"


def _text_of(lock_file: LockFile) -> str:
    """Read the file. Raises `LockError` when it is not there, or is not what the user's request was made from."""
    try:
        text = lock_file.path.read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text in UTF-8"
        raise LockError(f"{lock_file}: the file cannot be read: {reason}") from error
    if content_digest(text) != lock_file.digest:
        raise LockError(f"{lock_file}: the file was changed while it was read", hint="Run again")
    return text


def _check_platforms(packages: Sequence[ResolvedPackage], target: Target, shown: str) -> None:
    for package in packages:
        if package.record.subdir not in {target.platform.value, "noarch"}:
            raise LockError(
                f"{shown}: `{safe(package.artifact.file_name)}` is for {package.record.subdir}, and the step runs on "
                f"{target.platform.value}",
                hint=f"Make a lock file for {target.platform.value}",
            )


def _measured(package: LockFilePypiPackage, shown: str) -> LockFilePypiPackage:
    """Tell the digest of a source archive on this machine, where the file does not: else it would pass for a folder."""
    source = package.build
    if source is None or source.sha256 or source.commit or not source.url.startswith("file:"):
        return package
    path = Path(unquote(urlsplit(source.url).path))
    if path.is_dir():
        return package
    try:
        return replace(package, build=_with_digest(source, path))
    except OSError as error:
        raise LockError(
            f"{shown}: the source of `{package.name}` is not there: `{path}`",
            hint="Paths in a lock file are relative to its folder",
        ) from error


def _with_digest(source: BuildSource, path: Path) -> BuildSource:
    return replace(source, sha256=sha256_of(path))
