"""What the shell of a remote task does before Metaflow can run: in a real shell, with and without a Python."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mfenv.domain.platform import Platform
from mfenv.errors import InvalidSpec
from mfenv.metaflow.environment import CondaEnvironment
from mfenv.metaflow.remote import program
from mfenv.metaflow.requirements import remote_platform

URLS = {"s3": "s3://bucket/code", "azure": "container/code", "gs": "gs://bucket/code"}


def command(kind: str, behind: str = "true") -> list[str]:
    """The command of a job, as Metaflow's schedulers put it together (2.16 to 2.19)."""
    commands = CondaEnvironment(None).get_package_commands(URLS[kind], kind, None)
    joined = " && ".join(["export MFLOG_STDOUT=$PWD/out MFLOG_STDERR=$PWD/err", *commands, behind])
    return shlex.split(f'bash -c "{joined}"')


def run(kind: str, folder: Path, *, tools: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(kind),
        cwd=folder,
        env={"PATH": str(tools), **variables},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """What a small image has: no Python."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("bash", "date", "tr", "mkdir", "tar", "printenv", "sleep"):
        found = next(
            Path(place) / name
            for place in [*os.defpath.split(":"), "/usr/bin", "/bin"]
            if (Path(place) / name).exists()
        )
        (folder / name).symlink_to(found)
    return folder


@pytest.mark.parametrize("kind", URLS)
def test_the_commands_are_good_bash(kind: str) -> None:
    words = command(kind)
    assert len(words) == 3
    subprocess.run(["bash", "-n", "-c", words[2]], check=True)
    # AWS Batch takes thirty kilobytes for a job, of which Metaflow needs a few.
    assert len(words[2]) < 16_000


def test_an_image_without_python_is_told_what_metaflow_needs(tmp_path: Path, tools: Path) -> None:
    done = run("s3", tmp_path, tools=tools)
    assert done.returncode == 1
    assert "This image has no Python. Metaflow needs Python 3.8 or later in it" in done.stdout
    assert "This image has no Python" in (tmp_path / "out").read_text()


def test_a_code_package_that_cannot_be_had_is_told_with_its_reason(tmp_path: Path, tools: Path) -> None:
    (tools / "python3").symlink_to(sys.executable)
    done = run(
        "s3",
        tmp_path,
        tools=tools,
        AWS_ACCESS_KEY_ID="any",
        AWS_SECRET_ACCESS_KEY="s3cret",
        METAFLOW_S3_ENDPOINT_URL="http://127.0.0.1:9",
    )
    assert done.returncode == 1
    said = (tmp_path / "out").read_text() + done.stdout + done.stderr
    assert "Failed to download the code package: `code` cannot be fetched from s3://bucket: " in said
    assert "Connection refused" in said
    assert "Traceback" not in said
    assert "s3cret" not in said


def test_where_nobody_knows_credentials_metaflows_own_way_is_taken(tmp_path: Path, tools: Path) -> None:
    (tools / "python3").symlink_to(sys.executable)
    # What Metaflow would install, and what it would fetch with.
    python = tools / "python"
    python.write_text('#!/bin/bash\necho "theirs: $1 $2 $3"; exit 7\n')
    python.chmod(0o755)
    nobody = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path), "PYTHONSAFEPATH": "1"}
    done = run("s3", tmp_path, tools=tools, **nobody)
    assert done.returncode == 7, done.stdout + done.stderr
    assert "theirs: -m pip install" in done.stdout


def test_the_program_that_travels_is_one_word() -> None:
    for kind in URLS:
        assert program(kind).isascii()
        assert shlex.quote(program(kind)) == program(kind)


def decorator(name: str, **attributes: Any) -> Any:
    return SimpleNamespace(name=name, attributes={}, **attributes)


@pytest.mark.parametrize(
    ("decorators", "expected"),
    [
        ([], None),
        ([decorator("resources"), decorator("retry")], None),
        ([decorator("batch")], Platform.LINUX_64),
        ([decorator("kubernetes", target_platform="linux-aarch64")], Platform.LINUX_AARCH64),
        ([decorator("theirs", supports_conda_environment=True)], Platform.LINUX_64),
        ([decorator("slurm")], None),
        ([decorator("mine", target_platform="osx-arm64")], Platform.OSX_ARM64),
    ],
)
def test_a_step_runs_where_its_decorators_say(decorators: list[Any], expected: Platform | None) -> None:
    assert remote_platform(decorators, ("batch", "kubernetes", "mine")) is expected


def test_a_platform_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="the platform of @kubernetes"):
        remote_platform([decorator("kubernetes", target_platform="vax")], ("kubernetes",))


def test_remote_tasks_run_in_their_environments_python_and_processes_of_tasks_in_their_own() -> None:
    environment = CondaEnvironment(None)
    assert environment.executable("start") == "${METAFLOW_MFENV_PYTHON:-python}"
    assert environment.executable("start", "/opt/python") == "${METAFLOW_MFENV_PYTHON:-/opt/python}"
    environment.is_task = True
    assert environment.executable("start", "/opt/python") == "/opt/python"
