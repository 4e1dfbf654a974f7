"""Environments shared with others: in an order that survives crashes, each thing once, healed where it is damaged."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from mfenv.app.clear_store import LEAST_AGE
from mfenv.app.share import Shared, Sharer
from mfenv.app.sharing import BackgroundSharing
from mfenv.app.supply import Supplier
from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.machine import Machine
from mfenv.domain.platform import baseline
from mfenv.domain.provenance import Provenance
from mfenv.errors import HydrationFailed, StoreError
from mfenv.formats import lock_json
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.plan import archive_path
from mfenv.hydrate.service import Hydrator
from mfenv.store.backends.memory import MemoryBlobStore
from mfenv.store.base import BlobStore
from mfenv.store.layout import Layout
from mfenv.store.locks import LockStore
from mfenv.store.packages import FRESH, PackageStore
from mfenv.store.project_index import ProjectIndex
from mfenv.testing.fakes import FailingBlobStore, FakeInstaller, FakePackage, fake_lock
from mfenv.testing.pypi import FakePypiInstaller

A, B, C = FakePackage("a"), FakePackage("b"), FakePackage("c")
AB, BC = fake_lock(A, B), fake_lock(B, C)
LAYOUT = Layout()
KEY = RequestKey("ab" * 20)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Machine1:
    """A machine with a project and a cache of its own."""

    folders: LocalFolders
    installer: FakeInstaller
    locks: LockStore
    index: ProjectIndex
    supplier: Supplier
    sharer: Sharer
    hydrator: Hydrator

    def keep(self, lock: LockedEnvironment) -> LockId:
        """Have a lock in the project, as resolving does."""
        made = Provenance(
            request=KEY,
            target=baseline(lock.platform),
            resolver="fake",
            user="ana",
            time=datetime(2026, 1, 1, tzinfo=timezone.utc),
        )
        self.locks.keep(lock, made)
        return lock.id


def machine(
    folder: Path, store: BlobStore | None, clock: Clock, *, serves: Iterable[FakePackage] = (A, B, C)
) -> Machine1:
    folders = LocalFolders(folder / "mfenv")
    installer = FakeInstaller(folders, serves)
    locks = LockStore(MemoryBlobStore(), shared=lambda: store)
    index = ProjectIndex(folder / "conda_v2.cnd")
    supplier = Supplier(lambda: PackageStore(store) if store else None, folders.archives, lock_timeout=60)
    return Machine1(
        folders=folders,
        installer=installer,
        locks=locks,
        index=index,
        supplier=supplier,
        sharer=Sharer(
            shared=lambda: store,
            locks=locks,
            index=index,
            layout=LAYOUT,
            archives=folders.archives,
            fetch=installer.fetch,
            supplier=supplier,
            now=clock,
        ),
        hydrator=Hydrator(
            folders,
            installer,
            wheels=FakePypiInstaller(),
            machine=Machine.here(),
            lock_timeout=60,
            link_scripts=True,
            supply=supplier.supply,
        ),
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryBlobStore:
    return MemoryBlobStore(clock)


@pytest.fixture
def here(tmp_path: Path, store: MemoryBlobStore, clock: Clock) -> Machine1:
    return machine(tmp_path / "here", store, clock)


@pytest.fixture
def elsewhere(tmp_path: Path, store: MemoryBlobStore, clock: Clock) -> Machine1:
    """Another machine, which no channel serves."""
    return machine(tmp_path / "elsewhere", store, clock, serves=())


def key(package: FakePackage) -> str:
    return LAYOUT.package(package.artifact.sha256, package.artifact.file_name)


def packages_in(store: BlobStore) -> set[str]:
    return {info.key for info in store.list(LAYOUT.packages)}


class Counting(MemoryBlobStore):
    """A store that counts what is asked of it, as requests."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get(self, key: str) -> bytes | None:
        self.asked.append(f"get {key}")
        return super().get(key)

    def put(self, key: str, content: bytes) -> bool:
        self.asked.append(f"put {key}")
        return super().put(key, content)

    def replace(self, key: str, content: bytes) -> None:
        self.asked.append(f"replace {key}")
        super().replace(key, content)

    def upload(self, files: Mapping[str, Path], on_transfer: object = None) -> None:
        self.asked += [f"upload {key}" for key in files]
        super().upload(files)

    def touch(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        self.asked += [f"touch {key}" for key in keys]
        super().touch(keys)

    def find(self, keys: Iterable[str]) -> Mapping[str, object]:  # type: ignore[override]
        keys = list(keys)
        self.asked += [f"find {key}" for key in keys]
        return super().find(keys)


def test_what_is_shared_is_there_for_a_machine_that_has_nothing(
    here: Machine1, elsewhere: Machine1, store: MemoryBlobStore
) -> None:
    shared = here.sharer.share([here.keep(AB)])
    assert shared == Shared(
        location="memory", kind="local", environments=(AB.id,), files=2, size=len(A.content) + len(B.content)
    )
    lock = elsewhere.locks.get(AB.id)
    assert lock == AB
    prefix = elsewhere.hydrator.hydrate(lock)
    assert (prefix.path / "share" / "a.txt").read_text().startswith("a 1.0")
    assert packages_in(store) == {key(A), key(B)}


def test_without_a_store_nothing_is_shared(tmp_path: Path, clock: Clock) -> None:
    alone = machine(tmp_path, None, clock)
    assert alone.sharer.share([alone.keep(AB)]) is None
    alone.sharer.mark_run("Flow", "1", [AB.id])
    assert alone.hydrator.hydrate(AB).lock_id == AB.id


def test_packages_of_two_environments_are_sent_once(here: Machine1, store: MemoryBlobStore) -> None:
    sent: list[str] = []
    here.sharer.share([here.keep(AB), here.keep(BC)], lambda key, _: sent.append(key))
    assert sorted(sent) == sorted([key(A), key(B), key(C)])
    assert here.locks.is_shared(AB.id)
    assert here.locks.is_shared(BC.id)


def test_what_is_there_already_costs_three_requests_and_no_bytes_of_packages(tmp_path: Path, clock: Clock) -> None:
    store = Counting()
    for name in ("first", "second"):
        one = machine(tmp_path / name, store, clock)
        store.asked.clear()
        one.sharer.share([one.keep(AB)])
    assert [asked.split("/")[0] + " " + asked.split("/")[2] for asked in store.asked] == [
        "get mfenv locks",
        "replace mfenv provenance",
        "put mfenv requests",
    ]
    store.asked.clear()
    one.sharer.share([AB.id])
    assert store.asked == []


def test_what_somebody_cleared_away_is_shared_again_by_who_knew_that_it_was_there(
    here: Machine1, elsewhere: Machine1, store: MemoryBlobStore, clock: Clock
) -> None:
    """What is known of the store is not believed for longer than it is safe there."""
    here.sharer.share([here.keep(AB)])
    store.delete([info.key for info in list(store.list("mfenv/v1/"))])
    clock.now += FRESH
    here.sharer.share([AB.id])
    assert list(store.list("mfenv/v1/")) == []
    clock.now += timedelta(seconds=1)
    here.sharer.share([AB.id])
    assert elsewhere.hydrator.hydrate(AB).lock_id == AB.id


def test_what_is_found_in_the_store_is_safe_there_for_longer_than_it_is_taken_for_known(
    here: Machine1, elsewhere: Machine1, store: MemoryBlobStore, clock: Clock
) -> None:
    assert FRESH < LEAST_AGE
    here.sharer.share([here.keep(AB)])
    clock.now += timedelta(days=90)
    elsewhere.keep(AB)
    elsewhere.sharer.share([AB.id])
    # What leads to a lock counts for it.
    (note,) = store.list("mfenv/v1/provenance/")
    assert note.modified == clock.now


def test_what_is_cached_here_is_not_fetched_to_be_sent(here: Machine1) -> None:
    here.hydrator.hydrate(AB)
    cached = machine(here.folders.root.parent, here.sharer.shared(), Clock(), serves=())
    cached.keep(AB)
    assert cached.sharer.share([AB.id]) is not None


def test_a_file_that_is_nowhere_is_an_error_and_nothing_refers_to_it(
    elsewhere: Machine1, store: MemoryBlobStore
) -> None:
    with pytest.raises(HydrationFailed, match=r"a-1\.0"):
        elsewhere.sharer.share([elsewhere.keep(AB)])
    assert not list(store.list("mfenv/v1/locks/"))
    assert not elsewhere.index.is_shared(AB.id, "memory")


@pytest.mark.parametrize("writes", range(6))
def test_a_crash_leaves_only_files_that_nobody_refers_to(
    tmp_path: Path, store: MemoryBlobStore, clock: Clock, writes: int
) -> None:
    """Files, then the lock, then what leads to it."""
    crashing = machine(tmp_path / "a", FailingBlobStore(store, writes=writes), clock)
    if writes < 5:
        with pytest.raises(StoreError):
            crashing.sharer.share([crashing.keep(AB)])
        assert not crashing.index.is_shared(AB.id, "memory")
    else:
        crashing.sharer.share([crashing.keep(AB)])
    if list(store.list("mfenv/v1/requests/")):
        assert store.get(LAYOUT.lock(AB.id))
    if store.get(LAYOUT.lock(AB.id)):
        assert packages_in(store) == {key(A), key(B)}
    again = machine(tmp_path / "b", store, clock)
    again.sharer.share([again.keep(AB)])
    assert machine(tmp_path / "c", store, clock, serves=()).hydrator.hydrate(AB).lock_id == AB.id
    assert len(list(store.list("mfenv/v1/requests/"))) == 1


def test_files_that_are_old_are_made_young_before_a_new_lock_refers_to_them(
    here: Machine1, store: MemoryBlobStore, clock: Clock
) -> None:
    """Whoever clears away files that no lock refers to takes only old ones."""
    here.sharer.share([here.keep(AB)])
    clock.now += timedelta(days=40)
    before = store.get(key(B))
    here.sharer.share([here.keep(BC)])
    ages = {info.key: clock.now - info.modified for info in store.list(LAYOUT.packages)}
    assert ages == {key(A): timedelta(days=40), key(B): timedelta(0), key(C): timedelta(0)}
    assert store.get(key(B)) is before


def test_a_run_notes_what_it_ran_in(here: Machine1, store: MemoryBlobStore) -> None:
    here.sharer.mark_run("My Flow", "12/3", [AB.id, BC.id, AB.id])
    assert {info.key for info in store.list("mfenv/v1/runs/")} == {
        f"mfenv/v1/runs/My%20Flow/12%2F3/{lock.id}" for lock in (AB, BC)
    }


# -------------------------------------------------------------------- damage


def test_a_truncated_file_in_the_store_is_sent_again(
    here: Machine1, elsewhere: Machine1, store: MemoryBlobStore
) -> None:
    here.sharer.share([here.keep(AB)])
    store.replace(key(A), A.content[:-1])
    here.sharer.share([here.keep(fake_lock(A))])
    assert store.get(key(A)) == A.content
    assert elsewhere.hydrator.hydrate(fake_lock(A))


@pytest.mark.parametrize("content", [b"", A.content[:-1], A.content[:-1] + b"x", B.content, b"\0" * len(A.content)])
def test_whatever_is_under_the_name_of_a_file_it_is_refused_said_and_fetched_from_its_origin(
    here: Machine1, tmp_path: Path, store: MemoryBlobStore, clock: Clock, content: bytes
) -> None:
    here.sharer.share([here.keep(AB)])
    store.replace(key(A), content)
    other = machine(tmp_path / "other", store, clock, serves=[A])
    events = _Events()
    prefix = other.hydrator.hydrate(AB, events)
    assert (prefix.path / "share" / "a.txt").read_text().startswith("a 1.0")
    assert {"damaged": key(A)} in events.told
    assert {"fetched": A.artifact.file_name, "bytes": A.artifact.size} in events.told
    # What was found damaged is sent again with the next environment that needs it.
    other.sharer.share([other.keep(fake_lock(A))])
    assert store.get(key(A)) == A.content


def test_damaged_in_the_store_and_gone_from_its_origin_is_an_error_that_names_both(
    here: Machine1, elsewhere: Machine1, store: MemoryBlobStore
) -> None:
    here.sharer.share([here.keep(AB)])
    store.replace(key(A), b"x" * len(A.content))
    with pytest.raises(HydrationFailed) as caught:
        elsewhere.hydrator.hydrate(AB)
    assert A.artifact.file_name in caught.value.message
    assert key(A) in str(caught.value.hint)
    assert not elsewhere.folders.prefix(AB.id).exists()


def test_a_file_that_was_damaged_here_comes_from_the_store_when_its_origin_is_gone(
    here: Machine1, elsewhere: Machine1
) -> None:
    here.sharer.share([here.keep(AB)])
    broken = archive_path(A.artifact, elsewhere.folders.archives)
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"x" * len(A.content))
    assert elsewhere.hydrator.hydrate(AB).lock_id == AB.id
    assert broken.read_bytes() == A.content


def test_a_lock_that_names_a_file_which_the_store_lost_comes_from_the_origin(
    here: Machine1, tmp_path: Path, store: MemoryBlobStore, clock: Clock
) -> None:
    here.sharer.share([here.keep(AB)])
    store.delete([key(A)])
    other = machine(tmp_path / "other", store, clock)
    assert other.hydrator.hydrate(other.locks.get(AB.id) or BC).lock_id == AB.id


def test_a_damaged_lock_in_the_store_is_replaced_with_its_files_looked_after(
    here: Machine1, store: MemoryBlobStore
) -> None:
    here.sharer.share([here.keep(AB)])
    here.index.forget_shared([AB.id], "memory")
    store.replace(LAYOUT.lock(AB.id), b"{}")
    store.delete([key(B)])
    shared = here.sharer.share([AB.id])
    assert shared is not None
    assert (shared.environments, shared.files) == ((AB.id,), 1)
    assert store.get(LAYOUT.lock(AB.id)) == lock_json.dump(AB)
    assert store.get(key(B)) == B.content


# -------------------------------------------------------------------- out of reach


class _Events:
    def __init__(self) -> None:
        self.told: list[dict[str, object]] = []

    def waiting(self, holder: str) -> None: ...

    def fetched(self, event: dict[str, object]) -> None:
        self.told.append(event)


class Unreachable(MemoryBlobStore):
    location = "s3://gone"

    def download(self, files: Mapping[str, Path], on_transfer: object = None) -> set[str]:
        raise StoreError(f"`{next(iter(files))}` cannot be used: refused")


def test_a_store_out_of_reach_is_said_and_files_come_from_their_origin(tmp_path: Path, clock: Clock) -> None:
    one, events = machine(tmp_path, Unreachable(), clock), _Events()
    assert one.hydrator.hydrate(AB, events).lock_id == AB.id
    assert [event for event in events.told if "unreachable" in event] == [
        {"unreachable": f"`{key(A)}` cannot be used: refused"}
    ] or [event for event in events.told if "unreachable" in event] == [
        {"unreachable": f"`{key(B)}` cannot be used: refused"}
    ]


def test_a_store_that_cannot_be_opened_is_asked_once(tmp_path: Path) -> None:
    opened = []

    def fail() -> PackageStore:
        opened.append(1)
        raise StoreError("no client")

    folders = LocalFolders(tmp_path)
    supplier, told = Supplier(fail, folders.archives, lock_timeout=60), list[dict[str, object]]()
    for _ in range(3):
        assert supplier.supply(AB.artifacts, told.append) == 0
    assert (opened, told) == ([1], [{"unreachable": "no client"}])


def test_what_is_here_is_not_asked_for(here: Machine1, tmp_path: Path) -> None:
    here.hydrator.hydrate(AB)

    def never() -> PackageStore:
        raise AssertionError("the store was opened")

    assert Supplier(never, here.folders.archives, lock_timeout=60).supply(AB.artifacts) == 0


def test_two_that_need_the_same_file_bring_it_once(here: Machine1, tmp_path: Path, store: MemoryBlobStore) -> None:
    here.sharer.share([here.keep(AB)])
    asked: list[str] = []
    together = threading.Barrier(2)

    class Slow(PackageStore):
        def bring(self, artifact: LockedArtifact, destination: Path) -> object:  # type: ignore[override]
            asked.append(artifact.file_name)
            return super().bring(artifact, destination)

    archives = tmp_path / "archives"

    def supply() -> int:
        together.wait(timeout=30)
        return Supplier(lambda: Slow(store), archives, lock_timeout=60).supply(AB.artifacts)

    threads = [threading.Thread(target=supply) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(asked) == sorted([A.artifact.file_name, B.artifact.file_name])
    for package in (A, B):
        content = archive_path(package.artifact, archives).read_bytes()
        assert hashlib.sha256(content).hexdigest() == package.artifact.sha256
    assert not list(archives.rglob("*.part"))


# -------------------------------------------------------------------- while a flow runs


def test_environments_are_shared_as_they_become_ready(here: Machine1, store: MemoryBlobStore) -> None:
    sharing = BackgroundSharing(here.sharer, flow="Flow", run_id="7")
    for lock in (AB, BC, AB):
        sharing.add(here.keep(lock))
    sharing.wait()
    assert (sharing.under_way, sharing.troubles) == (0, [])
    assert [one.environments for one in sharing.shared] == [(AB.id,), (BC.id,)]
    assert {info.key for info in store.list("mfenv/v1/runs/")} == {f"mfenv/v1/runs/Flow/7/{one.id}" for one in (AB, BC)}
    sharing.stop()


def test_a_store_that_refuses_is_a_trouble_once_and_no_crash(
    tmp_path: Path, store: MemoryBlobStore, clock: Clock
) -> None:
    one = machine(tmp_path, FailingBlobStore(store, writes=0), clock)
    sharing = BackgroundSharing(one.sharer, flow="Flow", run_id="7")
    sharing.add(one.keep(AB))
    sharing.add(AB.id)
    sharing.wait()
    sharing.stop()
    assert len(sharing.troubles) == 1
    sharing.add(one.keep(BC))
    assert sharing.under_way == 0


def test_a_file_that_a_whole_lock_lost_is_sent_again_by_whoever_missed_it(
    here: Machine1, tmp_path: Path, store: MemoryBlobStore, clock: Clock
) -> None:
    here.sharer.share([here.keep(AB)])
    for damage in (lambda: store.delete([key(A)]), lambda: store.replace(key(A), b"x" * len(A.content))):
        damage()
        other = machine(tmp_path / str(len(list(tmp_path.iterdir()))), store, clock)
        other.hydrator.hydrate(AB)
        shared = other.sharer.share([other.keep(AB)])
        assert shared is not None
        assert shared.files == 1
        assert store.get(key(A)) == A.content


def test_whatever_happens_while_sharing_no_run_waits_for_ever(here: Machine1, store: MemoryBlobStore) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("something\nunforeseen")

    sharing = BackgroundSharing(replace(here.sharer, fetch=fail), flow="Flow", run_id="7")
    for lock in (AB, BC):
        sharing.add(here.keep(lock))
    sharing.wait()
    sharing.stop()
    assert [trouble.message for trouble in sharing.troubles] == ["something unforeseen"]


def test_the_same_resolved_every_night_costs_no_more_requests(tmp_path: Path, clock: Clock) -> None:
    store = Counting()
    first, again = machine(tmp_path / "first", store, clock), machine(tmp_path / "again", store, clock)
    first.sharer.share([first.keep(AB)])
    for day in range(1, 10):
        made = Provenance(
            request=KEY,
            target=baseline(AB.platform),
            resolver="fake",
            user="ana",
            time=datetime(2026, 2, day, tzinfo=timezone.utc),
        )
        again.locks.keep(AB, made)
    store.asked.clear()
    again.sharer.share([AB.id])
    assert len(store.asked) == 3
    assert store.asked[-1].endswith("/20260209T000000000000Z-ana")
