"""What nobody needs goes from a store; what somebody needs never does, whoever shares at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfenv.app.clear_store import StoreClearing
from mfenv.domain.alias import Alias
from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.group import LockGroup
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.provenance import Provenance
from mfenv.domain.reachability import Clearing
from mfenv.domain.reference import ByName
from mfenv.errors import InvalidSpec, LockError, StoreError
from mfenv.store.aliases import AliasStore
from mfenv.store.backends.memory import MemoryBlobStore
from mfenv.store.layout import Layout
from mfenv.store.locks import LockStore
from mfenv.store.packages import PackageStore
from mfenv.testing.fakes import FailingBlobStore, FakePackage, fake_lock

LAYOUT = Layout()
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
MONTH = timedelta(days=30)
PACKAGES = [FakePackage(name) for name in "abcdef"]
CONTENTS = {package.artifact: package.content for package in PACKAGES}
KEY = RequestKey("ab" * 20)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@dataclass
class World:
    """A store, and everything that may need what is in it."""

    clock: Clock = field(default_factory=Clock)
    defaults: list[LockId] = field(default_factory=list)
    runs: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.store = MemoryBlobStore(self.clock)
        self.locks = LockStore(MemoryBlobStore(), shared=lambda: self.store)
        self.aliases = AliasStore(self.store)
        self.packages = PackageStore(self.store)

    def share(self, lock: LockedEnvironment) -> None:
        for _ in self.sharing(lock):
            pass

    def sharing(self, lock: LockedEnvironment, run: str = "") -> Iterator[None]:
        """Share in the steps of `mfenv.app.share.Sharer`, for a run if one is given, with a stop behind each."""
        made = Provenance(request=KEY, target=baseline(lock.platform), resolver="fake", user="ana", time=self.clock.now)
        self.locks.keep(lock, made)
        if run:
            self.mark(run, lock)
            yield
            if self.locks.is_shared(lock.id):
                self.locks.share_notes(lock.id)
                return
        present = self.packages.present(lock.artifacts, self.clock.now)
        yield
        for artifact in set(lock.artifacts) - present.there:
            self.store.replace(self.packages.key(artifact), CONTENTS[artifact])
            yield
        self.packages.touch(present.old)
        yield
        for artifact in present.old - self.packages.present(present.old, self.clock.now).there:
            self.store.replace(self.packages.key(artifact), CONTENTS[artifact])
            yield
        self.locks.share(lock.id)
        yield
        self.locks.share_notes(lock.id)

    def name(self, text: str, lock: LockedEnvironment) -> None:
        self.aliases.point(Alias.of(ByName(name=text), {lock.platform: lock.id}, user="ana", time=self.clock.now))

    def mark(self, run: str, lock: LockedEnvironment) -> None:
        self.store.put(LAYOUT.run("Flow", run, lock.id), b"")

    def clearing(self, store: object = None, *, own: bool = False, batch: int = 2) -> StoreClearing:
        """Clear from another machine, or from that which shared all that is there."""
        return StoreClearing(
            store=store or self.store,  # type: ignore[arg-type]
            layout=LAYOUT,
            locks=self.locks if own else LockStore(MemoryBlobStore(), shared=lambda: self.store),
            batch=batch,
            aliases=self.aliases.all_or_error,
            project=lambda: dict.fromkeys(self.defaults, "default"),
            knows_run=lambda flow, run: (flow, run) in self.runs,
            now=self.clock,
        )

    def clear(self, **options: bool) -> Clearing:
        planned = self.clearing().plan(MONTH, **options)
        self.clearing().clear(planned, MONTH, **options)
        return planned

    def is_whole(self, lock: LockedEnvironment) -> bool:
        there = self.packages.present(lock.artifacts, self.clock.now).there
        return self.locks.is_shared(lock.id) and set(lock.artifacts) <= there

    def keys(self) -> set[str]:
        return {info.key for info in self.store.list("mfenv/v1/")} - {"mfenv/v1/clock"}


@pytest.fixture
def world() -> World:
    return World()


def lock_of(*numbers: int) -> LockedEnvironment:
    return fake_lock(*(PACKAGES[number] for number in numbers))


def test_what_nobody_needs_goes_with_all_that_leads_to_it(world: World) -> None:
    world.share(lock_of(0, 1))
    world.mark("gone", lock_of(0, 1))
    world.clock.now += 2 * MONTH
    planned = world.clear()
    assert (len(planned.locks), len(planned.packages), len(planned.notes)) == (1, 2, 3)
    assert planned.size > 100
    assert world.keys() == set()


def test_looking_removes_nothing(world: World) -> None:
    world.share(lock_of(0))
    world.clock.now += 2 * MONTH
    before = world.keys()
    assert world.clearing().plan(MONTH).locks
    assert world.keys() == before
    assert "mfenv/v1/clock" not in {info.key for info in world.store.list("")}


@pytest.mark.parametrize(
    ("reason", "need"),
    [
        ("name", lambda world, lock: world.name("team/env", lock)),
        ("default", lambda world, lock: world.defaults.append(lock.id)),
        ("run", lambda world, lock: (world.mark("7", lock), world.runs.add(("Flow", "7")))),
        ("recent", lambda world, lock: setattr(world.clock, "now", START)),
        ("recent", lambda world, lock: (setattr(world.clock, "now", START + MONTH), world.locks.share_notes(lock.id))),
    ],
)
def test_what_is_needed_stays_for_the_reason_that_is_told(world: World, reason: str, need: object) -> None:
    lock, other = lock_of(0, 1), lock_of(1, 2)
    world.share(lock)
    world.share(other)
    world.store.delete(info.key for info in list(world.store.list("mfenv/v1/requests/")))
    if reason != "recent":
        world.clock.now += 2 * MONTH
    need(world, lock)  # type: ignore[operator]
    if reason != "recent":
        assert dict(world.clear().kept) == {lock.id: reason}
        assert not world.is_whole(other)
    else:
        world.clock.now = max(world.clock.now, START + timedelta(days=29))
        assert world.clear().kept[lock.id] == reason
    assert world.is_whole(lock)


def test_a_run_that_is_young_keeps_what_it_used_though_nobody_knows_it_yet(world: World) -> None:
    world.share(lock_of(0))
    world.clock.now += 2 * MONTH
    world.mark("8", lock_of(0))
    world.clear()
    assert world.is_whole(lock_of(0))


def test_what_was_resolved_together_stays_together(world: World) -> None:
    lock = lock_of(0)
    arm = fake_lock(PACKAGES[1], platform=Platform.OSX_ARM64)
    for one in (lock, arm):
        world.locks.keep(one)
    world.locks.keep_group(LockGroup.of({lock.platform: lock.id, arm.platform: arm.id}))
    for one in (lock, arm):
        world.share(one)
    world.clock.now += 2 * MONTH
    world.name("team/env", arm)
    assert dict(world.clear().kept) == {arm.id: "name", lock.id: "group"}
    assert world.is_whole(lock)


def test_packages_that_no_lock_names_yet_stay_for_as_long_as_somebody_may_be_sharing_them(world: World) -> None:
    for _ in islice(world.sharing(lock_of(0, 1)), 3):
        pass
    world.clock.now += timedelta(days=1)
    assert world.clear().packages == ()
    world.clock.now += 2 * MONTH
    assert len(world.clear().packages) == 2


def test_a_lock_that_cannot_be_read_keeps_every_package_until_it_is_given_up(world: World) -> None:
    world.share(lock_of(0, 1))
    world.share(lock_of(2))
    world.store.replace(LAYOUT.lock(lock_of(0, 1).id), b"{}")
    world.clock.now += 2 * MONTH
    planned = world.clear()
    assert planned.damaged == (LAYOUT.lock(lock_of(0, 1).id),)
    assert (len(planned.locks), planned.packages) == (1, ())
    assert len(list(world.store.list(LAYOUT.packages))) == 3
    assert world.clear(with_damaged=True).damaged == ()
    assert world.keys() == set()


def test_a_lock_that_cannot_be_read_is_given_up_whatever_names_it(world: World) -> None:
    """A name that cannot be moved would keep it, and with it every package, for ever."""
    world.share(lock_of(0))
    world.share(lock_of(1))
    world.name("team/env", lock_of(0))
    world.name("team/other", lock_of(1))
    world.clock.now += 2 * MONTH
    world.store.replace(LAYOUT.lock(lock_of(0).id), b"{}")
    # Somebody may be healing it.
    assert world.clear(with_damaged=True).damaged == (LAYOUT.lock(lock_of(0).id),)
    world.clock.now += 2 * MONTH
    assert world.clear().locks == ()
    assert len(world.clear(with_damaged=True).locks) == 1
    assert world.is_whole(lock_of(1))
    assert len(list(world.store.list(LAYOUT.packages))) == 1


def test_a_damaged_lock_that_this_project_has_whole_keeps_its_packages_alone(world: World) -> None:
    world.share(lock_of(0))
    world.share(lock_of(1))
    world.name("team/env", lock_of(0))
    world.store.replace(LAYOUT.lock(lock_of(0).id), b"{}")
    world.clock.now += 2 * MONTH
    planned = world.clearing(own=True).plan(MONTH)
    assert (planned.damaged, dict(planned.kept)) == ((), {lock_of(0).id: "name"})
    world.clearing(own=True).clear(planned, MONTH)
    assert [info.key for info in world.store.list(LAYOUT.packages)] == [world.packages.key(PACKAGES[0].artifact)]


def test_what_leads_to_locks_that_are_not_there_goes_unless_a_run_is_known(world: World) -> None:
    world.share(lock_of(0))
    world.store.delete([LAYOUT.lock(lock_of(0).id)])
    world.mark("gone", lock_of(1))
    world.mark("known", lock_of(2))
    world.runs.add(("Flow", "known"))
    assert world.clear().notes == ()
    world.clock.now += 2 * MONTH
    assert len(world.clear().notes) == 3
    assert world.keys() == {LAYOUT.run("Flow", "known", lock_of(2).id)}


def test_what_went_is_told_batch_by_batch_and_before_an_error(world: World) -> None:
    world.share(lock_of(0, 1))
    world.clock.now += 2 * MONTH
    planned = world.clearing().plan(MONTH)
    told: list[tuple[int, int]] = []
    failing = world.clearing(FailingBlobStore(world.store, writes=1 + 4))
    with pytest.raises(StoreError) as error:
        failing.clear(planned, MONTH, on_batch=lambda count, size: told.append((count, size)))
    assert [count for count, _ in told] == [2, 3]
    key = planned.packages[1].key
    assert error.value.message == (
        f"`{key}` cannot be written: this store fails on purpose (3 objects of {told[-1][1]} bytes were removed before)"
    )
    with pytest.raises(StoreError, match=r"\(nothing was removed\)"):
        world.clearing(FailingBlobStore(world.store, writes=1)).clear(world.clearing().plan(MONTH), MONTH)


def test_a_name_that_cannot_be_read_ends_it_all(world: World) -> None:
    world.share(lock_of(0))
    world.name("team/env", lock_of(0))
    world.clock.now += 2 * MONTH
    for info in list(world.store.list("mfenv/v1/")):
        if "team/env" in info.key:
            world.store.replace(info.key, b"{}")
    with pytest.raises(LockError, match="aliases/team/env/latest"):
        world.clear()
    assert world.store.get(LAYOUT.lock(lock_of(0).id))


@pytest.mark.parametrize("days", [0, 0.5])
def test_less_than_a_day_is_refused(world: World, days: float) -> None:
    with pytest.raises(InvalidSpec, match="younger than a day"):
        world.clearing().plan(timedelta(days=days))


def test_the_clock_of_the_store_counts_and_not_this_machines(world: World) -> None:
    """One that is a year ahead takes all for old."""
    world.share(lock_of(0))
    clearing = world.clearing()
    ahead = StoreClearing(**{**vars(clearing), "now": lambda: START + timedelta(days=365)})
    planned = ahead.plan(MONTH)
    assert planned.locks
    assert ahead.clear(planned, MONTH) == (0, 0)
    assert world.is_whole(lock_of(0))


@pytest.mark.parametrize("change", ["named", "shared again", "touched"])
def test_what_is_needed_again_between_looking_and_removing_stays(world: World, change: str) -> None:
    world.share(lock_of(0, 1))
    world.clock.now += 2 * MONTH
    planned = world.clearing().plan(MONTH)
    match change:
        case "named":
            world.name("team/env", lock_of(0, 1))
        case "shared again":
            world.share(lock_of(0, 1))
        case _:
            world.packages.touch(lock_of(0, 1).artifacts)
    world.clearing().clear(planned, MONTH)
    if change == "touched":
        assert len(list(world.store.list(LAYOUT.packages))) == 2
    else:
        assert world.is_whole(lock_of(0, 1))


def test_packages_that_are_touched_while_others_go_stay(world: World) -> None:
    """Somebody is about to refer to them."""
    world.share(lock_of(0, 1))
    world.clock.now += 2 * MONTH
    clearing = world.clearing(batch=1)
    planned = clearing.plan(MONTH)
    clearing.clear(planned, MONTH, on_batch=lambda *_: world.packages.touch(lock_of(0, 1).artifacts))
    assert len(list(world.store.list(LAYOUT.packages))) == 2


@pytest.mark.parametrize("deletes", range(9))
def test_whoever_is_stopped_in_the_middle_leaves_no_lock_without_its_packages(world: World, deletes: int) -> None:
    world.share(lock_of(0, 1))
    world.share(lock_of(1, 2))
    world.share(lock_of(2, 3))
    world.name("team/env", lock_of(2, 3))
    world.clock.now += 2 * MONTH
    # One of its writes asks for the time.
    failing = world.clearing(FailingBlobStore(world.store, writes=1 + deletes))
    planned = failing.plan(MONTH)
    if deletes < len(planned.objects):
        with pytest.raises(StoreError):
            failing.clear(planned, MONTH)
    for lock in (lock_of(0, 1), lock_of(1, 2)):
        assert world.is_whole(lock) or not world.locks.is_shared(lock.id)
    assert world.is_whole(lock_of(2, 3))
    world.clear()
    assert world.is_whole(lock_of(2, 3))
    assert len(list(world.store.list(LAYOUT.locks))) == 1


LOCKS = st.sets(st.integers(0, len(PACKAGES) - 1), min_size=1, max_size=4).map(
    lambda numbers: lock_of(*sorted(numbers))
)


@settings(deadline=None)
@given(
    shared=st.lists(st.tuples(LOCKS, st.integers(0, 90)), max_size=6),
    named=st.sets(st.integers(0, 5)),
    ran=st.sets(st.integers(0, 5)),
    used=st.sets(st.integers(0, 5)),
)
def test_nothing_that_is_needed_ever_goes_and_once_is_enough(
    shared: list[tuple[LockedEnvironment, int]], named: set[int], ran: set[int], used: set[int]
) -> None:
    world = World()
    for lock, age in sorted(shared, key=lambda pair: -pair[1]):
        world.clock.now = START + timedelta(days=90 - age)
        world.share(lock)
    world.clock.now = START + timedelta(days=60)
    needed = set[LockId]()
    by_id = {lock.id: lock for lock, _ in shared}
    for number, (lock, _) in enumerate(shared):
        if number in named:
            world.name(f"env{number}", lock)
        if number in ran:
            world.mark(str(number), lock)
            world.runs.add(("Flow", str(number)))
        if number in used:
            world.defaults.append(lock.id)
        if number in named | ran | used:
            needed.add(lock.id)
    world.clock.now = START + timedelta(days=90)
    needed |= {lock.id for lock, age in shared if age <= 30}
    world.clear()
    assert all(world.is_whole(by_id[lock_id]) for lock_id in needed)
    kept = world.keys()
    world.clear()
    assert world.keys() == kept
    # And what is left is whole.
    left = {LockId(key.rpartition("/")[2].removesuffix(".json")) for key in kept if key.startswith(LAYOUT.locks)}
    assert all(world.is_whole(by_id[lock_id]) for lock_id in left)


@settings(deadline=None)
@given(
    before=st.lists(LOCKS, max_size=3),
    coming=LOCKS,
    steps=st.lists(st.integers(0, 3), min_size=2, max_size=20),
    days=st.integers(1, 80),
)
def test_what_is_shared_while_somebody_clears_away_is_whole_afterwards(
    before: Iterable[LockedEnvironment], coming: LockedEnvironment, steps: list[int], days: int
) -> None:
    """Between any two removals of the one, the other takes any number of steps."""
    world = World()
    for lock in before:
        world.share(lock)
    world.clock.now += timedelta(days=days)
    sharing, left = world.sharing(coming, run="now"), iter(steps)

    def share_a_little(_count: int = 0, _size: int = 0) -> None:
        for _ in islice(sharing, next(left, 0)):
            pass

    share_a_little()
    clearing = world.clearing(batch=1)
    planned = clearing.plan(MONTH)
    share_a_little()
    clearing.clear(planned, MONTH, on_batch=share_a_little)
    for _ in sharing:
        pass
    assert world.is_whole(coming)


def test_what_locks_of_another_folder_need_stays(world: World) -> None:
    """Two teams with one store, of which one has METAFLOW_CONDA_ENVS_DIRNAME set."""
    lock = lock_of(0, 1)
    world.share(lock)
    key = Layout(environments_folder="team").lock(lock.id)
    world.store.put(key, world.store.get(LAYOUT.lock(lock.id)) or b"")
    world.clock.now += 2 * MONTH
    world.clear()
    assert len(list(world.store.list(LAYOUT.packages))) == 2
    assert world.store.get(LAYOUT.lock(lock.id)) is None
    world.store.replace(key, b"{}")
    world.clear()
    assert len(list(world.store.list(LAYOUT.packages))) == 2
    world.store.delete([key])
    world.clear()
    assert list(world.store.list(LAYOUT.packages)) == []
