"""How often a process that solves and installs ends badly: many in a row, each fresh, two at a time.

With `--in-process`, py-rattler runs in the process itself, as it does not in this package: for comparison.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

from environments import request_for, settle_channel, wiring_in
from measure import scratch

PARALLEL = 2


def once(folder: Path) -> int:
    """Solve and install; return the exit code of the helper process."""
    wiring = wiring_in(folder / "local", folder / "store")
    request = request_for(wiring, "itsdangerous")
    (lock,) = wiring.locker("benchmark").resolve([request]).values()
    if isinstance(lock, Exception):
        raise lock
    prefix = wiring.hydrator.hydrate(lock)
    subprocess.run([prefix.python, "-c", "import itsdangerous"], check=True)
    helper = wiring.worker._process._popen  # noqa: SLF001
    wiring.worker.close()
    return helper.returncode


def once_in_process(folder: Path) -> int:
    """Do the same with py-rattler in this very process, which then ends in the ordinary way."""
    import rattler

    wiring = wiring_in(folder / "local", folder / "store")
    request = request_for(wiring, "itsdangerous")

    async def solve_and_install() -> None:
        records = await rattler.solve(
            sources=[rattler.Channel(str(channel)) for channel in request.spec.channels],
            specs=[rattler.MatchSpec(f"{spec.name} {spec.version}") for spec in request.spec.match_specs],
            gateway=rattler.Gateway(cache_dir=folder / "local" / "repodata"),
            platforms=[request.target.platform.value, "noarch"],
            virtual_packages=[package.into_generic() for package in rattler.VirtualPackage.detect()],
        )
        await rattler.install(
            records, folder / "local" / "envs" / "one", cache_dir=folder / "local" / "pkgs", show_progress=False
        )

    asyncio.run(solve_and_install())
    return 0


def run(folder: Path, arguments: list[str]) -> str:
    for name in ("store", "local/envs", "local/locks", "local/staging"):
        shutil.rmtree(folder / name, ignore_errors=True)
    command = [sys.executable, __file__, "--once", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    if done.returncode:
        sys.stderr.write(done.stderr.decode(errors="replace"))
    return f"exit code {done.returncode}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--in-process", action="store_true", help="run py-rattler without the helper process")
    parser.add_argument("--once", type=Path, help="used by this script itself: one run in this folder")
    options = parser.parse_args()
    if options.once:
        return (once_in_process if options.in_process else once)(options.once)
    arguments = ["--in-process"] if options.in_process else []
    settle_channel()
    began = monotonic()
    with scratch() as folder, ThreadPoolExecutor(PARALLEL) as pool:
        # Each lane has its own caches and goes through its runs one after the other.
        lanes = [
            pool.submit(lambda lane: [run(lane, arguments) for _ in range(options.runs // PARALLEL)], folder / str(n))
            for n in range(PARALLEL)
        ]
        outcomes = collections.Counter(outcome for lane in lanes for outcome in lane.result())
    where = "in the process itself" if options.in_process else "in the helper process"
    print(f"\n{sum(outcomes.values())} runs of solve and install {where}, {monotonic() - began:.0f} seconds")
    for outcome, count in sorted(outcomes.items()):
        print(f"  {outcome}: {count}")
    # What is promised is none, so that this script can fail.
    return int(any(outcome != "exit code 0" for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
