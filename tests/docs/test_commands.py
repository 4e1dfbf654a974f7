"""The demo and the benchmarks work, as far as that can be told in seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mfenv.errors import EnvironmentsError
from mfenv.testing import demo
from mfenv.testing.channel import LocalChannel

ROOT = Path(__file__).parents[2]
BENCHMARKS = sorted(path for path in (ROOT / "benchmarks").glob("*.py") if "argparse" in path.read_text())


def test_the_demo_runs_twice_and_makes_environments_only_once(channel: LocalChannel, tmp_path: Path) -> None:
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "METAFLOW_CONDA_CHANNELS": channel.url()}
    command = [sys.executable, "-m", "mfenv.testing.demo", "examples/hello_conda.py", "--state", str(tmp_path / "demo")]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=240)

    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.split("== Second run")
    older, newer = demo.two_of(channel.pandas_versions())
    for run in (first, second):
        assert f"start runs with pandas {older}" in run
        assert f"end runs with pandas {newer}" in run
    assert first.count("Creating Conda environment") == 2
    assert "Creating" not in second
    assert second.count("Using existing Conda environment") == 2
    assert sorted(path.name for path in (tmp_path / "demo" / "environments" / "envs").iterdir()) == sorted(
        line.split("envs/")[1].split(":")[0] for line in second.splitlines() if " packages, Python" in line
    )


def test_the_demo_takes_the_local_channel_when_conda_forge_does_not_answer(
    channel: LocalChannel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("METAFLOW_CONDA_CHANNELS", raising=False)
    monkeypatch.setattr(demo, "_PUBLIC_CHANNEL", "http://127.0.0.1:9/nobody")
    assert demo.choose_channel(tmp_path) == (channel.url(), channel.pandas_versions())


def test_the_demo_stands_by_a_channel_that_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_CONDA_CHANNELS", (tmp_path / "nothing").as_uri())
    with pytest.raises(EnvironmentsError, match="nothing` does not answer"):
        demo.choose_channel(tmp_path)


def test_two_versions_of_pandas_are_needed() -> None:
    with pytest.raises(EnvironmentsError, match="fewer than two versions"):
        demo.two_of(["2.2.2", "2.2.3", "3.0.0rc1"])


@pytest.mark.parametrize("script", BENCHMARKS, ids=lambda path: path.stem)
def test_benchmarks_can_be_started_and_say_what_they_measure(script: Path) -> None:
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    purpose = script.read_text(encoding="utf-8").split('"""')[1].split()
    assert " ".join(purpose) in " ".join(done.stdout.split())


def test_make_bench_runs_every_benchmark() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [script.name for script in BENCHMARKS if f"benchmarks/{script.name}" not in makefile] == []
