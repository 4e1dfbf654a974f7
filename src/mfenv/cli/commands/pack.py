"""`metaflow environment pack` and `unpack`."""

from __future__ import annotations

from metaflow._vendor import click

from mfenv.cli.commands.options import json_option, local_only_option, pathspec_option
from mfenv.cli.render import spoken


@click.command(epilog="Example: metaflow environment pack team/env:v1 -o env.pack --force")
@click.argument("envs", metavar="ENV...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="FILE", required=True, help="The file to write.")
@click.option("--arch", "archs", metavar="ARCH", multiple=True, help="Platform; can be repeated. Default: this one.")
@click.option("--force", is_flag=True, help="Replace FILE where it is there already.")
@pathspec_option
@local_only_option
@json_option
def pack(
    envs: tuple[str, ...],
    output: str,
    archs: tuple[str, ...],
    *,
    force: bool,
    is_pathspec: bool,
    local_only: bool,
    as_json: bool,
) -> None:
    """Put environments into one file, with all their packages.

    A machine with no network at all can `unpack` it, and run what needs them.
    """
    with spoken(as_json=as_json):
        from mfenv.cli.packing import pack_environments

        pack_environments(
            envs, output, archs, force=force, is_pathspec=is_pathspec, local_only=local_only, as_json=as_json
        )


@click.command(epilog="Example: metaflow environment unpack env.pack --alias team/unpacked:v1")
@click.argument("file", metavar="FILE")
@click.option("--alias", "names", metavar="NAME[:TAG]", multiple=True, help="Name it so instead; can be repeated.")
@click.option("--share", is_flag=True, help="Put it into the shared store as well, with its names.")
@json_option
def unpack(file: str, names: tuple[str, ...], *, share: bool, as_json: bool) -> None:
    """Take in what `pack` wrote: needs no network.

    All of FILE is checked before anything of it is taken. The names that it was packed by count in this project alone,
    where nothing else is called so.
    """
    with spoken(as_json=as_json):
        from mfenv.cli.packing import unpack_environments

        unpack_environments(file, names, share=share, as_json=as_json)
