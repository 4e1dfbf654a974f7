"""What a resolver answers: exact packages, in files that may still lack a digest."""

from __future__ import annotations

from dataclasses import dataclass

from mfenv.domain.artifact import Artifact, is_plain_file_name
from mfenv.domain.platform import Platform
from mfenv.errors import LockError


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaRecord:
    """What a channel's index says of one package: the part of a repodata record (CEP 36) that is kept."""

    name: str
    version: str
    build: str
    build_number: int
    subdir: str
    channel: str
    """The channel's location, without credentials."""
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    noarch: str | None = None
    """``python``, ``generic`` or None."""
    python_site_packages_path: str | None = None
    license: str | None = None

    def __post_init__(self) -> None:
        """Refuse names that would lead out of a folder: they become parts of paths in caches and prefixes."""
        for text in (self.name, self.version, self.build, self.subdir):
            if not is_plain_file_name(text):
                raise LockError(f"`{text}` cannot be part of a conda package's name")
        # Where py-rattler puts the modules of all noarch packages, below the prefix and without a second look.
        folder = self.python_site_packages_path
        if folder is not None and not all(
            part != ".." and is_plain_file_name(part) for part in folder.rstrip("/").split("/")
        ):
            raise LockError(f"`{folder}` cannot be a folder of Python modules in an environment")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedPackage:
    """A chosen package and where its file is."""

    record: CondaRecord
    artifact: Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSource:
    """What a wheel has to be built from."""

    url: str
    """An archive, a repository, or a folder (``file:``); without credentials."""
    sha256: str | None = None
    """Of an archive."""
    commit: str | None = None
    """Of a repository, in full."""
    subdirectory: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedPypiPackage:
    """A chosen PyPI package: a wheel, or what one has to be built from."""

    name: str
    """In the normal form of PEP 503."""
    version: str
    """Empty when only the build will tell."""
    wheel: Artifact | None = None
    build: BuildSource | None = None
    built_from: str = ""
    """What `wheel` was built from, when no index has it: see `mfenv.domain.locked.LockedPypiPackage`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedEnvironment:
    """A resolver's answer: packages in the order in which they can be installed."""

    platform: Platform
    packages: tuple[ResolvedPackage, ...]
    pypi: tuple[ResolvedPypiPackage, ...] = ()
    resolver: str
    """The backend and its version: ``rattler 0.28.0``."""
    variables: tuple[tuple[str, str], ...] = ()
    """Environment variables of what it is built upon; those that the request asks for are put over them."""
