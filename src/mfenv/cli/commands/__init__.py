"""`metaflow environment ...` (and `metaflow env ...`): what can be done without a flow.

A module for each command declares its options and loads what does the work when it is called: help is quick.
"""

from __future__ import annotations

from typing import TextIO

from metaflow._vendor import click

from mfenv.cli.commands.audit import audit
from mfenv.cli.commands.bake import bake
from mfenv.cli.commands.create import create
from mfenv.cli.commands.export import export
from mfenv.cli.commands.gc import gc
from mfenv.cli.commands.import_ import import_
from mfenv.cli.commands.look import diff, get, list_, show
from mfenv.cli.commands.migrate import migrate
from mfenv.cli.commands.names import alias, history
from mfenv.cli.commands.pack import pack, unpack
from mfenv.cli.commands.resolve import resolve
from mfenv.cli.commands.run import run, shell
from mfenv.cli.commands.search import search
from mfenv.cli.commands.tree import tree, why
from mfenv.cli.commands.verify import verify
from mfenv.cli.scope import Scope


@click.group()
def cli() -> None:
    """Environments of flows."""


@click.group()
def short() -> None:
    """Environments of flows, in short."""


@cli.group()
@click.option("--quiet/--no-quiet", default=False, help="Print answers only, an environment on a line.")
@click.option("--datastore", metavar="TYPE", help="Where environments are shared. Default: as Metaflow is configured.")
@click.option("--metadata", metavar="TYPE", help="Who knows of runs. Default: as Metaflow is configured.")
@click.option("--environment", "kind", type=click.Choice(["conda", "pypi"]), default="conda", hidden=True)
@click.option("--conda-root", "root", metavar="PLACE", help="The folder or address where environments are shared.")
@click.option("--quiet-file-output", type=click.File("w"), hidden=True)
@click.pass_context
def environment(
    context: click.Context,
    *,
    quiet: bool,
    datastore: str | None,
    metadata: str | None,
    kind: str,  # noqa: ARG001
    root: str | None,
    quiet_file_output: TextIO | None,
) -> None:
    """Environments of flows: resolve, look, compare, make, share."""
    context.obj = Scope(datastore=datastore, metadata=metadata, root=root, is_quiet=quiet, copy_to=quiet_file_output)


for command in (
    run,
    shell,
    alias,
    search,
    tree,
    why,
    create,
    diff,
    export,
    gc,
    get,
    list_,
    show,
    history,
    import_,
    migrate,
    resolve,
    bake,
    pack,
    unpack,
    verify,
    audit,
):
    environment.add_command(command)
short.add_command(environment, "env")
