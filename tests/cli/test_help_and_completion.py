"""Help is there whatever is configured, and shells complete the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from metaflow._vendor import click

from mfenv.cli.commands import environment
from mfenv.cli.commands.debug import debug

_COMMANDS = {
    **{f"environment {name}": one for name, one in environment.commands.items()},
    "debug task": debug.commands["task"],
}


def _run(arguments: list[str], variables: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    program = "from metaflow.cmd.main_cli import start; start()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={"PATH": os.environ["PATH"], **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_has_help_with_an_example_of_itself(name: str) -> None:
    command = _COMMANDS[name]
    text = command.get_help(click.Context(command, info_name=f"metaflow {name}"))
    assert f"Example: metaflow {name}" in " ".join(text.split())
    assert command.help


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"HOME": "/nonexistent"},
        {"METAFLOW_CONDA_CHANNELS": "not a channel://", "METAFLOW_CONDA_LOCAL_PATH": "\x01"},
        {"METAFLOW_DEFAULT_DATASTORE": "s3"},
    ],
    ids=["nothing", "no home", "bad settings", "store without a place"],
)
@pytest.mark.parametrize("arguments", [["environment"], ["env"], ["environment", "resolve"]])
def test_help_needs_nothing_that_is_configured(arguments: list[str], variables: dict[str, str], tmp_path: Path) -> None:
    done = _run([*arguments, "--help"], variables, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--help" in done.stdout


def test_help_loads_nothing_that_does_the_work() -> None:
    program = (
        "import sys\nfrom mfenv.cli.commands import cli\n"
        "cli(['environment', '--help'], standalone_mode=False)\n"
        "print([name for name in sys.modules if name.partition('.')[0] in {'rich', 'rattler', 'boto3'}"
        " or name.startswith(('mfenv.app', 'mfenv.store', 'mfenv.hydrate', 'mfenv.resolve'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "found"),
    [("environment sh", ["shell", "show"]), ("env his", ["history"]), ("environment resolve --dry", ["--dry-run"])],
)
def test_shells_are_told_what_can_come_next(words: str, found: list[str], tmp_path: Path) -> None:
    """As the script asks that `_METAFLOW_COMPLETE=source_bash metaflow` prints."""
    variables = {
        "_METAFLOW_COMPLETE": "complete_bash",
        "COMP_WORDS": f"metaflow {words}",
        "COMP_CWORD": str(len(words.split())),
    }
    program = "import sys; sys.argv = ['metaflow']; from metaflow.cmd.main_cli import start; start()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], **variables},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert sorted(done.stdout.split()) == found
