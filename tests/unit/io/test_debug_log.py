"""Lines for those who look for a fault: there when asked for, and never with a secret in them."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.digest import Json
from mfenv.errors import EnvironmentsError, StoreError
from mfenv.io import debug_log
from mfenv.io.process import SystemProcessRunner
from mfenv.io.worker import WorkerClient
from mfenv.store.backends.memory import MemoryBlobStore
from mfenv.store.backends.told import ToldBlobStore

CANARY = "canary-4711"


Lines = Callable[[], list[str]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lines:
    """Ask for the lines; the call returns those written since, without their seconds."""
    monkeypatch.setenv(debug_log.VARIABLE, "1")
    monkeypatch.setattr(debug_log, "_known", [])

    def written() -> list[str]:
        return [re.sub(r"\d+\.\d{3}s", "0s", line) for line in capsys.readouterr().err.splitlines()]

    return written


@pytest.mark.parametrize("value", ["", "0", "false", "No"])
def test_nothing_is_written_unless_asked_for(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(debug_log.VARIABLE, value)
    debug_log.say("decision", "none")
    with debug_log.timed("store", "none"):
        pass
    assert capsys.readouterr().err == ""


def test_what_is_done_is_told_with_its_end(lines: Lines) -> None:
    with debug_log.timed("store", "get a"):
        debug_log.say("decision", "one\n line")
    with pytest.raises(StoreError), debug_log.timed("store", "get b"):
        raise StoreError("away")
    assert lines() == [
        "mfenv debug +0s store: get a",
        "mfenv debug +0s decision: one line",
        "mfenv debug +0s store: get a: done in 0s",
        "mfenv debug +0s store: get b",
        "mfenv debug +0s store: get b: failed (StoreError) in 0s",
    ]


def test_command_lines_are_told_without_what_is_secret(
    lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_INDEX_TEAM_PASSWORD", f"{CANARY}-variable")
    debug_log.conceal({"https://example.org/known": f"https://{CANARY}-known@example.org/known"})
    secrets = [
        f"https://me:{CANARY}@example.org/simple",
        f"https://example.org/t/{CANARY}/team",
        f"https://example.org/file?sig={CANARY}",
        f"--password={CANARY}-variable",
        f"{CANARY}-known",
    ]
    SystemProcessRunner().run(["true", *secrets], environment={"SECRET": CANARY}, folder=tmp_path, timeout=20)
    shown = (
        "true https://example.org/simple https://example.org/t/***/team 'https://example.org/file?***' "
        "'--password=***' '***'"
    )
    told = lines()
    assert CANARY not in "\n".join(told)
    assert [line.replace("'", "") for line in told] == [
        line.replace("'", "")
        for line in (
            f"mfenv debug +0s command: {shown}",
            f"mfenv debug +0s command: {shown}: done in 0s",
            "mfenv debug +0s command: true ended with code 0",
        )
    ]


def test_requests_to_the_helper_process_are_told_without_their_content(lines: Lines) -> None:
    client = WorkerClient({"echo": "json:dumps"})
    payload: dict[str, Json] = {"platform": "linux-64", "specs": ["a", "b"], "secret_urls": {"x": CANARY}}
    with pytest.raises(EnvironmentsError):
        client.call("echo", payload)
    client.close()
    told = lines()
    assert told[0] == "mfenv debug +0s request: helper process: echo (linux-64, 2 specs)"
    assert CANARY not in "\n".join(told)


def test_what_a_store_is_asked_is_told(lines: Lines, tmp_path: Path) -> None:
    store = ToldBlobStore(MemoryBlobStore())
    (tmp_path / "a").write_bytes(b"a")
    store.put("k/a", b"content")
    store.replace("k/a", b"other")
    assert store.get("k/a") == b"other"
    assert [info.key for info in store.list("k/")] == ["k/a"]
    assert set(store.find(["k/a", "k/b"])) == {"k/a"}
    store.upload({"k/b": tmp_path / "a"})
    assert store.download({"k/b": tmp_path / "b"}) == {"k/b"}
    store.touch(["k/a"])
    store.delete(["k/a", "k/b"])
    assert [line.partition("store: ")[2] for line in lines() if "done in" not in line] == [
        "put k/a (7 bytes)",
        "replace k/a (5 bytes)",
        "get k/a",
        "list k/",
        "find 2 keys",
        "upload 1 files",
        "download 1 files",
        "touch 1 keys",
        "delete 2 keys",
    ]


@given(
    st.sampled_from(["https://me:{}@example.org/a", "https://{}@example.org", "s3://h/t/{}/c", "http://h/p?key={}"]),
    st.text("abcXYZ0189-_.~%", min_size=5),
    st.text(max_size=20),
)
def test_no_url_tells_its_secret(form: str, secret: str, around: str) -> None:
    secret = f"{CANARY}{secret}"
    assert CANARY not in debug_log.without_any_secret(f"{around} {form.format(secret)} {around}")


def test_lines_that_nobody_reads_end_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(debug_log.VARIABLE, "1")
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    debug_log.say("decision", "unread")
    assert debug_log.is_on()
