"""Prefixes: whether one is ready, and the moment it becomes so.

A prefix is ready when it holds a marker that names its lock. The marker is the last thing written, the folder
appears under its name by one rename, and everything without a marker is garbage that the next builder removes.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfenv.domain.digest import Json, LockId, canonical_json, is_id
from mfenv.domain.locked import LockedEnvironment
from mfenv.hydrate.activation import Activation
from mfenv.io.files import write_atomically

MARKER = ".mfenv-ready"
SCHEMA = "mfenv/prefix/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """A folder that holds a ready environment."""

    path: Path
    lock_id: LockId
    activation: Activation = field(default_factory=Activation)

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.path / "bin" / "python"

    def environment(self, current: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that a process in this environment has on top of `current`."""
        return self.activation.apply(current)


def ready_prefix(path: Path, lock_id: LockId) -> Prefix | None:
    """Return the prefix at `path` if it is ready and holds the lock `lock_id`; costs one small read."""
    try:
        marker: dict[str, Any] = json.loads((path / MARKER).read_bytes())
        if marker["schema"] != SCHEMA or marker["lock"] != lock_id or marker["path"] != str(path):
            return None
        activation = Activation.load(marker["activation"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Prefix(path=path, lock_id=lock_id, activation=activation)


def usable_prefix(path: Path, lock: LockedEnvironment) -> Prefix | None:
    """Return the prefix of `lock` at `path` if it is ready and nobody, such as a cleaner, took its interpreter."""
    prefix = ready_prefix(path, lock.id)
    return None if prefix and lock.find("python") and not prefix.python.exists() else prefix


MAKING = ".mfenv-making"
"""Names the lock of an environment that is being made in a place of the user's; gone when it is ready."""


def owner(path: Path) -> LockId | None:
    """Return the lock of the environment at `path`, ready or half made; None for a folder that is not ours."""
    for name in (MARKER, MAKING):
        try:
            marker = json.loads((path / name).read_bytes())
            if marker["schema"] == SCHEMA and is_id(marker["lock"]):
                return LockId(marker["lock"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def mark_making(path: Path, lock_id: LockId) -> None:
    """Say that what is at `path` is ours, and not ready."""
    write_atomically(path / MAKING, canonical_json({"schema": SCHEMA, "lock": lock_id}))


def mark_used(prefix: Prefix) -> None:
    """Let the marker's time tell when the prefix was last used; costs one call of the system."""
    with contextlib.suppress(OSError):
        os.utime(prefix.path / MARKER)


def mark_ready(prefix: Prefix) -> None:
    """Write the marker; from here on everybody may use the prefix."""
    marker: dict[str, Json] = {
        "schema": SCHEMA,
        "lock": prefix.lock_id,
        # A prefix that was moved or copied has the old path in its files.
        "path": str(prefix.path),
        "activation": prefix.activation.dump(),
    }
    write_atomically(prefix.path / MARKER, canonical_json(marker), durable=True)
