"""The metadata file of a project: nothing is lost, whoever writes at the same time, and nothing costs more with age."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.alias import Alias
from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.reference import ByName
from mfenv.errors import EnvironmentsError, LockError, StoreError
from mfenv.io.filelock import held
from mfenv.store import project_index
from mfenv.store.project_index import Default, ProjectIndex

TARGET = baseline(Platform.LINUX_64)
TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
LATER = TIME + timedelta(hours=1)


def request(number: int) -> RequestKey:
    return RequestKey(f"{number:040x}")


def lock(number: int) -> LockId:
    return LockId(f"{number:040x}")


def default(number: int, lock_number: int = 1, *, time: datetime = TIME, is_chosen: bool = False) -> Default:
    return Default(
        request=request(number),
        target=TARGET.key,
        platform=Platform.LINUX_64,
        lock=lock(lock_number),
        user="ana",
        time=time,
        is_chosen=is_chosen,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conda_v2.cnd"


@pytest.fixture
def index(path: Path) -> ProjectIndex:
    return ProjectIndex(path)


def test_a_project_without_a_file_knows_nothing_and_looking_makes_none(index: ProjectIndex, tmp_path: Path) -> None:
    assert index.default(request(1), TARGET) is None
    assert not index.is_shared(lock(1), "s3://bucket")
    assert index.alias(ByName(name="x")) is None
    assert (list(index.defaults()), list(index.aliases())) == ([], [])
    index.set_defaults([])
    index.set_shared([], "s3://bucket")
    assert list(tmp_path.iterdir()) == []


def test_a_default_is_found_again_by_every_process(index: ProjectIndex, path: Path) -> None:
    both = [default(1, 11), replace(default(2, 12), group="ab" * 20, is_chosen=True)]
    index.set_defaults(both)
    assert [ProjectIndex(path).default(request(number), TARGET) for number in (1, 2, 3)] == [*both, None]
    assert index.default(request(1), baseline(Platform.LINUX_64, {"__cuda": "12"})) is None
    assert list(index.defaults()) == both


def test_the_file_is_what_the_documentation_says(index: ProjectIndex, path: Path) -> None:
    index.set_defaults([default(2, 11)])
    index.set_shared([lock(11)], "s3://bucket/a b")
    index.set_alias(Alias.of(ByName(name="team/env"), {Platform.LINUX_64: lock(11)}, user="ana", time=TIME))
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(header) == {"schema": "mfenv/project/1", "size": sum(len(line) + 1 for line in lines)}
    assert lines == sorted(lines)
    alias, chosen, shared = map(json.loads, lines)
    assert (alias[0], alias[2]["locks"]) == ("a/team/env:latest", {"linux-64": lock(11)})
    assert chosen == [
        f"d/{request(2)}/{TARGET.key}",
        "20260102T030405000000Z",
        {"lock": lock(11), "platform": "linux-64", "group": "", "user": "ana"},
    ]
    assert (shared[0].split("/")[2], shared[2]) == (lock(11), {"store": "s3://bucket/a b"})


def test_the_last_to_speak_has_the_last_word_whatever_the_clocks_say(index: ProjectIndex) -> None:
    index.set_defaults([default(1, 11, time=LATER)])
    index.set_defaults([default(1, 12, time=TIME)])
    found = index.default(request(1), TARGET)
    assert found is not None
    assert (found.lock, found.time) == (lock(12), LATER + timedelta(microseconds=1))


def test_saying_the_same_again_writes_nothing(index: ProjectIndex, path: Path) -> None:
    index.set_defaults([default(1)])
    index.set_shared([lock(1)], "s3://bucket")
    alias = Alias.of(ByName(name="a"), {Platform.LINUX_64: lock(1)}, user="ana", time=TIME)
    index.set_alias(alias)
    before = path.stat().st_mtime_ns, path.stat().st_ino
    index.set_defaults([default(1, time=LATER)])
    index.set_shared([lock(1)], "s3://bucket")
    index.forget_shared([lock(1)], "s3://other")
    index.set_alias(replace(alias, user="bo", time=LATER))
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_what_a_store_had_long_ago_it_need_not_have_today(index: ProjectIndex) -> None:
    index.set_shared([lock(1)], "s3://bucket", TIME)
    assert index.is_shared(lock(1), "s3://bucket", since=TIME)
    later = TIME + timedelta(days=1)
    assert not index.is_shared(lock(1), "s3://bucket", since=later)
    index.set_shared([lock(1)], "s3://bucket", later)
    assert index.is_shared(lock(1), "s3://bucket", since=later)


def test_what_one_store_has_another_need_not_have(index: ProjectIndex) -> None:
    index.set_shared([lock(1), lock(2)], "s3://one")
    index.forget_shared([lock(2)], "s3://one")
    known = {(n, place) for n in (1, 2) for place in ("s3://one", "s3://two") if index.is_shared(lock(n), place)}
    assert known == {(1, "s3://one")}
    index.set_shared([lock(2)], "s3://one")
    assert index.is_shared(lock(2), "s3://one")


def test_what_a_wrong_clock_noted_in_times_to_come_is_not_believed(index: ProjectIndex) -> None:
    now = datetime.now(timezone.utc)
    index.set_shared([lock(1)], "s3://one", now + timedelta(days=365))
    index.set_shared([lock(2)], "s3://one", now)
    since = now - timedelta(hours=12)
    assert [index.is_shared(lock(number), "s3://one", since=since) for number in (1, 2)] == [False, True]


def test_what_a_wrong_clock_noted_in_times_to_come_is_put_right_by_the_next_note(
    index: ProjectIndex, path: Path
) -> None:
    now = datetime.now(timezone.utc)
    index.set_shared([lock(1)], "s3://one", now + timedelta(days=365))
    index.set_shared([lock(1)], "s3://one", now)
    assert index.is_shared(lock(1), "s3://one", since=now - timedelta(hours=12))
    before = path.stat().st_mtime_ns, path.stat().st_ino
    index.set_shared([lock(1)], "s3://one", now)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_names_of_this_project_are_kept(index: ProjectIndex, path: Path) -> None:
    first = Alias.of(ByName(name="a"), {Platform.LINUX_64: lock(1)}, user="ana", time=TIME)
    second = Alias.of(
        ByName(name="a", tag="v1.2"),
        {Platform.OSX_64: lock(2)},
        user="bo",
        time=TIME,
        requests={Platform.OSX_64: request(1)},
    )
    index.set_alias(first)
    index.set_alias(second)
    assert (ProjectIndex(path).alias(first.ref), index.alias(second.ref)) == (first, second)
    assert sorted(index.aliases(), key=str) == sorted([first, second], key=str)
    index.forget_alias(first.ref)
    assert (index.alias(first.ref), list(index.aliases())) == (None, [second])
    index.set_alias(first)
    assert index.alias(first.ref) == first


_WRITER = """
import sys
from datetime import datetime, timezone
from pathlib import Path
from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.platform import Platform
from mfenv.store.project_index import Default, ProjectIndex

path, number = Path(sys.argv[1]), int(sys.argv[2])
sys.stdin.readline()
index = ProjectIndex(path)
index.set_defaults([
    Default(
        request=RequestKey(f"{number:040x}"), target="linux-64-x", platform=Platform.LINUX_64,
        lock=LockId(f"{number:040x}"), user="ana", time=datetime.now(timezone.utc),
    )
])
index.set_shared([LockId(f"{number:040x}")], "s3://bucket")
"""


def test_two_hundred_processes_that_write_at_once_lose_nothing(index: ProjectIndex, path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{_WRITER}", str(path), str(number)],
            stdin=subprocess.PIPE,
        )
        for number in range(200)
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.close()
    assert [writer.wait(timeout=200) for writer in writers] == [0] * 200
    assert {one.lock for one in index.defaults()} == {lock(number) for number in range(200)}
    assert all(index.is_shared(lock(number), "s3://bucket") for number in range(200))


_RESTLESS = """
import sys
from datetime import datetime, timezone
from pathlib import Path
from mfenv.domain.digest import LockId
from mfenv.store.project_index import ProjectIndex

index, first = ProjectIndex(Path(sys.argv[1])), int(sys.argv[2])
for number in range(first, first + 100_000):
    index.set_shared([LockId(f"{number:040x}")], "s3://bucket")
    print(number, flush=True)
"""


def test_whoever_is_killed_leaves_all_that_was_written_and_no_lock(path: Path) -> None:
    noted: set[int] = set()
    for first, updates in enumerate([1, 3, 8, 13, 21]):
        writer = subprocess.Popen(
            [sys.executable, "-c", _RESTLESS, str(path), str(first * 100_000)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        noted |= {int(writer.stdout.readline()) for _ in range(updates)}
        # Somewhere in the update after these.
        writer.send_signal(signal.SIGKILL)
        noted |= {int(line) for line in writer.stdout.read().splitlines()}
        assert writer.wait(timeout=60) == -signal.SIGKILL
        header, *lines = path.read_text().splitlines()
        assert json.loads(header)["size"] == sum(len(line) + 1 for line in lines)
        assert lines == sorted(lines)
    index = ProjectIndex(path, timeout=1)
    assert all(index.is_shared(lock(number), "s3://bucket") for number in noted)
    index.set_defaults([default(1)])
    assert index.default(request(1), TARGET) == default(1)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_update_that_fails_leaves_the_file_as_it_was(
    index: ProjectIndex, path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    index.set_defaults([default(1)])
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr({"fsync": "os.fsync", "replace": "pathlib.Path.replace"}[call], full)
    with pytest.raises(StoreError) as caught:
        index.set_defaults([default(2)])
    assert caught.value.message == f"`{path}` cannot be used: No space left on device"
    assert (path.read_bytes(), [found.name for found in path.parent.glob(".*.part")]) == (before, [])


def test_finding_reads_no_more_of_a_file_with_ten_thousand_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not time but bytes: what is read of the file, and the lines that are parsed."""
    small, large = ProjectIndex(tmp_path / "small"), ProjectIndex(tmp_path / "large")
    small.set_defaults(default(number, number) for number in range(10))
    large.set_defaults(default(number, number) for number in range(10_000))
    parsed: list[bytes] = []
    probed: list[int] = []
    decoded, pread = project_index._decoded, os.pread

    def probe(descriptor: int, size: int, place: int) -> bytes:
        probed.append(size)
        return pread(descriptor, size, place)

    monkeypatch.setattr(project_index, "_decoded", lambda text: parsed.append(text) or decoded(text))  # type: ignore[func-returns-value]
    monkeypatch.setattr(os, "pread", probe)
    for index in (small, large):
        parsed.clear()
        assert index.default(request(7), TARGET) == default(7, 7)
        assert index.default(request(20_000), TARGET) is None
        # Two headers and the line.
        assert len(parsed) == 3
    assert large.path.stat().st_size > 1_000_000
    assert sum(probed) < 32 * 1024


@given(st.sets(st.integers(0, 400)), st.integers(0, 400))
def test_bisection_finds_what_reading_everything_finds(
    tmp_path_factory: pytest.TempPathFactory, there: set[int], wanted: int
) -> None:
    path = tmp_path_factory.mktemp("index") / "conda_v2.cnd"
    ProjectIndex(path).set_defaults(default(number, number) for number in there)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(project_index, "_NEAR", 16)
        found = ProjectIndex(path).default(request(wanted), TARGET)
    assert found == (default(wanted, wanted) if wanted in there else None)


def test_two_files_that_were_put_together_by_hand_hold_what_both_held(tmp_path: Path) -> None:
    """What version control does with ``merge=union``, in any order of lines."""
    ours, theirs = ProjectIndex(tmp_path / "ours"), ProjectIndex(tmp_path / "theirs")
    ours.set_defaults([default(1, 11), default(2, 12, time=LATER)])
    theirs.set_defaults([default(2, 13), default(3, 14)])
    lines = ours.path.read_text().splitlines() + theirs.path.read_text().splitlines()
    ours.path.write_text("\n".join(reversed(lines)) + "\n")
    expected = {1: lock(11), 2: lock(12), 3: lock(14)}

    def found() -> dict[int, LockId]:
        return {n: one.lock for n in range(5) if (one := ours.default(request(n), TARGET))}

    assert found() == expected
    ours.set_shared([lock(11)], "s3://bucket")
    assert found() == expected
    assert not (tmp_path / "ours.damaged").exists()
    header, *rest = ours.path.read_text().splitlines()
    assert (json.loads(header)["size"], rest) == (sum(len(line) + 1 for line in rest), sorted(rest))


@pytest.mark.parametrize("number", [4, 300])
@pytest.mark.parametrize("reorder", [lambda lines: lines[::-1], lambda lines: [*lines[1:], lines[0]]])
def test_lines_in_another_order_are_found_though_the_size_is_right(
    path: Path, number: int, reorder: Callable[[list[str]], list[str]]
) -> None:
    ProjectIndex(path).set_defaults(default(n, n) for n in range(number))
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *reorder(lines)]) + "\n")
    index = ProjectIndex(path)
    assert [index.default(request(n), TARGET) for n in range(number)] == [default(n, n) for n in range(number)]
    assert index.default(request(number), TARGET) is None
    index.set_shared([lock(1)], "s3://bucket")
    _, *lines = path.read_text().splitlines()
    assert (len(lines), lines) == (number + 1, sorted(lines))


def test_a_file_that_is_not_sorted_is_read_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ProjectIndex(path).set_defaults(default(n, n) for n in range(100))
    path.write_text(path.read_text() + "\n")
    parsed: list[bytes] = []
    decoded = project_index._decoded
    monkeypatch.setattr(project_index, "_decoded", lambda text: parsed.append(text) or decoded(text))  # type: ignore[func-returns-value]
    index = ProjectIndex(path)
    for n in range(200):
        assert (index.default(request(n), TARGET) is None) == (n >= 100)
    # The header twice: as the header, and as a line.
    assert len(parsed) == 102
    ProjectIndex(path).set_defaults([default(150, 150)])
    assert index.default(request(150), TARGET) == default(150, 150)


def test_of_two_lines_of_one_moment_the_same_one_counts_in_any_order(tmp_path: Path) -> None:
    """Two people who merge the same branches use the same environment."""
    ours, theirs = ProjectIndex(tmp_path / "ours"), ProjectIndex(tmp_path / "theirs")
    ours.set_defaults([default(1, 11)])
    theirs.set_defaults([default(1, 12)])
    lines = ours.path.read_text().splitlines() + theirs.path.read_text().splitlines()
    found = []
    for order in (lines, lines[::-1]):
        path = tmp_path / "merged"
        path.write_text("\n".join(order) + "\n")
        index = ProjectIndex(path)
        found.append(index.default(request(1), TARGET))
        index.set_shared([lock(1)], "s3://bucket")
        found.append(index.default(request(1), TARGET))
    assert found == [default(1, 12)] * 4


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9), st.integers(0, 99)), max_size=30), st.randoms())
def test_facts_in_any_order_and_number_mean_the_latest_of_each(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[int, int, int]], shuffled: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("index")
    merged = []
    latest: dict[int, tuple[int, int]] = {}
    for number, chosen, minute in said:
        one = ProjectIndex(folder / f"{number}-{chosen}-{minute}.cnd")
        one.set_defaults([default(number, chosen, time=TIME + timedelta(minutes=minute))])
        merged += one.path.read_text().splitlines()
        latest[number] = max(latest.get(number, (0, 0)), (minute, chosen))
    shuffled.shuffle(merged)
    path = folder / "conda_v2.cnd"
    path.write_text("\n".join(merged) + "\n")
    expected = {
        request(number): default(number, chosen, time=TIME + timedelta(minutes=minute))
        for number, (minute, chosen) in latest.items()
    }
    index = ProjectIndex(path)
    assert {key: index.default(key, TARGET) for key in expected} == expected
    assert {one.request: one for one in index.defaults()} == expected


def test_the_facts_of_another_project_are_taken_in(tmp_path: Path) -> None:
    ours, theirs = ProjectIndex(tmp_path / "ours"), ProjectIndex(tmp_path / "theirs")
    ours.set_defaults([default(1, 11), default(2, 12, time=LATER)])
    theirs.set_defaults([default(1, 15, time=LATER), default(2, 13), default(3, 14)])
    assert ours.merge(theirs.path) == 2
    assert {one.request: one.lock for one in ours.defaults()} == {
        request(1): lock(15),
        request(2): lock(12),
        request(3): lock(14),
    }
    assert ours.merge(theirs.path) == 0


def test_a_fact_that_another_project_has_twice_is_taken_in_once(tmp_path: Path) -> None:
    ours, theirs = ProjectIndex(tmp_path / "ours"), ProjectIndex(tmp_path / "theirs")
    theirs.set_defaults([default(1, 11)])
    header, line = theirs.path.read_text().splitlines()
    theirs.path.write_text("\n".join([header, line, line]))
    assert (ours.merge(theirs.path), list(ours.defaults())) == (1, [default(1, 11)])


def test_taking_in_what_is_older_by_now_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has written between the look and the update."""
    ours, theirs = ProjectIndex(tmp_path / "ours"), ProjectIndex(tmp_path / "theirs")
    theirs.set_defaults([default(1, 11)])
    real = ProjectIndex._update

    def late(index: ProjectIndex, lines: list[project_index.Line], *, keeps_times: bool = False) -> None:
        ProjectIndex(ours.path).set_defaults([default(1, 12, time=LATER)])
        real(index, lines, keeps_times=keeps_times)

    with monkeypatch.context() as patch:
        patch.setattr(ours, "_update", lambda lines, **more: late(ours, lines, **more))
        assert ours.merge(theirs.path) == 1
    assert list(ours.defaults()) == [default(1, 12, time=LATER)]


@pytest.mark.parametrize(("name", "why"), [("nothing", "No such file or directory"), ("", "Is a directory")])
def test_another_project_that_has_no_file_is_said(index: ProjectIndex, tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(StoreError) as caught:
        index.merge(tmp_path / name)
    assert caught.value.message == f"`{tmp_path / name}` cannot be read: {why}"


LEGACY = {"version": 1, "mappings": {}, "aliases": {"x": ["a", "b"]}, "environments": {"linux-64": {}}}


def test_a_file_of_the_existing_product_is_left_alone(index: ProjectIndex, path: Path) -> None:
    content = json.dumps(LEGACY, indent=1)
    path.write_text(content)
    assert index.default(request(1), TARGET) is None
    index.set_defaults([default(1)])
    assert (index.is_beside_legacy, index.path.name) == (True, "conda_v2.mfenv.cnd")
    assert ProjectIndex(path).default(request(1), TARGET) == default(1)
    assert path.read_text() == content


def test_a_file_of_the_existing_product_that_comes_while_an_update_waits_is_left_alone(
    index: ProjectIndex, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = held

    def late(lock: Path, *, timeout: float) -> object:
        path.write_text(json.dumps(LEGACY))
        return real(lock, timeout=timeout)

    monkeypatch.setattr(project_index, "held", late)
    index.set_defaults([default(1)])
    assert (path.read_text(), index.path.name) == (json.dumps(LEGACY), "conda_v2.mfenv.cnd")
    assert index.default(request(1), TARGET) == default(1)


def test_a_file_of_the_existing_product_is_read_once(
    index: ProjectIndex, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(json.dumps(LEGACY))
    looked: list[Path] = []
    real = project_index._is_of_existing_product
    monkeypatch.setattr(project_index, "_is_of_existing_product", lambda path: looked.append(path) or real(path))  # type: ignore[func-returns-value]
    assert [index.default(request(n), TARGET) for n in range(5)] == [None] * 5
    assert looked == [path]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-40],
        lambda text: text + "garbage\n",
        lambda text: text + "[1,2]\n",
        lambda text: text.replace('"size"', '"sise"'),
        lambda text: "\n" + text,
        lambda text: text + '["d/x/y","20260102T030405000000Z",{"lock":1.5}]\n',
        lambda text: text + '["d/x/y","never",{"lock":"\\ud800"}]\n',
    ],
)  # fmt: skip
def test_of_a_damaged_file_what_can_be_read_counts_and_a_copy_is_kept(
    index: ProjectIndex, path: Path, damage: object
) -> None:
    index.set_defaults([default(1, 11), default(2, 12)])
    broken = damage(path.read_text())  # type: ignore[operator]
    path.write_text(broken)
    assert index.default(request(1), TARGET) == default(1, 11)
    index.set_defaults([default(3, 13)])
    assert index.default(request(1), TARGET) == default(1, 11)
    assert index.default(request(3), TARGET) == default(3, 13)
    damaged = path.with_name("conda_v2.cnd.damaged")
    assert not damaged.exists() or damaged.read_text() == broken


def test_garbage_is_kept_aside_and_begun_anew(index: ProjectIndex, path: Path) -> None:
    path.write_bytes(b"\xff\x00garbage")
    assert index.default(request(1), TARGET) is None
    index.set_defaults([default(1)])
    assert index.default(request(1), TARGET) == default(1)
    assert path.with_name("conda_v2.cnd.damaged").read_bytes() == b"\xff\x00garbage"


@pytest.mark.parametrize(
    "content",
    [
        '{"schema":"mfenv/project/9","size":0}\n',
        '{"schema":"mfenv/project/9"}\n',
        '{"more":"' + "y" * 5000 + '","schema":"mfenv/project/9","size":0}\n',
        '{"schema":"mfenv/project/1","size":0}\n{"schema":"mfenv/project/9","size":0}\n',
        '["d/x/y","t",{}]\n{"schema":"mfenv/project/9","size":0}\n',
    ],
)
def test_a_file_of_a_later_version_is_refused_and_left_alone(
    index: ProjectIndex, path: Path, tmp_path: Path, content: str
) -> None:
    """Whatever else is in its first line, and wherever merging has put that."""
    path.write_text(content)
    calls: list[Callable[[], object]] = [
        lambda: index.default(request(1), TARGET),
        lambda: list(index.defaults()),
        lambda: index.set_defaults([default(1)]),
        lambda: ProjectIndex(tmp_path / "other").merge(path),
    ]
    for call in calls:
        with pytest.raises(LockError, match="the schema `mfenv/project/9` is not known here"):
            call()
    assert (path.read_text(), sorted(tmp_path.glob("*.damaged"))) == (content, [])


@pytest.mark.parametrize(
    "line",
    [
        [f"d/{request(1)}/{TARGET.key}", "never", {"lock": lock(9), "platform": "linux-64"}],
        [f"d/{request(1)}/{TARGET.key}", "20261399T999999999999Z", {"lock": lock(9), "platform": "linux-64"}],
        [f"d/{request(1)}/{TARGET.key}", "20990102T030405000000Z", {"lock": 1.5, "platform": "linux-64"}],
        [f"d/{request(1)}/{TARGET.key}", "20990102T030405000000Z", {"lock": lock(9), "platform": []}],
        [f"d/{request(1)}/{TARGET.key}", "20990102T030405000000Z", {"lock": "x", "platform": "linux-64"}],
        [f"d/{request(1)}/{TARGET.key}", "20990102T030405000000Z", {"lock": lock(9), "platform": "linux-64", "x": 1.5}],
        [f"d/{request(1)}/{TARGET.key}", "20990102T030405000000Z", {"lock": lock(9), "platform": "linux-64", "x": "\ud800"}],
        [project_index._shared_key(lock(1), "s3://bucket"), "20990102T030405000000Z", {"store": None}],
        ["a/env:latest", "20990102T030405000000Z", {"schema": "mfenv/alias/1", "name": "env", "tag": "latest"}],
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_read_hides_nothing_and_is_kept_aside(
    index: ProjectIndex, path: Path, line: list[object]
) -> None:
    alias = Alias.of(ByName(name="env"), {Platform.LINUX_64: lock(1)}, user="ana", time=TIME)

    def facts() -> tuple[object, ...]:
        ref = ByName(name="env")
        return index.default(request(1), TARGET), index.is_shared(lock(1), "s3://bucket"), index.alias(ref)

    index.set_defaults([default(1, 11)])
    index.set_shared([lock(1)], "s3://bucket")
    index.set_alias(alias)
    broken = path.read_text() + json.dumps(line) + "\n"
    path.write_text(broken)
    assert facts() == (default(1, 11), True, alias)
    index.set_defaults([default(2)])
    assert facts() == (default(1, 11), True, alias)
    assert path.with_name("conda_v2.cnd.damaged").read_text() == broken


def test_facts_of_a_kind_that_is_not_known_here_are_kept(index: ProjectIndex, path: Path) -> None:
    index.set_defaults([default(1)])
    line = '["z/later","20260102T030405000000Z",{"x":[1]}]'
    path.write_text(path.read_text() + line + "\n")
    index.set_defaults([default(2)])
    assert line in path.read_text().splitlines()
    assert not path.with_name("conda_v2.cnd.damaged").exists()


def test_a_file_that_cannot_be_opened_is_an_error_of_ours_whatever_is_asked(index: ProjectIndex, path: Path) -> None:
    path.symlink_to(path.name)
    calls: list[Callable[[], object]] = [
        lambda: index.default(request(1), TARGET),
        lambda: index.is_shared(lock(1), "s3://bucket"),
        lambda: index.alias(ByName(name="x")),
        lambda: list(index.defaults()),
        lambda: list(index.aliases()),
        lambda: index.set_defaults([default(1)]),
        lambda: index.merge(path),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=f"^`{path}` cannot be"):
            call()


def test_a_place_that_cannot_be_written_to_is_named_and_can_still_be_looked_at(index: ProjectIndex, path: Path) -> None:
    path.mkdir()
    assert index.default(request(1), TARGET) is None
    with pytest.raises(StoreError, match=f"^`{path}` cannot be used"):
        index.set_defaults([default(1)])
    below_a_file = ProjectIndex(path.with_name("file") / "conda_v2.cnd")
    path.with_name("file").write_text("")
    assert below_a_file.default(request(1), TARGET) is None
    with pytest.raises(StoreError, match="cannot be used"):
        below_a_file.set_defaults([default(1)])


@given(st.binary() | st.lists(st.text(), max_size=5).map(lambda lines: "\n".join(lines).encode("utf-8", "replace")))
def test_whatever_is_in_the_file_only_our_errors_come_out(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("index") / "conda_v2.cnd"
    path.write_bytes(content)
    index = ProjectIndex(path)
    try:
        assert index.default(request(1), TARGET) is None
        index.set_defaults([default(1)])
    except EnvironmentsError:
        return
    assert index.default(request(1), TARGET) == default(1)


@given(st.integers(0, 2000), st.binary(max_size=12), st.integers(0, 40))
def test_whatever_is_done_to_a_real_file_only_our_errors_come_out(
    tmp_path_factory: pytest.TempPathFactory, place: int, inserted: bytes, removed: int
) -> None:
    path = tmp_path_factory.mktemp("index") / "conda_v2.cnd"
    index = ProjectIndex(path)
    index.set_defaults(default(number, number) for number in range(5))
    index.set_alias(Alias.of(ByName(name="a"), {Platform.LINUX_64: lock(1)}, user="ana", time=TIME))
    content = path.read_bytes()
    place %= len(content)
    path.write_bytes(content[:place] + inserted + content[place + removed :])
    try:
        before = {one.request: one for one in index.defaults()}
        assert {key: index.default(key, TARGET) for key in before if before[key].target == TARGET.key} == {
            key: one for key, one in before.items() if one.target == TARGET.key
        }
        index.set_defaults([default(7, 7)])
    except EnvironmentsError:
        return
    # What could be read counts, and is still there when the file was written anew.
    assert {one.request: one for one in index.defaults()} == {**before, request(7): default(7, 7)}
