"""Where an environment will run: a conda subdir and the virtual packages of its baseline."""

from __future__ import annotations

import platform as host_platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from mfenv.domain.digest import identity
from mfenv.errors import InvalidSpec


class Platform(Enum):
    """A conda subdir that environments can be made for."""

    LINUX_64 = "linux-64"
    LINUX_AARCH64 = "linux-aarch64"
    OSX_64 = "osx-64"
    OSX_ARM64 = "osx-arm64"

    @classmethod
    def parse(cls, text: str, *, where: str) -> Platform:
        """Read a subdir such as ``linux-64``, as written at `where`; raise `InvalidSpec` otherwise."""
        try:
            return cls(text)
        except ValueError:
            known = ", ".join(f"`{platform.value}`" for platform in cls)
            raise InvalidSpec(f"{where}: `{text}` is not a platform", hint=f"Known platforms are {known}") from None

    @classmethod
    def host(cls, system: str | None = None, machine: str | None = None) -> Platform:
        """Return this machine's platform; `system` and `machine` as `platform.system()` spells them."""
        system = system or host_platform.system()
        machine = (machine or host_platform.machine()).lower()
        arm = machine in {"aarch64", "arm64"}
        match system:
            case "Linux" if arm:
                return cls.LINUX_AARCH64
            case "Linux" if machine in {"x86_64", "amd64"}:
                return cls.LINUX_64
            case "Darwin":
                return cls.OSX_ARM64 if arm else cls.OSX_64
        raise InvalidSpec(
            f"environments cannot be made on {system} {machine}",
            hint="Use Linux (x86-64, aarch64) or macOS, or the Linux subsystem on Windows",
        )

    @property
    def is_linux(self) -> bool:
        """Whether this is one of the Linux subdirs."""
        return self in {Platform.LINUX_64, Platform.LINUX_AARCH64}


_VIRTUAL_NAME = re.compile(r"__[a-z0-9_]+")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class VirtualPackage:
    """A fact about a machine, in the form of a package: ``__glibc 2.28``."""

    name: str
    version: str
    build: str = "0"

    def __post_init__(self) -> None:
        """Refuse a name that is not a virtual package's."""
        if not _VIRTUAL_NAME.fullmatch(self.name):
            raise InvalidSpec(f"`{self.name}` is not a virtual package", hint="Virtual packages begin with `__`")

    def __str__(self) -> str:
        return f"{self.name}={self.version}={self.build}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The whole answer to "where will it run": a platform and its virtual packages, sorted by name."""

    platform: Platform
    virtual_packages: tuple[VirtualPackage, ...]

    @property
    def key(self) -> str:
        """A short name of this target for folder names: the subdir and a digest of the rest."""
        facts = [str(package) for package in self.virtual_packages]
        return f"{self.platform.value}-{identity('mfenv/target/1', list(facts))[:12]}"

    def version_of(self, name: str) -> str | None:
        """Return the version of the virtual package `name`, or None when the target has none."""
        return next((p.version for p in self.virtual_packages if p.name == name), None)


# The oldest machine that an environment is promised to run on. glibc 2.28 is that of RHEL 8 and
# Debian 10, and the floor of most wheels and of conda-forge today (its sysroot is 2.28 where it is
# not 2.17); macOS 13 is the oldest that still gets fixes. A machine above runs what is locked for it.
_BASELINE: Mapping[Platform, Mapping[str, str]] = {
    Platform.LINUX_64: {"__glibc": "2.28", "__linux": "4.18", "__archspec": "1=x86_64"},
    Platform.LINUX_AARCH64: {"__glibc": "2.28", "__linux": "4.18", "__archspec": "1=aarch64"},
    Platform.OSX_64: {"__osx": "13.0", "__archspec": "1=x86_64"},
    Platform.OSX_ARM64: {"__osx": "13.0", "__archspec": "1=m1"},
}


def baseline(platform: Platform, overrides: Mapping[str, str] | None = None) -> Target:
    """Return the documented baseline of `platform`, with the virtual packages in `overrides` put over it.

    An override is a version, or ``version=build``; an empty one takes the virtual package away, as
    conda's ``CONDA_OVERRIDE_*`` variables do (conda documentation, "Managing virtual packages").
    """
    facts = {"__unix": "0", **_BASELINE[platform], **(overrides or {})}
    return Target(platform=platform, virtual_packages=_packages(facts.items()))


def _packages(facts: Iterable[tuple[str, str]]) -> tuple[VirtualPackage, ...]:
    packages = []
    for name, text in facts:
        version, _, build = text.partition("=")
        if version:
            packages.append(VirtualPackage(name=name, version=version, build=build or "0"))
    return tuple(sorted(packages))


SYSTEM_PACKAGES = ("__cuda", "__glibc", "__osx", "__archspec")
"""Virtual packages that a user may set."""

_SYSTEM_VERSION = re.compile(r"\d+(\.\d+)*(=.+)?")


def system_version(name: str, text: str, *, where: str) -> str:
    """Return the version that a user sets for the virtual package `name`, as written at `where`.

    Raises `InvalidSpec` for a name that cannot be set, or what is not one exact version.
    """
    if name not in SYSTEM_PACKAGES:
        raise InvalidSpec(
            f"{where}: `{name}` is not a virtual package that can be set",
            hint=f"Those are {', '.join(f'`{known}`' for known in SYSTEM_PACKAGES)}",
        )
    version = text.strip().lstrip("=").strip()
    if not _SYSTEM_VERSION.fullmatch(version):
        raise InvalidSpec(f"{where}: `{version}` is not a version", hint='Write for example {"__cuda": "12.4"}')
    return version
