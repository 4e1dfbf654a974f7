"""Two hydrations, in any order of their steps, each of which can fail: what they leave is an environment, or none.

The model: an environment is absent or whole. It is looked at before every step of either, as a third process would
look; and in the end one more hydration, which nothing hinders, has the environment, and nothing else lies about.
"""

from __future__ import annotations

import errno
import itertools
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.machine import Machine
from mfenv.errors import EnvironmentsError
from mfenv.hydrate.clearing import LocalClearing
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.plan import HydrationPlan, plan
from mfenv.hydrate.prefix import MARKER, Prefix
from mfenv.hydrate.service import Hydrator
from mfenv.io import filelock, files
from mfenv.testing.fakes import FakeInstaller, FakePackage, fake_lock
from mfenv.testing.pypi import FakePypiInstaller
from mfenv.testing.stepped import Died, Fault, Work, interleave

A, B = FakePackage("a"), FakePackage("b", {"bin/b": "in {prefix}\n"})
LOCK, OTHER = fake_lock(A, B), fake_lock(A)
PACKAGES = {LOCK.id: (A, B), OTHER.id: (A,)}
NUMBERS = [errno.ENOSPC, errno.EIO, errno.EROFS]


@pytest.fixture(autouse=True)
def time_passes_for_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits looks again at its next turn, and time passes by nothing else."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    clock = SimpleNamespace(sleep=sleep, monotonic=lambda: now[0])
    monkeypatch.setattr(filelock, "time", clock)
    monkeypatch.setattr(files, "time", clock)


class Machines:
    """A folder for environments, and processes that use it."""

    def __init__(self, root: Path) -> None:
        self.folders = LocalFolders(root / "mfenv")

    def hydration(self, lock: LockedEnvironment, fault: Fault | None = None) -> Work:
        # Each process has an installer, and a hydrator, of its own.
        hydrator = Hydrator(
            self.folders,
            FakeInstaller(self.folders, [A, B]),
            wheels=FakePypiInstaller(),
            machine=Machine.here(),
            lock_timeout=60,
            link_scripts=True,
        )
        return Work(lambda: hydrator.hydrate(lock), fault)

    def clearing(self, fault: Fault | None = None) -> Work:
        """Somebody for whom everything is old enough to go, be it a moment old."""
        cutoff = datetime.now(timezone.utc) + timedelta(days=1)
        clearing = LocalClearing(
            folders=self.folders, needed={}, needed_files=frozenset(), in_use=lambda _folder: False
        )
        return Work(lambda: clearing.clear(clearing.plan(cutoff), cutoff), fault)

    def content(self, lock: LockedEnvironment) -> dict[str, str]:
        prefix = self.folders.prefix(lock.id)
        texts = (package.files for package in PACKAGES[lock.id])
        return {path: text.format(prefix=prefix) for file in texts for path, text in file.items()}

    def is_absent_or_whole(self) -> None:
        for lock in (LOCK, OTHER):
            prefix = self.folders.prefix(lock.id)
            if (prefix / MARKER).exists():
                assert found_in(prefix) - {".mfenv-making"} == {*self.content(lock), MARKER}
                for path, text in self.content(lock).items():
                    assert (prefix / path).read_text() == text

    def is_healed_by_the_next(self) -> None:
        for lock in (LOCK, OTHER):
            work = self.hydration(lock)
            interleave([work], lambda _: 0)
            assert isinstance(work.result, Prefix), work.error
            assert plan(lock, self.folders) == HydrationPlan()
        self.is_absent_or_whole()
        assert {path.name for path in (self.folders.root / "envs").iterdir()} == {LOCK.id, OTHER.id}
        assert list((self.folders.root / "staging").glob("*")) == []


def found_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def ended_well_or_as_told(work: Work) -> None:
    """Who meets no fault ends well; a fault is one of our errors; the dead say nothing."""
    if work.error is None:
        return
    assert work.fault is not None, work.error
    assert isinstance(work.error, EnvironmentsError if work.fault.number else Died), (work.error, work.steps[-3:])


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> int:
    work = Machines(tmp_path_factory.mktemp("counted")).hydration(LOCK)
    interleave([work], lambda _: 0)
    return len(work.steps)


def every_fault(count: int) -> Iterator[Fault]:
    kinds = [(None, True), *itertools.product(NUMBERS, (False, True))]
    return (Fault(at=at, number=number, lasts=lasts) for at in range(count) for number, lasts in kinds)


def test_a_hydration_that_fails_or_dies_at_any_step_leaves_nothing_wrong(steps: int, tmp_path: Path) -> None:
    assert steps > 20
    for number, fault in enumerate(every_fault(steps)):
        machines = Machines(tmp_path / str(number))
        work = machines.hydration(LOCK, fault)
        interleave([work], lambda _: 0, machines.is_absent_or_whole)
        ended_well_or_as_told(work)
        machines.is_healed_by_the_next()


def test_one_that_takes_over_from_a_dead_one_may_itself_fail_anywhere(steps: int, tmp_path: Path) -> None:
    """What the second finds is what the first left at its worst: staged, renamed, linked, not marked."""
    firsts = range(steps // 2, steps, 3)
    for number, (first, second) in enumerate(itertools.product(firsts, range(0, steps, 3))):
        machines = Machines(tmp_path / str(number))
        for at in (first, second):
            work = machines.hydration(LOCK, Fault(at=at))
            interleave([work], lambda _: 0, machines.is_absent_or_whole)
            ended_well_or_as_told(work)
        machines.is_healed_by_the_next()


FAULTS = st.none() | st.builds(
    Fault, at=st.integers(0, 60), number=st.none() | st.sampled_from(NUMBERS), lasts=st.booleans()
)


def chosen_by(turns: list[int]) -> Callable[[int], int]:
    """Take turns as listed; then all in order, so that each comes to its end."""
    left = iter(turns)
    ever = itertools.count()
    return lambda living: next(left, next(ever)) % living


@settings(max_examples=150)
@given(
    locks=st.tuples(st.sampled_from([LOCK, OTHER]), st.sampled_from([LOCK, OTHER])),
    faults=st.tuples(FAULTS, FAULTS),
    turns=st.lists(st.integers(0, 1), max_size=150),
)
def test_any_interleaving_of_two_hydrations_ends_ready_or_absent(
    locks: tuple[LockedEnvironment, LockedEnvironment], faults: tuple[Fault | None, Fault | None], turns: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        machines = Machines(Path(name))
        works = [machines.hydration(lock, fault) for lock, fault in zip(locks, faults, strict=True)]
        interleave(works, chosen_by(turns), machines.is_absent_or_whole)
        for work in works:
            ended_well_or_as_told(work)
        machines.is_healed_by_the_next()


@settings(max_examples=150)
@given(faults=st.tuples(FAULTS, FAULTS), turns=st.lists(st.integers(0, 1), max_size=150), is_there=st.booleans())
def test_clearing_away_between_any_two_steps_of_a_hydration_breaks_neither(
    faults: tuple[Fault | None, Fault | None], turns: list[int], is_there: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        machines = Machines(Path(name))
        if is_there:
            interleave([machines.hydration(OTHER)], lambda _: 0)
        works = [machines.hydration(LOCK, faults[0]), machines.clearing(faults[1])]
        interleave(works, chosen_by(turns), machines.is_absent_or_whole)
        for work in works:
            ended_well_or_as_told(work)
        machines.is_healed_by_the_next()


def test_a_whole_clearing_between_two_steps_of_a_hydration_is_not_noticed(steps: int, tmp_path: Path) -> None:
    for before in range(steps):
        machines = Machines(tmp_path / str(before))
        works = [machines.hydration(LOCK), machines.clearing()]
        turns = iter([0] * before)
        interleave(works, lambda living, turns=turns: next(turns, living - 1), machines.is_absent_or_whole)
        assert [work.error for work in works] == [None, None]
        machines.is_healed_by_the_next()
