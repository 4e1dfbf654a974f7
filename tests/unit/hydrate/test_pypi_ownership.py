"""No file and no distribution of an environment belongs to two packages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.locked import LockedEnvironment, LockedPypiPackage
from mfenv.domain.platform import Platform
from mfenv.errors import HydrationFailed
from mfenv.hydrate.ownership import OwnedFile, check_ownership, contested
from mfenv.hydrate.wheels import WheelFiles

SITE = "lib/python3.11/site-packages"


def lock(*names: str) -> LockedEnvironment:
    artifact = LockedArtifact(file_name="a.whl", url="https://h/a.whl", size=1, sha256="0" * 64)
    wheels = tuple(LockedPypiPackage(name=name, version="1.0", artifact=artifact) for name in names)
    return LockedEnvironment(platform=Platform.LINUX_64, packages=(), pypi=wheels)


def link(prefix: Path, name: str, **digests: str | None) -> None:
    """Let conda's package `name` be in `prefix` with these files."""
    files = {path.replace("__", "/"): digest for path, digest in digests.items()}
    record = {
        "name": name,
        "files": list(files),
        "paths_data": {"paths": [{"_path": path, "sha256": digest} for path, digest in files.items()]},
    }
    (prefix / "conda-meta").mkdir(exist_ok=True)
    (prefix / "conda-meta" / f"{name}.json").write_text(json.dumps(record))


def wheel(name: str, *paths: str) -> WheelFiles:
    return WheelFiles(name=name, digests=dict.fromkeys(paths, "digest"))


def refusal(prefix: Path, *wheels: WheelFiles) -> str:
    with pytest.raises(HydrationFailed) as caught:
        check_ownership(lock(), prefix, SITE, wheels)
    return caught.value.message


def test_a_wheel_may_not_bring_a_file_of_condas(tmp_path: Path) -> None:
    link(tmp_path, "python", bin__python="aa")
    assert refusal(tmp_path, wheel("evil", "bin/python")) == (
        "`bin/python` would belong to two packages: conda's `python` and PyPI's `evil`"
    )


def test_two_wheels_may_not_bring_one_file_be_it_the_same(tmp_path: Path) -> None:
    assert refusal(tmp_path, wheel("left", "bin/run"), wheel("right", "bin/run")) == (
        "`bin/run` would belong to two packages: PyPI's `left` and PyPI's `right`"
    )


def test_two_conda_packages_may_not_bring_different_files_under_one_name(tmp_path: Path) -> None:
    link(tmp_path, "left", share__a="aa")
    link(tmp_path, "right", share__a="bb")
    assert refusal(tmp_path) == "`share/a` would belong to two packages: conda's `left` and conda's `right`"


def test_two_conda_packages_may_bring_the_same_file(tmp_path: Path) -> None:
    link(tmp_path, "left", share__a="aa")
    link(tmp_path, "right", share__a="aa")
    check_ownership(lock(), tmp_path, SITE, [wheel("other", "share/b")])


def test_the_same_file_without_a_known_digest_is_not_the_same(tmp_path: Path) -> None:
    link(tmp_path, "left", share__a=None)
    link(tmp_path, "right", share__a=None)
    assert "`share/a` would belong to two packages" in refusal(tmp_path)


def test_case_does_not_tell_files_apart(tmp_path: Path) -> None:
    assert refusal(tmp_path, wheel("left", "share/Readme"), wheel("right", "share/README")) == (
        "`share/README` would belong to two packages: PyPI's `left` and PyPI's `right`"
    )


def test_one_package_may_have_names_that_differ_by_case(tmp_path: Path) -> None:
    check_ownership(lock(), tmp_path, SITE, [wheel("one", "share/Readme", "share/README")])


def test_a_third_owner_is_seen_behind_two_that_agree() -> None:
    files = [OwnedFile("a", "f", "1"), OwnedFile("b", "f", "1"), OwnedFile("c", "f", "2")]
    assert contested(files) == ("f", "a", "c")


@pytest.mark.parametrize("folder", ["Foo_Bar-2.0.dist-info", "foo.bar-2.0-py3.11.egg-info", "foo__bar-2.0.dist-info"])
def test_a_distribution_that_conda_brings_may_not_come_again(folder: str, tmp_path: Path) -> None:
    (tmp_path / SITE / folder).mkdir(parents=True)
    with pytest.raises(HydrationFailed) as caught:
        check_ownership(lock("foo-bar"), tmp_path, SITE, [])
    assert caught.value.message == f"`foo-bar` would be there twice: `{folder}` from conda and 1.0 from PyPI"
    assert caught.value.hint == "Resolve again; if it stays so, ask for `foo-bar` with @conda"


def test_a_distribution_with_a_longer_name_is_another(tmp_path: Path) -> None:
    (tmp_path / SITE / "foo_bar_baz-2.0.dist-info").mkdir(parents=True)
    check_ownership(lock("foo-bar"), tmp_path, SITE, [])
