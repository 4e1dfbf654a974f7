"""Environments are found in the store of the existing product by every name that they have there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mfenv.domain.platform import Platform
from mfenv.errors import InvalidSpec, LockError
from mfenv.formats import legacy_json
from mfenv.formats.legacy_json import LegacyRef
from mfenv.store.backends.local import LocalBlobStore
from mfenv.store.legacy import LegacyStore
from mfenv.testing.legacy import FULL, REQUEST, LegacyRoot
from mfenv.testing.wheels import MadeWheel

REF = LegacyRef(request=REQUEST, full=FULL)
OTHER = "12" * 20
LINUX, ARM = Platform.LINUX_64, Platform.OSX_ARM64


@pytest.fixture
def root(tmp_path: Path) -> LegacyRoot:
    made = LegacyRoot(tmp_path / "legacy")
    made.add(MadeWheel(name="made").write(tmp_path), "https://files.example.org/made-1.0-py3-none-any.whl")
    made.write("linux-64", "team/env/latest", "team/env/v1", "team/env/deep/latest")
    made.write("osx-arm64")
    return made


@pytest.fixture
def store(root: LegacyRoot) -> LegacyStore:
    return LegacyStore(LocalBlobStore(root.folder))


@pytest.mark.parametrize(
    "name", ["team/env", "team/env:latest", "team/env:v1", "team/env/deep", f"{REQUEST}:{FULL}", FULL]
)
def test_every_form_of_a_name_is_found(store: LegacyStore, name: str) -> None:
    assert store.find(name) == REF
    assert store.platforms(REF) == [LINUX, ARM]
    assert store.environment(REF, LINUX).resolved_by == "grace"


@pytest.mark.parametrize(
    "name", ["team/nothing", "team/env:v2", "team/env:deep", "team:env", OTHER, "step:Flow/1/start"]
)
def test_what_is_not_there_is_none_also_where_a_folder_has_its_name(store: LegacyStore, name: str) -> None:
    assert store.find(name) is None


@pytest.mark.parametrize(
    "name", ["Team/env", "team/env:v1.2", "team//env", "/team", "team/", "", "a:b:c", "../a", "step:x"]
)
def test_what_can_be_no_name_is_refused(store: LegacyStore, name: str) -> None:
    with pytest.raises(InvalidSpec):
        store.find(name)


def test_folders_can_have_other_names(tmp_path: Path) -> None:
    root = LegacyRoot(tmp_path, envs="e", packages_folder="p")
    place = root.add(
        MadeWheel(name="made").write(tmp_path), "https://h.example.org:8080/x/made-1.0-py3-none-any.whl", is_noted=False
    )
    root.write("linux-64", "a/latest")
    store = LegacyStore(LocalBlobStore(tmp_path), packages="p", envs="e")
    assert store.find("a") == REF
    [package] = store.environment(REF, LINUX).packages
    key = store.key(package, package.files[0])
    assert key is not None
    assert (tmp_path / key, store.address(key)) == (place, place.as_uri())
    assert LegacyStore(LocalBlobStore(tmp_path)).find("a") is None


@pytest.mark.parametrize(
    "content", [b"", b"[]", json.dumps([REQUEST]).encode(), json.dumps([REQUEST, "../x"]).encode()]
)
def test_a_damaged_name_is_said_with_its_key(root: LegacyRoot, store: LegacyStore, content: bytes) -> None:
    (root.folder / "envs/aliases/generic/team/env/v1").write_bytes(content)
    with pytest.raises(LockError, match=r"^envs/aliases/generic/team/env/v1: "):
        store.find("team/env:v1")


def test_a_damaged_environment_is_said_with_its_key(root: LegacyRoot, store: LegacyStore) -> None:
    root.write("linux-64").write_text("{")
    with pytest.raises(LockError, match=rf"^envs/linux-64/{REQUEST}/{FULL}/env: this is not JSON"):
        store.environment(REF, LINUX)


def test_what_only_the_project_knows_counts_behind_the_store(root: LegacyRoot) -> None:
    own = LegacyRef(request=OTHER, full=OTHER)
    content = root.manifest(
        "linux-64",
        request=OTHER,
        full=OTHER,
        mappings={"Flow/1/start": [OTHER, OTHER]},
        aliases={"team/own/v1": [OTHER, OTHER], "team/env/v1": [OTHER, OTHER]},
        mutable_aliases={"team/own/latest": [OTHER, OTHER]},
    )
    manifest = legacy_json.load_manifest(content, path="conda_v2.cnd")
    store = LegacyStore(LocalBlobStore(root.folder), manifest=lambda: manifest)
    names = ("team/own", "team/own:v1", "step:Flow/1/start", "step:Flow/1/start/7")
    assert [store.find(name) for name in names] == [own] * 4
    assert store.find("team/env:v1") == REF
    assert (store.platforms(own), store.platforms(REF)) == ([LINUX], [LINUX, ARM])
    assert store.environment(own, LINUX) == store.environment(REF, LINUX)
    assert sorted(store.names()) == [
        "team/env/deep:latest",
        "team/env:latest",
        "team/env:v1",
        "team/own:latest",
        "team/own:v1",
    ]


def test_an_environment_that_is_nowhere_is_said_with_its_key(store: LegacyStore) -> None:
    with pytest.raises(LockError, match=rf"^envs/linux-64/{OTHER}/{FULL}/env: there is no such environment"):
        store.environment(LegacyRef(request=OTHER, full=FULL), LINUX)
