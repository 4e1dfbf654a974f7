"""Conda's names for platforms (subdirs), as far as the channel has them."""

from __future__ import annotations

import platform
import sys

SUBDIRS = ("linux-64", "linux-aarch64", "osx-64", "osx-arm64")

_HOST = {
    ("linux", "x86_64"): "linux-64",
    ("linux", "aarch64"): "linux-aarch64",
    ("darwin", "x86_64"): "osx-64",
    ("darwin", "arm64"): "osx-arm64",
}


def host_subdir() -> str:
    """Give this machine's subdir. Raises ``RuntimeError`` where no channel can be built."""
    machine = platform.machine()
    try:
        return _HOST[sys.platform, machine]
    except KeyError:
        known = ", ".join(SUBDIRS)
        raise RuntimeError(f"no channel can be built on {sys.platform} {machine}, only on {known}") from None


def system_floor(subdir: str) -> str:
    """Give the requirement on the operating system that compiled packages of ``subdir`` carry."""
    return "__osx >=11.0" if subdir.startswith("osx-") else "__glibc >=2.17,<3.0.a0"
