"""`metaflow environment resolve`."""

from __future__ import annotations

from metaflow._vendor import click

from mfenv.cli.commands.options import json_option
from mfenv.cli.render import spoken


@click.command(epilog="Example: metaflow environment resolve -r requirements.txt --python 3.11 --alias team/env:v1")
@click.option("-r", "requirements", multiple=True, metavar="FILE", help="A requirements.txt; can be repeated.")
@click.option("-f", "environments", multiple=True, metavar="FILE", help="An environment.yml; can be repeated.")
@click.option("-p", "projects", multiple=True, metavar="FILE", help="A pyproject.toml or pixi.toml.")
@click.option("--lock", "locks", multiple=True, metavar="FILE", help="A lock file of another tool, taken as it is.")
@click.option("--group", "groups", multiple=True, help="A dependency group of -p or --lock; can be repeated.")
@click.option("--optional", multiple=True, help="Optional dependencies (an extra) of -p or --lock.")
@click.option("--conda-pkg", "conda_packages", multiple=True, metavar="SPEC", help="A conda package; can be repeated.")
@click.option("--pypi-pkg", "pypi_packages", multiple=True, metavar="SPEC", help="A PyPI package; can be repeated.")
@click.option("--channel", "channels", multiple=True, help="A channel before the configured ones; can be repeated.")
@click.option("--python", help="Version of Python; by default the one that runs this command.")
@click.option("--using", metavar="ENV", help="An environment to build upon.")
@click.option("--using-pathspec", metavar="FLOW/RUN/STEP", help="The same by a step that ran in it.")
@click.option("--from", "again", metavar="ENV", help="An environment whose request is answered again.")
@click.option("--from-pathspec", "again_pathspec", metavar="FLOW/RUN/STEP", help="The same by a step that ran in it.")
@click.option("--arch", "archs", multiple=True, help="Platform, such as linux-64; can be repeated. Default: this one.")
@click.option("--exclude-newer", metavar="DATE", help="Leave out what was published later: 2026-01-31, or `30 days`.")
@click.option("--upgrade", "upgrade", multiple=True, metavar="PKG", help="Solve anew for PKG; the rest stays close.")
@click.option("--upgrade-all", is_flag=True, help="Solve anew, the newest of everything.")
@click.option("--force", is_flag=True, help="Solve anew, also what is known.")
@click.option("--alias", "names", multiple=True, metavar="NAME[:TAG]", help="Give it a name; can be repeated.")
@click.option("--set-default/--no-set-default", default=True, help="Use it for this request from now on.")
@click.option("--skip-metaflow-deps", is_flag=True, help="Leave out what Metaflow imports in a task.")
@click.option("--local-only", is_flag=True, help="Share nothing: lock and names are of this project alone.")
@click.option("--dry-run", is_flag=True, help="Show what would be locked, and keep nothing of it.")
@json_option
def resolve(
    requirements: tuple[str, ...],
    environments: tuple[str, ...],
    projects: tuple[str, ...],
    locks: tuple[str, ...],
    groups: tuple[str, ...],
    optional: tuple[str, ...],
    conda_packages: tuple[str, ...],
    pypi_packages: tuple[str, ...],
    channels: tuple[str, ...],
    python: str | None,
    using: str | None,
    using_pathspec: str | None,
    again: str | None,
    again_pathspec: str | None,
    archs: tuple[str, ...],
    exclude_newer: str | None,
    upgrade: tuple[str, ...],
    *,
    upgrade_all: bool,
    force: bool,
    names: tuple[str, ...],
    set_default: bool,
    skip_metaflow_deps: bool,
    local_only: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Lock what files and options ask for.

    The lock is kept beside the local datastore, and shared with its packages through the datastore; @named_env runs a
    step in it, by its name or its id. Files, packages and --using add up. Paths are relative to the working directory.
    """
    with spoken(as_json=as_json):
        from mfenv.app.resolve_files import Upgrade
        from mfenv.cli.resolving import Options, one_of, resolve_environments
        from mfenv.cli.showing import resolved

        options = Options(
            plain=[*requirements, *environments],
            projects=projects,
            lock_files=locks,
            groups=groups,
            optional=optional,
            conda_packages=conda_packages,
            pypi_packages=pypi_packages,
            channels=channels,
            python=python,
            using=one_of("using", using, using_pathspec),
            again=one_of("from", again, again_pathspec),
            archs=archs,
            exclude_newer=exclude_newer,
            upgrade=Upgrade(names=upgrade, is_all=upgrade_all),
            force=force,
            names=names,
            set_default=set_default,
            with_needs=not skip_metaflow_deps,
            local_only=local_only,
            dry_run=dry_run,
        )
        resolved(resolve_environments(options), is_plan=dry_run, as_json=as_json)
