"""What this machine is, and whether a lock can run on it."""

from __future__ import annotations

import os
import platform as host_platform
import re
from dataclasses import dataclass

from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform

_AT_LEAST = re.compile(r">=\s*(\d+)(?:\.(\d+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The facts of a machine that decide what runs on it."""

    platform: Platform
    glibc: tuple[int, int] | None = None
    """None: another C library."""
    osx: tuple[int, int] | None = None

    @classmethod
    def here(cls) -> Machine:
        """Look at this machine."""
        platform = Platform.host()
        return cls(
            platform=platform,
            glibc=_two(_glibc_version()) if platform.is_linux else None,
            osx=None if platform.is_linux else _two(host_platform.mac_ver()[0]),
        )


def _glibc_version() -> str:
    """Return glibc's version; empty on a machine with another C library, such as Alpine's musl."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return ""
    return version if name == "glibc" else ""


def _two(version: str) -> tuple[int, int] | None:
    parts = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    return (parts[0], parts[1]) if len(parts) == 2 else None


def unmet(lock: LockedEnvironment, machine: Machine) -> str | None:
    """Return why `lock` cannot run on `machine`, naming both sides, or None.

    What counts is what the packages need, not the baseline they were chosen for: an environment whose packages
    all run on an older machine does run there.
    """
    if lock.platform is not machine.platform:
        return f"it is for {lock.platform.value} and this is {machine.platform.value}"
    for name, has in (("__glibc", machine.glibc), ("__osx", machine.osx)):
        needed = [
            (bound, package.name)
            for package in lock.packages
            for depend in package.record.depends
            if re.match(rf"{name}\b", depend) and (bound := _bound(depend))
        ]
        # On the other system it is not a question: no package for Linux needs a macOS.
        asked = machine.platform.is_linux == (name == "__glibc")
        if asked and needed and (has is None or max(needed)[0] > has):
            (major, minor), package_name = max(needed)
            found = f"{has[0]}.{has[1]}" if has else "none"
            return f"`{package_name}` needs {name} {major}.{minor} and this machine has {found}"
    return None


def _bound(depend: str) -> tuple[int, int] | None:
    found = _AT_LEAST.search(depend)
    return (int(found.group(1)), int(found.group(2) or 0)) if found else None
