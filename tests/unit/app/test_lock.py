"""From requests to locks, and environments in the making."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from mfenv.app import hydrate
from mfenv.app.hydrate import BackgroundHydration
from mfenv.app.lock import Locker, lock_of
from mfenv.domain.artifact import Artifact, LockedArtifact
from mfenv.domain.channel import Channel
from mfenv.domain.locked import LockedEnvironment, LockedPypiPackage
from mfenv.domain.machine import Machine
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.others import Others
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.provenance import Provenance
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import ResolvedEnvironment, ResolvedPackage
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import HydrationFailed, ResolutionFailed, StoreError
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.service import Hydrator
from mfenv.io.filelock import held
from mfenv.resolve.service import resolve_all
from mfenv.store.backends.memory import MemoryBlobStore
from mfenv.store.layout import Layout
from mfenv.store.locks import LockStore
from mfenv.store.project_index import ProjectIndex
from mfenv.testing.fakes import FailingBlobStore, FakeInstaller, FakePackage, FakeResolver, fake_lock
from mfenv.testing.pypi import FakePypiInstaller, build_nothing

PYTHON, A, B = FakePackage("python", version="3.11.7"), FakePackage("a"), FakePackage("b")


def request(*names: str) -> ResolutionRequest:
    spec = EnvironmentSpec(
        python=PythonConstraint.minor(3, 11),
        conda=tuple(MatchSpec(name=name) for name in names),
        channels=(Channel(location="conda-forge"),),
    )
    return ResolutionRequest(spec=spec, target=baseline(Platform.host()))


@pytest.fixture
def installer(tmp_path: Path) -> FakeInstaller:
    return FakeInstaller(LocalFolders(tmp_path / "mfenv"), [PYTHON, A, B])


@pytest.fixture
def resolver() -> FakeResolver:
    return FakeResolver([PYTHON.resolved, A.resolved, B.resolved])


def locker_of(
    resolver: FakeResolver, installer: FakeInstaller, store: object = None, shared: MemoryBlobStore | None = None
) -> Locker:
    folder = installer._folders.root
    return Locker(
        locks=LockStore(store or MemoryBlobStore(), shared=lambda: shared),  # type: ignore[arg-type]
        index=ProjectIndex(folder / f"{uuid.uuid4().hex}.cnd"),
        resolver=resolver,
        measure=installer.measure,
        builds=lambda _request, _answer: build_nothing,
        has=lambda _artifact: True,
        user="ana",
        now=lambda: datetime(2026, 1, 2, tzinfo=timezone.utc),
    )


def _vague(package: FakePackage, *, size: bool, sha256: bool) -> ResolvedPackage:
    known = package.artifact
    artifact = Artifact(
        file_name=known.file_name,
        url=known.url,
        size=known.size if size else None,
        sha256=known.sha256 if sha256 else None,
    )
    return ResolvedPackage(record=package.record, artifact=artifact)


def test_what_an_index_does_not_tell_is_measured_and_nothing_else(installer: FakeInstaller) -> None:
    measured: list[str] = []

    def measure(artifacts: object) -> object:
        measured.extend(artifact.file_name for artifact in artifacts)  # type: ignore[attr-defined]
        return installer.measure(artifacts)  # type: ignore[arg-type]

    answer = ResolvedEnvironment(
        platform=Platform.host(),
        packages=(
            _vague(PYTHON, size=True, sha256=False),
            _vague(A, size=True, sha256=True),
            _vague(B, size=False, sha256=True),
        ),
        resolver="fake 1.0",
    )
    assert lock_of(answer, measure, build_nothing) == fake_lock(PYTHON, A, B)  # type: ignore[arg-type]
    assert measured == [PYTHON.artifact.file_name, B.artifact.file_name]


def test_a_complete_answer_is_locked_as_it_is() -> None:
    answer = ResolvedEnvironment(platform=Platform.host(), packages=(A.resolved,), resolver="fake 1.0")

    def measure(artifacts: object) -> object:
        raise AssertionError(artifacts)

    assert lock_of(answer, measure, build_nothing) == fake_lock(A)  # type: ignore[arg-type]


def test_a_request_is_solved_once_and_known_afterwards(resolver: FakeResolver, installer: FakeInstaller) -> None:
    locker = locker_of(resolver, installer)
    assert locker.known([request("a")]) == {}
    assert locker.resolve([request("a"), request("a")]) == {request("a"): fake_lock(PYTHON, A)}
    assert locker.known([request("a"), request("b")]) == {request("a"): fake_lock(PYTHON, A)}
    assert resolver.requests == [request("a")]


def test_a_lock_whose_built_wheel_is_gone_is_not_known(resolver: FakeResolver, installer: FakeInstaller) -> None:
    """Nobody serves it: it was built on another machine, or in a cache that was cleared."""
    store = MemoryBlobStore()
    wheel = LockedArtifact(file_name="c-1-py3-none-any.whl", url="file:///gone/c.whl", size=1, sha256="c" * 64)
    built = LockedPypiPackage(name="c", version="1", artifact=wheel, built_from="git+https://host/c@main")
    lock = replace(fake_lock(PYTHON, A), pypi=(built,))
    locker = locker_of(resolver, installer, store)
    locker.locks.keep(lock)
    locker.use({request("a"): lock})
    assert locker.known([request("a")]) == {request("a"): lock}
    gone = replace(locker, has=lambda artifact: artifact != wheel)
    assert gone.known([request("a")]) == {}
    assert replace(gone, is_shared=lambda lock_id: lock_id == lock.id).known([request("a")]) == {request("a"): lock}
    from_an_index = locker_of(resolver, installer)
    served = replace(lock, pypi=(replace(built, built_from=""),))
    from_an_index.locks.keep(served)
    from_an_index.use({request("a"): served})
    assert replace(from_an_index, has=lambda _: False).known([request("a")]) == {request("a"): served}


# -------------------------------------------------------------------- what others got


def team(
    resolver: FakeResolver, installer: FakeInstaller, *, others: str = ":any:"
) -> tuple[Locker, Locker, MemoryBlobStore, list[str]]:
    """A colleague's locker and one's own, which share a store; and what one is told."""
    store, told = MemoryBlobStore(), list[str]()
    theirs = replace(locker_of(resolver, installer, shared=store), user="ada")
    mine = locker_of(FakeResolver(), installer, shared=store)
    mine = replace(mine, others=Others.parse(others, where="here"), tell=told.append)
    return theirs, mine, store, told


def shared(locker: Locker, *asked: ResolutionRequest, together: bool = False) -> list[LockedEnvironment]:
    """Resolve, and share the locks as `mfenv.app.share.Sharer` does."""
    locks = [lock for lock in locker.resolve(asked, together=together).values() if isinstance(lock, LockedEnvironment)]
    for lock in locks:
        locker.locks.share(lock.id)
        locker.locks.share_notes(lock.id)
    return locks


@pytest.mark.parametrize(
    ("others", "is_found"), [(":none:", False), (":username:", False), (":any:", True), ("bo,ada", True), ("bo", False)]
)
def test_what_others_got_is_known_to_those_who_want_it(
    resolver: FakeResolver, installer: FakeInstaller, others: str, is_found: bool
) -> None:
    theirs, mine, _, _ = team(resolver, installer, others=others)
    (lock,) = shared(theirs, request("a"))
    assert mine.known([request("a")]) == ({request("a"): lock} if is_found else {})
    # From then on it is one's own.
    assert replace(mine, others=Others()).known([request("a")]) == ({request("a"): lock} if is_found else {})


def test_ones_own_from_another_machine_is_known_by_the_name_of_the_user(
    resolver: FakeResolver, installer: FakeInstaller
) -> None:
    theirs, mine, _, _ = team(resolver, installer, others=":username:")
    (lock,) = shared(replace(theirs, user="ana"), request("a"))
    assert mine.known([request("a")]) == {request("a"): lock}


def test_a_lock_of_others_that_does_not_fit_is_passed_over_and_it_is_said_why(
    resolver: FakeResolver, installer: FakeInstaller
) -> None:
    theirs, mine, _, told = team(resolver, installer)
    (fits,) = shared(theirs, request("a"))
    # Somebody noted for this request what answers another.
    wrong = fake_lock(PYTHON, B)
    made = Provenance(
        request=request("a").key,
        target=request("a").target,
        resolver="fake",
        user="ada",
        time=datetime(2026, 1, 3, tzinfo=timezone.utc),
    )
    theirs.locks.keep(wrong, made)
    theirs.locks.share(wrong.id)
    theirs.locks.share_notes(wrong.id)
    assert mine.known([request("a")]) == {request("a"): fits}
    assert told == [f"Environment {wrong.id} of ada does not fit: there is no `a`."]


def test_a_damaged_lock_of_others_is_passed_over_and_said(resolver: FakeResolver, installer: FakeInstaller) -> None:
    theirs, mine, store, told = team(resolver, installer)
    (lock,) = shared(theirs, request("a"))
    store.replace(Layout().lock(lock.id), b"{}")
    assert mine.known([request("a")]) == {}
    assert len(told) == 1
    assert told[0].startswith(f"Environment {lock.id} of ada cannot be read: memory/mfenv/v1/locks/")


def test_a_lock_for_another_platform_is_no_answer(resolver: FakeResolver, installer: FakeInstaller) -> None:
    theirs, mine, _, told = team(resolver, installer)
    asked = request("a")
    other = fake_lock(PYTHON, A, platform=next(one for one in Platform if one is not Platform.host()))
    theirs.locks.keep(
        other,
        Provenance(request=asked.key, target=asked.target, resolver="fake", user="ada", time=theirs.now()),
    )
    theirs.locks.share(other.id)
    theirs.locks.share_notes(other.id)
    assert (mine.known([asked]), told) == ({}, [])
    mine.locks.keep(other)
    mine.use({asked: other})
    assert mine.known([asked]) == {}


def test_what_somebody_chose_is_used_while_it_fits_and_else_it_is_said_why(
    resolver: FakeResolver, installer: FakeInstaller
) -> None:
    _, mine, _, told = team(resolver, installer)
    for lock, fits in ((fake_lock(PYTHON, A, B), True), (fake_lock(PYTHON, B), False)):
        mine.locks.keep(lock)
        mine.use({request("a"): lock}, is_chosen=True)
        assert mine.known([request("a")]) == ({request("a"): lock} if fits else {})
    other = fake_lock(PYTHON, B).id
    assert told == [f"Environment {other} was chosen for this request and does not fit it any more: there is no `a`."]


def test_what_locks_do_not_tell_of_the_key_of_the_request_settles(
    resolver: FakeResolver, installer: FakeInstaller
) -> None:
    """Whether what an extra needs is there, for example: by the same key somebody resolved the very same."""
    theirs, mine, _, told = team(resolver, installer)
    wheel = LockedArtifact(file_name="c-1-py3-none-any.whl", url="https://host/c.whl", size=1, sha256="c" * 64)
    lock = replace(fake_lock(PYTHON, A), pypi=(LockedPypiPackage(name="c", version="1", artifact=wheel),))
    asked = request("a")
    wanted = Requirement.from_text("c[extra]>=1", where="here")
    asked = replace(asked, spec=replace(asked.spec, pypi=(wanted,)))
    made = Provenance(request=asked.key, target=asked.target, resolver="fake", user="ada", time=theirs.now())
    theirs.locks.keep(lock, made)
    theirs.locks.share(lock.id)
    theirs.locks.share_notes(lock.id)
    assert (mine.known([asked]), told) == ({asked: lock}, [])


def test_a_store_out_of_reach_is_said_and_then_it_is_solved(resolver: FakeResolver, installer: FakeInstaller) -> None:
    _, mine, store, told = team(resolver, installer)

    def refuse(_: str) -> None:
        raise StoreError("`s3://bucket/x` cannot be used: AccessDenied")

    store.list = refuse  # type: ignore[assignment,method-assign]
    assert mine.known([request("a")]) == {}
    assert told == ["What others resolved cannot be looked at: `s3://bucket/x` cannot be used: AccessDenied."]


def on(platform: Platform, *names: str) -> ResolutionRequest:
    return replace(request(*names), target=baseline(platform))


LINUX, ARM = Platform.LINUX_64, Platform.LINUX_AARCH64


def test_what_is_resolved_together_is_a_group_from_then_on_and_is_used_together(
    resolver: FakeResolver, installer: FakeInstaller
) -> None:
    theirs, mine, _, _ = team(resolver, installer)
    old = shared(theirs, on(LINUX, "a"), on(ARM, "a"), together=True)
    assert theirs.are_together({on(LINUX, "a"): old[0], on(ARM, "a"): old[1]})
    # Later, somebody got another one for one of the two.
    newer = FakePackage("a", version="2.0")
    alone = replace(theirs, resolver=FakeResolver([PYTHON.resolved, newer.resolved]))
    (lock,) = shared(alone, on(LINUX, "a"))
    assert not theirs.are_together({on(LINUX, "a"): lock, on(ARM, "a"): old[1]})
    mine.locks.keep(old[0])
    mine.use({on(LINUX, "a"): old[0]})
    assert mine.known([on(LINUX, "a"), on(ARM, "a")]) == {on(LINUX, "a"): old[0], on(ARM, "a"): old[1]}


def test_one_that_failed_leaves_no_group(resolver: FakeResolver, installer: FakeInstaller) -> None:
    locker = locker_of(resolver, installer)
    outcomes = locker.resolve([on(LINUX, "a"), on(ARM, "x")], together=True)
    (lock,) = [one for one in outcomes.values() if isinstance(one, LockedEnvironment)]
    assert locker.locks.groups(lock.id) == []


def test_errors_are_values_so_that_all_of_them_are_heard(resolver: FakeResolver, installer: FakeInstaller) -> None:
    asked = [request("x"), request("a"), request("y"), request("x")]
    answers = resolve_all(asked, resolver)
    assert list(answers) == [request("x"), request("a"), request("y")]
    assert [type(answer) for answer in answers.values()] == [ResolutionFailed, ResolvedEnvironment, ResolutionFailed]
    assert len(resolver.requests) == 3
    outcomes = locker_of(resolver, installer).resolve(asked)
    assert outcomes[request("a")] == fake_lock(PYTHON, A)
    assert isinstance(outcomes[request("y")], ResolutionFailed)


def test_different_requests_are_solved_at_the_same_time(installer: FakeInstaller) -> None:
    together = threading.Barrier(2)
    resolver = FakeResolver([PYTHON.resolved, A.resolved, B.resolved], delay=lambda: together.wait(timeout=30) and None)
    assert len(resolve_all([request("a"), request("b")], resolver)) == 2


def test_no_requests_have_no_answers(resolver: FakeResolver) -> None:
    assert resolve_all([], resolver) == {}


def test_a_lock_that_cannot_be_kept_is_an_error_of_its_request(
    resolver: FakeResolver, installer: FakeInstaller
) -> None:
    locker = locker_of(resolver, installer, FailingBlobStore(MemoryBlobStore(), writes=0))
    assert isinstance(locker.resolve([request("a")])[request("a")], StoreError)


class _Silent:
    def waiting(self, holder: str) -> None: ...

    def fetched(self, event: dict[str, object]) -> None: ...


@pytest.fixture
def hydrator(installer: FakeInstaller, tmp_path: Path) -> Hydrator:
    return Hydrator(
        LocalFolders(tmp_path / "mfenv"),
        installer,
        wheels=FakePypiInstaller(),
        machine=Machine.here(),
        lock_timeout=60,
        link_scripts=True,
    )


def test_environments_are_made_in_the_given_order_each_once(
    hydrator: Hydrator, installer: FakeInstaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of two that are made at the same time, either may be done first.
    monkeypatch.setattr(hydrate, "_AT_ONCE", 1)
    locks = [fake_lock(B), fake_lock(A), fake_lock(A, B), fake_lock(B)]
    background = BackgroundHydration(hydrator, locks, _Silent())
    assert background.missing == locks[:3]
    assert installer.linked == []
    background.start()
    made = [background.prefix(lock.id).lock_id for lock in locks]
    background.stop()
    assert made == [lock.id for lock in locks]
    assert installer.linked == locks[:3]


def test_what_is_ready_is_not_made_and_can_be_had_at_once(hydrator: Hydrator, installer: FakeInstaller) -> None:
    prefix = hydrator.hydrate(fake_lock(A))
    background = BackgroundHydration(hydrator, [fake_lock(A)], _Silent())
    background.start()
    assert (background.missing, background.prefix(prefix.lock_id)) == ([], prefix)
    background.stop()
    assert len(installer.linked) == 1


def test_the_error_of_one_reaches_who_waits_for_it_and_nobody_else(hydrator: Hydrator) -> None:
    broken, whole = fake_lock(FakePackage("unknown")), fake_lock(A)
    background = BackgroundHydration(hydrator, [broken, whole], _Silent())
    background.start()
    assert background.prefix(whole.id).lock_id == whole.id
    for _ in range(2):
        with pytest.raises(HydrationFailed, match="cannot be downloaded"):
            background.prefix(broken.id)
    background.stop()


def test_nothing_new_is_begun_after_a_stop(hydrator: Hydrator, installer: FakeInstaller) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def wait(staging: Path, prefix: Path) -> None:
        begun.release()
        go_on.wait(timeout=30)

    installer.before_link = wait
    locks = [fake_lock(A), fake_lock(B), fake_lock(A, B)]
    background = BackgroundHydration(hydrator, locks, _Silent())
    background.start()
    assert begun.acquire(timeout=30)
    assert begun.acquire(timeout=30)
    background.stop()
    go_on.set()
    assert background.prefix(locks[0].id).lock_id == locks[0].id
    assert background.prefix(locks[1].id).lock_id == locks[1].id
    assert hydrator.ready(locks[2]) is None


class _Waits(_Silent):
    def __init__(self) -> None:
        self.begun = threading.Event()

    def waiting(self, holder: str) -> None:
        self.begun.set()


def test_who_stops_waits_for_no_other_builder(hydrator: Hydrator, tmp_path: Path) -> None:
    """Another process may take an hour, and Python waits for threads at its end."""
    lock, events = fake_lock(A), _Waits()
    background = BackgroundHydration(hydrator, [lock], events)
    with held(LocalFolders(tmp_path / "mfenv").prefix_lock(lock.id), timeout=0):
        background.start()
        assert events.begun.wait(timeout=30)
        background.stop()
        with pytest.raises(HydrationFailed, match=r"was given up$"):
            background.prefix(lock.id)
    assert hydrator.ready(lock) is None
