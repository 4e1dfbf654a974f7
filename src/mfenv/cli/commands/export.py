"""`metaflow environment export`."""

from __future__ import annotations

from metaflow._vendor import click

from mfenv.cli.commands.options import json_option, local_only_option, pathspec_option
from mfenv.cli.render import spoken

# As in `mfenv.app.export`, which is not loaded for this.
FORMATS = ("pylock.toml", "requirements.txt", "environment.yml", "conda-lock.yml", "pixi.lock", "explicit", "cyclonedx")


@click.command(epilog="Example: metaflow environment export team/env:v1 --format conda-lock.yml -o conda-lock.yml")
@click.argument("env", metavar="ENV")
@click.option("--format", "kind", type=click.Choice(FORMATS), required=True, help="What to write.")
@click.option("-o", "--output", metavar="FILE", help="Where to; by default standard output.")
@click.option("--arch", "archs", multiple=True, help="Platform; can be repeated where a format holds several.")
@click.option("--lossy", is_flag=True, help="Write it also when the format cannot hold everything.")
@pathspec_option
@local_only_option
@json_option
def export(
    env: str,
    kind: str,
    output: str | None,
    archs: tuple[str, ...],
    *,
    lossy: bool,
    is_pathspec: bool,
    local_only: bool,
    as_json: bool,
) -> None:
    """Write an environment as another tool's file.

    conda-lock.yml and pixi.lock hold all platforms of ENV, the others this machine's or that of --arch. What a format
    cannot hold is refused, and said; --lossy writes the rest.
    """
    with spoken(as_json=as_json):
        from mfenv.cli.exporting import export_environment

        export_environment(
            env,
            kind,
            output=output,
            archs=archs,
            is_lossy=lossy,
            is_pathspec=is_pathspec,
            local_only=local_only,
            as_json=as_json,
        )
