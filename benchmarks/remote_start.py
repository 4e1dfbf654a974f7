"""How a node gets from nothing to the step's first line: cold, again on the same node, and a hundred nodes at once.

The store is moto's S3 on loopback. A node is a folder and a process of a Python that has nothing installed, which runs
the bootstrap as a task's shell does. Nodes' folders are in memory where there is such a file system: how fast this
machine's disk makes files is not what is measured. Metaflow's own start comes on top, the same with and without us.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from measure import scratch

import mfenv
from mfenv.app import settings
from mfenv.app.sharing import Publication
from mfenv.app.wiring import Wiring
from mfenv.domain.assignment import Locked
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import EnvironmentSpec
from mfenv.formats import metadata_file
from mfenv.store.backends.s3 import S3ObjectClient
from mfenv.store.objects import ObjectBlobStore
from mfenv.testing.channel import built_channel
from mfenv.testing.remote.batch import Aws, aws
from mfenv.testing.remote.sandbox import Sandbox

BUCKET = "bench"
IMPORT = (
    "import time; t = time.perf_counter(); import pandas, sklearn.ensemble, scipy.stats; print(time.perf_counter() - t)"
)


@dataclass(frozen=True)
class Package:
    """An unpacked code package, as far as the bootstrap reads it."""

    folder: Path
    lock: LockedEnvironment


@contextmanager
def launched(folder: Path, server: Aws, *packages: str) -> Iterator[Package]:
    """Do what a launch does for a step with these packages."""
    here = settings.read({"CONDA_LOCAL_PATH": str(folder / "local"), "CONDA_CHANNELS": str(built_channel().path())}.get)
    store = ObjectBlobStore(S3ObjectClient(server.client("s3"), BUCKET, "metaflow/conda_env"))
    wiring = Wiring(here, project=folder / "project", open_store=lambda: store)
    host = Platform.host()
    spec = EnvironmentSpec(
        python=PythonConstraint.minor(3, 11),
        conda=tuple(MatchSpec(name=name) for name in packages),
        channels=here.channels,
    )
    request = ResolutionRequest(spec=spec, target=here.target(host))
    publication = Publication(wiring.sharer, wiring.toolchains, wiring.bytecode, [host])
    lock = wiring.locker("benchmark").resolve([request])[request]
    if not isinstance(lock, LockedEnvironment):
        sys.exit(str(lock))
    publication.start("F", "1", [lock])
    publication.wait()
    publication.wait_for_bytecode()
    step = Locked(request=request.key, lock=lock.id, platform=host)
    metadata = metadata_file.FlowMetadata(
        steps={"start": step},
        locks={lock.id: lock},
        store=wiring.store_location,
        toolchains=publication.toolchains(),
    )
    package = folder / f"package-{lock.id[:8]}"
    (package / ".mf_meta").mkdir(parents=True)
    (package / ".mf_meta" / "conda_v2.cnd").write_bytes(metadata_file.dump(metadata))
    yield Package(folder=package, lock=lock)
    publication.stop()
    wiring.close()


@contextmanager
def nodes() -> Iterator[Path]:
    """Give a folder for nodes, in memory if there is one."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(prefix="mfenv-nodes-", dir=place, ignore_cleanup_errors=True) as name:
        yield Path(name)


def start(package: Package, node: Path, server: Aws) -> tuple[float, str]:
    """Run the bootstrap on a node; return the seconds until the environment's Python runs, and its shell lines."""
    node.mkdir(exist_ok=True)
    environment = {
        **{name: value.replace("{node}", node.name) for name, value in server.container_variables.items()},
        "PATH": os.defpath,
        "PYTHONPATH": str(Path(mfenv.__file__).parents[1]),
        "MF_PATHSPEC": "F/1/start/1",
        "TMPDIR": str(node),
    }
    began = time.monotonic()
    done = subprocess.run(
        ["bash", "-c", f'E=$({sys.executable} -S -m mfenv.bootstrap); eval "$E"; python -c pass && echo "$E"'],
        env=environment,
        cwd=package.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{node.name}: exit code {done.returncode}\n{done.stderr}")
    return time.monotonic() - began, done.stdout


def imported(lines: str) -> float:
    """Return the seconds that importing takes in an environment."""
    done = subprocess.run(
        ["bash", "-c", f"{lines}\npython -B -c '{IMPORT}'"], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def cold_and_warm(folder: Path, place: Path, server: Aws, rounds: int) -> None:
    with launched(folder, server, "pandas", "scikit-learn", "requests", "boto3") as package:
        cold, warm, first, later = [], [], [], []
        for number in range(rounds):
            node = place / f"node-{number}"
            seconds, lines = start(package, node, server)
            cold.append(seconds)
            warm.append(start(package, node, server)[0])
            first.append(imported(lines))
            later.append(min(imported(lines) for _ in range(3)))
            if number == 0:
                (prefix,) = node.glob("*/envs/*")
                size = sum(
                    path.stat().st_size for path in prefix.rglob("*") if path.is_file() and not path.is_symlink()
                )
            shutil.rmtree(node)
        fetched = sum(artifact.size or 0 for artifact in package.lock.artifacts)
    print(
        f"pandas and scikit-learn: {len(package.lock.artifacts)} packages of {fetched / 1e6:.0f} MB, "
        f"{size / 1e6:.0f} MB unpacked"
    )
    for name, values in (
        ("cold node", cold),
        ("second task of a node", warm),
        ("first import", first),
        ("later import", later),
    ):
        print(f"  {name:24} min {min(values):6.3f} s   median {statistics.median(values):6.3f} s")
    print(f"  first import / later import {statistics.median(first) / statistics.median(later):.2f}x")
    if not shutil.which("micromamba"):
        print("  standard Metaflow's start needs micromamba, which is not here: not compared")


def many(folder: Path, place: Path, server: Aws, count: int, at_once: int) -> None:
    with launched(folder, server, "six") as package:
        before = len(server.served)
        began = time.monotonic()
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(lambda number: _one(package, place / f"many-{number}", server), range(count)))
        seconds = time.monotonic() - began
        served = [one for one in server.served[before:] if one.node.startswith("many-")]
    by_node = {node: [one for one in served if one.node == node] for node in {one.node for one in served}}
    sizes = {sum(one.sent for one in asked) for asked in by_node.values()}
    twice = [
        one for asked in by_node.values() for one, times in Counter(one.path for one in asked).items() if times > 1
    ]
    print(f"{count} nodes, {at_once} at once: {seconds:.1f} s, no failure")
    print(
        f"  bytes served: {len(by_node)} x {min(sizes) / 1e6:.1f} MB (at most {max(sizes) / 1e6:.1f} MB), "
        f"objects asked for again: {len(twice)}"
    )
    if len(by_node) != count or len(sizes) != 1 or twice:
        sys.exit("not each node asked for each object once")


def _one(package: Package, node: Path, server: Aws) -> None:
    start(package, node, server)
    shutil.rmtree(node)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=100)
    given = parser.parse_args()
    with scratch() as folder, nodes() as place, aws(Sandbox(folder)) as server:
        print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, nodes in {place.parent}")
        server.client("s3").create_bucket(Bucket=BUCKET)
        cold_and_warm(folder, place, server, given.rounds)
        many(folder, place, server, given.nodes, given.at_once)


if __name__ == "__main__":
    main()
