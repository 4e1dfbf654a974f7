"""`metaflow environment migrate`, as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

OLD = 'from metaflow import FlowSpec, pip, step\n\nclass F(FlowSpec):\n    @pip(packages={"a": "1"})  # why\n    @step\n    def start(self): ...\n'
NEW = OLD.replace("pip", "pypi")
UNSURE = "from metaflow import conda\n\n@conda(pip_packages=X)\ndef f(): ...\n"


def run(command: list[str | Path], folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "USER": "tester", **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


def call(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run([Path(sys.executable).with_name("metaflow"), *arguments], folder, variables)


def document(folder: Path, *arguments: str, **variables: str) -> tuple[int, Any]:
    """What a program gets: all of standard output is one JSON document."""
    command = [sys.executable, "-m", "mfenv.cli", "environment", "migrate", "--json", *arguments]
    done = run([*command], folder, variables)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flow.py").write_text(OLD)
    return tmp_path


@pytest.mark.parametrize("group", ["environment", "env"])
def test_changes_are_shown_and_nothing_is_written(folder: Path, group: str) -> None:
    done = call(folder, group, "migrate", "flow.py")
    assert (done.returncode, done.stderr) == (0, "Nothing was written: add --write to make these changes.\n")
    assert done.stdout.partition("\n\n")[2] == (
        "--- flow.py\n+++ flow.py\n@@ -1,6 +1,6 @@\n"
        "-from metaflow import FlowSpec, pip, step\n+from metaflow import FlowSpec, pypi, step\n \n class F(FlowSpec):\n"
        '-    @pip(packages={"a": "1"})  # why\n+    @pypi(packages={"a": "1"})  # why\n     @step\n     def start(self): ...\n'
    )
    assert (folder / "flow.py").read_text() == OLD


def test_changes_are_written_when_asked_for(folder: Path) -> None:
    done = call(folder, "environment", "migrate", "flow.py", "--write")
    assert (done.returncode, done.stderr, (folder / "flow.py").read_text()) == (0, "flow.py: rewritten\n", NEW)
    assert call(folder, "environment", "migrate", "flow.py", "--write").stderr == "flow.py: nothing to rewrite\n"


def test_a_check_fails_while_there_are_changes_to_make(folder: Path) -> None:
    codes = [
        call(folder, "environment", "migrate", "--check", *more, "flow.py").returncode for more in ([], ["--write"], [])
    ]
    assert codes == [1, 0, 0]


def test_what_is_left_is_said_with_its_place(folder: Path) -> None:
    (folder / "other.py").write_text(UNSURE)
    done = call(folder, "environment", "migrate", "--check", "other.py")
    left = "@conda: whether `X` is a dictionary cannot be seen here; `@pypi(packages=...)` takes no list"
    assert (done.returncode, done.stderr) == (
        0,
        f"other.py: nothing to rewrite\nother.py:3:1: left as it is: {left}\n",
    )


def test_settings_are_told_wherever_they_are_set(folder: Path) -> None:
    (folder / ".metaflow").mkdir()
    (folder / ".metaflow" / "config.json").write_text('{"METAFLOW_CONDA_SYS_MARKERS": {"linux-64": {}}}')
    (folder / "home").mkdir()
    (folder / "home" / "config_mine.json").write_text('{"METAFLOW_CONDA_USE_FAST_INIT": true}')
    variables = {"METAFLOW_HOME": str(folder / "home"), "METAFLOW_PROFILE": "mine", "METAFLOW_CONDA_TEST": "1"}
    done = call(folder, "environment", "migrate", "flow.py", "--write", **variables)
    assert done.stderr.splitlines()[1:] == [
        "setting METAFLOW_CONDA_USE_FAST_INIT: no longer needed: nothing has to be installed beside this package",
        "setting METAFLOW_CONDA_SYS_MARKERS: no longer needed: markers are evaluated for the machine that a step runs on",
        "setting METAFLOW_CONDA_TEST: no longer needed: the local datastore works as any other",
    ]


def test_programs_get_one_document(folder: Path) -> None:
    (folder / "other.py").write_text(UNSURE)
    code, found = document(folder, "flow.py", "other.py", METAFLOW_CONDA_TEST="1")
    diff = call(folder, "env", "migrate", "flow.py").stdout.partition("\n\n")[2]
    note = {
        "line": 3,
        "column": 1,
        "message": "@conda: whether `X` is a dictionary cannot be seen here; `@pypi(packages=...)` takes no list",
    }
    assert (code, found) == (
        0,
        {
            "files": [
                {"file": "flow.py", "changed": True, "written": False, "diff": diff, "notes": []},
                {"file": "other.py", "changed": False, "written": False, "diff": "", "notes": [note]},
            ],
            "settings": ["METAFLOW_CONDA_TEST: no longer needed: the local datastore works as any other"],
        },
    )


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (b"\xff\xfe", "`bad.py` is not a text in UTF-8", "Save it as UTF-8"),
        (b"def f(:\n", "bad.py:1:7: this is not Python that can be read (invalid syntax)", "Correct it first, until Python itself can read it"),
        (None, "`bad.py` cannot be read: No such file or directory", "Name the Python file of a flow"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_and_the_others_are_rewritten(
    folder: Path, content: bytes | None, message: str, hint: str
) -> None:
    if content is not None:
        (folder / "bad.py").write_bytes(content)
    done = call(folder, "environment", "migrate", "bad.py", "flow.py")
    shown = f"error: {message}\n\nhint: {hint}\n"
    assert (done.returncode, done.stderr) == (2, f"Nothing was written: add --write to make these changes.\n{shown}")

    code, found = document(folder, "--write", "bad.py", "flow.py")
    error = {"kind": "InvalidSpec", "message": message, "hint": hint, "output": "", "exit_code": 2}
    assert (code, found["error"], found["files"][0]) == (2, error, {"file": "bad.py", "error": error})
    assert (found["files"][1]["file"], found["files"][1]["written"]) == ("flow.py", True)
    assert (folder / "flow.py").read_text() == NEW


def test_what_the_terminal_cannot_show_is_escaped(folder: Path) -> None:
    (folder / "flow.py").write_text(f"# \N{SNOWMAN}\n{OLD}", encoding="utf-8")
    done = call(folder, "environment", "migrate", "flow.py", PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "Nothing was written: add --write to make these changes.\n")
    assert " # \\u2603\n" in done.stdout


def test_the_help_has_an_example_and_the_codes(folder: Path) -> None:
    done = call(folder, "environment", "migrate", "--help")
    assert done.returncode == 0
    assert "Example: metaflow environment migrate flow.py --write" in done.stdout
    assert "Ends with code 0" in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["env", "--help"], ["environment", "migrate", "--help"]])
def test_nothing_heavy_is_loaded_before_a_command_runs(arguments: list[str], folder: Path) -> None:
    program = (
        "import atexit, sys\n"
        "from metaflow.cmd.main_cli import start\n"
        "heavy = ('libcst', 'rattler', 'ruamel', 'packaging', 'mfenv.app', 'mfenv.migrate', 'mfenv.domain')\n"
        "atexit.register(lambda: print([name for name in heavy if name in sys.modules]))\n"
        "sys.argv = ['metaflow', *sys.argv[1:]]\n"
        "start()"
    )
    done = run([sys.executable, "-c", program, *arguments], folder, {})
    assert done.returncode == 0
    assert "Usage: metaflow" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
