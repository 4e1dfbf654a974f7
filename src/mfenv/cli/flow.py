"""`python flow.py --environment=conda environment ...`: the environments of a flow's steps, without a run."""

from __future__ import annotations

from typing import Any

from metaflow._vendor import click

from mfenv.cli.commands.bake import image_options
from mfenv.cli.commands.options import json_option
from mfenv.cli.render import spoken


@click.group()
def cli() -> None:
    """Environments of this flow."""


@cli.group()
@click.pass_obj
def environment(state: Any) -> None:
    """Environments of this flow's steps: resolve them and look at them, without a run."""
    from mfenv.errors import InvalidSpec
    from mfenv.metaflow.environment import CondaEnvironment

    if not isinstance(state.environment, CondaEnvironment):
        with spoken(as_json=False):
            raise InvalidSpec(
                "the steps of this flow have no environments without --environment=conda",
                hint="Write it before `environment`: `python flow.py --environment=conda environment show`",
            )


@environment.command(epilog="Example: python flow.py --environment=conda environment resolve train --alias team/x:v1")
@click.argument("steps", nargs=-1, metavar="[STEP]...")
@click.option("--alias", "names", multiple=True, metavar="NAME[:TAG]", help="Give it a name; for one environment only.")
@click.option(
    "--arch", "archs", multiple=True, help="Platform, such as linux-64; can be repeated. Default: the step's."
)
@click.option("--force", is_flag=True, help="Solve anew, also what is known.")
@click.option("--upgrade", "upgrade", multiple=True, metavar="PKG", help="Solve anew for PKG; the rest stays close.")
@click.option("--upgrade-all", is_flag=True, help="Solve anew, the newest of everything.")
@click.option("--set-default/--no-set-default", default=True, help="Let the next run use it.")
@click.option("--local-only", is_flag=True, help="Share nothing: locks and names are of this project alone.")
@click.option("--dry-run", is_flag=True, help="Show what would be locked, and keep nothing of it.")
@click.option("--output", metavar="FILE", help="Write one JSON document: step, platform, environment.")
@click.option("--timeout", type=int, hidden=True)
@json_option
@click.pass_obj
def resolve(
    state: Any,
    steps: tuple[str, ...],
    names: tuple[str, ...],
    archs: tuple[str, ...],
    upgrade: tuple[str, ...],
    output: str | None,
    timeout: int | None,  # noqa: ARG001
    *,
    force: bool,
    upgrade_all: bool,
    set_default: bool,
    local_only: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Lock the environments of all steps, or of those that are named.

    The next run has nothing to resolve, on any machine that shares the datastore.
    """
    with spoken(as_json=as_json):
        from mfenv.app.resolve_files import Upgrade
        from mfenv.cli.flow_environments import FlowOptions, resolve_steps

        resolve_steps(
            state,
            FlowOptions(
                steps=steps,
                names=names,
                archs=archs,
                upgrade=Upgrade(names=upgrade, is_all=upgrade_all),
                force=force,
                set_default=set_default,
                local_only=local_only,
                dry_run=dry_run,
                output=output,
                as_json=as_json,
            ),
        )


@environment.command(epilog="Example: python flow.py --environment=conda environment show train")
@click.argument("steps", nargs=-1, metavar="[STEP]...")
@click.option("--arch", metavar="ARCH", help="Platform, such as linux-64. Default: the step's.")
@click.option("--local-only", is_flag=True, help="Ask no shared store.")
@click.option("--output", metavar="FILE", help="Write one JSON document: a row for each step.")
@click.option("--timeout", type=int, hidden=True)
@json_option
@click.pass_obj
def show(
    state: Any,
    steps: tuple[str, ...],
    arch: str | None,
    output: str | None,
    timeout: int | None,  # noqa: ARG001
    *,
    local_only: bool,
    as_json: bool,
) -> None:
    """Show the environment of each step: is it resolved, shared, made here, and why is it this one.

    Nothing is resolved.
    """
    with spoken(as_json=as_json):
        from mfenv.cli.flow_environments import show_steps

        show_steps(state, steps, arch=arch, local_only=local_only, output=output, as_json=as_json)


@environment.command(epilog="Example: python flow.py --environment=conda environment bake --output image")
@click.argument("steps", nargs=-1, metavar="[STEP]...")
@image_options
@click.pass_obj
def bake(state: Any, steps: tuple[str, ...], **options: Any) -> None:
    """Write an image that brings the environments of steps: those named, else those that run on other machines.

    What is not known is resolved.
    """
    with spoken(as_json=options["as_json"]):
        from mfenv.cli.baking import BakeOptions, bake_steps

        bake_steps(state, steps, BakeOptions(**options))
