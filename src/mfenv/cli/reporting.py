"""How far things are, for people, while a command works."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from mfenv.cli.finding import tell
from mfenv.domain.locked import LockedEnvironment
from mfenv.hydrate.service import HydrationEvents


class _Told:
    """Counts what arrives."""

    def __init__(self) -> None:
        self.files = 0

    def waiting(self, holder: str) -> None:
        tell(f"Waiting for {holder}, which creates the same environment ...")

    def fetched(self, event: dict[str, object]) -> None:
        self.files += 1
        if healed := event.get("healed"):
            tell(f"The cached file {healed} was damaged; it was fetched again.")


@contextlib.contextmanager
def hydration(lock: LockedEnvironment) -> Iterator[HydrationEvents]:
    """Tell of an environment in the making, for the duration of the block."""
    began, told = time.monotonic(), _Told()
    tell(f"Creating Conda environment {lock.id} ...")
    yield told
    tell(f"Creating Conda environment ... done in {time.monotonic() - began:.1f} seconds.")
