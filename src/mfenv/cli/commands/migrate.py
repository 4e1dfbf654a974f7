"""`metaflow environment migrate`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from metaflow._vendor import click

from mfenv.cli import render
from mfenv.cli.commands.options import json_option
from mfenv.errors import EnvironmentsError

if TYPE_CHECKING:
    from mfenv.app.migrate import Migrated


@click.command(epilog="Example: metaflow environment migrate flow.py --write")
@click.argument("flows", nargs=-1, required=True, metavar="FLOW.py...")
@click.option("--write", is_flag=True, help="Change the files; without it, the changes are only shown.")
@click.option("--check", is_flag=True, help="End with code 1 when there are changes to make.")
@json_option
def migrate(flows: tuple[str, ...], *, write: bool, check: bool, as_json: bool) -> None:
    """Rewrite old spellings of decorators to today's.

    Comments and everything else stay as they are. What is not sure is left, and said with its place. Settings that
    have changed are listed.

    Ends with code 0, also when there are changes to make; with 1 when there are and --check asks for it; with 2 when
    one of the files cannot be read or written. The others are dealt with all the same.
    """
    from mfenv.app.migrate import migrate_file
    from mfenv.metaflow.config import set_by_user
    from mfenv.migrate.settings import changed_settings

    found: dict[str, Migrated | EnvironmentsError] = {}
    for flow in flows:
        try:
            # A file that is named twice has nothing to change the second time.
            found[flow] = found.get(flow) or migrate_file(Path(flow), write=write)
        except EnvironmentsError as error:
            found[flow] = error
    settings = changed_settings(set_by_user, os.environ)
    sys.exit(render.migration(found, settings, is_written=write, fails_when_pending=check, as_json=as_json))
