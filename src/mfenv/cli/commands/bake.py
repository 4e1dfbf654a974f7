"""`metaflow environment bake`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metaflow._vendor import click

from mfenv.cli.commands.options import arch_option, json_option, local_only_option, pathspec_option
from mfenv.cli.render import spoken


def image_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say what the image is to be."""
    for option in reversed(
        [
            click.option("--output", metavar="FOLDER", required=True, help="The folder to write; it is made."),
            click.option(
                "--format",
                "kind",
                type=click.Choice(["dockerfile", "oci"]),
                default="dockerfile",
                help="What to write: a folder for `docker build` (the default), or an image in the OCI layout.",
            ),
            click.option("--base", metavar="IMAGE", help="The image to build upon. Default: python:3.x."),
            click.option("--base-layout", metavar="PATH", help="The same for `--format oci`: a folder or tar file."),
            click.option("--path", metavar="FOLDER", default="/opt/mfenv", help="Where environments are in the image."),
            arch_option,
            json_option,
        ]
    ):
        command = option(command)
    return command


@click.command(epilog="Example: metaflow environment bake team/env:v1 --output image")
@click.argument("envs", metavar="ENV...", nargs=-1, required=True)
@image_options
@pathspec_option
@local_only_option
def bake(envs: tuple[str, ...], *, is_pathspec: bool, local_only: bool, **options: Any) -> None:
    """Write an image that brings environments, ready to use.

    Tasks with `--environment=conda` that run in such an image look once, and start.
    """
    with spoken(as_json=options["as_json"]):
        from mfenv.cli.baking import BakeOptions, bake_environments

        bake_environments(envs, BakeOptions(**options), is_pathspec=is_pathspec, local_only=local_only)
