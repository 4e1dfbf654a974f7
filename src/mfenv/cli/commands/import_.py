"""`metaflow environment import`."""

from __future__ import annotations

import json

from metaflow._vendor import click

from mfenv.cli.commands.options import json_option
from mfenv.cli.render import spoken


@click.command("import", epilog="Example: metaflow environment import --legacy team/project/env:v1")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--legacy", is_flag=True, help="Take environments over from the store of the existing product.")
@click.option("--root", help="Where that is; by default METAFLOW_CONDA_LEGACY_ROOT.")
@click.option("--arch", "archs", multiple=True, help="Platform, such as linux-64; can be repeated. Default: all.")
@json_option
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
