"""Environments and what they differ in as the rows of an answer: what programs read, and what is printed from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mfenv.app.describe import Description, Listed
from mfenv.app.resolve_files import Planned
from mfenv.domain.difference import Change, Held, Side, compare, held_in
from mfenv.domain.digest import Json, RequestKey
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


def description(found: Description, *, shown: str) -> dict[str, Any]:
    """Return one environment as a program reads it; `shown` is what it was asked for by."""
    lock, made = found.lock, found.made
    return {
        "env": shown,
        "req_id": found.request,
        "full_id": lock.id,
        "arch": lock.platform.value,
        "type": found.kind,
        "is_default": found.is_default,
        "aliases": [
            {"alias": str(name.ref), "mutable": name.ref.is_mutable, "local_only": name.is_of_project}
            for name in found.names
        ],
        "co_resolved": {platform.value: other for platform, other in found.siblings.items()},
        "resolved_on": made.time.isoformat() if made else None,
        "resolved_by": made.user if made else None,
        "resolver": made.resolver if made else None,
        "asked": asked(found),
        "local": str(found.prefix) if found.prefix else None,
        "cached_files": found.files_here,
        "shared": found.is_shared,
        "variables": dict(lock.variables),
        "size": size_of(found.packages),
        "packages": [package(held) for held in found.packages],
    }


def asked(found: Description) -> Json:
    """Return what an environment was asked to be, in the words in which it was written; None where nobody noted it."""
    spec = found.asked
    if spec is None:
        return None
    return {
        "python": str(spec.python) if spec.python else None,
        "conda": [str(one) for one in spec.conda],
        "conda_only": [str(one) for one in spec.conda_only],
        "pypi": [str(one) for one in spec.pypi],
        "channels": [str(one) for one in spec.channels],
        "indexes": [str(one) for one in spec.indexes],
        "extras": [str(one) for one in spec.flags],
        "exclude_newer": spec.options.exclude_newer or None,
        "built_upon": found.base or None,
    }


def listed(found: Listed) -> dict[str, Any]:
    """Return one environment of a list as a program reads it."""
    lock = found.lock
    return {
        "full_id": lock.id,
        "arch": lock.platform.value,
        "aliases": [str(name.ref) for name in found.names],
        "resolved_on": found.time.isoformat() if found.time else None,
        "resolved_by": found.user or None,
        "packages": len(lock.packages) + len(lock.pypi),
        "size": size_of(held_in(lock)),
        "local": str(found.prefix) if found.prefix else None,
        "project": found.is_of_project,
        "shared": found.is_shared,
    }
