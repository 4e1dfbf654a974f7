"""How quick the command line is: help beside Metaflow's own, and looking at two stored environments of 200 packages.

What counts of show, tree, why and diff is what they take beyond Metaflow's own start.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from functools import partial

from measure import alternate, flow_environment, report, scratch, took

from mfenv.formats.lock_json import dump
from mfenv.testing.fakes import FakePackage, fake_lock

KEEP = """
import sys
from pathlib import Path
from mfenv.cli.finding import environments
from mfenv.formats import lock_json

with environments(local_only=True) as found:
    for name in sys.argv[1:]:
        found.wiring.locks.keep(lock_json.load(Path(name).read_bytes()))
"""


def packages(version: str) -> list[FakePackage]:
    """Return 200 packages that need each other; half of them with this version."""
    return [
        FakePackage(
            f"package-{n}",
            version=version if n % 2 else "1.0",
            depends=[f"package-{n // 2}", f"package-{n // 3}"] * (n > 3),
        )
        for n in range(1, 201)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    metaflow = [sys.executable, "-c", "from metaflow.cmd.main_cli import start; start()"]
    with scratch() as folder:
        variables = flow_environment(folder)
        one, other = (fake_lock(*packages(version)) for version in ("1.0", "2.0"))
        for lock in (one, other):
            (folder / f"{lock.id}.json").write_bytes(dump(lock))
        took([sys.executable, "-c", KEEP, *(f"{lock.id}.json" for lock in (one, other))], variables, folder)
        commands = {
            "metaflow --help": ["--help"],
            "environment --help": ["environment", "--help"],
            "show": ["environment", "show", one.id],
            "tree": ["environment", "tree", one.id],
            "why": ["environment", "why", one.id, "package-3"],
            "diff": ["environment", "diff", one.id, other.id],
        }
        contestants = {
            name: partial(took, [*metaflow, *arguments], variables, folder) for name, arguments in commands.items()
        }
        results = alternate(contestants, rounds=rounds)
    report("The command line", results, base="metaflow --help")
    start = statistics.median(one.clock for one in results["metaflow --help"])
    for name in ("show", "tree", "why", "diff"):
        beyond = statistics.median(one.clock for one in results[name]) - start
        print(f"  {name}: {beyond:.3f}s beyond Metaflow's start")


if __name__ == "__main__":
    main()
