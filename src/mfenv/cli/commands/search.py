"""`metaflow environment search`."""

from __future__ import annotations

from metaflow._vendor import click

from mfenv.cli.commands.options import json_option
from mfenv.cli.render import spoken


@click.command(epilog='Example: metaflow environment search "six>=1.16" --conda')
@click.argument("package", metavar="PACKAGE[CONSTRAINT]")
@click.option("--arch", "archs", multiple=True, help="Platform, such as linux-64; can be repeated. Default: this one.")
@click.option("--channel", "channels", multiple=True, help="A channel, in place of the configured ones.")
@click.option("--conda", "only_conda", is_flag=True, help="Look at channels only.")
@click.option("--pypi", "only_pypi", is_flag=True, help="Look at package indexes only.")
@click.option("--python", help="For which Python; by default the one that runs this command.")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, help="How many versions of each.")
@click.option("--all", "shows_all", is_flag=True, help="All versions, and all builds of each.")
@json_option
def search(
    package: str,
    archs: tuple[str, ...],
    channels: tuple[str, ...],
    python: str | None,
    limit: int,
    *,
    only_conda: bool,
    only_pypi: bool,
    shows_all: bool,
    as_json: bool,
) -> None:
    """Show which versions of a package the channels and the package indexes have for a platform; newest first.

    Ends with code 3 when none has the package, or one cannot be asked; what the others have is shown all the same.
    """
    with spoken(as_json=as_json):
        from mfenv.cli.searching import search_package

        search_package(
            package,
            archs=archs,
            channels=channels,
            sides=("conda",) * (only_conda or not only_pypi) + ("pypi",) * (only_pypi or not only_conda),
            python=python,
            limit=None if shows_all else limit,
            as_json=as_json,
        )
