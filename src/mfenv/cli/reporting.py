"""How far things are, for people, while a command works."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator

from metaflow._vendor import click

from mfenv.app.reporting import Live, is_terminal
from mfenv.cli.finding import tell
from mfenv.cli.scope import current_scope
from mfenv.domain.locked import LockedEnvironment
from mfenv.hydrate.service import HydrationEvents
from mfenv.io import debug_log


class _Told:
    """Tells of a hydration."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def waiting(self, holder: str) -> None:
        tell(f"Waiting for {holder}, which creates the same environment ...")

    def fetched(self, event: dict[str, object]) -> None:
        self._live.fetched(event)
        if healed := event.get("healed"):
            tell(f"The cached file {healed} was damaged; it was fetched again.")


@contextlib.contextmanager
def hydration(lock: LockedEnvironment) -> Iterator[HydrationEvents]:
    """Tell of an environment in the making, for the duration of the block."""
    with working(f"Creating Conda environment {lock.id}", total=len(lock.artifacts)) as live:
        yield _Told(live)


@contextlib.contextmanager
def resolving(count: int) -> Iterator[None]:
    """Tell of `count` environments that are being resolved, for the duration of the block."""
    if not count:
        yield
        return
    with working(f"Resolving {count} {'environment' if count == 1 else 'environments'}"):
        yield


@contextlib.contextmanager
def working(title: str, *, total: int | None = None) -> Iterator[Live]:
    """Tell what goes on, and how it ended: ``title ... done in 1.2 seconds.`` on one line; on terminals it moves."""
    if current_scope().is_quiet:
        yield Live(title, stream=io.StringIO())
        return
    began, how = time.monotonic(), "failed"
    # Lines of a debug log come in between.
    is_log = debug_log.is_on()
    moves = is_terminal(click.get_text_stream("stderr")) and not is_log
    if not moves:
        click.echo(f"{title} ...", nl=is_log, err=True)
    try:
        with Live(title, total=total, is_shown=moves) as live:
            yield live
        how = "done"
    finally:
        begin = f"{title} ..." if moves or is_log else ""
        click.echo(f"{begin} {how} in {time.monotonic() - began:.1f} seconds.", err=True)
