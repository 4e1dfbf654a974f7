"""`metaflow environment bake`."""

from __future__ import annotations

from metaflow._vendor import click

from mfenv.cli.commands.options import arch_option, json_option, local_only_option, pathspec_option
from mfenv.cli.render import spoken


@click.command(epilog="Example: metaflow environment bake team/env:v1 --output image")
@click.argument("envs", metavar="ENV...", nargs=-1, required=True)
@click.option("--output", metavar="FOLDER", required=True, help="The folder to write; it is made.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["dockerfile", "oci"]),
    default="dockerfile",
    help="What to write: a folder for `docker build` (the default), or an image in the OCI layout.",
)
@click.option("--base", metavar="IMAGE", help="The image to build upon. Default: python, as Metaflow has it.")
@click.option("--base-layout", metavar="FOLDER", help="The same for `--format oci`: an image in the OCI layout.")
@click.option("--path", metavar="FOLDER", default="/opt/mfenv", help="Where environments are in the image.")
@pathspec_option
@arch_option
@local_only_option
@json_option
def bake(
    envs: tuple[str, ...],
    output: str,
    kind: str,
    base: str | None,
    base_layout: str | None,
    path: str,
    *,
    is_pathspec: bool,
    arch: str | None,
    local_only: bool,
    as_json: bool,
) -> None:
    """Write an image that brings environments, ready to use.

    Tasks with `--environment=conda` that run in such an image look once, and start.
    """
    with spoken(as_json=as_json):
        from mfenv.cli.baking import bake_environments

        bake_environments(
            envs,
            output,
            kind=kind,
            base=base,
            base_layout=base_layout,
            path=path,
            arch=arch,
            is_pathspec=is_pathspec,
            local_only=local_only,
            as_json=as_json,
        )
