"""What activation scripts do, kept as data."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from mfenv.errors import HydrationFailed
from mfenv.hydrate import activation
from mfenv.hydrate.activation import Activation, activation_of


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LD_LIBRARY_PATH", "XDG_DATA_DIRS", "MFENV_TEST_A", "MFENV_TEST_B"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "envs" / "some env"
    (path / "etc" / "conda" / "activate.d").mkdir(parents=True)
    (path / "etc" / "conda" / "env_vars.d").mkdir(parents=True)
    (path / "bin").mkdir()
    return path


def script(prefix: Path, text: str, name: str = "a.sh") -> None:
    (prefix / "etc" / "conda" / "activate.d" / name).write_text(text)


def variables(prefix: Path, content: str, name: str = "a.json") -> None:
    (prefix / "etc" / "conda" / "env_vars.d" / name).write_text(content)


def given(prefix: Path) -> dict[str, str]:
    return {"CONDA_PREFIX": str(prefix), "CONDA_DEFAULT_ENV": prefix.name, "CONDA_SHLVL": "1"}


def usual(prefix: Path) -> Activation:
    return Activation(variables=given(prefix), around={"PATH": (f"{prefix}/bin:", "")})


def test_without_scripts_condas_own_variables_are_set(prefix: Path) -> None:
    assert activation_of(prefix) == usual(prefix)


def test_a_script_that_does_nothing_changes_nothing(prefix: Path) -> None:
    script(prefix, "")
    assert activation_of(prefix) == usual(prefix)


@pytest.mark.parametrize("value", ["plain", "two words", "line\nline\n", "a=b=c", "", "'\"$HOME`\\", "é", " "])
def test_values_are_kept_to_the_letter(prefix: Path, value: str) -> None:
    quoted = value.replace("'", "'\\''")
    script(prefix, f"export MFENV_TEST_A='{quoted}'")
    assert activation_of(prefix).variables == {**given(prefix), "MFENV_TEST_A": value}


def test_scripts_run_in_order_of_their_names_and_see_each_other(prefix: Path) -> None:
    script(prefix, 'export MFENV_TEST_A="$MFENV_TEST_A two"', "b.sh")
    script(prefix, "export MFENV_TEST_A=one", "a.sh")
    script(prefix, "export MFENV_TEST_A=never", "a.csh")
    assert activation_of(prefix).variables["MFENV_TEST_A"] == "one two"


def test_scripts_see_the_prefix_and_its_programs(prefix: Path) -> None:
    tool = prefix / "bin" / "mfenv-test-tool"
    tool.write_text("#!/bin/sh\necho from the tool\n")
    tool.chmod(0o755)
    script(prefix, 'export MFENV_TEST_A="$(mfenv-test-tool) in $CONDA_PREFIX"')
    assert activation_of(prefix).variables["MFENV_TEST_A"] == f"from the tool in {prefix}"


def test_what_a_script_unsets_is_not_set(prefix: Path) -> None:
    variables(prefix, json.dumps({"MFENV_TEST_A": "x", "MFENV_TEST_B": "y"}))
    script(prefix, "export MFENV_TEST_C=z", "a.sh")
    script(prefix, "unset MFENV_TEST_A MFENV_TEST_C", "b.sh")
    assert activation_of(prefix).variables == {**given(prefix), "MFENV_TEST_B": "y"}


def test_what_is_not_exported_is_not_set(prefix: Path) -> None:
    script(prefix, "MFENV_TEST_A=local")
    assert "MFENV_TEST_A" not in activation_of(prefix).variables


def test_what_is_printed_does_no_harm(prefix: Path) -> None:
    script(prefix, "echo MFENV_TEST_A=printed; printf 'MFENV_TEST_B=printed\\0'")
    assert activation_of(prefix) == usual(prefix)


def test_files_of_variables_are_read_in_order_and_scripts_come_after(prefix: Path) -> None:
    variables(prefix, json.dumps({"MFENV_TEST_A": "a", "MFENV_TEST_B": 1}), "a.json")
    variables(prefix, json.dumps({"MFENV_TEST_A": "b"}), "b.json")
    assert activation_of(prefix).variables == {**given(prefix), "MFENV_TEST_A": "b", "MFENV_TEST_B": "1"}
    script(prefix, 'export MFENV_TEST_A="$MFENV_TEST_A and more"')
    assert activation_of(prefix).variables["MFENV_TEST_A"] == "b and more"


@pytest.mark.parametrize("content", ["", "{", "[1]", '"x"'])
def test_a_file_of_variables_that_cannot_be_read_is_named(prefix: Path, content: str) -> None:
    variables(prefix, content)
    with pytest.raises(HydrationFailed, match=r"a\.json` does not hold variables as JSON: "):
        activation_of(prefix)


@pytest.mark.parametrize(
    ("text", "around"),
    [
        ("export LD_LIBRARY_PATH=/x:$LD_LIBRARY_PATH", ("/x:", "")),
        ("export LD_LIBRARY_PATH=$LD_LIBRARY_PATH:/x", ("", ":/x")),
        ("export LD_LIBRARY_PATH=/x:$LD_LIBRARY_PATH:/y", ("/x:", ":/y")),
        ('export LD_LIBRARY_PATH="/x${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"', ("/x:", "")),
    ],
)
def test_lists_of_folders_are_kept_around_what_will_be_there(
    prefix: Path, text: str, around: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/of/the/launch")
    script(prefix, text)
    found = activation_of(prefix)
    assert found.around == {"PATH": (f"{prefix}/bin:", ""), "LD_LIBRARY_PATH": around}
    assert "LD_LIBRARY_PATH" not in found.variables


@pytest.mark.parametrize(
    ("text", "around"),
    [
        ("export PATH=/x:$PATH", ("/x:{0}/bin:", "")),
        ("export PATH=$PATH:/x", ("{0}/bin:", ":/x")),
    ],
)
def test_folders_of_programs_are_kept_around_what_will_be_there(
    prefix: Path, text: str, around: tuple[str, str]
) -> None:
    script(prefix, text)
    before, after = around
    assert activation_of(prefix).around == {"PATH": (before.format(prefix), after)}


def test_a_list_that_is_set_anew_is_a_plain_variable(prefix: Path) -> None:
    script(prefix, "export LD_LIBRARY_PATH=/only")
    found = activation_of(prefix)
    assert found.variables == {**given(prefix), "LD_LIBRARY_PATH": "/only"}
    assert found.around == {"PATH": (f"{prefix}/bin:", "")}


@pytest.mark.parametrize("fault", ["false", "no-such-command-at-all", "exit 3", "set -e; false", "set -u; : $NOT_SET"])
def test_a_script_that_fails_stops_nobody_and_what_it_set_stays(prefix: Path, fault: str) -> None:
    script(prefix, f"export MFENV_TEST_A=before; {fault}")
    found = activation_of(prefix)
    assert found.variables == {**given(prefix), "MFENV_TEST_A": "before"}
    assert found.around == {"PATH": (f"{prefix}/bin:", "")}


def test_a_script_that_kills_its_shell_leaves_the_usual_activation(prefix: Path) -> None:
    script(prefix, "kill -9 $$")
    assert activation_of(prefix) == usual(prefix)


def test_a_script_that_loses_its_path_still_tells_what_it_set(prefix: Path) -> None:
    script(prefix, "export MFENV_TEST_A=1; unset PATH")
    assert activation_of(prefix).variables["MFENV_TEST_A"] == "1"


def test_a_script_that_hangs_is_an_error_with_its_output(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation, "_TIME_LIMIT", 0.5)
    script(prefix, "echo waiting for Godot; sleep 20")
    with pytest.raises(HydrationFailed) as caught:
        activation_of(prefix)
    assert caught.value.message == f"the activation scripts of `{prefix}` did not end within 0 seconds"
    assert caught.value.output == "waiting for Godot\n"


def test_the_launchers_own_variables_are_not_kept(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/launcher")
    monkeypatch.setenv("MFENV_TEST_B", "the launcher's")
    script(prefix, ":")
    assert activation_of(prefix) == usual(prefix)
    script(prefix, "export HOME=/elsewhere")
    assert activation_of(prefix).variables["HOME"] == "/elsewhere"


@pytest.mark.parametrize(
    ("before", "after", "current", "expected"),
    [
        ("/x:", "", {"L": "/a:/b"}, "/x:/a:/b"),
        ("", ":/y", {"L": "/a"}, "/a:/y"),
        ("/x:", ":/y", {"L": "/a"}, "/x:/a:/y"),
        ("/x:", ":/y", {}, "/x:/y"),
        ("/x:", "", {}, "/x"),
        ("", ":/y", {"L": ""}, "/y"),
    ],
)
def test_lists_are_put_around_the_value_there_is_or_stand_alone(
    before: str, after: str, current: dict[str, str], expected: str
) -> None:
    found = Activation(variables={"V": "1"}, around={"L": (before, after)}).apply(current)
    assert found == {"V": "1", "L": expected}


def test_applying_changes_neither_side(prefix: Path) -> None:
    current = {"PATH": "/usr/bin", "OTHER": "1"}
    found = usual(prefix).apply(current)
    assert found == {**given(prefix), "PATH": f"{prefix}/bin:/usr/bin"}
    assert current == {"PATH": "/usr/bin", "OTHER": "1"}


def test_it_survives_as_json() -> None:
    value = Activation(variables={"A": "é\n"}, around={"PATH": ("/x:", "")})
    assert Activation.load(json.loads(json.dumps(value.dump()))) == value


@pytest.mark.parametrize("value", [{}, {"variables": {}}, {"variables": [], "around": {}}, {"around": {"a": 1}}])
def test_what_is_no_activation_is_refused(value: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        Activation.load(value)


def test_a_process_gets_what_a_shell_would_have(prefix: Path) -> None:
    """The same script, sourced by a shell as conda does, and kept as data: the same environment."""
    text = 'export MFENV_TEST_A="$CONDA_PREFIX/share"; export XDG_DATA_DIRS="$CONDA_PREFIX/share:$XDG_DATA_DIRS"'
    script(prefix, text)
    current = {"PATH": os.environ["PATH"], "XDG_DATA_DIRS": "/usr/share"}
    shell = subprocess.run(
        ["/bin/sh", "-c", f'export PATH="$CONDA_PREFIX/bin:$PATH"; {text}; env -0'],
        env={**current, **given(prefix)},
        capture_output=True,
        check=True,
    )
    wanted = dict(entry.split("=", 1) for entry in shell.stdout.decode().split("\0") if entry)
    for name in ("_", "PWD", "OLDPWD", "SHLVL"):
        wanted.pop(name, None)
    assert {**current, **activation_of(prefix).apply(current)} == wanted
