"""Locks of a project and of those that it shares with: found by id, by request, by group; healed when damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from mfenv.domain.channel import Channel
from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.group import LockGroup
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.provenance import Provenance
from mfenv.domain.python import PythonConstraint
from mfenv.domain.spec import EnvironmentSpec, SolveOptions
from mfenv.errors import LockError
from mfenv.formats import lock_json, provenance_json
from mfenv.store.backends.memory import MemoryBlobStore
from mfenv.store.layout import Layout
from mfenv.store.locks import LockStore
from mfenv.testing.fakes import FakePackage, fake_lock

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
ON_ARM = fake_lock(FakePackage("a"), platform=Platform.LINUX_AARCH64)
LAYOUT = Layout()


class Clock:
    """A store's clock that goes on by a minute whenever it is looked at."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


@pytest.fixture
def own() -> MemoryBlobStore:
    return MemoryBlobStore()


@pytest.fixture
def store() -> MemoryBlobStore:
    return MemoryBlobStore(Clock())


@pytest.fixture
def locks(own: MemoryBlobStore, store: MemoryBlobStore) -> LockStore:
    return LockStore(own, shared=lambda: store)


@pytest.fixture
def other_machine(store: MemoryBlobStore) -> LockStore:
    return LockStore(MemoryBlobStore(), shared=lambda: store)


def test_what_a_project_keeps_it_finds_without_asking_anybody(own: MemoryBlobStore) -> None:
    def nobody() -> None:
        raise AssertionError("the shared store was opened")

    locks = LockStore(own, shared=nobody)
    locks.keep(OLD, MADE)
    assert locks.get(OLD.id) == OLD


def test_a_lock_that_nobody_has_is_none(locks: LockStore, own: MemoryBlobStore) -> None:
    assert locks.get(OLD.id) is None
    assert LockStore(own).get(OLD.id) is None


def test_what_is_shared_is_found_from_another_machine_and_kept_there(
    locks: LockStore, store: MemoryBlobStore, other_machine: LockStore
) -> None:
    locks.keep(OLD, MADE)
    assert other_machine.get(OLD.id) is None
    locks.share(OLD.id)
    assert other_machine.get(OLD.id) == OLD
    store.delete([LAYOUT.lock(OLD.id)])
    assert other_machine.get(OLD.id) == OLD


def test_everything_is_kept_under_the_documented_keys(
    locks: LockStore, own: MemoryBlobStore, store: MemoryBlobStore
) -> None:
    group = LockGroup.of({Platform.LINUX_64: OLD.id, Platform.LINUX_AARCH64: ON_ARM.id})
    note = f"mfenv/v1/provenance/{OLD.id}/20260102T030405000006Z-svc_build_bot.json"
    kept = {
        f"mfenv/v1/locks/{OLD.id}.json": lock_json.dump(OLD),
        note: provenance_json.dump(MADE),
        f"mfenv/v1/groups/{OLD.id}/{group.id}.json": (
            b'{"locks":{"linux-64":"%s","linux-aarch64":"%s"},"schema":"mfenv/group/1"}'
            % (OLD.id.encode(), ON_ARM.id.encode())
        ),
    }
    locks.keep(OLD, MADE)
    locks.keep_group(group)
    beside = f"mfenv/v1/groups/{ON_ARM.id}/{group.id}.json"
    assert {info.key: own.get(info.key) for info in own.list("")} == {
        **kept,
        beside: kept[f"mfenv/v1/groups/{OLD.id}/{group.id}.json"],
    }
    locks.share(OLD.id)
    locks.share_notes(OLD.id)
    answer = f"mfenv/v1/requests/{KEY}/{TARGET.key}/{OLD.id}/20260102T030405000006Z-svc%2Fbuild%20bot"
    assert {info.key: store.get(info.key) for info in store.list("")} == {**kept, answer: b""}


def test_folders_in_the_store_can_be_given_other_names() -> None:
    layout = Layout(packages_folder="files", environments_folder="envs")
    assert layout.package("ab" * 32, "a-1-0.conda") == f"mfenv/v1/files/sha256/ab/{'ab' * 32}/a-1-0.conda"
    assert layout.lock(OLD.id) == f"mfenv/v1/envs/locks/{OLD.id}.json"
    assert layout.answers(KEY, TARGET) == f"mfenv/v1/envs/requests/{KEY}/{TARGET.key}/"
    assert layout.tool(Platform.LINUX_64, "cd" * 32, "uv") == f"mfenv/v1/toolchain/linux-64/{'cd' * 32}/uv"


def test_a_note_comes_back_as_it_was_written() -> None:
    on_gpu = replace(MADE, target=baseline(Platform.LINUX_64, {"__cuda": "12.8", "__archspec": "1=x86_64_v3"}))
    assert provenance_json.load(provenance_json.dump(on_gpu), path="x") == on_gpu


def test_the_note_says_what_was_asked_for_with_its_date(own: MemoryBlobStore) -> None:
    """So that somebody can tell, years later, why a lock holds nothing newer."""
    spec = EnvironmentSpec(
        python=PythonConstraint.minor(3, 11),
        conda=(MatchSpec(name="numpy"),),
        channels=(Channel(location="conda-forge"),),
        options=SolveOptions(exclude_newer="2025-01-31"),
    )
    LockStore(own).keep(OLD, replace(MADE, asked=spec.canonical()))
    (info,) = own.list(f"mfenv/v1/provenance/{OLD.id}/")
    assert json.loads(own.get(info.key) or b"") == {
        "schema": "mfenv/provenance/1",
        "request": KEY,
        "asked": {
            "python": "3.11.*",
            "conda": ["numpy"],
            "channels": ["conda-forge"],
            "channel_priority": "strict",
            "exclude_newer": "2025-01-31",
        },
        "target": {
            "platform": "linux-64",
            "virtual_packages": ["__archspec=1=x86_64", "__glibc=2.28=0", "__linux=4.18=0", "__unix=0=0"],
        },
        "resolver": "fake 1.0",
        "user": "svc/build bot",
        "time": "2026-01-02T03:04:05.000006+00:00",
    }


def test_a_nameless_user_has_a_key_too() -> None:
    assert LAYOUT.provenance(OLD.id, replace(MADE, user="")).endswith("Z-unknown.json")
    assert LAYOUT.answer(replace(MADE, user=""), OLD.id).endswith("Z-unknown")


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note.replace(b"mfenv/provenance/1", b"mfenv/provenance/2"),
        lambda note: note.replace(KEY.encode(), b"../../x"),
        lambda note: note.replace(b"__glibc=2.28=0", b"glibc"),
        lambda note: note.replace(b'"linux-64"', b'"amiga-68"'),
        lambda note: note.replace(b"+00:00", b""),
        lambda note: note.replace(b"2026-01-02", b"yesterday"),
        lambda note: note[:40],
        lambda note: b"[]",
    ],
)
def test_a_damaged_note_is_refused_with_its_place_and_costs_nothing_else(
    locks: LockStore, own: MemoryBlobStore, store: MemoryBlobStore, change: Callable[[bytes], bytes]
) -> None:
    damaged = change(provenance_json.dump(MADE))
    with pytest.raises(LockError, match=r"^some/key"):
        provenance_json.load(damaged, path="some/key")
    locks.keep(OLD, MADE)
    own.replace(LAYOUT.provenance(OLD.id, MADE), damaged)
    locks.share(OLD.id)
    locks.share_notes(OLD.id)
    assert [info.key for info in store.list("")] == [LAYOUT.lock(OLD.id)]


def test_the_latest_answer_comes_first_by_the_clock_of_the_store(locks: LockStore) -> None:
    """Whose machine's clock is a year ahead has not the last word for a year."""
    ahead = replace(MADE, user="ada", time=MADE.time + timedelta(days=365))
    for lock, made in ((OLD, ahead), (NEW, MADE)):
        locks.keep(lock, made)
        locks.share(lock.id)
        locks.share_notes(lock.id)
    found = locks.answers(KEY, TARGET)
    assert [(answer.lock, answer.user) for answer in found] == [(NEW.id, "svc/build bot"), (OLD.id, "ada")]
    assert found[0].time > found[1].time > ahead.time
    assert locks.answers(RequestKey("cd" * 20), TARGET) == []
    assert locks.answers(KEY, baseline(Platform.LINUX_64, {"__cuda": "12"})) == []


def test_within_a_second_of_the_store_the_writers_own_time_decides(own: MemoryBlobStore) -> None:
    at_once = MemoryBlobStore(lambda: datetime(2030, 1, 1, tzinfo=timezone.utc))
    locks = LockStore(own, shared=lambda: at_once)
    for lock, made in ((NEW, replace(MADE, time=MADE.time + timedelta(seconds=1))), (OLD, MADE)):
        locks.keep(lock, made)
        locks.share(lock.id)
        locks.share_notes(lock.id)
    assert [answer.lock for answer in locks.answers(KEY, TARGET)] == [NEW.id, OLD.id]


def test_what_is_no_answer_among_the_answers_is_passed_over(locks: LockStore, store: MemoryBlobStore) -> None:
    for rest in ("x", "not-an-id/20260102T030405000006Z-ada", f"{OLD.id}", f"{NEW.id}/later"):
        store.put(LAYOUT.answers(KEY, TARGET) + rest, b"")
    assert [(answer.lock, answer.user) for answer in locks.answers(KEY, TARGET)] == [(NEW.id, ""), (OLD.id, "")]


def test_locks_that_were_resolved_together_find_each_other_from_any_machine(
    locks: LockStore, other_machine: LockStore
) -> None:
    assert locks.sibling(OLD.id, Platform.LINUX_AARCH64) is None
    locks.keep(OLD, MADE)
    locks.keep(ON_ARM)
    locks.keep_group(LockGroup.of({Platform.LINUX_AARCH64: ON_ARM.id, Platform.LINUX_64: OLD.id}))
    assert locks.sibling(OLD.id, Platform.LINUX_AARCH64) == ON_ARM.id
    assert locks.sibling(ON_ARM.id, Platform.LINUX_64) == OLD.id
    assert locks.sibling(OLD.id, Platform.OSX_64) is None
    assert other_machine.sibling(OLD.id, Platform.LINUX_AARCH64) is None
    locks.share_notes(OLD.id)
    assert other_machine.sibling(OLD.id, Platform.LINUX_AARCH64) == ON_ARM.id


def test_a_lock_in_two_groups_has_no_sibling_where_they_differ(locks: LockStore) -> None:
    for other in (ON_ARM.id, LockId("ff" * 20)):
        locks.keep_group(LockGroup.of({Platform.LINUX_64: OLD.id, Platform.LINUX_AARCH64: other}))
    assert locks.sibling(OLD.id, Platform.LINUX_AARCH64) is None
    assert len(locks.groups(OLD.id)) == 2


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"schema":"mfenv/group/2","locks":{}}', b'{"locks":{"amiga-68":"x"}}']
)
def test_a_damaged_group_counts_as_none(locks: LockStore, own: MemoryBlobStore, content: bytes) -> None:
    own.put(LAYOUT.group(OLD.id, "00" * 20), content)
    assert locks.groups(OLD.id) == []


def test_a_group_that_does_not_hold_the_lock_it_is_filed_under_counts_as_none(
    locks: LockStore, own: MemoryBlobStore
) -> None:
    locks.keep_group(LockGroup.of({Platform.LINUX_64: OLD.id}))
    (info,) = own.list(LAYOUT.groups(OLD.id))
    own.put(LAYOUT.group(NEW.id, "00" * 20), own.get(info.key) or b"")
    assert locks.groups(NEW.id) == []


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
def test_a_damaged_lock_of_the_project_comes_from_the_store_or_is_refused(
    locks: LockStore, own: MemoryBlobStore, damage: str
) -> None:
    locks.keep(OLD, MADE)
    own.replace(LAYOUT.lock(OLD.id), _damages(OLD)[damage])
    with pytest.raises(LockError, match=rf"^mfenv/v1/locks/{OLD.id}\.json"):
        locks.get(OLD.id)
    locks.keep(OLD, MADE)
    assert locks.get(OLD.id) == OLD
    locks.share(OLD.id)
    own.replace(LAYOUT.lock(OLD.id), _damages(OLD)[damage])
    assert locks.get(OLD.id) == OLD
    assert own.get(LAYOUT.lock(OLD.id)) == lock_json.dump(OLD)


@pytest.mark.parametrize("damage", sorted(_damages(OLD)))
def test_a_damaged_lock_in_the_store_is_refused_by_readers_and_healed_by_sharing(
    locks: LockStore, store: MemoryBlobStore, other_machine: LockStore, damage: str
) -> None:
    locks.keep(OLD, MADE)
    store.put(LAYOUT.lock(OLD.id), _damages(OLD)[damage])
    assert not locks.is_shared(OLD.id)
    with pytest.raises(LockError, match=rf"^memory/mfenv/v1/locks/{OLD.id}\.json"):
        other_machine.get(OLD.id)
    locks.share(OLD.id)
    assert locks.is_shared(OLD.id)
    assert other_machine.get(OLD.id) == OLD


def test_a_lock_that_is_whole_is_not_written_again(
    own: MemoryBlobStore, store: MemoryBlobStore, locks: LockStore, other_machine: LockStore
) -> None:
    locks.keep(OLD, MADE)
    locks.share(OLD.id)
    first = lock_json.dump(OLD)
    package = OLD.packages[0]
    mirrored = replace(
        OLD, packages=(replace(package, artifact=replace(package.artifact, url="https://mirror.example.org/a")),)
    )
    assert mirrored.id == OLD.id
    locks.keep(mirrored, MADE)
    assert own.get(LAYOUT.lock(OLD.id)) == first
    other_machine.keep(mirrored, MADE)
    other_machine.share(OLD.id)
    assert store.get(LAYOUT.lock(OLD.id)) == first


def test_a_group_with_a_flipped_digit_counts_as_none(locks: LockStore, own: MemoryBlobStore) -> None:
    locks.keep_group(LockGroup.of({Platform.LINUX_64: OLD.id, Platform.LINUX_AARCH64: ON_ARM.id}))
    (info,) = own.list(LAYOUT.groups(OLD.id))
    content = own.get(info.key) or b""
    own.replace(info.key, content.replace(ON_ARM.id.encode(), b"f" + ON_ARM.id.encode()[1:]))
    assert locks.sibling(OLD.id, Platform.LINUX_AARCH64) is None


def test_settings_for_the_store_change_nothing_in_the_project(own: MemoryBlobStore, store: MemoryBlobStore) -> None:
    LockStore(own).keep(OLD, MADE)
    elsewhere = LockStore(own, shared=lambda: store, layout=Layout(environments_folder="envs"))
    assert elsewhere.get(OLD.id) == OLD
    elsewhere.share(OLD.id)
    elsewhere.share_notes(OLD.id)
    assert {info.key.split("/")[2] for info in store.list("mfenv/v1/")} == {"envs"}
    assert (
        LockStore(MemoryBlobStore(), shared=lambda: store, layout=Layout(environments_folder="envs")).get(OLD.id) == OLD
    )
