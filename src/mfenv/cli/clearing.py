"""`metaflow environment gc`: what can go, and its going."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from metaflow import namespace
from metaflow.client.core import Run, get_namespace
from metaflow.exception import MetaflowNotFound
from metaflow.metaflow_config import DEFAULT_DATASTORE

from mfenv.app.clear_store import LEAST_AGE, StoreClearing
from mfenv.app.wiring import Wiring
from mfenv.domain.digest import LockId
from mfenv.domain.reachability import Clearing
from mfenv.errors import EnvironmentsError, InvalidSpec
from mfenv.hydrate.clearing import LocalClearing, Unused, runs_from
from mfenv.metaflow.config import read_settings
from mfenv.metaflow.wiring import wire
from mfenv.resolve.backends.uv import find_uv

_BIGGEST = 10
_PRUNE_LIMIT = 300.0


def clear(
    *, store: bool, local: bool, older_than: int, runs_newer_than: int | None, delete: bool, with_damaged: bool
) -> dict[str, Any]:
    """Look for what can go, and with `delete` remove it; return what is to be printed. Raises `EnvironmentsError`."""
    age = timedelta(days=older_than)
    if age < LEAST_AGE:
        raise InvalidSpec(
            "--older-than: what is younger than a day cannot be cleared away: a run may just have written it",
            hint="Give at least 1",
        )
    wiring = wire(read_settings(), DEFAULT_DATASTORE)
    try:
        found: dict[str, Any] = {"deleted": delete}
        if store:
            found["store"] = _store(wiring, age, runs_newer_than, delete=delete, with_damaged=with_damaged)
        if local:
            found["local"] = _local(wiring, age, delete=delete)
        return found
    finally:
        wiring.close()


def _defaults(wiring: Wiring) -> list[LockId]:
    return [default.lock for default in wiring.index.defaults()]


def _store(
    wiring: Wiring, age: timedelta, runs_newer_than: int | None, *, delete: bool, with_damaged: bool
) -> dict[str, Any] | None:
    shared, aliases = wiring.shared(), wiring.aliases()
    if shared is None or aliases is None:
        return None
    clearing = StoreClearing(
        store=shared,
        layout=wiring.layout,
        locks=wiring.locks,
        aliases=aliases.all_or_error,
        defaults=lambda: _defaults(wiring),
        knows_run=_RunsOf(runs_newer_than),
        now=lambda: datetime.now(timezone.utc),
    )
    planned = clearing.plan(age, with_damaged=with_damaged)
    row: dict[str, Any] = {"location": shared.location, **_shown(planned)}
    if delete:
        row["removed"], row["freed"] = clearing.clear(planned, age, with_damaged=with_damaged)
        wiring.index.forget_shared([LockId(_name(one.key)) for one in planned.locks], shared.location)
    return row


def _shown(planned: Clearing) -> dict[str, Any]:
    parts = {"environments": planned.locks, "packages": planned.packages, "notes": planned.notes}
    biggest = sorted(planned.packages, key=lambda one: -one.size)[:_BIGGEST]
    return {
        "unused": {
            name: {"count": len(objects), "size": sum(one.size for one in objects)} for name, objects in parts.items()
        },
        "size": planned.size,
        "biggest": [{"name": one.key.rpartition("/")[2], "size": one.size} for one in biggest],
        "kept": dict(Counter(planned.kept.values())),
        "damaged": list(planned.damaged),
    }


def _name(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(".json")


def _local(wiring: Wiring, age: timedelta, *, delete: bool) -> dict[str, Any]:
    needed = _defaults(wiring)
    locks = [lock for lock in _read(wiring, needed) if lock]
    clearing = LocalClearing(
        folders=wiring.folders,
        needed=frozenset(needed),
        needed_files=frozenset(
            artifact.sha256 for lock in locks for artifact in (*lock.artifacts, *lock.stored_artifacts)
        ),
        in_use=runs_from,
    )
    cutoff = datetime.now(timezone.utc) - age
    planned = clearing.plan(cutoff)
    row: dict[str, Any] = {"location": str(wiring.folders.root), **_shown_local(planned)}
    if delete:
        row["removed"], row["freed"] = clearing.clear(planned, cutoff)
        # uv knows best what of its cache is of no use any more.
        wiring.runner.run(
            [find_uv(), "cache", "prune", "--quiet"],
            environment={"UV_CACHE_DIR": str(wiring.folders.uv_cache)},
            folder=Path.cwd(),
            timeout=_PRUNE_LIMIT,
        )
    return row


def _read(wiring: Wiring, lock_ids: Iterable[LockId]) -> Iterable[Any]:
    for lock_id in lock_ids:
        try:
            yield wiring.locks.get(lock_id)
        except EnvironmentsError:
            yield None


def _shown_local(planned: list[Unused]) -> dict[str, Any]:
    kinds: dict[str, dict[str, int]] = {}
    for one in planned:
        row = kinds.setdefault(
            "channel indexes" if one.kind == "channel index" else f"{one.kind}s", {"count": 0, "size": 0}
        )
        row["count"], row["size"] = row["count"] + 1, row["size"] + one.size
    biggest = sorted(planned, key=lambda one: -one.size)[:_BIGGEST]
    return {
        "unused": kinds,
        "size": sum(one.size for one in planned),
        "biggest": [{"name": f"{one.path.parent.name}/{one.path.name}", "size": one.size} for one in biggest],
    }


class _RunsOf:
    """Tells whether Metaflow knows a run that is young enough."""

    def __init__(self, newer_than: int | None) -> None:
        self._oldest = datetime.now() - timedelta(days=newer_than) if newer_than is not None else None  # noqa: DTZ005

    def __call__(self, flow: str, run_id: str) -> bool:
        before = get_namespace()
        namespace(None)
        try:
            run = Run(f"{flow}/{run_id}")
            # Metaflow's times have no zone: they are this machine's.
            return self._oldest is None or run.created_at >= self._oldest
        except MetaflowNotFound:
            return False
        except Exception:  # noqa: BLE001
            # Whom to ask is out of reach: then every run counts.
            return True
        finally:
            namespace(before)
