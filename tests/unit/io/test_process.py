"""Programs end when nobody waits for them any more."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mfenv.errors import EnvironmentsError
from mfenv.io.process import SystemProcessRunner


def test_closing_ends_programs_with_their_children_and_starts_no_more(tmp_path: Path) -> None:
    runner = SystemProcessRunner()
    began = time.monotonic()

    def run() -> int:
        command = ["sh", "-c", "touch started; sleep 60 & sleep 60"]
        return runner.run(command, environment={}, folder=tmp_path, timeout=50).code

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        while not (tmp_path / "started").exists():
            assert time.monotonic() - began < 20
            time.sleep(0.01)
        runner.close()
        assert running.result(timeout=20) == -9
    with pytest.raises(EnvironmentsError, match="nobody waits for its work any more"):
        run()


def test_a_child_that_is_left_behind_is_not_waited_for(tmp_path: Path) -> None:
    """As a compiler's cache server is, or a build's daemon: it has what the program had to write to."""
    command = ["sh", "-c", "setsid sleep 30 & echo done; echo told >&2"]
    began = time.monotonic()
    done = SystemProcessRunner().run(command, environment={}, folder=tmp_path, timeout=20)
    assert (done.code, done.output, done.errors, done.timed_out) == (0, "done\n", "told\n", False)
    assert time.monotonic() - began < 10


def test_variables_are_put_over_those_there_are_and_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFENV_KEPT", "kept")
    monkeypatch.setenv("MFENV_GONE", "there")
    environment = {"MFENV_GONE": None, "MFENV_NEW": "new"}
    command = ["sh", "-c", "echo $MFENV_KEPT ${MFENV_GONE-gone} $MFENV_NEW"]
    done = SystemProcessRunner().run(command, environment=environment, folder=tmp_path, timeout=20)
    assert done.output == "kept gone new\n"
