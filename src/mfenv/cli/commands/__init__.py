"""`metaflow environment ...` (and `metaflow env ...`): what can be done without a flow.

A module for each command declares its options and loads what does the work when it is called: help is quick.
"""

from __future__ import annotations

from metaflow._vendor import click

from mfenv.cli.commands.gc import gc
from mfenv.cli.commands.import_ import import_
from mfenv.cli.commands.migrate import migrate
from mfenv.cli.commands.names import alias, history
from mfenv.cli.commands.resolve import resolve


@click.group()
def cli() -> None:
    """Environments of flows."""


@click.group()
def short() -> None:
    """Environments of flows, in short."""


@cli.group()
def environment() -> None:
    """Environments of flows: look after what they are written in."""


for command in (alias, gc, history, import_, migrate, resolve):
    environment.add_command(command)
short.add_command(environment, "env")
