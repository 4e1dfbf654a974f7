"""Environments that are there already: by id, by name, and those of steps of earlier runs."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from mfenv.domain.alias import Alias
from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.reference import ByLock, ByName, ByPathspec, EnvironmentRef
from mfenv.errors import InvalidSpec, StoreError
from mfenv.io.debug_log import say
from mfenv.store.aliases import AliasStore
from mfenv.store.locks import LockStore
from mfenv.store.project_index import ProjectIndex

_MOST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a user's word stands for: locks by platform, and the requests that they answered, where known."""

    ref: EnvironmentRef
    locks: Mapping[Platform, LockId]
    requests: Mapping[Platform, RequestKey] = field(default_factory=dict)
    named: LockId | None = None
    """The very lock that was named by its id or by a step that ran in it; others were resolved together with it."""


class KnownEnvironments:
    """Finds locks in a store by what users call them.

    A name that was looked up means the same for as long as this lives, also when somebody moves it meanwhile.
    """

    def __init__(
        self,
        locks: LockStore,
        *,
        of_step: Callable[[ByPathspec, str], ByLock],
        aliases: Callable[[], AliasStore | None] = lambda: None,
        index: ProjectIndex | None = None,
        import_legacy: Callable[[ByName | ByLock], Alias | None] | None = None,
    ) -> None:
        """Look in `locks`, for names in `aliases` and among those that only this project's `index` has.

        `of_step` tells the ids of the environment that a step had, as named at a place, or raises `InvalidSpec`.
        `import_legacy` is asked for a name that is in neither, and for ids that are in no lock.
        """
        self._locks = locks
        self._of_step = of_step
        self._aliases = aliases
        self._index = index
        self._import_legacy = import_legacy
        self._looked_up: dict[ByName, Alias] = {}

    def find(self, ref: EnvironmentRef, platform: Platform, *, where: str) -> LockedEnvironment:
        """Return the environment that `ref`, as written at `where`, names; for `platform`.

        Raises `InvalidSpec` saying what is not known: the name, the step, or its environment.
        """
        match ref:
            case ByLock():
                one = ref
            case ByName():
                one = ByLock(lock=self._named(ref, platform, where))
            case ByPathspec():
                one = self._of_step(ref, where)
        lock = self._get(one.lock, platform)
        if lock is None and (taken := self._taken_over(one)) and taken.locks:
            lock = self._get(dict(taken.locks).get(platform, taken.locks[0][1]), platform)
        if lock is None:
            raise _not_there(ref, where)
        if lock.platform is not platform:
            raise InvalidSpec(
                f"{where}: the environment `{ref}` is for {lock.platform.value}, and this step runs on "
                f"{platform.value}",
                hint=f"Name an environment for {platform.value}",
            )
        return lock

    def find_all(self, ref: EnvironmentRef, *, where: str) -> Found:
        """Return the locks that `ref` names, with those that were resolved together with them.

        Raises `InvalidSpec` for what is not known.
        """
        if isinstance(ref, ByName):
            alias = self.alias(ref, where=where)
            return Found(ref=ref, locks=dict(alias.locks), requests=dict(alias.requests))
        one = ref if isinstance(ref, ByLock) else self._of_step(ref, where)
        lock = self._locks.get(one.lock)
        if lock is None and (taken := self._taken_over(one)):
            return Found(ref=ref, locks=dict(taken.locks), requests=dict(taken.requests))
        if lock is None:
            raise _not_there(ref, where)
        siblings = {other: self._locks.sibling(one.lock, other) for other in Platform if other is not lock.platform}
        return Found(
            ref=ref,
            locks={lock.platform: lock.id, **{other: sibling for other, sibling in siblings.items() if sibling}},
            requests={lock.platform: one.request} if one.request else {},
            named=lock.id,
        )

    def _taken_over(self, ref: ByLock) -> Alias | None:
        """Return what became of an environment of the existing product, such as that of a run made with it."""
        return self._import_legacy(ref) if self._import_legacy else None

    def alias(self, ref: ByName, *, where: str) -> Alias:
        """Return what a name stands for: in this project alone, else in the shared store. Raises `InvalidSpec`."""
        if ref not in self._looked_up:
            self._looked_up[ref] = alias = self._look_up(ref, where)
            locks = ", ".join(f"{lock} ({platform.value})" for platform, lock in alias.locks)
            moves = "may move" if ref.is_mutable else "never moves"
            say("decision", f"name {ref}, which {moves}, stands for {locks} since {alias.time.isoformat()}")
        return self._looked_up[ref]

    def _look_up(self, ref: ByName, where: str) -> Alias:
        if self._index and (own := self._index.alias(ref)):
            return own
        aliases = self._aliases()
        alias = aliases.get(ref) if aliases else None
        if alias is None and self._import_legacy and (alias := self._import_legacy(ref)):
            return alias
        if alias is None:
            close = difflib.get_close_matches(_short(ref), sorted(set(map(_short, self._names(aliases)))), n=_MOST)
            hint = "Check the spelling, and that it was stored in the datastore that this flow uses"
            raise InvalidSpec(
                f"{where}: no environment is known by the name `{ref}`",
                hint=f"Names like it are {', '.join(f'`{name}`' for name in close)}" if close else hint,
            )
        return alias

    def _names(self, aliases: AliasStore | None) -> Iterator[ByName]:
        yield from (alias.ref for alias in (self._index.aliases() if self._index else ()))
        # Who may not list a store has no hint.
        with contextlib.suppress(StoreError):
            yield from aliases.names() if aliases else ()

    def _named(self, ref: ByName, platform: Platform, where: str) -> LockId:
        alias = self.alias(ref, where=where)
        lock_id = alias.lock_for(platform)
        if lock_id is None and len(alias.locks) == 1:
            # A sibling of it may be for this platform.
            lock_id = alias.locks[0][1]
        if lock_id is None:
            known = ", ".join(one.value for one, _ in alias.locks)
            raise InvalidSpec(
                f"{where}: `{ref}` stands for environments for {known}, and this step runs on {platform.value}",
                hint=f"Resolve it for {platform.value} as well, and name both together",
            )
        return lock_id

    def _get(self, lock_id: LockId, platform: Platform) -> LockedEnvironment | None:
        """Return a lock; of those that were resolved together, the one for `platform`."""
        lock = self._locks.get(lock_id)
        if lock and lock.platform is not platform and (sibling := self._locks.sibling(lock_id, platform)):
            return self._locks.get(sibling) or lock
        return lock


def _not_there(ref: EnvironmentRef, where: str) -> InvalidSpec:
    return InvalidSpec(
        f"{where}: the environment `{ref}` is not in the store",
        hint="It was made with another store: check --datastore, METAFLOW_CONDA_S3ROOT and its like",
    )


def _short(ref: ByName) -> str:
    return str(ref).removesuffix(":latest")
