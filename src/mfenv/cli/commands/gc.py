"""`metaflow environment gc`."""

from __future__ import annotations

from metaflow._vendor import click

from mfenv.cli import render
from mfenv.cli.commands.options import json_option
from mfenv.cli.render import spoken


@click.command(epilog="Example: metaflow environment gc --older-than 90 --delete")
@click.option("--store", is_flag=True, help="Look at the shared store only.")
@click.option("--local", is_flag=True, help="Look at this machine's caches only.")
@click.option("--older-than", default=30, show_default=True, metavar="DAYS", help="What is younger stays.")
@click.option("--runs-newer-than", type=int, metavar="DAYS", help="Older runs keep nothing. Default: all keep theirs.")
@click.option("--delete", is_flag=True, help="Remove it; without this, it is only shown.")
@click.option("--damaged", is_flag=True, help="Locks that cannot be read go as well.")
@json_option
def gc(
    *,
    store: bool,
    local: bool,
    older_than: int,
    runs_newer_than: int | None,
    delete: bool,
    damaged: bool,
    as_json: bool,
) -> None:
    """Show or remove what nobody needs any more, in the shared store and in this machine's caches.

    What names stand for stays, so does what this project uses, what runs that Metaflow knows ran in, and everything
    that was written or used of late. On this machine, what is removed comes again when it is needed.
    """
    from mfenv.cli.clearing import clear

    with spoken(as_json=as_json):
        found = clear(
            store=store or not local,
            local=local or not store,
            older_than=older_than,
            runs_newer_than=runs_newer_than,
            delete=delete,
            with_damaged=damaged,
            on_batch=render.cleared,
        )
    render.clearing(found, as_json=as_json)
