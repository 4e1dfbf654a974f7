"""How long it takes to solve and to make two environments when their packages are on this machine already.

Each round is a process of its own that has no lock and no environment; starting the helper process is part of the
first number. The files are hashed and the environments linked anew in each round.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from time import monotonic

from environments import request_for, settle_channel, wiring_in
from measure import scratch

from mfenv.app.hydrate import BackgroundHydration
from mfenv.testing.channel import built_channel

PACKAGES = ("boto3", "flask", "httpx", "rich", "pyyaml", "psutil", "tqdm", "cachetools", "msgpack-python", "attrs")


class Silent:
    def waiting(self, holder: str) -> None:
        pass

    def fetched(self, event: dict[str, object]) -> None:
        pass


def once(folder: Path) -> dict[str, float]:
    wiring = wiring_in(folder / "local", folder / "store")
    known = built_channel().versions[built_channel().running]
    names = [name for name in PACKAGES if name in known]
    requests = [request_for(wiring, *names, pandas=version) for version in built_channel().pandas_versions()[-2:]]
    began = monotonic()
    locks = list(wiring.locker("benchmark").resolve(requests).values())
    resolved = monotonic()
    if failed := [lock for lock in locks if isinstance(lock, Exception)]:
        raise failed[0]
    hydration = BackgroundHydration(wiring.hydrator, locks, Silent())
    hydration.start()
    for lock in locks:
        hydration.prefix(lock.id)
    created = monotonic()
    sizes = [len(lock.packages) for lock in locks]
    return {"resolve": resolved - began, "create": created - resolved, "packages": sizes}


def forget(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--once", type=Path, help="used by this script itself: one round in this folder")
    options = parser.parse_args()
    if options.once:
        print(json.dumps(once(options.once)))
        return
    settle_channel()
    with scratch() as folder:
        results: dict[str, list[float]] = {"resolve": [], "create": []}
        for number in range(options.rounds + 1):
            forget(folder, ["store", "local/envs", "local/locks", "local/staging"])
            command = [sys.executable, __file__, "--once", str(folder)]
            took = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
            # The first round fills the caches.
            for name in results if number else ():
                results[name].append(took[name])
    print(f"\nTwo environments of {took['packages']} packages, warm caches ({options.rounds} rounds)")
    for name, values in results.items():
        print(f"  {name}: min {min(values):.2f}s, median {statistics.median(values):.2f}s, max {max(values):.2f}s")


if __name__ == "__main__":
    main()
