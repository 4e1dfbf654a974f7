"""Which wheels run where: tags (PEP 425) of a target and a Python."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mfenv.domain.platform import Platform, Target


def wheel_tags(target: Target, python: str) -> tuple[str, ...]:
    """Return the tags of wheels that run on `target` with that Python, best first (PEP 425, PEP 600)."""
    from packaging import tags

    version = _two(python)
    platforms = list(_platform_tags(target))
    found = [
        *tags.cpython_tags(python_version=version, abis=None if version >= (3, 8) else [], platforms=platforms),
        *tags.compatible_tags(python_version=version, interpreter=f"cp{version[0]}{version[1]}", platforms=platforms),
    ]
    return tuple(dict.fromkeys(map(str, found)))


_LEGACY_MANYLINUX = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}


def _platform_tags(target: Target) -> Iterable[str]:
    from packaging import tags

    if not target.platform.is_linux:
        machine = "arm64" if target.platform is Platform.OSX_ARM64 else "x86_64"
        yield from tags.mac_platforms(version=_two(target.version_of("__osx") or "11.0"), arch=machine)
        return
    machine = "x86_64" if target.platform is Platform.LINUX_64 else "aarch64"
    major, newest = _two(target.version_of("__glibc") or "2.17")
    oldest = 5 if machine == "x86_64" else 17
    for minor in range(newest, oldest - 1, -1):
        yield f"manylinux_{major}_{minor}_{machine}"
        if legacy := _LEGACY_MANYLINUX.get((major, minor)):
            yield f"{legacy}_{machine}"
    yield f"linux_{machine}"


def _two(version: str) -> tuple[int, int]:
    parts = [int(part) for part in re.findall(r"\d+", version)[:2]]
    return (parts[0], parts[1] if len(parts) > 1 else 0)
