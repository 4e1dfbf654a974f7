"""The demo: run a flow twice in environments of its own, and show what was made.

    python -m mfenv.testing.demo examples/hello_conda.py --state .demo

Packages come from the channel that METAFLOW_CONDA_CHANNELS names, else from conda-forge if it answers soon, else
from a channel that is built from this machine's interpreters and the Python package index.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.version import Version

from mfenv.domain.digest import Json
from mfenv.errors import EnvironmentsError
from mfenv.io.worker import WorkerClient

_PUBLIC_CHANNEL = "conda-forge"
_SECONDS_TO_ANSWER = 8.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; give the exit code of the flow."""
    parser = argparse.ArgumentParser(prog="python -m mfenv.testing.demo", description="Run a flow twice.")
    parser.add_argument("flow", type=Path)
    parser.add_argument("--state", type=Path, default=Path(".demo"), help="the folder for everything that is made")
    options = parser.parse_args(arguments)
    state = options.state.absolute()
    try:
        channel, versions = choose_channel(state)
        older, newer = two_of(versions)
    except EnvironmentsError as error:
        sys.stderr.write(f"error: {error.explain()}\n")
        return error.exit_code
    environment = _environment(state, channel)
    environment["HELLO_PANDAS_A"], environment["HELLO_PANDAS_B"] = older, newer

    for title in (
        f"First run: step `start` asks for pandas {older}, step `end` for pandas {newer}",
        "Second run: nothing changed, so nothing is resolved or created",
    ):
        _title(title)
        command = [sys.executable, str(options.flow), "--environment=conda", "run"]
        _say(f"$ python {options.flow} --environment=conda run")
        began = time.monotonic()
        code = subprocess.run(command, env=environment, stderr=subprocess.STDOUT, check=False).returncode
        if code:
            return code
        _say(f"-> {time.monotonic() - began:.1f} seconds")

    _title("What was made")
    for line in described(state):
        _say(line)
    _title("To look at")
    _say(f"{options.flow}: the flow")
    _say(f"{_shown(state / 'environments' / 'envs')}: the environments; each is an ordinary conda prefix")
    _say(f"{_shown(state / 'metaflow')}: the results of the runs, and the locks of the environments")
    _say("`make demo` again: how long an unchanged run takes; `make clean`: all of this gone")
    return 0


def choose_channel(state: Path) -> tuple[str, tuple[str, ...]]:
    """Return a channel that can be used here, and the versions of pandas that it has for this Python."""
    worker = WorkerClient({"versions": "mfenv.testing.demo_worker:versions"}, needs=("rattler",))

    def versions(channel: str, seconds: float) -> tuple[str, ...]:
        payload: dict[str, Json] = {
            "channel": channel,
            "name": "pandas",
            "cache": str(state / "repodata"),
            "seconds": seconds,
        }
        return tuple(worker.call("versions", payload))

    named = os.environ.get("METAFLOW_CONDA_CHANNELS")
    wanted = named or _PUBLIC_CHANNEL
    _title("Where packages come from")
    try:
        found = versions(wanted, 60.0 if named else _SECONDS_TO_ANSWER)
        _say(f"The channel {wanted}.")
    except EnvironmentsError:
        if named:
            raise
        _say("conda-forge does not answer here. Taking a channel made of this machine's Pythons and of wheels from")
        _say("the Python package index; building it takes a minute when that was not done before.")
        from mfenv.testing.channel import built_channel

        wanted = built_channel().url()
        found = versions(wanted, 60.0)
        _say(wanted)
    finally:
        worker.close()
    return wanted, tuple(sorted(found, key=Version))


def two_of(versions: Sequence[str]) -> tuple[str, str]:
    """Return the newest of `versions` and the newest of an older series, older first.

    >>> two_of(["2.1.4", "2.2.2", "2.2.3", "3.0.0", "3.1.0rc1"])
    ('2.2.3', '3.0.0')
    """
    released = sorted({Version(text): text for text in versions if not Version(text).is_prerelease}.items())
    series = {version.release[:2]: text for version, text in released}
    if len(series) < 2:
        raise EnvironmentsError(
            "the channel has fewer than two versions of pandas for this Python",
            hint="Try another: make clean demo PYTHON=python3.12",
        )
    older, newer = list(series.values())[-2:]
    return older, newer


def described(state: Path) -> Iterator[str]:
    """Yield lines about the environments below `state`, oldest first."""
    prefixes = sorted((state / "environments" / "envs").iterdir(), key=lambda path: path.stat().st_mtime)
    for prefix in prefixes:
        records = [json.loads(path.read_bytes()) for path in (prefix / "conda-meta").glob("*.json")]
        versions = {record["name"]: record["version"] for record in records}
        yield (
            f"{_shown(prefix)}: {len(versions)} packages, "
            f"Python {versions.get('python')}, pandas {versions.get('pandas')}"
        )


def _environment(state: Path, channel: str) -> dict[str, str]:
    """Return the variables to run a flow with, whatever this machine's Metaflow is configured for."""
    environment = {name: value for name, value in os.environ.items() if name != "METAFLOW_PROFILE"}
    environment |= {
        "METAFLOW_HOME": str(state / "configuration"),
        "METAFLOW_DEFAULT_DATASTORE": "local",
        "METAFLOW_DEFAULT_METADATA": "local",
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(state / "metaflow"),
        "METAFLOW_CONDA_LOCAL_PATH": str(state / "environments"),
        "METAFLOW_CONDA_CHANNELS": channel,
    }
    if not {"METAFLOW_USER", "SUDO_USER", "USERNAME", "USER"} & set(environment):
        environment["USER"] = "demo"
    return environment


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _title(text: str) -> None:
    _say(f"\n== {text}\n")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
