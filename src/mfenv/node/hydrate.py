"""An environment out of files that another process brings and checks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.digest import Json, LockId
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.machine import Machine
from mfenv.errors import HydrationFailed
from mfenv.formats import lock_json
from mfenv.hydrate import rattler_worker
from mfenv.hydrate.conda import RattlerInstaller
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.pypi import UvInstaller
from mfenv.hydrate.service import Hydrator
from mfenv.io.process import SystemProcessRunner
from mfenv.io.worker import OnEvent

_LOCK_TIMEOUT = 3600.0


def hydrate(job: Mapping[str, Any], arrivals: TextIO) -> Json:
    """Make the environment of the lock that is the first line of `arrivals`, when the second one says: all is here.

    Raises an `EnvironmentsError`.
    """
    lock = lock_json.load(arrivals.readline().encode(), expected=LockId(job["lock"]))
    folders = LocalFolders(Path(job["root"]))
    hydrator = Hydrator(
        folders,
        _Arriving(folders, arrivals),
        wheels=UvInstaller(SystemProcessRunner(), lambda: str(job["uv"]), folders),
        machine=Machine.here(),
        lock_timeout=float(os.environ.get("METAFLOW_CONDA_LOCK_TIMEOUT") or _LOCK_TIMEOUT),
        link_scripts=os.environ.get("METAFLOW_CONDA_LINK_SCRIPTS", "1").lower() not in {"0", "false", "no", "off"},
    )
    return {"path": str(hydrator.hydrate(lock).path)}


class _Arriving:
    """Links with py-rattler, in this process; files are brought by another one. See `CondaInstaller`."""

    def __init__(self, folders: LocalFolders, arrivals: TextIO) -> None:
        self._rattler = RattlerInstaller(_Here(), folders)
        self._arrivals = arrivals

    def fetch(
        self,
        artifacts: list[LockedArtifact],  # noqa: ARG002
        on_event: OnEvent | None = None,  # noqa: ARG002
    ) -> None:
        if not self._arrivals.readline():
            raise HydrationFailed("the packages of the environment did not arrive")

    def link(self, lock: LockedEnvironment, staging: Path, prefix: Path) -> None:
        self._rattler.link(lock, staging, prefix)


class _Here:
    """Carries out operations in this process, which does nothing else."""

    def call(self, operation: str, payload: Mapping[str, Json], on_event: OnEvent | None = None) -> Any:
        assert operation == "link"
        return asyncio.run(rattler_worker.link(payload, on_event or (lambda _event: None)))
