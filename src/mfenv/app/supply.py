"""Package files out of the shared store into this machine's cache, before anybody asks their origin for them."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mfenv.domain.artifact import LockedArtifact
from mfenv.errors import StoreError
from mfenv.hydrate.plan import archive_path, is_here
from mfenv.io.filelock import held
from mfenv.io.files import sha256_of
from mfenv.store.packages import Brought, PackageStore

_AT_ONCE = 16

OnEvent = Callable[[dict[str, object]], None]


class Supplier:
    """Brings files from the store; what it has not, or not whole, is left for their origin to give."""

    def __init__(self, packages: Callable[[], PackageStore | None], archives: Path, *, lock_timeout: float) -> None:
        """Bring files to `archives`; `packages` gives the store, when it is first needed."""
        self._packages = packages
        self._archives = archives
        self._lock_timeout = lock_timeout
        self._mutex = threading.Lock()
        self._went: dict[str, Brought] = {}
        self._trouble: StoreError | None = None

    @property
    def went(self) -> Mapping[str, Brought]:
        """How it went with the files that were asked for, by sha256."""
        return self._went

    @property
    def trouble(self) -> StoreError | None:
        """Why the store could not be asked, if that was so."""
        return self._trouble

    def supply(
        self, artifacts: Sequence[LockedArtifact], on_event: OnEvent | None = None, *, again: bool = False
    ) -> int:
        """Bring those of `artifacts` that are not here, and return how many came.

        With `again`, also those that are here and damaged. Never fails because of the store: files then come from
        their origin. Events are ``{"brought": file name, "bytes": n}``, ``{"damaged": key}`` and
        ``{"unreachable": message}``.
        """
        tell = on_event or (lambda _event: None)
        missing = [artifact for artifact in artifacts if not self._is_here(artifact, whole=again)]
        damaged = {artifact for artifact in missing if archive_path(artifact, self._archives).exists()}
        packages = self._opened(tell) if missing else None
        if packages is None:
            return 0
        with ThreadPoolExecutor(min(_AT_ONCE, len(missing)), thread_name_prefix="mfenv-supply") as pool:
            came = dict(zip(missing, pool.map(lambda one: self._one(packages, one), missing), strict=True))
        self._went.update({artifact.sha256: how for artifact, how in came.items()})
        for artifact, how in came.items():
            if how is Brought.WHOLE:
                tell({"healed" if artifact in damaged else "brought": artifact.file_name, "bytes": artifact.size})
            elif how is Brought.DAMAGED:
                tell({"damaged": packages.key(artifact)})
        if self._trouble:
            tell({"unreachable": self._trouble.message})
        return list(came.values()).count(Brought.WHOLE)

    def _opened(self, tell: OnEvent) -> PackageStore | None:
        if self._trouble:
            return None
        try:
            return self._packages()
        except StoreError as error:
            self._trouble = error
            tell({"unreachable": error.message})
            return None

    def _is_here(self, artifact: LockedArtifact, *, whole: bool) -> bool:
        if not is_here(artifact, self._archives):
            return False
        return not whole or sha256_of(archive_path(artifact, self._archives)) == artifact.sha256

    def _one(self, packages: PackageStore, artifact: LockedArtifact) -> Brought:
        path = archive_path(artifact, self._archives)
        # The same lock that those take who fetch from the origin: each file comes here once.
        with held(path.parent / ".lock", timeout=self._lock_timeout):
            if self._is_here(artifact, whole=True):
                return Brought.WHOLE
            if self._trouble:
                return Brought.ABSENT
            incoming = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
            try:
                came = packages.bring(artifact, incoming)
            except StoreError as error:
                with self._mutex:
                    self._trouble = self._trouble or error
                return Brought.ABSENT
            if came is Brought.WHOLE:
                incoming.replace(path)
            return came
