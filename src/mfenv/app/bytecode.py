"""Bytecode in the store, for the machines that an environment goes to."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.machine import Machine, unmet
from mfenv.errors import StoreError
from mfenv.hydrate.bytecode import compile_bytecode
from mfenv.hydrate.service import Hydrator
from mfenv.io.process import ProcessRunner
from mfenv.store.base import BlobStore
from mfenv.store.layout import Layout


@dataclass(frozen=True, kw_only=True)
class BytecodePublisher:
    """Compiles environments, and puts what comes of it into the store."""

    hydrator: Hydrator
    runner: ProcessRunner
    machine: Machine
    shared: Callable[[], BlobStore | None]
    layout: Layout

    def can(self, lock: LockedEnvironment) -> bool:
        """Tell whether this machine can run the Python of a lock."""
        return lock.find("python") is not None and unmet(lock, self.machine) is None

    def publish(self, lock: LockedEnvironment) -> None:
        """Have the bytecode of an environment in the store; nothing is done when it is there.

        Raises `HydrationFailed` and `StoreError`.
        """
        store = self.shared()
        if store is None:
            raise StoreError("there is no store that bytecode could be in")
        key = self.layout.bytecode(lock.id)
        if not self.can(lock) or key in store.find([key]):
            return
        prefix = self.hydrator.hydrate(lock)
        with tempfile.TemporaryDirectory(prefix="mfenv-bytecode-") as name:
            archive = Path(name) / "bytecode.tar.gz"
            compile_bytecode(prefix, archive, self.runner)
            content = archive.read_bytes()
        with contextlib.suppress(FileExistsError):
            store.put(key, sealed(content))


def sealed(content: bytes) -> bytes:
    """Return `content` behind its own SHA-256, by which who gets it sees that it is whole.

    >>> sealed(b"x")[:12]
    b'2d711642b726'
    """
    return hashlib.sha256(content).hexdigest().encode() + b"\n" + content
