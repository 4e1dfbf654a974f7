"""Locks: what they refuse, and what their id depends on."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest

from mfenv.domain.artifact import Artifact, LockedArtifact, is_plain_file_name
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import CondaRecord
from mfenv.errors import LockError

RECORD = CondaRecord(
    name="numpy",
    version="1.26.4",
    build="py311_0",
    build_number=0,
    subdir="linux-64",
    channel="https://conda.example.org/team",
    depends=("python >=3.11,<3.12.0a0",),
    python_site_packages_path=None,
)
ARTIFACT = LockedArtifact(
    file_name="numpy-1.26.4-py311_0.conda",
    url="https://conda.example.org/team/linux-64/numpy-1.26.4-py311_0.conda",
    size=10,
    sha256="ab" * 32,
)
NUMPY = LockedCondaPackage(record=RECORD, artifact=ARTIFACT)
SIX = LockedCondaPackage(
    record=replace(RECORD, name="six", subdir="noarch", noarch="python", version="1.16.0", build="0"),
    artifact=replace(ARTIFACT, file_name="six-1.16.0-0.conda", sha256="cd" * 32),
)
LOCK = LockedEnvironment(platform=Platform.LINUX_64, packages=(NUMPY, SIX))


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "/a", "a\\b", "a\0b", "a\nb", "../x", "a\rb"])
@pytest.mark.parametrize("field", ["name", "version", "build", "subdir"])
def test_a_record_refuses_names_that_are_paths(field: str, text: str) -> None:
    with pytest.raises(LockError) as caught:
        replace(RECORD, **{field: text})
    assert caught.value.message == f"`{text}` cannot be part of a conda package's name"
    assert not is_plain_file_name(text)


@pytest.mark.parametrize("folder", ["", "/", "/lib", "../lib", "lib/../../x", "lib//x", "lib\\..\\x", "lib/x\0"])
def test_a_record_refuses_a_folder_of_modules_outside_the_environment(folder: str) -> None:
    with pytest.raises(LockError) as caught:
        replace(RECORD, python_site_packages_path=folder)
    assert caught.value.message == f"`{folder}` cannot be a folder of Python modules in an environment"


@pytest.mark.parametrize("folder", ["lib/python3.13t/site-packages", "lib/python3.13/site-packages/"])
def test_a_record_may_name_any_folder_inside(folder: str) -> None:
    assert replace(RECORD, python_site_packages_path=folder).python_site_packages_path == folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": ""}, "package file `numpy-1.26.4-py311_0.conda` has no sha256"),
        ({"sha256": "AB" * 32}, "package file `numpy-1.26.4-py311_0.conda` has no sha256"),
        ({"sha256": "ab" * 16}, "package file `numpy-1.26.4-py311_0.conda` has no sha256"),
        ({"sha256": "ab" * 32 + "\n"}, "package file `numpy-1.26.4-py311_0.conda` has no sha256"),
        ({"size": -1}, "package file `numpy-1.26.4-py311_0.conda` has the size -1"),
        ({"file_name": "../x.conda"}, "`../x.conda` is not the name of a package file"),
        ({"file_name": ""}, "`` is not the name of a package file"),
    ],
)
def test_a_locked_file_is_known_to_the_last_byte(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LockError) as caught:
        replace(ARTIFACT, **changes)
    assert caught.value.message == message


def test_a_resolvers_file_may_lack_its_digest() -> None:
    assert Artifact(file_name="a", url="b").sha256 is None


def test_a_lock_refuses_two_packages_of_one_name() -> None:
    other = LockedCondaPackage(record=replace(RECORD, version="2.0"), artifact=ARTIFACT)
    with pytest.raises(LockError) as caught:
        LockedEnvironment(platform=Platform.LINUX_64, packages=(NUMPY, SIX, other))
    assert caught.value.message == "a lock holds `numpy` twice"


def test_a_lock_refuses_packages_for_another_platform() -> None:
    with pytest.raises(LockError) as caught:
        LockedEnvironment(platform=Platform.OSX_64, packages=(SIX, NUMPY))
    assert caught.value.message == ("a lock for osx-64 holds `numpy-1.26.4-py311_0.conda`, which is for linux-64")


def test_packages_are_found_by_name() -> None:
    assert LOCK.find("six") == SIX
    assert LOCK.find("pandas") is None
    assert (NUMPY.name, NUMPY.version) == ("numpy", "1.26.4")


def test_an_id_is_what_it_was_when_the_first_lock_was_written() -> None:
    assert LOCK.id == "02b9f6d666d432c164f5d624efe08d97a89bc517"


@pytest.mark.parametrize(
    "other",
    [
        LockedEnvironment(platform=Platform.LINUX_64, packages=(SIX, NUMPY)),
        LockedEnvironment(
            platform=Platform.LINUX_64,
            packages=(
                LockedCondaPackage(
                    record=replace(RECORD, channel="https://mirror.example.org/team"),
                    artifact=replace(ARTIFACT, url="https://mirror.example.org/numpy-1.26.4-py311_0.conda"),
                ),
                SIX,
            ),
        ),
    ],
    ids=["order", "address"],
)
def test_order_and_address_do_not_change_the_id(other: LockedEnvironment) -> None:
    assert other.id == LOCK.id


@pytest.mark.parametrize(
    ("record", "artifact"),
    [
        ({"name": "numpy2"}, {}),
        ({"version": "1.26.5"}, {}),
        ({"build": "py311_1"}, {}),
        ({"subdir": "noarch"}, {}),
        ({"noarch": "python"}, {}),
        ({"python_site_packages_path": "lib/python3.11/site-packages"}, {}),
        ({}, {"file_name": "numpy-1.26.4-py311_0.tar.bz2"}),
        ({}, {"sha256": "ef" * 32}),
    ],
)
def test_whatever_is_installed_changes_the_id(record: dict[str, Any], artifact: dict[str, Any]) -> None:
    changed = LockedCondaPackage(record=replace(RECORD, **record), artifact=replace(ARTIFACT, **artifact))
    other = LockedEnvironment(platform=Platform.LINUX_64, packages=(changed, SIX))
    assert other.id != LOCK.id


def test_platform_and_number_of_packages_change_the_id() -> None:
    ids = {
        LOCK.id,
        LockedEnvironment(platform=Platform.LINUX_64, packages=(SIX,)).id,
        LockedEnvironment(platform=Platform.OSX_64, packages=(SIX,)).id,
        LockedEnvironment(platform=Platform.OSX_64, packages=()).id,
    }
    assert len(ids) == 4


def test_a_lock_is_a_value() -> None:
    copy = pickle.loads(pickle.dumps(LOCK))
    assert (copy, copy.id, hash(copy)) == (LOCK, LOCK.id, hash(LOCK))
    assert ResolutionRequest.__hash__ is not None
