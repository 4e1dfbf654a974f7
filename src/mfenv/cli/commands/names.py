"""`metaflow environment alias` and `history`."""

from __future__ import annotations

from metaflow._vendor import click

from mfenv.cli import render
from mfenv.cli.commands.options import json_option
from mfenv.cli.render import spoken


@click.command(epilog="Example: metaflow environment alias MyFlow/latest/train team/project/train:v1")
@click.argument("source")
@click.argument("alias", metavar="NAME[:TAG]")
@click.option("--pathspec", "is_pathspec", is_flag=True, help="SOURCE is a step of a run: Flow/Run/Step.")
@click.option("--arch", "archs", multiple=True, help="Name it for this platform only; can be repeated. Default: all.")
@click.option("--local-only", is_flag=True, help="The name is for this project alone; nothing is shared.")
@json_option
def alias(
    source: str, alias: str, *, is_pathspec: bool, archs: tuple[str, ...], local_only: bool, as_json: bool
) -> None:
    """Give an environment a name.

    SOURCE is an id, a name, or a step of a run (step:Flow/Run/Step). The tags latest, which is meant when none is
    given, candidate and stable can be moved; every other stays what it is. A name has all its platforms at once: those
    that SOURCE has not, it has no longer.
    """
    from mfenv.cli.naming import name_environment

    with spoken(as_json=as_json):
        found = name_environment(source, alias, is_pathspec=is_pathspec, archs=archs, local_only=local_only)
    render.names([] if local_only else [found], found if local_only else None, as_json=as_json)


@click.command(epilog="Example: metaflow environment history team/project/train:stable")
@click.argument("alias", metavar="NAME[:TAG]")
@json_option
def history(alias: str, *, as_json: bool) -> None:
    """Show what a name stood for, and since when; the latest first."""
    from mfenv.cli.naming import history_of

    with spoken(as_json=as_json):
        found, own = history_of(alias)
    render.names(found, own, as_json=as_json)
