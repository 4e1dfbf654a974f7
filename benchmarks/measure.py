"""Side-by-side measurement: the contestants take turns in one run, so that what the machine does meanwhile hits all."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from mfenv.testing.channel import built_channel

Seconds = float


def alternate(contestants: Mapping[str, Callable[[], Seconds]], *, rounds: int) -> dict[str, list[Seconds]]:
    """Measure all contestants `rounds` times, each round in the reverse order of the last; the first is not counted."""
    names = list(contestants)
    for name in names:
        contestants[name]()
    results: dict[str, list[Seconds]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            results[name].append(contestants[name]())
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return results


def report(title: str, results: Mapping[str, Sequence[Seconds]], *, base: str) -> None:
    """Print a table: smallest and middle value of each contestant, and both as multiples of those of `base`."""
    print(f"\n{title} ({len(results[base])} rounds, {os.cpu_count()} cores, Python {sys.version.split()[0]})")
    width = max(map(len, results))
    print(f"  {'':{width}}     min  median   min x  median x")
    for name, values in results.items():
        low, middle = min(values), statistics.median(values)
        ratios = low / min(results[base]), middle / statistics.median(results[base])
        print(f"  {name:{width}} {low:6.3f}s {middle:6.3f}s  {ratios[0]:6.3f}    {ratios[1]:6.3f}")
    sys.stdout.flush()


def wall(command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> Seconds:
    """Run a command that must succeed, and return how long it took."""
    began = monotonic()
    done = subprocess.run(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    took = monotonic() - began
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout.decode(errors='replace')}")
    return took


def cpu(command: Sequence[str], environment: Mapping[str, str]) -> Seconds:
    """Run a command that must succeed, and return the processor time that it and its children used."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall(command, environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def flow_environment(folder: Path) -> dict[str, str]:
    """Return variables for runs that keep all they make in `folder` and take packages from the local channel."""
    dropped = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "METAFLOW_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {
        "USER": os.environ.get("USER") or "benchmark",
        "METAFLOW_HOME": str(folder / "configuration"),
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder / "metaflow"),
        "METAFLOW_CONDA_LOCAL_PATH": str(folder / "local"),
        "METAFLOW_CONDA_CHANNELS": built_channel().url(),
    }


@contextmanager
def scratch():
    """Give a folder for one benchmark, and remove it afterwards."""
    with TemporaryDirectory(prefix="mfenv-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)
