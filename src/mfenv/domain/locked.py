"""Locks: the promise of exactly these bytes.

Design goals, in this order: complete (nothing has to be looked up to build from it), verifiable (every
file by its sha256, the lock by its own id), reproducible byte for byte, readable, and readable for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.digest import Json, LockId, identity
from mfenv.domain.platform import Platform
from mfenv.domain.resolved import CondaRecord
from mfenv.errors import LockError


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedCondaPackage:
    """One conda package of a lock."""

    record: CondaRecord
    artifact: LockedArtifact
    """The file that its channel serves."""
    converted: LockedArtifact | None = None
    """The same package in the other format, where that is preferred; it has the address of `artifact`, which does not
    serve it."""

    @property
    def name(self) -> str:
        """The package's name, in conda's spelling."""
        return self.record.name

    @property
    def version(self) -> str:
        """The package's version."""
        return self.record.version


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPypiPackage:
    """One PyPI package of a lock: a wheel."""

    name: str
    """In the normal form of PEP 503."""
    version: str
    artifact: LockedArtifact
    built_from: str = ""
    """What the wheel was built from, when no index has it: an address with the commit or digest."""


LockedPackage = LockedCondaPackage | LockedPypiPackage


@dataclass(frozen=True, kw_only=True)
class LockedEnvironment:
    """Exact packages for a platform, in install order; nothing about when or by whom they were chosen."""

    platform: Platform
    packages: tuple[LockedCondaPackage, ...]
    pypi: tuple[LockedPypiPackage, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    """Environment variables that processes in the environment have, sorted by name."""

    def __post_init__(self) -> None:
        """Refuse two packages of one name, and packages for another platform."""
        for names in ([p.name for p in self.packages], [p.name for p in self.pypi]):
            if twice := {name for name in names if names.count(name) > 1}:
                raise LockError(f"a lock holds `{min(twice)}` twice")
        for package in self.packages:
            if package.record.subdir not in {self.platform.value, "noarch"}:
                raise LockError(
                    f"a lock for {self.platform.value} holds `{package.artifact.file_name}`, "
                    f"which is for {package.record.subdir}"
                )
        check_variables(self.variables)

    @cached_property
    def id(self) -> LockId:
        """The id: the platform and what is installed, whichever order and address it came from.

        Two channels that serve the same bytes give the same id; so does a mirror.
        """
        content: dict[str, Json] = {
            "platform": self.platform.value,
            "packages": sorted(map(_content, self.packages), key=str),
        }
        if self.pypi:
            content["pypi"] = [
                [package.name, package.version, package.artifact.file_name, package.artifact.sha256]
                for package in sorted(self.pypi, key=lambda package: package.name)
            ]
        if self.variables:
            content["variables"] = [list(pair) for pair in self.variables]
        return LockId(identity("mfenv/lock/1", content))

    @property
    def stored_artifacts(self) -> tuple[LockedArtifact, ...]:
        """All files in the formats in which they are kept and linked."""
        return (
            *(package.converted or package.artifact for package in self.packages),
            *(package.artifact for package in self.pypi),
        )

    @property
    def artifacts(self) -> tuple[LockedArtifact, ...]:
        """All files that the environment is made of, as their origins serve them."""
        return (*(package.artifact for package in self.packages), *(package.artifact for package in self.pypi))

    def find(self, name: str) -> LockedCondaPackage | None:
        """Return the package called `name`, or None."""
        return next((package for package in self.packages if package.name == name), None)


def check_variables(variables: tuple[tuple[str, str], ...]) -> None:
    """Refuse, with `LockError`, variables that no process can have, and those in another order than by name."""
    if list(variables) != sorted(dict(variables).items()):
        raise LockError("the variables are not sorted by name, each once")
    for name, text in variables:
        if not name or set(name) & set("=\0") or "\0" in text:
            raise LockError(
                f"no process can have the variable `{name}` so: a name has neither `=` nor NUL in it, a value no NUL"
            )


def _content(package: LockedCondaPackage) -> Json:
    record, artifact = package.record, package.artifact
    content: dict[str, Json] = {
        "conda": record.name,
        "version": record.version,
        "build": record.build,
        "subdir": record.subdir,
        "noarch": record.noarch,
        "site_packages": record.python_site_packages_path,
        "file": artifact.file_name,
        "sha256": artifact.sha256,
    }
    return {**content, "converted": package.converted.sha256} if package.converted else content
