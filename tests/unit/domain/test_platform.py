"""Platforms, virtual packages and the baselines."""

from __future__ import annotations

import pytest

from mfenv.domain.platform import Platform, Target, VirtualPackage, baseline
from mfenv.errors import InvalidSpec


@pytest.mark.parametrize("platform", Platform)
def test_a_platform_is_read_from_its_subdir(platform: Platform) -> None:
    assert Platform.parse(platform.value, where="here") is platform


@pytest.mark.parametrize("text", ["", "linux", "Linux-64", "win-64", "noarch"])
def test_an_unknown_platform_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        Platform.parse(text, where="METAFLOW_X")
    assert caught.value.message == f"METAFLOW_X: `{text}` is not a platform"
    assert caught.value.hint == "Known platforms are `linux-64`, `linux-aarch64`, `osx-64`, `osx-arm64`"


@pytest.mark.parametrize(
    ("system", "machine", "platform"),
    [
        ("Linux", "x86_64", Platform.LINUX_64),
        ("Linux", "AMD64", Platform.LINUX_64),
        ("Linux", "aarch64", Platform.LINUX_AARCH64),
        ("Linux", "arm64", Platform.LINUX_AARCH64),
        ("Darwin", "x86_64", Platform.OSX_64),
        ("Darwin", "arm64", Platform.OSX_ARM64),
    ],
)
def test_a_machine_has_a_platform(system: str, machine: str, platform: Platform) -> None:
    assert Platform.host(system, machine) is platform


@pytest.mark.parametrize(("system", "machine"), [("Windows", "AMD64"), ("Linux", "ppc64le"), ("Linux", "i686")])
def test_other_machines_are_refused_by_name(system: str, machine: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        Platform.host(system, machine)
    assert caught.value.message == f"environments cannot be made on {system} {machine.lower()}"
    assert caught.value.hint == "Use Linux (x86-64, aarch64) or macOS, or the Linux subsystem on Windows"


def _facts(target: Target) -> list[str]:
    return [str(package) for package in target.virtual_packages]


@pytest.mark.parametrize(
    ("platform", "facts"),
    [
        (Platform.LINUX_64, ["__archspec=1=x86_64", "__glibc=2.28=0", "__linux=4.18=0", "__unix=0=0"]),
        (Platform.LINUX_AARCH64, ["__archspec=1=aarch64", "__glibc=2.28=0", "__linux=4.18=0", "__unix=0=0"]),
        (Platform.OSX_64, ["__archspec=1=x86_64", "__osx=13.0=0", "__unix=0=0"]),
        (Platform.OSX_ARM64, ["__archspec=1=m1", "__osx=13.0=0", "__unix=0=0"]),
    ],
)
def test_the_baselines_are_what_is_documented(platform: Platform, facts: list[str]) -> None:
    assert _facts(baseline(platform)) == facts


def test_overrides_change_add_and_take_away_facts() -> None:
    target = baseline(Platform.OSX_64, {"__osx": "14.2", "__cuda": "12.4=x", "__archspec": "", "__unix": ""})
    assert _facts(target) == ["__cuda=12.4=x", "__osx=14.2=0"]
    assert target.version_of("__osx") == "14.2"
    assert target.version_of("__glibc") is None


def test_a_targets_key_tells_targets_apart_and_begins_with_the_subdir() -> None:
    targets = [
        baseline(Platform.LINUX_64),
        baseline(Platform.LINUX_64, {"__glibc": "2.17"}),
        baseline(Platform.LINUX_64, {"__archspec": "1=zen4"}),
        baseline(Platform.LINUX_64, {"__cuda": "12"}),
        baseline(Platform.OSX_64),
    ]
    keys = [target.key for target in targets]
    assert len(set(keys)) == len(targets)
    assert all(key.startswith(f"{target.platform.value}-") for key, target in zip(keys, targets, strict=True))
    assert baseline(Platform.LINUX_64, {"__glibc": "2.28"}).key == keys[0]


@pytest.mark.parametrize("name", ["glibc", "_glibc", "__", "__GLIBC", "__a/b"])
def test_a_virtual_package_begins_with_two_underscores(name: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        VirtualPackage(name=name, version="1")
    assert caught.value.message == f"`{name}` is not a virtual package"
