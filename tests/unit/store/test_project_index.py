"""The metadata file of a project: nothing is lost, whoever writes at the same time, and nothing costs more with age."""

from __future__ import annotations

import json
import subprocess
import sys
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
    before = path.stat().st_mtime_ns, path.stat().st_ino
    index.set_defaults([default(1, time=LATER)])
    index.set_shared([lock(1)], "s3://bucket")
    index.forget_shared([lock(1)], "s3://other")
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


def test_finding_reads_no_more_of_a_file_with_ten_thousand_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not time but bytes: what is read of the file, and the lines that are parsed."""
    small, large = ProjectIndex(tmp_path / "small"), ProjectIndex(tmp_path / "large")
    small.set_defaults(default(number, number) for number in range(10))
    large.set_defaults(default(number, number) for number in range(10_000))
    parsed = []
    real = json.loads
    monkeypatch.setattr(project_index.json, "loads", lambda text: parsed.append(text) or real(text))
    for index in (small, large):
        parsed.clear()
        assert index.default(request(7), TARGET) == default(7, 7)
        assert index.default(request(20_000), TARGET) is None
        # Two headers, each looked at twice, and the line.
        assert len(parsed) <= 7
    assert large.path.stat().st_size > 1_000_000


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


LEGACY = {"version": 1, "mappings": {}, "aliases": {"x": ["a", "b"]}, "environments": {"linux-64": {}}}


def test_a_file_of_the_existing_product_is_left_alone(index: ProjectIndex, path: Path) -> None:
    content = json.dumps(LEGACY, indent=1)
    path.write_text(content)
    assert index.default(request(1), TARGET) is None
    index.set_defaults([default(1)])
    assert (index.is_beside_legacy, index.path.name) == (True, "conda_v2.mfenv.cnd")
    assert ProjectIndex(path).default(request(1), TARGET) == default(1)
    assert path.read_text() == content


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


def test_a_file_of_a_later_version_is_refused_and_left_alone(index: ProjectIndex, path: Path) -> None:
    path.write_text('{"schema":"mfenv/project/9","size":0}\n')
    with pytest.raises(LockError, match="mfenv/project/9"):
        index.default(request(1), TARGET)
    with pytest.raises(LockError, match="mfenv/project/9"):
        index.set_defaults([default(1)])
    assert path.read_text() == '{"schema":"mfenv/project/9","size":0}\n'


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
