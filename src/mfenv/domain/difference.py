"""What two environments differ in: packages added, removed, and changed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from mfenv.domain import conda_version
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.resolved import ResolvedEnvironment
from mfenv.errors import InvalidSpec


class Side(Enum):
    """Where a package is from; the values are what users read."""

    CONDA = "conda"
    PYPI = "PyPI"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One package of an environment, with what tells it from others."""

    side: Side
    name: str
    version: str
    build: str = ""
    """conda's build string; for a wheel, its tags and build tag."""
    channel: str = ""
    file_name: str = ""
    size: int | None = None
    """Bytes, as its origin serves it; None where nobody tells."""
    sha256: str | None = None
    """Of that file; None where only a build or the file itself will tell."""

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.build if self.side is Side.CONDA else 'PyPI'})"

    @property
    def project(self) -> str:
        """The name in the normal form of PEP 503, by which both sides can be compared."""
        return re.sub(r"[-_.]+", "-", self.name).lower()


class Kind(Enum):
    """What happened to a package."""

    ADDED = "added"
    REMOVED = "removed"
    UPGRADED = "upgraded"
    DOWNGRADED = "downgraded"
    REBUILT = "rebuilt"
    """The same version in another file."""
    MOVED = "moved"
    """The same version from the other side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One package that is not the same in both."""

    before: Held | None
    after: Held | None

    @property
    def kind(self) -> Kind:
        """What happened to it."""
        if self.before is None or self.after is None:
            return Kind.ADDED if self.before is None else Kind.REMOVED
        if self.before.version == self.after.version:
            return Kind.REBUILT if self.before.side is self.after.side else Kind.MOVED
        return Kind.UPGRADED if _is_later(self.after.version, self.before.version) else Kind.DOWNGRADED

    @property
    def name(self) -> str:
        """The package's name."""
        held = self.after or self.before
        assert held is not None
        return held.name

    @property
    def growth(self) -> int | None:
        """How many bytes more have to be fetched for it than before; None where nobody tells."""
        before = self.before.size if self.before else 0
        after = self.after.size if self.after else 0
        return None if before is None or after is None else after - before


def _is_later(version: str, other: str) -> bool:
    try:
        return conda_version.admits(f">{other}", version)
    except InvalidSpec:
        return version > other


def held_in(environment: LockedEnvironment | ResolvedEnvironment) -> tuple[Held, ...]:
    """Return all packages of an environment: conda's in install order, then wheels."""
    conda = (
        Held(
            side=Side.CONDA,
            name=package.record.name,
            version=package.record.version,
            build=package.record.build,
            channel=package.record.channel,
            file_name=package.artifact.file_name,
            size=package.artifact.size,
            sha256=package.artifact.sha256,
        )
        for package in environment.packages
    )
    return (*conda, *_wheels(environment))


def _wheels(environment: LockedEnvironment | ResolvedEnvironment) -> Iterable[Held]:
    for package in environment.pypi:
        file = package.artifact if isinstance(environment, LockedEnvironment) else package.wheel  # type: ignore[union-attr]
        yield Held(
            side=Side.PYPI,
            name=package.name,
            version=package.version,
            build=_tags(file.file_name) if file else "",
            file_name=file.file_name if file else "",
            size=file.size if file else None,
            sha256=file.sha256 if file else None,
        )


def _tags(file_name: str) -> str:
    """Return what follows the version in a wheel's name (PEP 427)."""
    return "-".join(file_name.removesuffix(".whl").split("-")[2:])


def compare(before: Iterable[Held], after: Iterable[Held]) -> tuple[Change, ...]:
    """Return what is not the same, sorted by name: packages of one name are one package, whichever side has them."""
    old = {(held.project, held.side): held for held in before}
    new = {(held.project, held.side): held for held in after}
    changes = [
        Change(before=old[key], after=new[key])
        for key in old.keys() & new.keys()
        if (old[key].version, old[key].build, old[key].sha256) != (new[key].version, new[key].build, new[key].sha256)
    ]
    gone = {project: held for (project, side), held in old.items() if (project, side) not in new}
    come = {project: held for (project, side), held in new.items() if (project, side) not in old}
    changes += [Change(before=gone.get(name), after=come.get(name)) for name in gone.keys() | come.keys()]
    return tuple(sorted(changes, key=lambda change: change.name))
