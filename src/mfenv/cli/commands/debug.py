"""`metaflow debug task`."""

from __future__ import annotations

from metaflow._vendor import click

from mfenv.cli.commands.options import json_option
from mfenv.cli.render import spoken


@click.group()
def cli() -> None:
    """Look at what ran."""


@cli.group()
def debug() -> None:
    """Look at what ran, and run it again by hand."""


@debug.command(epilog="Example: metaflow debug task MyFlow/1234/train --metaflow-root-dir debug_train")
@click.argument("pathspec", metavar="PATHSPEC")
@click.option(
    "--metaflow-root-dir",
    "folder",
    required=True,
    metavar="DIR",
    help="Where code, script and notebook go: a folder that is not there, is empty, or is from an earlier call.",
)
@click.option("--inspect", is_flag=True, help="The state after the task ran. Default: before it ran.")
@click.option("--override-env", "environment", metavar="ENV", help="Another environment: a name or an id.")
@click.option(
    "--override-env-from-pathspec", "of_step", metavar="FLOW/RUN/STEP", help="The environment of another step."
)
@click.option("--notebook/--no-notebook", default=True, help="Make a notebook and its kernel. Default: yes.")
@json_option
def task(
    pathspec: str,
    *,
    folder: str,
    inspect: bool,
    environment: str | None,
    of_step: str | None,
    notebook: bool,
    as_json: bool,
) -> None:
    """Make a notebook and a script that begin with what a task had: self, inputs and current.

    PATHSPEC is a task (Flow/Run/Step/Task), a step with one task, a run (then it is its last step), or a flow (then it
    is its latest successful run). They run in the task's own environment with the task's own code, also when the task
    failed. Nothing is written to the datastore or the metadata of the run.
    """
    with spoken(as_json=as_json):
        from mfenv.cli.debugging import debug_task

        debug_task(
            pathspec,
            folder=folder,
            inspects=inspect,
            environment=environment,
            of_step=of_step,
            with_notebook=notebook,
            as_json=as_json,
        )
