"""Environments by all that people call them: the way in for commands and for programs."""

from __future__ import annotations

from mfenv.app.known import Found, KnownEnvironments
from mfenv.app.wiring import Wiring
from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.reference import ByLock, Typed, parse_typed
from mfenv.errors import EnvironmentsError, InvalidSpec, LockError

_MOST = 8


class Environments:
    """Finds environments by names, ids, first digits of ids, and steps of runs."""

    def __init__(self, wiring: Wiring, known: KnownEnvironments) -> None:
        """Look where `wiring` says; `known` looks names and steps up."""
        self.wiring = wiring
        self.known = known

    def look_up(self, text: str, *, where: str, is_pathspec: bool = False) -> Found:
        """Return what `text`, as written at `where`, stands for, on all platforms.

        Raises `InvalidSpec` for what is not known, and for digits that several ids begin with.
        """
        typed = parse_typed(text, where=where, is_pathspec=is_pathspec)
        first: EnvironmentsError | None = None
        for ref in typed.candidates:
            try:
                return self.known.find_all(ref, where=where)
            except InvalidSpec as error:
                first = first or error
        if typed.digits and (found := self._by_digits(typed, where)):
            return found
        assert first is not None
        raise first

    def find(
        self, text: str, *, where: str, platform: Platform | None = None, is_pathspec: bool = False
    ) -> LockedEnvironment:
        """Return the environment that `text` stands for, for `platform`.

        Where that is None: the very one that was named by its id or by a step that ran in it, else that for this
        machine's platform, else the only one. Raises `InvalidSpec` saying which platforms there are.
        """
        found = self.look_up(text, where=where, is_pathspec=is_pathspec)
        wanted = platform or _platform_meant(found)
        if wanted not in found.locks:
            known = ", ".join(sorted(one.value for one in found.locks))
            raise InvalidSpec(
                f"{where}: `{text}` has no environment for {wanted.value}, only for {known}",
                hint=f"{'R' if platform else 'Choose with --arch, or r'}esolve it for {wanted.value} as well",
            )
        return self.lock(found.locks[wanted], where=where)

    def lock(self, lock_id: LockId, *, where: str) -> LockedEnvironment:
        """Return a lock by its id. Raises `InvalidSpec` when nobody has it."""
        lock = self.wiring.locks.get(lock_id)
        if lock is None:
            raise InvalidSpec(
                f"{where}: the environment `{lock_id}` is known by its id, but its lock is not in the store",
                hint="Check --datastore and METAFLOW_CONDA_S3ROOT or its like, or resolve it again",
            )
        return lock

    def _by_digits(self, typed: Typed, where: str) -> Found | None:
        digits = typed.digits
        defaults = [one for one in self.wiring.index.defaults() if one.request.startswith(digits)]
        requests = {one.request for one in defaults}
        ids = self.wiring.locks.own_ids() | self.wiring.locks.shared_ids()
        locks = {lock_id for lock_id in ids if lock_id.startswith(digits)}
        answers = {one.lock for one in defaults}
        if len(digits) == 40:
            answers |= self.wiring.locks.answered(RequestKey(digits))
        found = sorted(locks | answers)
        if not found:
            return None
        if locks and len(found) == 1:
            return self.known.find_all(ByLock(lock=found[0]), where=where)
        by_platform: dict[Platform, list[LockId]] = {}
        for lock_id in found:
            try:
                by_platform.setdefault(self.lock(lock_id, where=where).platform, []).append(lock_id)
            except (LockError, InvalidSpec):
                continue
        if any(len(ids) > 1 for ids in by_platform.values()) or len(requests) > 1:
            listed = ", ".join(f"`{lock_id}`" for lock_id in found[:_MOST]) + (" ..." if len(found) > _MOST else "")
            raise InvalidSpec(
                f"{where}: `{typed.text}` can be one of several environments: {listed}",
                hint="Write more digits, or the whole id",
            )
        return Found(
            ref=ByLock(lock=found[0]),
            locks={platform: ids[0] for platform, ids in by_platform.items()},
            requests={platform: key for key in requests for platform in by_platform},
        )


def _platform_meant(found: Found) -> Platform:
    """Return the platform that is meant where none is said."""
    if named := [platform for platform, lock in found.locks.items() if lock == found.named]:
        return named[0]
    host = Platform.host()
    return host if host in found.locks or len(found.locks) != 1 else next(iter(found.locks))
