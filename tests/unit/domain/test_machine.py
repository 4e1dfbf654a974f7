"""Which locks run on which machines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment
from mfenv.domain.machine import Machine, unmet
from mfenv.domain.platform import Platform
from mfenv.testing.fakes import FakePackage, fake_lock

LINUX = Machine(platform=Platform.LINUX_64, glibc=(2, 28))
MACOS = Machine(platform=Platform.OSX_ARM64, osx=(13, 0))


def lock(platform: Platform, **depends: str) -> LockedEnvironment:
    packages = (FakePackage(name, depends=(depend,)) for name, depend in depends.items())
    return fake_lock(*packages, platform=platform)


@pytest.mark.parametrize(
    ("depend", "machine"),
    [
        ("python >=3.11", LINUX),
        ("__glibc >=2.28", LINUX),
        ("__glibc >=2.17,<3.0.a0", LINUX),
        ("__glibc", LINUX),
        ("__unix", LINUX),
        ("", LINUX),
        ("__osx >=99.0", LINUX),
        ("__osx >=13", MACOS),
        ("__osx >=11.0", MACOS),
    ],
)
def test_a_lock_whose_packages_need_no_more_runs(depend: str, machine: Machine) -> None:
    assert unmet(lock(machine.platform, a=depend), machine) is None


@pytest.mark.parametrize(
    ("depend", "machine", "reason"),
    [
        ("__glibc >=2.29", LINUX, "`a` needs __glibc 2.29 and this machine has 2.28"),
        ("__glibc >=2.29,<3", LINUX, "`a` needs __glibc 2.29 and this machine has 2.28"),
        ("__glibc>=2.29", LINUX, "`a` needs __glibc 2.29 and this machine has 2.28"),
        ("__glibc >=3.0", LINUX, "`a` needs __glibc 3.0 and this machine has 2.28"),
        ("__osx >=14.1", MACOS, "`a` needs __osx 14.1 and this machine has 13.0"),
        ("__osx >=14", MACOS, "`a` needs __osx 14.0 and this machine has 13.0"),
        ("__glibc >=2.17", replace(LINUX, glibc=None), "`a` needs __glibc 2.17 and this machine has none"),
    ],
)
def test_a_lock_whose_packages_need_more_says_which_and_what(depend: str, machine: Machine, reason: str) -> None:
    assert unmet(lock(machine.platform, a=depend), machine) == reason


def test_of_several_the_greatest_need_is_named() -> None:
    needed = lock(Platform.LINUX_64, old="__glibc >=2.9", new="__glibc >=2.34", middle="__glibc >=2.30")
    assert unmet(needed, LINUX) == "`new` needs __glibc 2.34 and this machine has 2.28"


def test_a_lock_for_another_platform_does_not_run() -> None:
    assert unmet(lock(Platform.OSX_64), LINUX) == "it is for osx-64 and this is linux-64"


@pytest.mark.parametrize(("text", "expected"), [("2.31", (2, 31)), ("", None), ("2", None), ("2.3.4", (2, 3))])
def test_this_machine_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: tuple[int, int] | None
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("os.confstr", lambda _: f"glibc {text}")
    assert Machine.here() == Machine(platform=Platform.LINUX_64, glibc=expected)


def test_a_machine_with_another_c_library_has_no_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: str) -> str:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("os.confstr", unknown)
    assert Machine.here() == Machine(platform=Platform.LINUX_64)


def test_a_mac_has_a_version_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("platform.mac_ver", lambda: ("14.2.1", ("", "", ""), "arm64"))
    assert Machine.here() == Machine(platform=Platform.OSX_ARM64, osx=(14, 2))


def test_packages_are_locked_whatever_they_need() -> None:
    package: LockedCondaPackage = lock(Platform.LINUX_64, a="__glibc >=9.9").packages[0]
    assert package.record.depends == ("__glibc >=9.9",)
