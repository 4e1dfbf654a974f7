"""`metaflow environment migrate`, as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

OLD = 'from metaflow import FlowSpec, pip, step\n\nclass F(FlowSpec):\n    @pip(packages={"a": "1"})  # why\n    @step\n    def start(self): ...\n'
NEW = OLD.replace("pip", "pypi")


def call(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("metaflow"), *arguments]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "USER": "tester", **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flow.py").write_text(OLD)
    return tmp_path


@pytest.mark.parametrize("group", ["environment", "env"])
def test_changes_are_shown_and_nothing_is_written(folder: Path, group: str) -> None:
    done = call(folder, group, "migrate", "flow.py")
    assert done.returncode == 0
    assert '-    @pip(packages={"a": "1"})  # why\n+    @pypi(packages={"a": "1"})  # why\n' in done.stdout
    assert "add --write" in done.stderr
    assert (folder / "flow.py").read_text() == OLD


def test_changes_are_written_when_asked_for_and_the_mode_stays(folder: Path) -> None:
    (folder / "flow.py").chmod(0o755)
    assert call(folder, "environment", "migrate", "flow.py", "--check").returncode == 1
    done = call(folder, "environment", "migrate", "flow.py", "--write")
    assert (done.returncode, (folder / "flow.py").read_text()) == (0, NEW)
    assert (folder / "flow.py").stat().st_mode & 0o777 == 0o755
    assert "nothing to rewrite" in call(folder, "environment", "migrate", "flow.py", "--check").stdout


def test_programs_get_one_document(folder: Path) -> None:
    done = call(folder, "environment", "migrate", "flow.py", "--json", METAFLOW_CONDA_TEST="1")
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert [(one["file"], one["changed"], one["written"]) for one in found["files"]] == [("flow.py", True, False)]
    assert found["settings"] == ["METAFLOW_CONDA_TEST: no longer needed: the local datastore works as any other"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"def f(:\n", None])
def test_what_cannot_be_read_is_refused_without_a_traceback(folder: Path, content: bytes | None) -> None:
    if content is not None:
        (folder / "bad.py").write_bytes(content)
    done = call(folder, "environment", "migrate", "bad.py")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr
    found = call(folder, "environment", "migrate", "bad.py", "--json")
    error = json.loads(found.stdout[found.stdout.index("{") :])["error"]
    assert (error["kind"], error["exit_code"], found.returncode) == ("InvalidSpec", 2, 2)


def test_help_loads_nothing_that_rewrites(folder: Path) -> None:
    program = "import sys, metaflow.cmd.main_cli as m\ntry:\n    m.main(['env', '--help'])\nexcept SystemExit: pass\nprint([n for n in ('libcst', 'rattler', 'ruamel') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "USER": "t"},
        timeout=60,
    )
    assert done.stdout.rstrip().endswith("[]"), done.stdout + done.stderr
