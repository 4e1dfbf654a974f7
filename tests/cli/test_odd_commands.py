"""Command lines that are typed wrong, or that name what is no ordinary file: nothing is lost, and one sentence says why."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mfenv.cli import finding
from mfenv.errors import InvalidSpec

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran


def call(flows: Flows, *arguments: str | Path) -> Ran:
    return flows.call(flows.python, "-m", "mfenv.cli", "environment", *arguments)


@pytest.fixture
def named(flows: Flows) -> Flows:
    """A project with the environment ``team/odd``."""
    call(flows, "resolve", "--pypi-pkg", "six==1.16", "--alias", "team/odd").succeeded()
    return flows


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "team/odd", "--"), "Missing argument '-- COMMAND...'"),
        (("list", "--limit", "-1"), "Invalid value for '--limit'"),
        (("resolve", "--lock", "wishes.txt"), "--lock: `wishes.txt` is not a lock file"),
        (("resolve", "-r", "nowhere.txt"), "on a command line at the working directory"),
        (("import", "pylock.toml"), "pylock.toml: this is not TOML"),
    ],
)
def test_what_means_nothing_is_refused(flows: Flows, arguments: tuple[str, ...], words: str) -> None:
    (flows.folder / "wishes.txt").write_text("six\n")
    (flows.folder / "pylock.toml").write_text("lock-version = [")
    ran = call(flows, *arguments)
    assert (ran.code, "Traceback" in ran.text, words in ran.stderr) == (2, False, True)


def test_an_empty_place_is_not_the_shared_environment(named: Flows) -> None:
    """As of a variable of a script that is not set: the user would change what all steps run in."""
    for option in ("--name", "--into-dir"):
        ran = call(named, "create", "team/odd", option, "")
        assert (ran.code, ran.stdout, f"{option}: `` " in ran.stderr) == (2, "", True)


def test_an_environment_of_ones_own_is_found_and_as_locked_however_its_path_is_written(named: Flows) -> None:
    flows = named.with_own_environments()
    call(flows, "create", "team/odd", "--name", "mine").succeeded()
    place = flows.local_path / "envs" / "mine"
    roundabout = flows.local_path / "envs" / ".." / "envs" / "mine"
    ran = call(flows, "run", roundabout, "--", "python", "-c", "import sys; print(sys.prefix)").succeeded()
    assert ran.stdout == f"{place}\n"
    said = json.loads(call(flows, "verify", "--prefix", roundabout, "--json").succeeded().stdout)
    assert (said["differences"], said["prefix"]["by_own_records"]) == ([], [])
    call(flows, "create", "team/odd", "--into-dir", f"../{flows.folder.name}/folder").succeeded()
    ran = call(flows, "run", "./folder", "--", "python", "-c", "import sys; print(sys.prefix)").succeeded()
    assert ran.stdout == f"{flows.folder / 'folder' / '__conda_python'}\n"
    (place / "notes.txt").write_text("mine")
    told = call(flows, "verify", "--prefix", place)
    assert (told.code, "--repair removes all of it, also what you put there" in told.stderr) == (5, True)
    repaired = call(flows, "verify", "--prefix", place, "--repair").succeeded()
    assert "make it again with `metaflow environment create`" in repaired.stderr


def test_what_is_no_file_is_never_replaced_by_one(named: Flows) -> None:
    """Who is root could replace the machine's devices."""
    pipe, link, real = (named.folder / name for name in ("pipe", "link", "real"))
    os.mkfifo(pipe)
    link.symlink_to(real)
    real.write_text("before")
    ran = call(named, "pack", "team/odd", "team/odd:latest", "-o", "pipe", "--force")
    assert (ran.code, "`pipe` is not a file, and stays as it is" in ran.stderr) == (2, True)
    said = json.loads(call(named, "pack", "team/odd", "team/odd", "-o", "link", "--force", "--json").succeeded().stdout)
    assert (link.is_symlink(), real.stat().st_size) == (True, said["size"])

    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        call(named, "export", "team/odd", "--format", "requirements.txt", "-o", "pipe").succeeded()
        written = os.read(reading, 1 << 16).decode()
    finally:
        os.close(reading)
    assert ("six==1.16.0" in written, pipe.is_fifo()) == (True, True)
    call(named, "export", "team/odd", "--format", "requirements.txt", "-o", "link").succeeded()
    assert (link.is_symlink(), real.read_text()) == (True, written)
    ran = call(named, "export", "team/odd", "--format", "requirements.txt", "-o", "absent/x")
    assert (ran.code, "there is no folder" in ran.stderr, (named.folder / "absent").exists()) == (2, True, False)


def test_whom_to_ask_for_runs_is_told_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(provider: str) -> None:
        raise ValueError(f"Metaflow service [{provider.partition('@')[2]}] unreachable.")

    monkeypatch.setattr("metaflow.metadata", unreachable)
    with pytest.raises(InvalidSpec) as refused:
        finding._ask("service@https://me:canary@example.org/service")
    assert (refused.value.message, refused.value.output) == (
        "--metadata: `service@https://example.org/service` cannot be asked",
        "Metaflow service [https://example.org/service] unreachable.",
    )
