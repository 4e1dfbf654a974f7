"""Side-by-side measurement: the contestants take turns in one run, so that what the machine does meanwhile hits all."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from mfenv.testing.channel import built_channel

Seconds = float


@dataclass(frozen=True)
class Took:
    """How long something took on the clock, and the processor time that it and its children used."""

    clock: Seconds
    processor: Seconds


def alternate(contestants: Mapping[str, Callable[[], Took]], *, rounds: int) -> dict[str, list[Took]]:
    """Measure all contestants `rounds` times, each round in the reverse order of the last; the first is not counted."""
    names = list(contestants)
    for name in names:
        contestants[name]()
    results: dict[str, list[Took]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            results[name].append(contestants[name]())
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return results


def report(title: str, results: Mapping[str, Sequence[Took]], *, base: str) -> None:
    """Print smallest and middle values of each contestant, and all as multiples of those of `base`."""
    print(f"\n{title} ({len(results[base])} rounds, {os.cpu_count()} cores, Python {sys.version.split()[0]})")
    width = max(map(len, results))
    print(f"  {'':{width}} {'clock':>22} {'processor':>30}")
    print(f"  {'':{width}} {'min':>7} {'x':>6} {'median':>7} {'x':>6}   {'min':>7} {'x':>6} {'median':>7} {'x':>6}")
    for name in results:
        cells = []
        for kind in ("clock", "processor"):
            for middle in (min, statistics.median):
                value, other = (middle([getattr(took, kind) for took in results[key]]) for key in (name, base))
                cells.append(f"{value:6.3f}s {value / other:6.3f}")
        print(f"  {name:{width}} {' '.join(cells[:2])}   {' '.join(cells[2:])}")
    sys.stdout.flush()


def took(command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> Took:
    """Run a command that must succeed, and return what it took."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), monotonic()
    done = subprocess.run(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    ended, after = monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout.decode(errors='replace')}")
    return Took(ended - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def took_here(work: Callable[[], object]) -> Took:
    """Do some work in this process and in those that it starts, and return what it took."""
    before, began = _processor(), monotonic()
    work()
    return Took(monotonic() - began, _processor() - before)


def _processor() -> Seconds:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


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
