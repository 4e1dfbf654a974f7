"""Locks in a store: found by request, written in an order that survives crashes, healed when damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from mfenv.domain.channel import Channel
from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.provenance import Provenance
from mfenv.domain.python import PythonConstraint
from mfenv.domain.spec import EnvironmentSpec, SolveOptions
from mfenv.errors import LockError, StoreError
from mfenv.formats import lock_json
from mfenv.store import layout
from mfenv.store.backends.memory import MemoryBlobStore
from mfenv.store.locks import LockStore
from mfenv.testing.fakes import FailingBlobStore, FakePackage, fake_lock

KEY = RequestKey("ab" * 20)
TARGET = baseline(Platform.LINUX_64)
MADE = Provenance(
    request=KEY,
    target=TARGET,
    resolver="fake 1.0",
    user="svc/build bot",
    time=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc),
)
OLD = fake_lock(FakePackage("a"), platform=Platform.LINUX_64)
NEW = fake_lock(FakePackage("a", version="2.0"), platform=Platform.LINUX_64)


@pytest.fixture
def blobs() -> MemoryBlobStore:
    return MemoryBlobStore()


@pytest.fixture
def locks(blobs: MemoryBlobStore) -> LockStore:
    return LockStore(blobs)


def test_a_lock_is_found_by_request_and_by_id(locks: LockStore) -> None:
    assert locks.find(KEY, TARGET) is None
    assert locks.get(OLD.id) is None
    locks.put(OLD, MADE)
    assert locks.find(KEY, TARGET) == OLD
    assert locks.get(OLD.id) == OLD


def test_a_lock_answers_its_own_request_and_target_only(locks: LockStore) -> None:
    locks.put(OLD, MADE)
    assert locks.find(RequestKey("cd" * 20), TARGET) is None
    assert locks.find(KEY, baseline(Platform.LINUX_64, {"__cuda": "12"})) is None


def test_the_latest_lock_is_used_and_the_older_one_stays(locks: LockStore) -> None:
    locks.put(OLD, MADE)
    locks.put(NEW, MADE)
    assert locks.find(KEY, TARGET) == NEW
    assert locks.get(OLD.id) == OLD
    locks.put(OLD, MADE)
    assert locks.find(KEY, TARGET) == OLD


def test_everything_is_kept_under_the_documented_keys(blobs: MemoryBlobStore, locks: LockStore) -> None:
    locks.put(OLD, MADE)
    kept = {key: blobs.get(key) for key in blobs.list("mfenv/v1/")}
    note = kept.pop(f"mfenv/v1/provenance/{OLD.id}/20260102T030405000006Z-svc_build_bot.json")
    assert kept == {
        f"mfenv/v1/locks/{OLD.id}.json": lock_json.dump(OLD),
        f"mfenv/v1/requests/{KEY}/{TARGET.key}/{OLD.id}": b"",
        f"mfenv/v1/defaults/{KEY}/{TARGET.key}": OLD.id.encode(),
    }
    assert json.loads(note or b"") == {
        "schema": "mfenv/provenance/1",
        "request": KEY,
        "asked": None,
        "target": {
            "platform": "linux-64",
            "virtual_packages": ["__archspec=1=x86_64", "__glibc=2.28=0", "__linux=4.18=0", "__unix=0=0"],
        },
        "resolver": "fake 1.0",
        "user": "svc/build bot",
        "time": "2026-01-02T03:04:05.000006+00:00",
    }


def test_the_note_says_what_was_asked_for_with_its_date(blobs: MemoryBlobStore) -> None:
    """So that somebody can tell, years later, why a lock holds nothing newer."""
    spec = EnvironmentSpec(
        python=PythonConstraint.minor(3, 11),
        conda=(MatchSpec(name="numpy"),),
        channels=(Channel(location="conda-forge"),),
        options=SolveOptions(exclude_newer="2025-01-31"),
    )
    LockStore(blobs).put(OLD, replace(MADE, asked=spec))
    (key,) = blobs.list(f"mfenv/v1/provenance/{OLD.id}/")
    assert json.loads(blobs.get(key) or b"")["asked"] == {
        "python": "3.11.*",
        "conda": ["numpy"],
        "channels": ["conda-forge"],
        "channel_priority": "strict",
        "exclude_newer": "2025-01-31",
    }


def test_a_nameless_user_has_a_key_too() -> None:
    assert layout.provenance(OLD.id, replace(MADE, user="")).endswith("Z-unknown.json")


@pytest.mark.parametrize("writes", range(4))
def test_a_crash_between_two_writes_leaves_no_pointer_to_nothing(blobs: MemoryBlobStore, writes: int) -> None:
    with pytest.raises(StoreError):
        LockStore(FailingBlobStore(blobs, writes=writes)).put(NEW, MADE)
    locks = LockStore(blobs)
    assert locks.find(KEY, TARGET) is None
    for key in blobs.list("mfenv/v1/requests/"):
        assert locks.get(LockId(key.rpartition("/")[2])) == NEW
    locks.put(NEW, MADE)
    assert locks.find(KEY, TARGET) == NEW


@pytest.mark.parametrize("writes", range(4))
def test_a_crash_between_two_writes_leaves_the_lock_that_was_used(blobs: MemoryBlobStore, writes: int) -> None:
    LockStore(blobs).put(OLD, MADE)
    with pytest.raises(StoreError):
        LockStore(FailingBlobStore(blobs, writes=writes)).put(NEW, MADE)
    assert LockStore(blobs).find(KEY, TARGET) == OLD


@pytest.mark.parametrize("pointer", [b"", b"garbage", b"\xff\xfe", b"../../etc/passwd", b"ab" * 19, b"ff" * 20])
def test_a_damaged_pointer_counts_as_none_and_solving_heals_it(
    blobs: MemoryBlobStore, locks: LockStore, pointer: bytes
) -> None:
    locks.put(OLD, MADE)
    blobs.replace(layout.default(KEY, TARGET), pointer)
    assert locks.find(KEY, TARGET) is None
    locks.put(OLD, MADE)
    assert locks.find(KEY, TARGET) == OLD


def _damages(lock: LockedEnvironment) -> dict[str, bytes]:
    whole = lock_json.dump(lock)
    return {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "no text": b"\xff" * 10,
        "another lock": lock_json.dump(NEW),
        "unknown platform": whole.replace(b'"linux-64"', b'"amiga-68"'),
        "a fraction": whole.replace(b'"build_number":0', b'"build_number":0.5'),
        "half a character": whole.replace(b'"generic"', b'"\\ud800"'),
        "later version": whole.replace(b"mfenv/lock/1", b"mfenv/lock/9"),
        "a path": whole.replace(b'"name":"a"', b'"name":"../a"'),
    }


@pytest.mark.parametrize("damage", sorted(_damages(OLD)))
def test_a_damaged_lock_counts_as_none_and_solving_heals_it(
    blobs: MemoryBlobStore, locks: LockStore, damage: str
) -> None:
    locks.put(OLD, MADE)
    blobs.replace(layout.lock(OLD.id), _damages(OLD)[damage])
    assert locks.find(KEY, TARGET) is None
    with pytest.raises(LockError, match=rf"^mfenv/v1/locks/{OLD.id}\.json"):
        locks.get(OLD.id)
    locks.put(OLD, MADE)
    assert locks.find(KEY, TARGET) == OLD


def test_a_pointer_to_the_lock_of_another_request_counts_as_none(blobs: MemoryBlobStore, locks: LockStore) -> None:
    other = replace(MADE, request=RequestKey("cd" * 20))
    locks.put(OLD, MADE)
    locks.put(NEW, other)
    blobs.replace(layout.default(KEY, TARGET), NEW.id.encode())
    assert locks.find(KEY, TARGET) is None
    locks.put(OLD, MADE)
    assert locks.find(KEY, TARGET) == OLD


def test_a_lock_that_is_whole_is_not_written_again(blobs: MemoryBlobStore, locks: LockStore) -> None:
    locks.put(OLD, MADE)
    first = lock_json.dump(OLD)
    package = OLD.packages[0]
    mirrored = replace(
        OLD, packages=(replace(package, artifact=replace(package.artifact, url="https://mirror.example.org/a")),)
    )
    assert mirrored.id == OLD.id
    locks.put(mirrored, MADE)
    assert blobs.get(layout.lock(OLD.id)) == first
