"""What people and programs read when something goes wrong, whatever it is."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest
from metaflow.exception import MetaflowException

from mfenv import errors
from mfenv.cli.render import spoken

_KINDS = {
    errors.EnvironmentsError: 1,
    errors.InvalidSpec: 2,
    errors.ResolutionFailed: 3,
    errors.LockError: 4,
    errors.StoreError: 5,
    errors.HydrationFailed: 6,
    errors.ToolNotFound: 7,
    errors.PolicyViolation: 8,
    errors.WorkerDied: 6,
}

_SPACE = "Free some space there; `metaflow environment gc` shows what nobody needs any more"
_PERMISSIONS = "Check who may read and write there, or choose another folder with METAFLOW_CONDA_LOCAL_PATH"

FROM_ELSEWHERE = [
    (OSError(errno.ENOSPC, "No space left on device", "/envs/a"), "`/envs/a`: No space left on device", _SPACE),
    (PermissionError(errno.EACCES, "Permission denied", "/envs/a"), "`/envs/a`: Permission denied", _PERMISSIONS),
    (
        OSError(errno.EXDEV, "Invalid cross-device link", "/a", None, "/b"),
        "`/a` and `/b`: Invalid cross-device link",
        None,
    ),
    (OSError("https://me:canary@example.org/x is away"), "https://example.org/x is away", None),
    (TimeoutError(), "TimeoutError", None),
    (MetaflowException("Flow `F` is not known."), "Flow `F` is not known", None),
]


def _end(error: BaseException, *, as_json: bool) -> object:
    with pytest.raises(SystemExit) as ended, spoken(as_json=as_json):
        raise error
    return ended.value.code


def test_every_kind_of_error_is_in_the_table() -> None:
    """A kind that is added gets a line here, and so a code that is known."""
    found = {one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)}
    assert found == set(_KINDS)


@pytest.mark.parametrize(("kind", "code"), _KINDS.items())
def test_errors_have_the_code_of_their_kind_and_the_same_fields(
    kind: type[errors.EnvironmentsError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """People read them on stderr, programs on stdout."""
    assert _end(kind("`a` is no version", hint="Write 1", output="line"), as_json=False) == code
    assert tuple(capsys.readouterr()) == ("", "error: `a` is no version\n\n  | line\n\nhint: Write 1\n")
    assert _end(kind("`a` is no version", hint="Write 1", output="line"), as_json=True) == code
    said = capsys.readouterr()
    fields = {"message": "`a` is no version", "hint": "Write 1", "output": "line", "exit_code": code}
    assert (json.loads(said.out), said.err) == ({"error": {"kind": kind.__name__, **fields}}, "")


@pytest.mark.parametrize(("error", "message", "hint"), FROM_ELSEWHERE, ids=[case[1] for case in FROM_ELSEWHERE])
def test_what_the_system_and_metaflow_refuse_is_told_like_our_own_errors(
    error: Exception, message: str, hint: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the place, and without what must not be shown."""
    assert _end(error, as_json=True) == 1
    fields = {"kind": "EnvironmentsError", "message": message, "hint": hint, "output": "", "exit_code": 1}
    assert json.loads(capsys.readouterr().out) == {"error": fields}
    assert _end(error, as_json=False) == 1
    assert capsys.readouterr().err == f"error: {message}\n" + (f"\nhint: {hint}\n" if hint else "")


@pytest.mark.parametrize("as_json", [False, True])
def test_an_interrupt_is_quiet(capsys: pytest.CaptureFixture[str], *, as_json: bool) -> None:
    """The user knows about it; the code is the shell's."""
    assert _end(KeyboardInterrupt(), as_json=as_json) == 130
    assert tuple(capsys.readouterr()) == ("", "")


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    """Nobody could find it otherwise."""
    with pytest.raises(ZeroDivisionError), spoken(as_json=False):
        raise ZeroDivisionError


def test_an_error_is_told_elsewhere_when_programs_cannot_read_it() -> None:
    """As on a full disk, where the error is that of printing itself."""
    program = (
        "from mfenv.cli.render import spoken\nfrom mfenv.errors import InvalidSpec\n"
        "with spoken(as_json=True):\n    raise InvalidSpec('`a` is no version')"
    )
    with open(os.devnull, "rb") as unwritable:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-u", "-c", program], stdout=unwritable, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert (done.returncode, done.stderr) == (2, b"error: `a` is no version\n")


def test_a_reader_that_goes_away_ends_a_command_quietly() -> None:
    """As with `| head`."""
    reading, writing = os.pipe()
    os.close(reading)
    program = (
        "from metaflow._vendor import click\nfrom mfenv.cli.render import spoken\n"
        "with spoken(as_json=False):\n    print('kept back', end='')\n    click.echo('x' * 100_000)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")
