"""`metaflow environment ...` (and `metaflow env ...`): what can be done without a flow."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from metaflow._vendor import click

from mfenv.cli import render
from mfenv.cli.render import spoken
from mfenv.errors import EnvironmentsError

if TYPE_CHECKING:
    from mfenv.app.migrate import Migrated


@click.group()
def cli() -> None:
    """Environments of flows."""


@click.group()
def short() -> None:
    """Environments of flows, in short."""


@cli.group()
def environment() -> None:
    """Environments of flows: look after what they are written in."""


@environment.command(epilog="Example: metaflow environment migrate flow.py --write")
@click.argument("flows", nargs=-1, required=True, metavar="FLOW.py...")
@click.option("--write", is_flag=True, help="Change the files; without it, the changes are only shown.")
@click.option("--check", is_flag=True, help="End with code 1 when there are changes to make.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
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


@environment.command(epilog="Example: metaflow environment resolve -r requirements.txt --python 3.11 --arch linux-64")
@click.option("-r", "requirements", multiple=True, metavar="FILE", help="A requirements.txt; can be repeated.")
@click.option("-f", "environments", multiple=True, metavar="FILE", help="An environment.yml; can be repeated.")
@click.option("-p", "projects", multiple=True, metavar="FILE", help="A pyproject.toml or pixi.toml.")
@click.option("--lock", "locks", multiple=True, metavar="FILE", help="A lock file of another tool, taken as it is.")
@click.option("--group", "groups", multiple=True, help="A dependency group of -p or --lock; can be repeated.")
@click.option("--optional", "optional", multiple=True, help="Optional dependencies (an extra) of -p or --lock.")
@click.option("--python", help="Version of Python; by default the one that runs this command.")
@click.option("--arch", "archs", multiple=True, help="Platform, such as linux-64; can be repeated. Default: this one.")
@click.option("--alias", "names", multiple=True, metavar="NAME[:TAG]", help="Give it a name; can be repeated.")
@click.option("--force", is_flag=True, help="Solve anew, also what is known.")
@click.option("--local-only", is_flag=True, help="Share nothing: lock and names are of this project alone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def resolve(
    requirements: tuple[str, ...],
    environments: tuple[str, ...],
    projects: tuple[str, ...],
    locks: tuple[str, ...],
    groups: tuple[str, ...],
    optional: tuple[str, ...],
    python: str | None,
    archs: tuple[str, ...],
    names: tuple[str, ...],
    *,
    force: bool,
    local_only: bool,
    as_json: bool,
) -> None:
    """Lock what files ask for.

    The lock is kept beside the local datastore, and shared with its packages through the datastore;
    @named_env(name="<lock id>") runs a step in it. Paths are relative to the working directory.
    """
    from mfenv.cli.resolving import resolve_files

    with spoken(as_json=as_json):
        plain = [*requirements, *environments]
        found = resolve_files(
            plain,
            [*projects, *locks],
            groups,
            optional,
            python=python,
            archs=archs,
            force=force,
            names=names,
            local_only=local_only,
        )
    if as_json:
        click.echo(json.dumps({"environments": found}, indent=2))
        return
    for row in found:
        click.echo(f"### {row['arch']}: {row['req_id']}:{row['full_id']}{' (new)' if row['newly_resolved'] else ''}")
        for line in row["packages"]:
            click.echo(f"  {line}")


@environment.command(epilog="Example: metaflow environment alias MyFlow/latest/train team/project/train:v1")
@click.argument("source")
@click.argument("alias", metavar="NAME[:TAG]")
@click.option("--pathspec", "is_pathspec", is_flag=True, help="SOURCE is a step of a run: Flow/Run/Step.")
@click.option("--arch", "archs", multiple=True, help="Name it for this platform only; can be repeated. Default: all.")
@click.option("--local-only", is_flag=True, help="The name is for this project alone; nothing is shared.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
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


@environment.command(epilog="Example: metaflow environment history team/project/train:stable")
@click.argument("alias", metavar="NAME[:TAG]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def history(alias: str, *, as_json: bool) -> None:
    """Show what a name stood for, and since when; the latest first."""
    from mfenv.cli.naming import history_of

    with spoken(as_json=as_json):
        found, own = history_of(alias)
    render.names(found, own, as_json=as_json)


@environment.command(epilog="Example: metaflow environment gc --older-than 90 --delete")
@click.option("--store", is_flag=True, help="Look at the shared store only.")
@click.option("--local", is_flag=True, help="Look at this machine's caches only.")
@click.option("--older-than", default=30, show_default=True, metavar="DAYS", help="What is younger stays.")
@click.option("--runs-newer-than", type=int, metavar="DAYS", help="Older runs keep nothing. Default: all keep theirs.")
@click.option("--delete", is_flag=True, help="Remove it; without this, it is only shown.")
@click.option("--damaged", is_flag=True, help="Locks that cannot be read go as well.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
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


@environment.command("import", epilog="Example: metaflow environment import --legacy team/project/env:v1")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--legacy", is_flag=True, help="Take environments over from the store of the existing product.")
@click.option("--root", help="Where that is; by default METAFLOW_CONDA_LEGACY_ROOT.")
@click.option("--arch", "archs", multiple=True, help="Platform, such as linux-64; can be repeated. Default: all.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def import_(names: tuple[str, ...], *, legacy: bool, root: str | None, archs: tuple[str, ...], as_json: bool) -> None:
    """Take environments over by name.

    Each package file is fetched, from that store or from where it came from, hashed, and locked anew. The environments
    are then shared, and have the same names here.
    """
    from mfenv.cli.importing import import_legacy
    from mfenv.errors import InvalidSpec

    with spoken(as_json=as_json):
        if not legacy:
            raise InvalidSpec("there is nothing to take environments from", hint="Add --legacy")
        found = import_legacy(names, archs, root)
    if as_json:
        click.echo(json.dumps({"imported": found}, indent=2))
        return
    for row in found:
        click.echo(row["name"])
        for arch, lock in row["environments"].items():
            click.echo(f"  {arch:<14} {lock}")


short.add_command(environment, "env")
