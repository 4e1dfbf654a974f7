"""What all tests with real flows share: the local channel, and a way to run a flow file as a user does."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from mfenv.testing.channel import LocalChannel, built_channel

# How long an example takes is told by benchmarks; here, the machine may be busy with other tests.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

_FACTS = re.compile(r"\[(?P<run>\w+)/(?P<step>\w+)/\S+ [^\]]*\] FACTS (?P<facts>\{.*\})$", re.MULTILINE)
_CREATING = re.compile(r"Creating Conda environment ([0-9a-f]{40}) \.\.\.$", re.MULTILINE)
_EXISTING = re.compile(r"Using existing Conda environment ([0-9a-f]{40})$", re.MULTILINE)
_RESOLVING = re.compile(r"Resolving (\d+) environments? \.\.\. (?:done|failed) in \d+\.\d seconds\.$", re.MULTILINE)

# In front of a flow's steps: `tell` prints a line that `Ran.facts` reads back.
PRELUDE = """
import json, os, sys
from metaflow import *

def tell(**facts):
    print("FACTS " + json.dumps({"prefix": sys.prefix, "python": sys.version.split()[0], **facts}))
"""


@dataclass(frozen=True)
class Ran:
    """What a program printed and how it ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout + self.stderr

    @property
    def created(self) -> list[str]:
        return _CREATING.findall(self.text)

    @property
    def existing(self) -> list[str]:
        return _EXISTING.findall(self.text)

    @property
    def resolved(self) -> int:
        """How many environments it said that it resolved."""
        return sum(map(int, _RESOLVING.findall(self.text)))

    @property
    def facts(self) -> dict[str, list[dict[str, Any]]]:
        """What the tasks told, by step."""
        told: dict[str, list[dict[str, Any]]] = {}
        for found in _FACTS.finditer(self.stdout):
            told.setdefault(found["step"], []).append(json.loads(found["facts"]))
        return told

    def fact(self, step: str) -> dict[str, Any]:
        """What the only task of `step` told."""
        (only,) = self.facts[step]
        return only

    @property
    def run_id(self) -> str:
        found = re.search(r"Workflow starting \(run-id (\w+)\)", self.text)
        assert found, self.text
        return found[1]

    def succeeded(self) -> Ran:
        """Itself, if the run went well."""
        assert self.code == 0, f"exit code {self.code}\n{self.text}"
        assert "Traceback" not in self.text, self.text
        return self

    def refused(self) -> str:
        """The error that it ended with: headline, message and hint, without Metaflow's progress lines."""
        assert self.code not in (0, None), self.text
        assert "Traceback" not in self.text, self.text
        assert "Workflow starting" not in self.text or "Workflow failed" in self.text, self.text
        return error_in(self.stderr + self.stdout)


def error_in(text: str) -> str:
    """The part of an output that is the error, with indentation and what differs from run to run taken out."""
    lines = [line.strip() for line in text.splitlines()]
    headlines = ("Environment", "Invalid environment", "Unusable lock", "Missing tool", "Incompatible environment")
    begin = next((i for i, line in enumerate(lines) if line.startswith(headlines) and line.endswith(":")), None)
    assert begin is not None, f"no error of ours:\n{text}"
    end = next((i for i in range(begin, len(lines)) if lines[i].startswith(("20", "Done!", "Metaflow 2"))), len(lines))
    shown = "\n".join(lines[begin:end]).strip()
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"\b[0-9a-f]{40,64}\b", "<hex>", shown))


@dataclass(frozen=True)
class Flows:
    """Runs flow files, each in a process of its own with nothing of ours or of Metaflow's in its surroundings."""

    folder: Path
    """Where flow files are written, and the working directory."""
    local_path: Path
    home: Path
    tmp: Path
    channel: LocalChannel
    variables: Mapping[str, str | None] = field(default_factory=dict)
    python: str = sys.executable

    def using(self, *, python: str | None = None, local_path: Path | None = None, **variables: str | None) -> Flows:
        """The same with other environment variables (None: without), another interpreter or other folders."""
        return replace(
            self,
            variables={**self.variables, **variables},
            python=python or self.python,
            local_path=local_path or self.local_path,
        )

    def with_own_environments(self) -> Flows:
        """The same with environments of its own, and the package caches of all."""
        local = self.folder.parent / "local"
        for name in ("archives", "pkgs", "repodata", "uv", "distributions"):
            (self.local_path / name).mkdir(exist_ok=True)
            local.mkdir(exist_ok=True)
            (local / name).symlink_to(self.local_path / name)
        return self.using(local_path=local)

    def write(self, body: str, name: str = "flow.py") -> Path:
        """Write a flow file: `body` is put behind `PRELUDE`, and the one flow class in it is run."""
        body = textwrap.dedent(body)
        found = re.search(r"^class (\w+)\(FlowSpec\)", body, re.MULTILINE)
        assert found, "no flow in it"
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{PRELUDE}\n{body}\n\nif __name__ == "__main__":\n    {found[1]}()\n', encoding="utf-8")
        return path

    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
        variables = {
            **kept,
            "HOME": str(self.home),
            "TMPDIR": str(self.tmp),
            "USER": "tester",
            "LANG": "C.UTF-8",
            "METAFLOW_CONDA_LOCAL_PATH": str(self.local_path),
            "METAFLOW_CONDA_CHANNELS": str(self.channel.path()),
            **self.variables,
        }
        return {name: value for name, value in variables.items() if value is not None}

    def start(self, *command: str | Path, cwd: Path | None = None, **options: Any) -> subprocess.Popen[str]:
        """Start a program, in a session of its own, so that all of it can be ended."""
        return subprocess.Popen(
            [*map(str, command)],
            cwd=cwd or self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )

    def call(self, *command: str | Path, cwd: Path | None = None, timeout: float = 120) -> Ran:
        process = self.start(*command, cwd=cwd)
        return finished(process, timeout=timeout)

    def command(self, flow: Path, *arguments: str, environment: str | None = "conda") -> list[str | Path]:
        chosen = [f"--environment={environment}"] if environment else []
        return [self.python, flow, "--no-pylint", *chosen, *arguments]

    def run(
        self,
        flow: Path | str,
        *arguments: str,
        environment: str | None = "conda",
        cwd: Path | None = None,
        before: tuple[str, ...] = (),
        timeout: float = 120,
    ) -> Ran:
        """Run a flow file, or the flow in a text; `before` are options that stand before ``run``."""
        path = self.write(flow) if isinstance(flow, str) else flow
        return self.call(
            *self.command(path, *before, "run", *arguments, environment=environment), cwd=cwd, timeout=timeout
        )

    def leftovers(self) -> list[str]:
        """What is half-made: prefixes without a marker, anything in staging, partial files, folders of runs."""
        root = self.local_path
        half = [p for p in (root / "envs").glob("*") if not (p / ".mfenv-ready").is_file()]
        half += (root / "staging").glob("*")
        # In a cache that is shared, what is half-made may be another test's, which is not done yet.
        if not (root / "archives").is_symlink():
            half += (root / "archives").rglob("*.part")
        half += self.tmp.glob("mfenv-*")
        return sorted(str(path) for path in half)


def finished(process: subprocess.Popen[str], *, timeout: float = 120) -> Ran:
    """Wait for a program that `Flows.start` started."""
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        pytest.fail(f"{process.args} did not end within {timeout} seconds\n{stdout}{stderr}")
    return Ran(code=process.returncode, stdout=stdout, stderr=stderr)


@pytest.fixture(scope="session")
def channel() -> LocalChannel:
    """The channel of this machine; the first of several processes builds it, the others wait."""
    return built_channel()


def pytest_configure(config: pytest.Config) -> None:
    """Metaflow would take a `.metaflow` above the tests' folders for the project of each of them."""
    base = Path(config.option.basetemp or tempfile.gettempdir()).absolute()
    for folder in (base, *base.parents):
        if (folder / ".metaflow").exists():
            raise pytest.UsageError(f"`{folder / '.metaflow'}` would be taken for the project of every test: remove it")


@pytest.fixture(scope="session")
def shared_local_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of environments and package caches for the whole session, workers of pytest-xdist included."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "local"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def flows(tmp_path: Path, channel: LocalChannel, shared_local_path: Path) -> Flows:
    """Runs flows with the session's environments and package caches; locks are its own, as they are in the folder."""
    made = Flows(
        folder=tmp_path / "work",
        local_path=shared_local_path,
        home=tmp_path / "home",
        tmp=tmp_path / "tmp",
        channel=channel,
    )
    for folder in (made.folder, made.home, made.tmp):
        folder.mkdir()
    return made


@pytest.fixture
def cold_flows(flows: Flows, tmp_path: Path) -> Flows:
    """Runs flows with no environment and no package there yet."""
    return flows.using(local_path=tmp_path / "local")
