"""`metaflow environment resolve`."""

from __future__ import annotations

import json

from metaflow._vendor import click

from mfenv.cli.commands.options import json_option
from mfenv.cli.render import spoken


@click.command(epilog="Example: metaflow environment resolve -r requirements.txt --python 3.11 --arch linux-64")
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
@json_option
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
