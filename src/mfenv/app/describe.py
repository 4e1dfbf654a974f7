"""What is known of an environment: where it is, who made it, what it was asked to be, what it is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mfenv.app.environments import Environments
from mfenv.app.wiring import Wiring
from mfenv.domain.alias import Alias
from mfenv.domain.difference import Held, held_in
from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.provenance import Provenance
from mfenv.domain.reference import ByName
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import LockError
from mfenv.formats import spec_json
from mfenv.hydrate.plan import is_here
from mfenv.hydrate.prefix import usable_prefix

_AT_ONCE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A name of an environment."""

    ref: ByName
    is_of_project: bool
    """Whether this project alone knows it."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """One environment, with what is known of it."""

    lock: LockedEnvironment
    request: RequestKey | None
    """Which request it answered; None where nobody noted it."""
    made: Provenance | None
    """How it came about."""
    asked: EnvironmentSpec | None
    """What it was asked to be; without what it builds upon."""
    base: str = ""
    """What it builds upon, in words."""
    names: tuple[Name, ...] = ()
    siblings: Mapping[Platform, LockId] = field(default_factory=dict)
    """Those that were resolved together with it."""
    is_default: bool = False
    """Whether this project uses it for its request."""
    prefix: Path | None = None
    """Where it is on this machine, ready to use."""
    files_here: int = 0
    """How many of its package files are in this machine's cache."""
    is_shared: bool | None = None
    """Whether the shared store has it; None where nobody was asked."""

    @property
    def kind(self) -> str:
        """Which sides it has packages of: ``conda-only``, ``pypi-only`` (beside Python) or ``mixed``."""
        wishes = [spec for spec in self.asked.conda if spec.name != "python"] if self.asked else []
        if not self.lock.pypi:
            return "conda-only"
        return "mixed" if wishes or not self.asked else "pypi-only"

    @property
    def packages(self) -> tuple[Held, ...]:
        """Its packages, sorted by side and name."""
        return tuple(sorted(held_in(self.lock), key=lambda held: (held.side.value, held.name)))


def describe(
    environments: Environments, lock: LockedEnvironment, request: RequestKey | None = None, *, local_only: bool = False
) -> Description:
    """Return what is known of an environment; `request` is the one that it was found by.

    Asks the shared store for notes, names and the lock; with `local_only`, nobody.
    """
    wiring = environments.wiring
    notes = wiring.locks.notes(lock.id, only_own=local_only)
    made = _note_of(notes, request)
    request = request or (made.request if made else None)
    default = wiring.index.default(made.request, made.target) if made else None
    siblings = wiring.locks.groups(lock.id, only_own=local_only)
    return Description(
        lock=lock,
        request=request,
        made=made,
        asked=_asked(made),
        base=_base_in_words(made),
        names=names_by_lock(wiring, local_only=local_only).get(lock.id, ()),
        siblings={
            platform: other for group in siblings for platform, other in group.locks if platform is not lock.platform
        },
        is_default=default is not None and default.lock == lock.id,
        prefix=prefix_of(wiring, lock),
        files_here=sum(is_here(artifact, wiring.folders.archives) for artifact in lock.stored_artifacts),
        is_shared=None if local_only or wiring.shared() is None else wiring.locks.is_shared(lock.id),
    )


def _note_of(notes: Sequence[Provenance], request: RequestKey | None) -> Provenance | None:
    of_request = [note for note in notes if note.request == request]
    return next(iter(reversed(of_request or list(notes))), None)


def _asked(made: Provenance | None) -> EnvironmentSpec | None:
    if made is None or made.asked is None:
        return None
    try:
        return spec_json.load(made.asked, path="note")
    except LockError:
        # Written by another version; the lock does not depend on it.
        return None


def _base_in_words(made: Provenance | None) -> str:
    match spec_json.base_in(made.asked) if made else None:
        case ["lock", str() as base]:
            return f"environment {base}"
        case [str() as kind, *_]:
            return f"a {kind}"
    return ""


def prefix_of(wiring: Wiring, lock: LockedEnvironment) -> Path | None:
    """Return where an environment is on this machine, ready to use; costs one small read."""
    prefix = usable_prefix(wiring.folders.prefix(lock.id), lock)
    return prefix.path if prefix else None


def names_by_lock(wiring: Wiring, *, local_only: bool = False) -> dict[LockId, tuple[Name, ...]]:
    """Return all names, by the locks that they stand for; those of this project alone come first."""
    found: dict[LockId, list[Name]] = {}
    for alias, is_of_project in all_names(wiring, local_only=local_only):
        for _, lock_id in alias.locks:
            found.setdefault(lock_id, []).append(Name(ref=alias.ref, is_of_project=is_of_project))
    return {lock_id: tuple(names) for lock_id, names in found.items()}


def all_names(wiring: Wiring, *, local_only: bool = False) -> list[tuple[Alias, bool]]:
    """Return what all names stand for, and whether this project alone has them; sorted by name."""
    own = [(alias, True) for alias in wiring.index.aliases() if not alias.ref.name.startswith("legacy/")]
    aliases = None if local_only else wiring.aliases()
    shared = [(alias, False) for alias in aliases.all()] if aliases else []
    return sorted([*own, *shared], key=lambda pair: str(pair[0].ref))


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An environment in a list."""

    lock: LockedEnvironment
    names: tuple[Name, ...]
    time: datetime | None
    """When it came about or was shared last, where that is known."""
    user: str
    prefix: Path | None
    is_of_project: bool
    """Whether this project has its lock."""
    is_shared: bool


def listed(environments: Environments, *, local: bool, store: bool) -> Iterator[Listed]:
    """Yield the environments that this project or machine has (`local`), and those of the shared store (`store`).

    Locks that cannot be read are left out.
    """
    wiring = environments.wiring
    own = wiring.locks.own_ids()
    shared = wiring.locks.shared_ids() if store else set()
    names = names_by_lock(wiring, local_only=not store)

    def one(lock_id: LockId) -> Listed | None:
        try:
            lock = wiring.locks.get(lock_id)
        except LockError:
            return None
        if lock is None:
            return None
        notes = wiring.locks.notes(lock_id, only_own=lock_id in own)
        latest = notes[-1] if notes else None
        return Listed(
            lock=lock,
            names=names.get(lock_id, ()),
            time=latest.time if latest else None,
            user=latest.user if latest else "",
            prefix=prefix_of(wiring, lock),
            is_of_project=lock_id in own,
            is_shared=lock_id in shared,
        )

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        wanted = own | shared if local else shared
        yield from (found for found in pool.map(one, sorted(wanted)) if found)
