"""Names of environments: what can be moved moves, everything else stays, and no flipped byte loses one."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.alias import Alias
from mfenv.domain.digest import Json, LockId, RequestKey, canonical_json, identity
from mfenv.domain.platform import Platform
from mfenv.domain.reference import ByName, parse_reference
from mfenv.errors import EnvironmentsError, LockError, StoreError
from mfenv.formats import alias_json
from mfenv.store.aliases import AliasExistsError, AliasStore
from mfenv.store.backends.local import LocalBlobStore
from mfenv.store.backends.memory import MemoryBlobStore
from mfenv.store.base import BlobStore
from mfenv.store.layout import Layout
from mfenv.testing.fakes import FailingBlobStore

TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
LINUX, ARM = Platform.LINUX_64, Platform.LINUX_AARCH64


def lock(number: int) -> LockId:
    return LockId(f"{number:040x}")


def alias(text: str, number: int = 1, *, hour: int = 0) -> Alias:
    ref = parse_reference(text, where="here")
    assert isinstance(ref, ByName)
    return Alias.of(ref, {LINUX: lock(number)}, user="ana", time=TIME + timedelta(hours=hour))


@pytest.fixture(params=["memory", "local"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return MemoryBlobStore() if request.param == "memory" else LocalBlobStore(tmp_path / "store")


@pytest.fixture
def aliases(blobs: BlobStore) -> AliasStore:
    return AliasStore(blobs)


def test_a_name_stands_for_a_lock_on_each_platform_and_is_written_as_documented(
    aliases: AliasStore, blobs: BlobStore
) -> None:
    both = Alias.of(
        ByName(name="team/env", tag="v1.2"),
        {ARM: lock(2), LINUX: lock(1)},
        user="ana",
        time=TIME,
        requests={LINUX: RequestKey("ab" * 20)},
    )
    assert aliases.get(both.ref) is None
    assert aliases.point(both) == both
    assert aliases.get(both.ref) == both
    assert [both.lock_for(platform) for platform in (LINUX, ARM, Platform.OSX_64)] == [lock(1), lock(2), None]
    assert json.loads(blobs.get("mfenv/v1/aliases/team/env/v1.2.json") or b"") == {
        "schema": "mfenv/alias/1",
        "name": "team/env",
        "tag": "v1.2",
        "locks": {"linux-64": lock(1), "linux-aarch64": lock(2)},
        "requests": {"linux-64": "ab" * 20},
        "user": "ana",
        "time": "2026-01-02T03:04:05+00:00",
        "digest": "8a56d711ba9fbd44599f1218adbb6a6fe2bc7dcd",
    }
    (note,) = blobs.list("mfenv/v1/history/team/env/@v1.2/")
    assert blobs.get(note.key) == alias_json.dump(both)


@pytest.mark.parametrize("tag", ["latest", "candidate", "stable"])
def test_some_tags_can_be_moved_and_where_they_pointed_is_kept(aliases: AliasStore, tag: str) -> None:
    said = [alias(f"env:{tag}", number, hour=number) for number in range(3)]
    for one in said:
        assert aliases.point(one) == one
    assert aliases.get(said[0].ref) == said[-1]
    assert aliases.history(said[0].ref) == said[::-1]


@pytest.mark.parametrize("tag", ["v1", "1.0", "prod", "latest2"])
def test_every_other_tag_stays(aliases: AliasStore, tag: str) -> None:
    first = aliases.point(alias(f"env:{tag}", 1))
    assert aliases.point(alias(f"env:{tag}", 1, hour=1)) == first
    with pytest.raises(AliasExistsError) as caught:
        aliases.point(alias(f"env:{tag}", 2))
    assert caught.value.message == (
        f"`env:{tag}` stands for {lock(1)} (linux-64) since 2026-01-02, and cannot be moved"
    )
    assert caught.value.hint == "Choose another tag; only `latest`, `candidate` and `stable` can be moved"
    assert aliases.get(first.ref) == first
    assert aliases.history(first.ref) == [first]


def test_saying_the_same_again_writes_nothing(blobs: BlobStore) -> None:
    for text in ("env", "env:v1"):
        AliasStore(blobs).point(alias(text))
        unwritable = AliasStore(FailingBlobStore(blobs, writes=0))
        assert unwritable.point(alias(text, hour=1)) == alias(text)


def test_names_are_listed_by_how_they_begin(aliases: AliasStore, blobs: BlobStore) -> None:
    for text in ("team/a", "team/a:v1", "team/b/c", "other"):
        aliases.point(alias(text))
    blobs.put("mfenv/v1/aliases/team/damaged/latest.json", b"{}")
    blobs.put("mfenv/v1/aliases/team/copied/latest.json", alias_json.dump(alias("other")))
    assert sorted(str(one.ref) for one in aliases.all()) == [
        "other:latest",
        "team/a:latest",
        "team/a:v1",
        "team/b/c:latest",
    ]
    assert sorted(str(one.ref) for one in aliases.all("team/a")) == ["team/a:latest", "team/a:v1"]


def test_of_two_that_name_at_once_one_wins_and_the_other_is_told(aliases: AliasStore) -> None:
    for attempt in range(10):
        together = threading.Barrier(6)

        def say(number: int, text: str = f"env:v{attempt}", together: threading.Barrier = together) -> object:
            together.wait(timeout=30)
            try:
                return aliases.point(alias(text, number)).locks
            except AliasExistsError as error:
                return error.message

        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(say, range(6)))
        won = [answer for answer in answers if not isinstance(answer, str)]
        found = aliases.get(ByName(name="env", tag=f"v{attempt}"))
        assert found is not None
        assert won == [found.locks]
        assert {answer for answer in answers if isinstance(answer, str)} == {
            f"`env:v{attempt}` stands for {found.locks[0][1]} (linux-64) since 2026-01-02, and cannot be moved"
        }
        assert aliases.history(found.ref) == [found]


_WRITER = """
import sys
from datetime import datetime, timezone
from pathlib import Path
from mfenv.domain.alias import Alias
from mfenv.domain.digest import LockId
from mfenv.domain.platform import Platform
from mfenv.domain.reference import ByName
from mfenv.store.aliases import AliasExistsError, AliasStore
from mfenv.store.backends.local import LocalBlobStore

store, number = AliasStore(LocalBlobStore(Path(sys.argv[1]))), int(sys.argv[2])
sys.stdin.readline()
for tag in ("v1", "stable"):
    try:
        store.point(Alias.of(
            ByName(name="env", tag=tag), {Platform.LINUX_64: LockId(f"{number:040x}")}, user="ana",
            time=datetime.now(timezone.utc),
        ))
        print(tag)
    except AliasExistsError:
        pass
"""


def test_processes_that_name_at_once_agree(tmp_path: Path) -> None:
    code = f"import sys; sys.path[:0] = {sys.path!r}\n{_WRITER}"
    writers = [
        subprocess.Popen(
            [sys.executable, "-S", "-c", code, str(tmp_path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(10)
    ]
    said = [writer.communicate("go\n", timeout=60)[0].split() for writer in writers]
    store = AliasStore(LocalBlobStore(tmp_path))
    stays = store.get(ByName(name="env", tag="v1"))
    assert stays is not None
    assert [number for number, tags in enumerate(said) if "v1" in tags] == [int(stays.locks[0][1], 16)]
    assert all("stable" in tags for tags in said)
    moved = store.history(ByName(name="env", tag="stable"))
    assert {one.locks[0][1] for one in moved} == {lock(number) for number in range(10)}
    assert store.get(ByName(name="env", tag="stable")) in moved


@pytest.mark.parametrize("text", ["env:stable", "env:v1"])
@pytest.mark.parametrize("writes", [0, 1])
def test_whoever_is_stopped_in_the_middle_leaves_a_name_as_it_was_or_as_it_should_be(
    blobs: BlobStore, text: str, writes: int
) -> None:
    if text == "env:stable":
        AliasStore(blobs).point(alias(text, 1))
    with pytest.raises(StoreError):
        AliasStore(FailingBlobStore(blobs, writes=writes)).point(alias(text, 2, hour=1))
    assert AliasStore(blobs).get(alias(text).ref) in (None, alias(text, 1), alias(text, 2, hour=1))
    AliasStore(blobs).point(alias(text, 2, hour=1))
    assert AliasStore(blobs).get(alias(text).ref) == alias(text, 2, hour=1)
    assert AliasStore(blobs).history(alias(text).ref)[0] == alias(text, 2, hour=1)


def otherwise(**values: Json) -> bytes:
    """A name that says something else than it may, with the digest of that."""
    said = {**alias_json.values(alias("env:v1")), **values}
    del said["digest"]
    return canonical_json({**said, "digest": identity("mfenv/alias/1", said)})


def _damages() -> list[bytes]:
    whole = alias_json.dump(alias("env:v1"))
    return [
        b"",
        b"\xff",
        whole[:-9],
        whole.replace(lock(1).encode(), lock(3).encode()),
        whole.replace(b'"digest":"', b'"digest":"0'),
        whole.replace(b'"user":"ana"', b'"user":1.5'),
        whole.replace(b'"user":"ana"', b'"user":' + b"[" * 900 + b"]" * 900),
        otherwise(schema="mfenv/alias/2"),
        otherwise(schema="mfenv/lock/1"),
        otherwise(name="en"),
        otherwise(name="ab" * 20, tag="ab" * 20),
        otherwise(tag="V1"),
        otherwise(locks={"linux-64": "1" * 39}),
        otherwise(locks={"amiga-68": lock(1)}),
        otherwise(locks={}),
        otherwise(requests={"linux-64": "1"}),
        otherwise(time="2026-01-02T03:04:05"),
        otherwise(time="yesterday"),
    ]


@pytest.mark.parametrize("damage", _damages(), ids=range(len(_damages())))
@pytest.mark.parametrize("text", ["env:v1", "env:stable"])
def test_a_damaged_name_is_restored_from_its_history(blobs: BlobStore, text: str, damage: bytes) -> None:
    told: list[str] = []
    aliases = AliasStore(blobs, tell=told.append)
    for number in (1,) if text == "env:v1" else (3, 1):
        aliases.point(alias(text, number, hour=4 - number))
    key = Layout().alias(alias(text).ref)
    whole = blobs.get(key)
    blobs.replace(key, damage)
    assert aliases.get(alias(text).ref) == alias(text, 1, hour=3)
    assert blobs.get(key) == whole
    assert told == [f"The name {text} was damaged in the store; it was restored from its history."]


def test_no_flipped_bit_changes_a_name() -> None:
    said = alias("env:stable", 0xABCDEF)
    blobs, key = MemoryBlobStore(), Layout().alias(said.ref)
    aliases = AliasStore(blobs)
    aliases.point(said)
    whole = alias_json.dump(said)
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        blobs.replace(key, bytes(damaged))
        assert aliases.get(said.ref) == said


def test_who_may_only_read_is_answered_from_the_history(blobs: BlobStore) -> None:
    AliasStore(blobs).point(alias("env:v1"))
    blobs.replace(Layout().alias(alias("env:v1").ref), b"{}")
    told: list[str] = []
    assert AliasStore(FailingBlobStore(blobs, writes=0), tell=told.append).get(alias("env:v1").ref) == alias("env:v1")
    assert told == [
        (
            "The name env:v1 is damaged in the store, and cannot be restored: `mfenv/v1/aliases/env/v1.json` cannot be "
            "written: this store fails on purpose."
        )
    ]


def test_what_a_later_version_wrote_is_left_as_it_is(blobs: BlobStore) -> None:
    aliases, key = AliasStore(blobs), Layout().alias(alias("env:stable").ref)
    aliases.point(alias("env:stable", 1))
    later = alias_json.dump(alias("env:stable", 2)).replace(b"mfenv/alias/1", b"mfenv/alias/12")
    blobs.put(f"{Layout().history(alias('env:stable').ref)}20270101T000000000000Z-0.json", later)
    blobs.replace(key, later)
    for read in (lambda: aliases.get(alias("env:stable").ref), lambda: aliases.point(alias("env:stable", 3))):
        with pytest.raises(LockError, match=r"the schema `mfenv/alias/12` is not known here") as caught:
            read()
        assert caught.value.hint == "A later version wrote it: use that one, or a newer"
    assert blobs.get(key) == later


def test_the_history_is_in_the_order_of_events_though_clocks_are_wrong(aliases: AliasStore, blobs: BlobStore) -> None:
    said = [alias("env:stable", number, hour=hour) for number, hour in enumerate([9, 0, 5, 5, 12, 1])]
    for one in said:
        aliases.point(one)
    assert aliases.history(said[0].ref) == said[::-1]
    blobs.replace(Layout().alias(said[0].ref), b"{}")
    assert aliases.get(said[0].ref) == said[-1]


def test_notes_have_the_time_in_utc_in_their_keys(aliases: AliasStore, blobs: BlobStore) -> None:
    there = timezone(timedelta(hours=5))
    for text in ("env", "env:v1"):
        aliases.point(replace(alias(text), time=TIME.astimezone(there)))
    assert {info.key.split("-")[0] for info in blobs.list("mfenv/v1/history/")} == {
        "mfenv/v1/history/env/@latest/20260102T030405000000Z",
        "mfenv/v1/history/env/@v1/20260102T030405000000Z",
    }


def test_a_name_that_is_too_long_for_a_store_is_an_error_of_the_store(tmp_path: Path) -> None:
    long = ByName(name="a" * 5000)
    with pytest.raises(StoreError):
        AliasStore(LocalBlobStore(tmp_path)).get(long)


def test_a_name_without_a_history_that_can_be_read_is_an_error_that_names_its_key(blobs: BlobStore) -> None:
    aliases = AliasStore(blobs)
    aliases.point(alias("env:v1"))
    for info in list(blobs.list("mfenv/v1/")):
        blobs.replace(info.key, b"{}")
    assert aliases.history(alias("env:v1").ref) == []
    with pytest.raises(LockError, match=r"^mfenv/v1/aliases/env/v1\.json"):
        aliases.get(alias("env:v1").ref)


PARTS = st.text("abz019-_", min_size=1, max_size=3)
NAMES = st.lists(PARTS, min_size=1, max_size=3).map("/".join)
TAGS = st.text("abz019-_", min_size=1, max_size=2).flatmap(
    lambda begin: st.sampled_from([begin, f"{begin}.1", "latest"])
)


@given(st.sets(st.tuples(NAMES, TAGS), min_size=1, max_size=12))
def test_no_two_names_are_in_each_others_way(
    tmp_path_factory: pytest.TempPathFactory, names: set[tuple[str, str]]
) -> None:
    """Such as `a/b:c` and `a/b/c`, of which one would be a file where the other needs a folder."""
    for blobs in (MemoryBlobStore(), LocalBlobStore(tmp_path_factory.mktemp("store"))):
        aliases = AliasStore(blobs)
        said = {}
        for number, (name, tag) in enumerate(sorted(names)):
            ref = ByName(name=name, tag=tag)
            said[ref] = aliases.point(Alias.of(ref, {LINUX: lock(number)}, user="ana", time=TIME))
        assert {ref: aliases.get(ref) for ref in said} == said
        assert {one.ref: one for one in aliases.all()} == said
        assert {ref: aliases.history(ref) for ref in said} == {ref: [one] for ref, one in said.items()}


@given(st.binary())
def test_whatever_is_under_a_name_only_our_errors_come_out(content: bytes) -> None:
    blobs = MemoryBlobStore()
    blobs.put(Layout().alias(ByName(name="x")), content)
    with pytest.raises(EnvironmentsError):
        AliasStore(blobs).get(ByName(name="x"))
