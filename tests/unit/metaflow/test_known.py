"""Environments that are there already are found by what users call them, or it is said why not."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.provenance import Provenance
from mfenv.domain.reference import ByLock, ByName, ByPathspec, EnvironmentRef
from mfenv.errors import InvalidSpec
from mfenv.metaflow.known import KnownEnvironments, _lock_in
from mfenv.store.backends.memory import MemoryBlobStore
from mfenv.store.locks import LockStore
from mfenv.testing.fakes import FakePackage, fake_lock

LINUX = Platform.LINUX_64
LOCK = fake_lock(FakePackage("a"), platform=LINUX)
REQUEST = RequestKey("ab" * 20)


@pytest.fixture
def known() -> KnownEnvironments:
    store = LockStore(MemoryBlobStore())
    time = datetime(2026, 1, 2, tzinfo=timezone.utc)
    store.put(LOCK, Provenance(request=REQUEST, target=baseline(LINUX), resolver="fake", user="me", time=time))
    return KnownEnvironments(store)


@pytest.mark.parametrize("ref", [ByLock(lock=LOCK.id), ByLock(lock=LOCK.id, request=REQUEST)])
def test_an_id_finds_its_lock(known: KnownEnvironments, ref: EnvironmentRef) -> None:
    assert known.find(ref, LINUX, where="here") == LOCK


@pytest.mark.parametrize(
    ("ref", "platform", "message"),
    [
        (ByLock(lock=LockId("cd" * 20)), LINUX, f"here: the environment `{'cd' * 20}` is not in the store"),
        (ByLock(lock=LOCK.id), Platform.OSX_ARM64, f"here: the environment `{LOCK.id}` is for linux-64, and this step runs on osx-arm64"),
        (ByName(name="team/x"), LINUX, "here: no environment is known by the name `team/x:latest`"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said(
    known: KnownEnvironments, ref: EnvironmentRef, platform: Platform, message: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        known.find(ref, platform, where="here")
    assert caught.value.message == message


@pytest.mark.parametrize("text", ["", "x", "[]", '["a", "b", "c"]', "[1, 2, 3]", "{}"])
def test_metadata_that_is_none_of_ours_is_said(text: str) -> None:
    with pytest.raises(InvalidSpec, match="cannot be read"):
        _lock_in(text, ByPathspec(flow="F", run="1", step="a"), "here")
