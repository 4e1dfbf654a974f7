"""`metaflow environment import --legacy`: environments of the existing product."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from metaflow._vendor import click

from mfenv.cli.finding import wired
from mfenv.cli.naming import give_name, share
from mfenv.domain.reference import ByName, parse_reference
from mfenv.errors import InvalidSpec
from mfenv.metaflow.legacy import legacy_import, parse_platforms

_MOST = 5


def import_legacy(names: Sequence[str], archs: Sequence[str], root: str | None) -> list[dict[str, Any]]:
    """Take environments over by name, share them, and name them the same; return what is to be printed.

    Raises `EnvironmentsError`.
    """
    platforms = parse_platforms(archs)
    wiring = wired()
    try:
        taking, rows = legacy_import(wiring, root, tell=lambda line: click.echo(line, err=True)), []
        for name in names:
            locks = taking.take(name, platforms)
            if locks is None:
                close = difflib.get_close_matches(name, sorted(taking.legacy.names()), n=_MOST)
                raise InvalidSpec(
                    f"the existing product has no environment by the name `{name}`",
                    hint=f"Names like it are {', '.join(f'`{one}`' for one in close)}" if close else None,
                )
            ids = {platform: lock.id for platform, lock in locks.items()}
            ref = parse_reference(name, where="NAME")
            if isinstance(ref, ByName):
                give_name(wiring, ref, ids, local_only=False)
            else:
                share(wiring, ids.values())
            rows.append({"name": name, "environments": {platform.value: lock_id for platform, lock_id in ids.items()}})
        return rows
    finally:
        wiring.close()
