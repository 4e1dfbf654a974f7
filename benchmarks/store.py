"""The shared store: what sharing costs when everything is there, and whether a long history costs anything.

Against S3, as moto speaks it on loopback, and against a folder: fifty environments of a hundred packages each, half of
them shared between all, looked at from a machine that knows nothing of them. And finding what a project uses for a
request, among ten requests and among ten thousand.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

from measure import Took, alternate, report, scratch, took_here

from mfenv.app.share import Sharer
from mfenv.app.supply import Supplier
from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.provenance import Provenance
from mfenv.hydrate.plan import archive_path
from mfenv.store.backends.local import LocalBlobStore
from mfenv.store.backends.s3 import S3ObjectClient
from mfenv.store.base import BlobStore
from mfenv.store.layout import Layout
from mfenv.store.locks import LockStore
from mfenv.store.objects import ObjectBlobStore
from mfenv.store.packages import PackageStore
from mfenv.store.project_index import Default, ProjectIndex
from mfenv.testing.fakes import FakePackage, fake_lock
from mfenv.testing.object_stores import Wire, s3_client, s3_server

ENVIRONMENTS, PACKAGES = 50, 100
TARGET = baseline(Platform.LINUX_64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds: int = parser.parse_args().rounds
    with scratch() as folder, ExitStack() as stack:
        wire = Wire(stack.enter_context(s3_server()))
        stack.callback(wire.close)
        client = s3_client(wire.port)
        client.create_bucket(Bucket="bench")
        stores: dict[str, BlobStore] = {
            "S3": ObjectBlobStore(S3ObjectClient(client, "bench", "env")),
            "folder": LocalBlobStore(folder / "store"),
        }
        locks = [environment(number) for number in range(ENVIRONMENTS)]
        for name, store in stores.items():
            machine(folder / f"first-{name}", store, locks).share(lock.id for lock in locks)
        again(folder, stores, locks, wire, rounds)
        checks(stores, locks, rounds)
        index(folder, rounds)


def environment(number: int) -> LockedEnvironment:
    """A hundred packages, of which every second is in all environments."""
    names = [f"p{n}" if n % 2 else f"e{number}-p{n}" for n in range(PACKAGES)]
    return fake_lock(*map(FakePackage, names), platform=Platform.LINUX_64)


def machine(folder: Path, store: BlobStore, locks: list[LockedEnvironment]) -> Sharer:
    """A machine whose project has the locks and whose cache has all files, and that knows nothing of the store."""
    archives = folder / "archives"
    own = LockStore(LocalBlobStore(folder / "own"), shared=lambda: store)
    for number, lock in enumerate(locks):
        made = Provenance(
            request=RequestKey(f"{number:040x}"),
            target=TARGET,
            resolver="fake",
            user="ana",
            time=datetime.now(timezone.utc),
        )
        own.keep(lock, made)
        for package in lock.packages:
            path = archive_path(package.artifact, archives)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(FakePackage(package.name).content)
    return Sharer(
        shared=lambda: store,
        locks=own,
        index=ProjectIndex(folder / "conda_v2.cnd"),
        layout=Layout(),
        archives=archives,
        fetch=lambda _: None,
        supplier=Supplier(lambda: PackageStore(store), archives, lock_timeout=60),
        now=lambda: datetime.now(timezone.utc),
    )


def again(folder: Path, stores: dict[str, BlobStore], locks: list[LockedEnvironment], wire: Wire, rounds: int) -> None:
    """Share, from another machine, what is there already."""
    count = [0]

    def share(name: str) -> Took:
        count[0] += 1
        sharer = machine(folder / f"{name}-{count[0]}", stores[name], locks)
        wire.passed.clear()
        took = took_here(lambda: sharer.share(lock.id for lock in locks))
        if name == "S3":
            packages = sum(one.sent for one in wire.passed if "/packages/" in one.path)
            requests = len(wire.passed) / len(locks)
            print(f"    {requests:.2f} requests for each environment, {packages} bytes of packages", file=sys.stderr)
        return took

    title = f"Sharing {ENVIRONMENTS} environments of {PACKAGES} packages that are there already"
    report(title, alternate({name: lambda name=name: share(name) for name in stores}, rounds=rounds), base="folder")


def checks(stores: dict[str, BlobStore], locks: list[LockedEnvironment], rounds: int) -> None:
    """Ask for all locks and all packages."""
    artifacts = {artifact.sha256: artifact for lock in locks for artifact in lock.artifacts}

    def look(store: BlobStore) -> None:
        there = LockStore(LocalBlobStore(Path(os.devnull) / "none"), shared=lambda: store)
        assert all(map(there.is_shared, [lock.id for lock in locks[:1]]))
        found = PackageStore(store).present(artifacts.values(), datetime.now(timezone.utc))
        assert len(found.there) == len(artifacts)
        assert len(store.find(Layout().lock(lock.id) for lock in locks)) == len(locks)

    title = f"Looking for {len(locks)} locks and {len(artifacts)} packages"
    contestants = {name: (lambda store=store: took_here(lambda: look(store))) for name, store in stores.items()}
    report(title, alternate(contestants, rounds=rounds), base="folder")


def index(folder: Path, rounds: int) -> None:
    """Find a thousand times what a project uses for a request, each time as a new process would."""
    indexes = {}
    for size in (10, 10_000):
        indexes[f"among {size}"] = path = folder / f"index-{size}.cnd"
        ProjectIndex(path).set_defaults(
            Default(
                request=RequestKey(f"{number:040x}"),
                target=TARGET.key,
                platform=Platform.LINUX_64,
                lock=LockId(f"{number:040x}"),
                user="ana",
                time=datetime.now(timezone.utc),
            )
            for number in range(size)
        )

    def find(path: Path) -> None:
        for number in range(1000):
            assert ProjectIndex(path).default(RequestKey(f"{number % 10:040x}"), TARGET)

    contestants = {name: (lambda path=path: took_here(lambda: find(path))) for name, path in indexes.items()}
    report("A thousand times what a project uses for a request", alternate(contestants, rounds=rounds), base="among 10")


if __name__ == "__main__":
    main()
