"""Environments and what they differ in as the rows of an answer: what programs read, and what is printed from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mfenv.app.resolve_files import Planned
from mfenv.domain.difference import Change, Held, Side, compare, held_in
from mfenv.domain.digest import RequestKey
from mfenv.domain.locked import LockedEnvironment


def row(request: RequestKey, lock: LockedEnvironment, *, is_new: bool) -> dict[str, Any]:
    """Return what is told of an environment that was asked for."""
    return {
        "arch": lock.platform.value,
        "req_id": request,
        "full_id": lock.id,
        "newly_resolved": is_new,
        "packages": [str(held) for held in held_in(lock)],
    }


def planned(one: Planned) -> dict[str, Any]:
    """Return what is told of an environment that nobody made: its packages, and what they differ in from today's."""
    after = one.after
    there = held_in(after)
    return {
        "arch": after.platform.value,
        "req_id": one.request.key,
        "full_id": after.id if isinstance(after, LockedEnvironment) else None,
        "newly_resolved": one.is_new,
        "packages": [str(held) for held in there],
        "before": one.before.id if one.before else None,
        "changes": [change(found) for found in compare(held_in(one.before) if one.before else (), there)],
        "size": size_of(there),
    }


def package(held: Held) -> dict[str, Any]:
    """Return one package."""
    fields: dict[str, Any] = {
        "name": held.name,
        "version": held.version,
        "side": "conda" if held.side is Side.CONDA else "pypi",
        "build": held.build,
        "file": held.file_name,
        "size": held.size,
        "sha256": held.sha256,
    }
    return {**fields, "channel": held.channel} if held.channel else fields


def change(found: Change) -> dict[str, Any]:
    """Return one package that is not the same in both."""
    return {
        "name": found.name,
        "kind": found.kind.value,
        "before": package(found.before) if found.before else None,
        "after": package(found.after) if found.after else None,
        "growth": found.growth,
    }


def size_of(there: Iterable[Held]) -> int:
    """Return how many bytes of package files an environment has; those that nobody tells are left out."""
    return sum(held.size or 0 for held in there)
