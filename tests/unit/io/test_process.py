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
