"""`metaflow environment gc`: what can go, and its going."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from metaflow import get_metadata, namespace
from metaflow.client.core import Run, get_namespace
from metaflow.exception import MetaflowNotFound

from mfenv.app.clear_store import LEAST_AGE, OnBatch, StoreClearing
from mfenv.app.wiring import Wiring
from mfenv.cli.finding import wired
from mfenv.cli.reporting import looking
from mfenv.domain.channel import without_credentials
from mfenv.domain.digest import LockId
from mfenv.domain.reachability import Clearing
from mfenv.errors import EnvironmentsError, InvalidSpec, ToolNotFound
from mfenv.hydrate.clearing import LocalClearing, Unused, runs_from
from mfenv.resolve.backends.uv import find_uv

_BIGGEST = 10
_PRUNE_LIMIT = 300.0


def clear(
    *,
    store: bool,
    local: bool,
    older_than: int,
    runs_newer_than: int | None,
    delete: bool,
    with_damaged: bool,
    on_batch: OnBatch,
) -> dict[str, Any]:
    """Look for what can go, and with `delete` remove it; return what is to be printed.

    `on_batch` hears of what went from the store. Raises `EnvironmentsError`.
    """
    age = _days(older_than)
    if age < LEAST_AGE:
        raise InvalidSpec(
            "--older-than: what is younger than a day cannot be cleared away: a run may just have written it",
            hint="Give at least 1",
        )
    wiring = wired()
    try:
        found: dict[str, Any] = {"deleted": delete}
        if store:
            knows_run = _RunsOf(None if runs_newer_than is None else _days(runs_newer_than))
            clearing = _store_clearing(wiring, knows_run)
            with looking("Looking at what is stored"):
                found["store"] = clearing and _store(
                    wiring, clearing, age, delete=delete, with_damaged=with_damaged, on_batch=on_batch
                )
        if local:
            with looking("Looking at what is on this machine"):
                found["local"] = _local(wiring, age, delete=delete)
        return found
    finally:
        wiring.close()


def _days(count: int) -> timedelta:
    """Return a number of days; as many as a century are as good as any number beyond it."""
    return timedelta(days=max(-1, min(count, 36500)))


def _of_project(wiring: Wiring) -> dict[LockId, str]:
    """Return the locks that the project needs, and why."""
    named = {lock: "name" for alias in wiring.index.aliases() for _, lock in alias.locks}
    return named | {default.lock: "default" for default in wiring.index.defaults()}


def _store_clearing(wiring: Wiring, knows_run: Callable[[str, str], bool]) -> StoreClearing | None:
    shared, aliases = wiring.shared(), wiring.aliases()
    if shared is None or aliases is None:
        return None
    return StoreClearing(
        store=shared,
        layout=wiring.layout,
        locks=wiring.locks,
        aliases=aliases.all_or_error,
        project=lambda: _of_project(wiring),
        knows_run=knows_run,
        now=lambda: datetime.now(timezone.utc),
    )


def _store(
    wiring: Wiring,
    clearing: StoreClearing,
    age: timedelta,
    *,
    delete: bool,
    with_damaged: bool,
    on_batch: OnBatch,
) -> dict[str, Any]:
    planned = clearing.plan(age, with_damaged=with_damaged)
    location = clearing.store.location
    row: dict[str, Any] = {"location": location, "runs_of": _metadata(), **_shown(planned)}
    if delete:
        try:
            row["removed"], row["freed"] = clearing.clear(planned, age, with_damaged=with_damaged, on_batch=on_batch)
        finally:
            # Those that are still there are asked for once more, and then known again.
            wiring.shares.forget_shared([LockId(_name(one.key)) for one in planned.locks], location)
    return row


def _metadata() -> str:
    """Return where runs are known, as Metaflow writes it."""
    kind, at, place = str(get_metadata()).partition("@")
    return f"{kind}{at}{without_credentials(place) if '://' in place else place}"


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
    needed = _of_project(wiring)
    locks = [lock for lock in _read(wiring, needed) if lock]
    clearing = LocalClearing(
        folders=wiring.folders,
        needed=needed,
        needed_files=frozenset(
            artifact.sha256 for lock in locks for artifact in (*lock.artifacts, *lock.stored_artifacts)
        ),
        in_use=runs_from,
    )
    cutoff = datetime.now(timezone.utc) - age
    planned = clearing.plan(cutoff)
    row: dict[str, Any] = {
        "location": str(wiring.folders.root),
        **_shown_local(planned),
        "kept": dict(Counter(clearing.kept(cutoff))),
    }
    if delete:
        row["removed"], row["freed"] = clearing.clear(planned, cutoff)
        _prune_uv(wiring)
    return row


def _prune_uv(wiring: Wiring) -> None:
    """Have uv remove what of its cache is of no use any more: it knows best."""
    if not wiring.folders.uv_cache.is_dir():
        return
    with contextlib.suppress(ToolNotFound):
        wiring.runner.run(
            [find_uv(), "cache", "prune", "--quiet"],
            environment={"UV_CACHE_DIR": str(wiring.folders.uv_cache)},
            folder=Path.cwd(),
            timeout=_PRUNE_LIMIT,
        )


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

    def __init__(self, newer_than: timedelta | None) -> None:
        self._oldest = None if newer_than is None else datetime.now() - newer_than  # noqa: DTZ005

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
