"""Lines in a task's log: Metaflow's own parser reads them, and nothing they say, or cannot say, ends the task."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import pytest
from metaflow.mflog import mflog

from mfenv.bootstrap.task_log import TaskLog


def log(folder: Path) -> TaskLog:
    return TaskLog({"MFLOG_STDOUT": str(folder / "out"), "MFLOG_STDERR": str(folder / "err"), "MF_ATTEMPT": "2"})


def test_metaflow_reads_the_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As Python opens it, other than pytest.
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace"))
    said = log(tmp_path)
    said.say("one [MFLOG|0|")
    said.say("two\nthree")
    said.complain("é\udcff")
    found = {
        name: [mflog.parse(line) for line in (tmp_path / name).read_bytes().splitlines()] for name in ("out", "err")
    }
    assert [line.msg for line in found["out"]] == [b"one [MFLOG|0|", b"two", b"three"]
    assert [line.msg for line in found["err"]] == ["é\\udcff".encode()]
    lines = [*found["out"], *found["err"]]
    assert {(line.should_persist, line.version, line.logsource) for line in lines} == {(None, b"0", b"task")}
    assert len({line.id for line in lines}) == 4
    now = time.time()
    assert all(abs((line.utc_tstamp - type(line.utc_tstamp)(1970, 1, 1)).total_seconds() - now) < 60 for line in lines)
    merged = [line.msg for line in mflog.merge_logs([(tmp_path / name).read_bytes() for name in ("out", "err")])]
    assert merged == [b"one [MFLOG|0|", b"two", b"three", "é\\udcff".encode()]
    assert capsys.readouterr().out == ""


def test_the_log_is_there_by_the_names_of_metaflows_datastore(tmp_path: Path) -> None:
    said = log(tmp_path)
    assert said.contents() == {}
    said.say("a")
    said.complain("b")
    assert said.contents() == {
        "2.task_stdout.log": (tmp_path / "out").read_bytes(),
        "2.task_stderr.log": (tmp_path / "err").read_bytes(),
    }


def test_a_log_that_cannot_be_written_is_on_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log(tmp_path / "no" / "folder").complain("why")
    TaskLog({}).say("and more")
    assert capsys.readouterr().err == "why\nand more\n"
