"""How the product takes large work, each as a curve: many steps, wide foreaches, large requests, huge channels.

Each line of a table is a process of its own. What counts is that the last columns do not grow from line to line: the
work of twice as much is twice as much.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from environments import settle_channel
from measure import flow_environment, scratch

from mfenv.app import settings
from mfenv.app.wiring import Wiring
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import SpecLayer, complete
from mfenv.testing.channel import ChannelServer
from mfenv.testing.channel.synthetic import SyntheticChannel

SMALL = ("six", "idna", "click", "tqdm", "attrs", "filelock", "tenacity", "tabulate", "cachetools", "itsdangerous")

STEPS = """
from metaflow import FlowSpec, conda, step

class Steps(FlowSpec):
    @step
    def start(self):
        self.next(self.s0)
{steps}
    @step
    def end(self):
        pass

if __name__ == "__main__":
    Steps()
"""

STEP = """
    @conda(packages={packages!r})
    @step
    def s{number}(self):
        self.next(self.{next})
"""

FOREACH = """
from metaflow import FlowSpec, step

class Wide(FlowSpec):
    @step
    def start(self):
        self.numbers = list(range({width}))
        self.next(self.work, foreach="numbers")

    @step
    def work(self):
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    Wide()
"""


def steps(folder: Path, sizes: Sequence[int]) -> None:
    """Flows of many steps in a quarter as many environments: what the launch takes, and what all takes."""
    print("\nSteps in a quarter as many environments (first run: all are resolved and made; second: nothing is new)")
    print("  steps  environments  first launch  x per env.   second launch  a step's time  launcher's memory")
    for size in sizes:
        here = folder / f"steps-{size}"
        here.mkdir()
        (here / "flow").mkdir()
        flow = here / "flow" / "flow.py"
        flow.write_text(_many_steps(size))
        first, second = (_run(flow, here, ["--max-workers", "2"]) for _ in range(2))
        environments = max(1, size // 4)
        print(
            f"  {size:5}  {environments:12}  {first.launch:11.2f}s  {first.launch / environments:9.3f}s"
            f"  {second.launch:13.2f}s  {(second.total - second.launch) / (size + 2):12.3f}s"
            f"  {second.memory:14.0f} MB",
            flush=True,
        )


def _many_steps(size: int) -> str:
    texts = []
    for number in range(size):
        # Which of ten packages are in is the number of the environment in binary.
        environment = number % max(1, size // 4) + 1
        packages = {name: "" for place, name in enumerate(SMALL) if environment >> place & 1}
        after = f"s{number + 1}" if number + 1 < size else "end"
        texts.append(STEP.format(packages=packages, number=number, next=after))
    return STEPS.format(steps="".join(texts))


def foreach(folder: Path, sizes: Sequence[int]) -> None:
    """Foreaches over one environment: what the launcher takes for each task, with and without environments."""
    print("\nA foreach over one environment, and the same flow without (launcher: its own processor time and memory)")
    print("  tasks  environment    launch     total   a task's time  launcher, a task  launcher's memory")
    for size in sizes:
        here = folder / f"foreach-{size}"
        here.mkdir()
        (here / "flow").mkdir()
        flow = here / "flow" / "flow.py"
        flow.write_text(FOREACH.format(width=size))
        for name, options in (("conda", ["--environment=conda"]), ("none", [])):
            done = _run(flow, here, ["--max-workers", "4", "--max-num-splits", str(size)], options)
            each = (done.total - done.launch) / size
            print(
                f"  {size:5}  {name:11}  {done.launch:7.2f}s  {done.total:7.1f}s  {each:12.3f}s"
                f"  {1000 * done.processor / size:13.1f} ms  {done.memory:14.0f} MB",
                flush=True,
            )


class Ran:
    """What a run of a flow took: until its first task was there, in all (seconds), and its launcher itself."""

    def __init__(self, launch: float, total: float, processor: float, memory: float) -> None:
        self.launch, self.total, self.processor, self.memory = launch, total, processor, memory


def _run(flow: Path, folder: Path, arguments: Sequence[str], options: Sequence[str] = ("--environment=conda",)) -> Ran:
    # Apart from the flow's folder, which Metaflow packages.
    state = folder / "state"
    state.mkdir(exist_ok=True)
    command = [sys.executable, str(flow), *options, "run", *arguments]
    began = time.monotonic()
    first = 0.0
    with subprocess.Popen(
        command,
        env=flow_environment(state),
        cwd=flow.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        lines, usage = [], (0.0, 0.0)
        for line in process.stdout or ():
            lines.append(line)
            if not first and "Task is starting" in line:
                first = time.monotonic() - began
            if "Task is starting" in line or "Task finished" in line:
                usage = _usage(process.pid) or usage
    if process.returncode:
        sys.exit("".join(lines[-30:]))
    return Ran(first, time.monotonic() - began, *usage)


def _usage(pid: int) -> tuple[float, float] | None:
    """Return a process's own processor time in seconds, and the most memory that it had, in megabytes."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    most = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), most / 1024


def packages(folder: Path, sizes: Sequence[int]) -> None:
    """Requests of many packages against one large channel."""
    channel = SyntheticChannel(names=10_000, records=160_000)
    channel.write(folder / "large", sharded=True)
    print(f"\nA request of many packages (a channel of {channel.names:,} names, {channel.records:,} records, sharded)")
    print("  asked for  resolved   cold      x per pkg   again   worker's memory")
    with ChannelServer(folder) as server:
        for size in sizes:
            found = _apart("resolve", server.channel_url("large"), str(size), str(channel.names))
            each = 1000 * found["cold"] / found["packages"]
            print(
                f"  {size:9}  {found['packages']:8}  {found['cold']:5.2f}s  {each:8.1f} ms"
                f"  {found['again']:5.2f}s  {found['memory']:12.0f} MB",
                flush=True,
            )


def channels(folder: Path, sizes: Sequence[int]) -> None:
    """A request of ten packages against channels up to the size of the largest there is."""
    print("\nTen packages from a channel (records: the index's; cold: nothing is cached; again: the index is)")
    print("  names    records   index     cold    x per 100,000   again   worker's memory")
    for size in sizes:
        for sharded in (False, True):
            channel = SyntheticChannel(names=size, records=size * 50 // 3)
            name = f"{size}-{'shards' if sharded else 'whole'}"
            channel.write(folder / name, sharded=sharded)
            with ChannelServer(folder) as server:
                found = _apart("resolve", server.channel_url(name), "10", str(size))
            print(
                f"  {size:6,}  {channel.records:8,}  {'sharded' if sharded else 'whole  '}  {found['cold']:6.2f}s"
                f"  {100_000 * found['cold'] / channel.records:13.2f}s  {found['again']:5.2f}s"
                f"  {found['memory']:12.0f} MB",
                flush=True,
            )


def _apart(*arguments: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def resolve(channel: str, count: int, names: int) -> None:
    """Resolve in this process, twice; the second time by a new helper process, with what the first one cached."""
    with scratch() as folder:
        times = []
        for _ in range(2):
            values = {"CONDA_CHANNELS": channel, "CONDA_LOCAL_PATH": str(folder / "local")}
            wiring = Wiring(settings.read(values.get), project=folder / "store")
            request = _large_request(wiring, count, names)
            began = time.monotonic()
            answer = wiring.resolver.resolve(request)
            times.append(time.monotonic() - began)
            wiring.worker.close()
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(json.dumps({"cold": times[0], "again": times[1], "packages": len(answer.packages), "memory": memory}))


def _large_request(wiring: Wiring, count: int, names: int) -> ResolutionRequest:
    numbers = range(names - 1, 0, -max(1, names // (count + 1)))
    wanted = [SyntheticChannel(names=names, records=names).name(number) for number in list(numbers)[:count]]
    spec = complete(
        SpecLayer(conda=tuple(MatchSpec.parse(name, "", where="benchmark") for name in wanted)),
        default_python=PythonConstraint.minor(3, 12),
        default_channels=wiring.settings.channels,
        needs=(),
    )
    return ResolutionRequest(spec=spec, target=wiring.settings.target(Platform.host()))


PARTS: dict[str, tuple[Callable[[Path, Sequence[int]], None], tuple[int, ...]]] = {
    "steps": (steps, (25, 50, 100, 200)),
    "foreach": (foreach, (250, 500, 1000, 2000)),
    "packages": (packages, (10, 30, 100, 300)),
    "channels": (channels, (3_000, 10_000, 30_000)),
}


def main() -> None:
    if sys.argv[1:2] == ["resolve"]:
        resolve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="by default all")
    parser.add_argument("--sizes", type=int, nargs="+", help="other sizes than those of the tables")
    options = parser.parse_args()
    settle_channel()
    for name in options.parts or PARTS:
        measure, sizes = PARTS[name]
        with scratch() as folder:
            measure(folder, options.sizes or sizes)


if __name__ == "__main__":
    main()
