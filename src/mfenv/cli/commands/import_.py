"""`metaflow environment import`."""

from __future__ import annotations

from metaflow._vendor import click

from mfenv.cli.commands.options import json_option
from mfenv.cli.render import spoken


@click.command("import", epilog="Example: metaflow environment import conda-lock.yml --alias team/imported")
@click.argument("sources", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--alias", "--name", "names", multiple=True, metavar="NAME[:TAG]", help="Give it a name; can be repeated."
)
@click.option("--arch", "archs", multiple=True, help="Platform, such as linux-64; can be repeated. Default: this one.")
@click.option("--python", help="Version of Python, for files that leave it open.")
@click.option("--group", "groups", multiple=True, help="A dependency group, category or environment of the file.")
@click.option("--optional", multiple=True, help="Optional dependencies (an extra) of the file.")
@click.option("--local-only", is_flag=True, help="Share nothing: lock and names are of this project alone.")
@click.option("--legacy", is_flag=True, help="Take environments over by name from the store of the earlier extension.")
@click.option("--root", metavar="PLACE", help="Where that store is; by default METAFLOW_CONDA_LEGACY_ROOT.")
@json_option
def import_(
    sources: tuple[str, ...],
    names: tuple[str, ...],
    archs: tuple[str, ...],
    python: str | None,
    groups: tuple[str, ...],
    optional: tuple[str, ...],
    root: str | None,
    *,
    local_only: bool,
    legacy: bool,
    as_json: bool,
) -> None:
    """Take an environment over from a lock file: pylock.toml, uv.lock, pixi.lock, conda-lock.yml, @EXPLICIT.

    Its packages are taken exactly as they are, and nothing is added; a lock of this package (JSON) is taken, too. With
    --legacy the arguments are names (NAME[:TAG]) in the store of metaflow-netflixext: each package file is fetched from
    there, or from where it came from, hashed, and locked anew; the environments have the same names here.
    """
    with spoken(as_json=as_json):
        from mfenv.cli.importing import ImportOptions, import_environments

        import_environments(
            sources,
            ImportOptions(
                names=names,
                archs=archs,
                python=python,
                groups=groups,
                optional=optional,
                local_only=local_only,
                is_legacy=legacy,
                root=root,
                as_json=as_json,
            ),
        )
