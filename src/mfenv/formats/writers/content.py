"""What all writers are given, and what they ask of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mfenv.domain.dependencies import Dependencies, Key, Need
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment, LockedPypiPackage
from mfenv.domain.platform import Platform
from mfenv.domain.wheel_metadata import WheelMetadata


@dataclass(frozen=True, kw_only=True)
class Content:
    """Environments for one or several platforms, that are to be written into one file."""

    title: str
    """What they are called; for comments and titles only."""
    locks: Mapping[Platform, LockedEnvironment]
    wheels: Mapping[str, WheelMetadata] = field(default_factory=dict)
    """What wheels say of themselves, by their sha256; those that are not known are not there."""
    md5: Mapping[str, str] = field(default_factory=dict)
    """The MD5 of conda package files, by their sha256; where a format wants it."""
    channels: Sequence[str] = ()
    """The channels that were asked, in the order of their priority; those of the packages where nobody knows."""
    indexes: Sequence[str] = ()
    """The package indexes that were asked for, in order, without what a machine is configured with."""
    default_index: str = ""
    """The index behind those, where one was asked for."""
    extras: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The extras that were asked for, by project."""

    @property
    def only(self) -> LockedEnvironment:
        """The environment, where a format holds one."""
        (lock,) = self.locks.values()
        return lock

    @property
    def all_channels(self) -> tuple[str, ...]:
        """The channels that were asked, and those that packages are from besides."""
        of_packages = (package.record.channel for lock in self.locks.values() for package in lock.packages)
        known = [channel.rstrip("/") for channel in self.channels]
        others = [channel for channel in of_packages if not any(is_channel(name, channel) for name in known)]
        return tuple(dict.fromkeys([*known, *others]))

    def metadata(self, package: LockedPypiPackage) -> WheelMetadata:
        """Return what a wheel says of itself; nothing where that is not known."""
        return self.wheels.get(package.artifact.sha256, WheelMetadata())

    def needs(self, lock: LockedEnvironment) -> Mapping[Key, tuple[Need, ...]]:
        """Return what each package of `lock` needs of the others, as far as wheels are known."""
        return Dependencies.of(lock, self.wheels, extras=self.extras).needs

    @property
    def index_options(self) -> list[str]:
        """The indexes as options that pip and uv read in requirements files."""
        default = [f"--index-url {self.default_index}"] if self.default_index else []
        return [*default, *(f"--extra-index-url {index}" for index in self.indexes)]


def is_channel(name: str, location: str) -> bool:
    """Tell whether `location`, as a package has it, is the channel that is written `name`."""
    return location.rstrip("/") == name or ("://" not in name and location.rstrip("/").endswith(f"/{name}"))


def of_python(lock: LockedEnvironment) -> set[str]:
    """Return the names of the conda packages that are there for Python itself: it, and all that it needs."""
    depends = {package.name: [text.split()[0] for text in package.record.depends] for package in lock.packages}
    found, waiting = set[str](), ["python", "python_abi"]
    while waiting:
        name = waiting.pop()
        if name in depends and name not in found:
            found.add(name)
            waiting += depends[name]
    return found


def beside_python(lock: LockedEnvironment) -> Iterator[LockedCondaPackage]:
    """Yield the conda packages that are not there for Python itself."""
    own = of_python(lock)
    return (package for package in lock.packages if package.name not in own)


def python_of(lock: LockedEnvironment) -> str | None:
    """Return the version of Python, or None."""
    python = lock.find("python")
    return python.version if python else None


def lost_conda(lock: LockedEnvironment) -> Iterator[str]:
    """Say which conda packages a format without conda loses."""
    names = sorted(package.name for package in beside_python(lock))
    if names:
        yield f"the conda packages {', '.join(names)}"


def lost_builds(lock: LockedEnvironment) -> Iterator[str]:
    """Say which wheels are nowhere but here."""
    names = sorted(package.name for package in lock.pypi if package.built_from)
    if names:
        yield f"the wheels that were built here: {', '.join(names)}"


def lost_conversions(lock: LockedEnvironment) -> Iterator[str]:
    """Say of which packages a format names other files than those that are installed here."""
    names = sorted(package.name for package in lock.packages if package.converted)
    if names:
        yield f"the converted files of {', '.join(names)} (what their channels serve is written)"


def lost_variables(lock: LockedEnvironment) -> Iterator[str]:
    """Say which environment variables a format without them loses."""
    if lock.variables:
        yield f"the environment variables {', '.join(name for name, _ in lock.variables)}"


def published(lock: LockedEnvironment) -> list[LockedPypiPackage]:
    """Return the wheels that can be had elsewhere, sorted by name."""
    return sorted((package for package in lock.pypi if not package.built_from), key=lambda package: package.name)
