"""Files out of the store into this node's cache: in parallel, each checked while it comes, each only once for a node.

Python 3.8 and the standard library only: see `mfenv.bootstrap`. The folders are those of `mfenv.hydrate.folders`.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Dict, Iterator, List, Sequence

from mfenv.bootstrap import bytecode
from mfenv.bootstrap.failure import BootstrapError
from mfenv.bootstrap.flow_file import File
from mfenv.bootstrap.objects import Denied, Missing, Objects

_AT_ONCE = 16
_BLOCK = 1 << 20
_MOMENT = 2.0
"""Seconds that files under way have to be given up."""


class Fetcher:
    """Brings files to a folder that all tasks of a node share."""

    def __init__(self, objects: Objects, root: str) -> None:
        """Bring files from `objects` to the cache at `root`."""
        self._objects = objects
        self._archives = os.path.join(root, "archives")
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="mfenv-fetch")
        self._counting = threading.Condition()
        self._under_way = 0
        self._is_closed = False
        self.files = 0
        """How many files came."""
        self.size = 0
        """Their bytes."""

    def begin_bytecode(self, key: str) -> "Future[Dict[str, bytes]]":
        """Begin to bring the compiled modules of an environment, of which there may be none."""

        def one() -> Dict[str, bytes]:
            archive = bytecode.fetch(self._objects, key)
            return bytecode.members(archive) if archive else {}

        return self._pool.submit(one)

    def path(self, file: File) -> str:
        """Return where a file is kept."""
        return os.path.join(self._archives, file.sha256, file.name)

    def begin(self, choices: Sequence[List[File]]) -> "List[Future[File]]":
        """Begin to have one file of each choice here; those that were begun before come before, the largest first."""
        order = sorted(range(len(choices)), key=lambda number: -(choices[number][0].size or 0))
        coming = {number: self._pool.submit(self._first, choices[number]) for number in order}
        return [coming[number] for number in range(len(choices))]

    def wait(self, coming: "List[Future[File]]") -> List[File]:
        """Return the files when they are here. Raises the `ObjectError` of the first that cannot be had."""
        try:
            return [future.result() for future in coming]
        except BaseException:
            for future in coming:
                future.cancel()
            raise

    def _first(self, files: List[File]) -> File:
        for file in files[:-1]:
            # Where a task may not list, a store refuses what is not there as if it were secret.
            with contextlib.suppress(Missing, Denied):
                self._one(file)
                return file
        self._one(files[-1])
        return files[-1]

    def _one(self, file: File) -> None:
        path = self.path(file)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # The same lock that `mfenv` holds elsewhere: another task of this node may just bring the same file.
        with held(os.path.join(os.path.dirname(path), ".lock")):
            if is_whole(path, file.sha256):
                return
            with self._counting:
                self._go_on(0)
                self._under_way += 1
            try:
                self._objects.fetch(file.key, path, sha256=file.sha256, size=file.size, on_bytes=self._go_on)
            finally:
                with self._counting:
                    self._under_way -= 1
                    self._counting.notify_all()
            with self._counting:
                self.files += 1
                self.size += os.path.getsize(path)

    def _go_on(self, count: int) -> None:  # noqa: ARG002
        if self._is_closed:
            raise BootstrapError("nobody waits for it any more")

    def close(self) -> None:
        """Begin nothing more, and leave nothing half-fetched: nobody waits for what is still under way."""
        with self._counting:
            self._is_closed = True
            self._pool.shutdown(wait=False)
            # One that waits for a silent store leaves nothing either: see below.
            self._counting.wait_for(lambda: not self._under_way, _MOMENT)
        for path in glob.glob(os.path.join(self._archives, "*", "*.%d.*.part" % os.getpid())):
            with contextlib.suppress(OSError):
                os.unlink(path)


@contextlib.contextmanager
def held(path: str) -> Iterator[None]:
    """Hold an OS lock, which dies with its holder, for the duration of the block."""
    with open(path, "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_whole(path: str, sha256: str) -> bool:
    """Tell whether a file is there, and is what it should be."""
    try:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(_BLOCK), b""):
                digest.update(block)
        return digest.hexdigest() == sha256
    except OSError:
        return False
