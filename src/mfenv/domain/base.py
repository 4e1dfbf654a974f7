"""What an environment can be built upon: a lock file of another tool, or an environment that is there already."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from mfenv.domain.artifact import Artifact
from mfenv.domain.channel import Channel
from mfenv.domain.digest import Json
from mfenv.domain.resolved import BuildSource, ResolvedPackage


class LockFileKind(Enum):
    """Lock files that are taken as they are; the values are their usual names."""

    PYLOCK = "pylock.toml"
    UV = "uv.lock"
    PIXI = "pixi.lock"
    CONDA_LOCK = "conda-lock.yml"
    EXPLICIT = "@EXPLICIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFile:
    """A lock file, known by its content; where it lies is of no account."""

    kind: LockFileKind
    digest: str
    """The sha256 of what was read, in hex."""
    groups: tuple[str, ...] = ()
    """Dependency groups (PEP 735), conda-lock's categories, or the one environment of a pixi.lock."""
    extras: tuple[str, ...] = ()
    """Optional dependencies of the project."""
    path: Path = field(compare=False)

    def canonical(self) -> Json:
        """Return what counts for the identity of a request."""
        return [self.kind.value, self.digest, [*sorted(self.groups)], [*sorted(self.extras)]]

    def __str__(self) -> str:
        return self.path.name


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedBase:
    """An environment by its name, as the user wrote it; variables (``@{...}``) may be in it."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class PathspecBase:
    """The environment of a step of an earlier run (``Flow/Run/Step``), as the user wrote it, perhaps with variables."""

    text: str

    def __str__(self) -> str:
        return self.text


BaseWish = LockFile | NamedBase | PathspecBase
"""What a level asks to build upon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFilePypiPackage:
    """A PyPI package as a lock file has it: for several platforms and Pythons, perhaps under a marker."""

    name: str
    """In the normal form of PEP 503."""
    version: str
    """Empty when only a build will tell."""
    wheels: tuple[Artifact, ...] = ()
    build: BuildSource | None = None
    """What a wheel is built from when none of `wheels` fits."""
    marker: str = ""
    requires_python: str = ""
    """A version specifier (PEP 440)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFileContent:
    """What a lock file holds for one platform."""

    conda: tuple[ResolvedPackage | Artifact, ...] = ()
    """Packages, or only their files where the format tells no more of them."""
    pypi: tuple[LockFilePypiPackage, ...] = ()
    channels: tuple[Channel, ...] = ()
    requires_python: str = ""
    environments: tuple[str, ...] = ()
    """Markers, one of which must hold for the Python that is chosen; none: any Python will do."""
    variables: tuple[tuple[str, str], ...] = ()
