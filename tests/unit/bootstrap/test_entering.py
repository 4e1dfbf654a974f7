"""The lines by which a shell enters an environment, evaluated by a real one; and which environments are ready."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfenv.bootstrap import activate

IDENTITY = ["request", "lock", "linux-64"]
HOSTILE = ["", " ", "'", '"', "a'b\"c", "$HOME", "$(exit 3)", "`exit 3`", "a\nb", "\n", "a;exit 3", "\\", "!", "*", "\t", "é\udcff"]  # fmt: skip


def entered(lines: str, environ: dict[str, str]) -> dict[str, str]:
    """Return the variables of a shell that evaluated `lines` as the commands of a task do it."""
    script = b'X=$(cat); eval "${X:-false}" || exit 9; exec env -0'
    done = subprocess.run(
        ["/bin/bash", "-c", script],
        input=lines.encode(errors="surrogateescape") + b"\n",
        env={os.fsencode(name): os.fsencode(value) for name, value in environ.items()},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    pairs = (os.fsdecode(line).partition("=") for line in done.stdout.split(b"\0") if line)
    return {name: value for name, _, value in pairs}


def marker(path: str, variables: dict[str, str], around: dict[str, list[str]] | None = None) -> dict[str, Any]:
    return {"path": path, "activation": {"variables": variables, "around": around or {}}}


def test_a_shell_gets_every_value_as_it_is() -> None:
    values = {f"V{number}": value for number, value in enumerate(HOSTILE)}
    around = {"PATH": ["/e n'v/bin:", ""], "EMPTY": ["a:", ":b"], "BOTH": ["<", ">"]}
    environ = {"PATH": "/usr/bin:/bin:/é\udcff", "BOTH": "$x'\n", "PYTHONHOME": "/image", "HOME": "/home"}
    found = entered(activate.lines(marker("/e n'v", values, around), IDENTITY, environ, "/ro ot"), environ)
    assert {name: found[name] for name in values} == values
    assert found["PATH"] == "/e n'v/bin:/usr/bin:/bin:/é\udcff"
    assert (found["EMPTY"], found["BOTH"]) == ("a:b", "<$x'\n>")
    assert {name: found[name] for name in found if name.startswith(("METAFLOW_", "PYTHON"))} == {
        "PYTHONNOUSERSITE": "1",
        "METAFLOW_CONDA_LOCAL_PATH": "/ro ot",
        "METAFLOW_MFENV_ENVIRONMENT_ID": json.dumps(IDENTITY),
        "METAFLOW_MFENV_PYTHON": "/e n'v/bin/python",
    }


@settings(max_examples=25, deadline=None)
@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_shell_gets_any_value_as_it_is(value: str) -> None:
    found = entered(activate.lines(marker("/e", {"V": value}), IDENTITY, {}, "/r"), {"PATH": "/usr/bin:/bin"})
    assert found["V"] == value


def test_a_name_that_is_none_is_left_out() -> None:
    names = ["a-b", "1a", "a b", "x;exit 3", "$(exit 3)", "a\nb", "A\n", "é", ""]
    lines = activate.lines(marker("/e", {**dict.fromkeys(names, "1"), "GOOD": "1"}), IDENTITY, {}, "/r")
    found = entered(lines, {"PATH": "/usr/bin:/bin"})
    assert {name for name in found if found[name] == "1"} - {"SHLVL", "PYTHONNOUSERSITE"} == {"GOOD"}


def test_a_shell_that_is_told_of_a_failure_fails() -> None:
    done = subprocess.run(["/bin/bash", "-c", f"{{ eval '{activate.FAILED}'; }} && echo went on"], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    return tmp_path


def test_an_environment_is_ready_when_its_marker_says_so(prefix: Path) -> None:
    right = {"schema": "mfenv/prefix/1", "lock": "lock", "path": str(prefix), "activation": {}}

    def ready(content: Any) -> Any:
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        (prefix / ".mfenv-ready").write_bytes(text)
        return activate.ready(str(prefix), "lock")

    assert activate.ready(str(prefix), "lock") is None
    assert ready(right) == right
    wrong: list[Any] = [{**right, name: "other"} for name in ("schema", "lock", "path")]
    for content in [*wrong, {}, [], None, 7, b"", b"{", b"\xff"]:
        assert ready(content) is None, content
    (prefix / "bin" / "python").unlink()
    assert ready(right) is None
