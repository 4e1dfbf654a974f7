"""How far things are, for people, while a command works.

`working` tells of anything that takes its time, `looking` of what mostly takes none, `hydration` and `resolving` of
what most commands do. Lines in between are printed with `tell`.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from metaflow._vendor import click

from mfenv.app.progress import in_words
from mfenv.app.reporting import Live, aside, is_terminal
from mfenv.cli.scope import current_scope
from mfenv.io import debug_log

if TYPE_CHECKING:
    from mfenv.domain.locked import LockedEnvironment
    from mfenv.hydrate.service import HydrationEvents

_PATIENCE = 0.7
"""Seconds of silence that nobody minds."""
_begun: list[str] = []
"""The titles at the beginning of the line that the cursor is on."""


def tell(line: str) -> None:
    """Print a line that is not part of the answer; nothing when only the answer is wanted. Called from any thread."""
    if current_scope().is_quiet:
        return
    with aside():
        if _begun:
            click.echo(err=True)
            _begun.clear()
        click.echo(line, err=True)


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
def resolving(count: int) -> Iterator[Live]:
    """Tell of `count` environments that are being resolved, for the duration of the block."""
    if not count:
        yield Live(stream=io.StringIO())
        return
    title = f"Resolving {count} {'environment' if count == 1 else 'environments'}"
    with working(title, total=count if count > 1 else None) as live:
        yield live


@contextlib.contextmanager
def looking(title: str) -> Iterator[Live]:
    """Tell what goes on only when it takes longer than people like to wait, and only on terminals."""
    with Live(title, is_shown=not current_scope().is_quiet, after=_PATIENCE) as live:
        yield live


@contextlib.contextmanager
def working(
    title: str, *, total: int | None = None, noun: str = "packages", with_counts: bool = False
) -> Iterator[Live]:
    """Tell what goes on, and how it ended: ``title ... done in 1.2 seconds.`` on one line; on terminals it moves.

    `total` is how many there are of `noun`; with `with_counts` the last line says how many passed.
    """
    if current_scope().is_quiet:
        yield Live(title, stream=io.StringIO())
        return
    began, how, counts = time.monotonic(), "failed", ""
    # Lines of a debug log come in between.
    is_log = debug_log.is_on()
    moves = is_terminal(click.get_text_stream("stderr")) and not is_log
    if not moves:
        click.echo(f"{title} ...", nl=is_log, err=True)
        _begun.extend([title] * (not is_log))
    try:
        with Live(title, total=total, noun=noun, is_shown=moves) as live:
            yield live
        if with_counts and live.files:
            counts = f" ({live.files} files, {in_words(live.size)})"
        how = "done"
    finally:
        begin = "" if title in _begun else f"{title} ..."
        _begun.clear()
        click.echo(f"{begin} {how} in {time.monotonic() - began:.1f} seconds{counts}.", err=True)
