"""What Metaflow's client tells of a task's environment: ``Task.environment_info``."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any

from metaflow.client.filecache import FileCache

from mfenv.domain.difference import held_in
from mfenv.domain.digest import LockId, is_id
from mfenv.domain.locked import LockedEnvironment
from mfenv.errors import EnvironmentsError, LockError
from mfenv.formats import metadata_file
from mfenv.metaflow.config import read_settings
from mfenv.metaflow.wiring import wire

_FILES = (".mf_meta/conda_v2.cnd", "conda_v2.cnd")


def environment_info(flow: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return what is known of the environment of a task of `flow`, whose `metadata` this is.

    Empty for a task that had none of its own. Without ``packages`` where neither its code package nor the store has the
    lock. ``explicit`` are the addresses of all package files, as standard Metaflow has them.
    """
    try:
        request, lock_id, platform = json.loads(metadata.get("conda_env_id", ""))
    except (ValueError, TypeError):
        return {}
    if not is_id(str(lock_id)):
        return {}
    found = {"type": "conda", "req_id": request, "full_id": lock_id, "platform": platform}
    lock = _of_code_package(flow, metadata, LockId(lock_id)) or _of_store(metadata, LockId(lock_id))
    if lock is None:
        return found
    packages = [{"name": one.name, "version": one.version, "side": one.side.value} for one in held_in(lock)]
    return {**found, "packages": packages, "explicit": [artifact.url for artifact in lock.artifacts]}


def _of_code_package(flow: str, metadata: Mapping[str, str], lock_id: LockId) -> LockedEnvironment | None:
    """Read the lock that travelled with the code; None where there is no code package, or no such lock in it."""
    try:
        noted = json.loads(metadata["code-package"])
        _, content = FileCache().get_data(noted["ds_type"], flow, noted["location"], noted["sha"])
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            name = next(name for name in _FILES if name in archive.getnames())
            file = archive.extractfile(name)
            return metadata_file.load(file.read() if file else b"").locks.get(lock_id)
    except (KeyError, ValueError, TypeError, StopIteration, OSError, EOFError, tarfile.TarError, LockError):
        return None


def _of_store(metadata: Mapping[str, str], lock_id: LockId) -> LockedEnvironment | None:
    """Ask the store of the datastore that the task used; nobody knows that datastore of tasks without code packages."""
    try:
        kind = str(json.loads(metadata.get("code-package", "{}")).get("ds_type", "local"))
        wiring = wire(read_settings(), kind, keeps_found=False)
        return wiring.locks.get(lock_id)
    except (EnvironmentsError, ValueError, AttributeError):
        return None
