"""What a run says while its environments are made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from mfenv.app.reporting import Live, aside
from mfenv.domain.digest import LockId
from mfenv.domain.locked import LockedEnvironment


class HydrationLines:
    """Tells of hydrations in plain lines, and shows how far they are while somebody waits for one."""

    def __init__(self, echo: Callable[[str], None], *, is_quiet: bool) -> None:
        """Speak by Metaflow's `echo`; nothing moves on a terminal that is to be quiet."""
        self._metaflows_echo = echo
        self._live = Live(is_shown=not is_quiet)

    def makes(self, lock: LockedEnvironment) -> None:
        """Know of an environment that is going to be made."""
        self._live.row(lock.id, _creating(lock.id), total=len(lock.artifacts), is_shown=False)

    @contextlib.contextmanager
    def awaiting(self, lock_id: LockId) -> Iterator[None]:
        """Show how far the environment is, and others in the making, for the duration of the block."""
        self._live.row(lock_id, _creating(lock_id))
        try:
            with self._live:
                yield
        finally:
            self._live.fetched({"environment": lock_id, "ended": True})

    def _echo(self, line: str) -> None:
        with aside():
            self._metaflows_echo(line)

    def waiting(self, holder: str) -> None:
        """Tell of a process that makes the same."""
        self._echo(f"Waiting for {holder}, which creates the same environment ...")

    def fetched(self, event: dict[str, object]) -> None:
        """Take in how far one is, and tell what a user should know of it."""
        self._live.fetched(event)
        if healed := event.get("healed"):
            self._echo(f"The cached file {healed} was damaged; it was fetched again.")
        if damaged := event.get("damaged"):
            self._echo(f"The stored file {damaged} is damaged; it is fetched from its origin.")
        if unreachable := event.get("unreachable"):
            self._echo(f"The store cannot be used: {unreachable}; packages are fetched from their origin.")


def _creating(lock_id: LockId) -> str:
    return f"Creating Conda environment {lock_id}"
