"""`metaflow environment create`."""

from __future__ import annotations

from metaflow._vendor import click

from mfenv.cli.commands.options import arch_option, json_option, local_only_option, pathspec_option
from mfenv.cli.render import spoken


@click.command(epilog="Example: metaflow environment create team/env:v1 --name analysis --install-notebook")
@click.argument("env", metavar="ENV")
@click.option("--name", help="Make one of your own, called so on this machine.")
@click.option("--into-dir", metavar="DIR", help="Make one of your own in an empty folder; for a step with its code.")
@click.option("--force", is_flag=True, help="Make it anew where it is there already.")
@click.option("--exist-ok", is_flag=True, help="Use it as it is where it is there already.")
@click.option("--install-notebook", is_flag=True, help="Let Jupyter have a kernel in it.")
@click.option("--strict/--no-strict", default=True, help="Only the very code that the step had; with --into-dir.")
@click.option("--quiet", is_flag=True, help="Print the path of its Python only.")
@arch_option
@pathspec_option
@local_only_option
@json_option
def create(
    env: str,
    name: str | None,
    into_dir: str | None,
    arch: str | None,
    *,
    force: bool,
    exist_ok: bool,
    install_notebook: bool,
    strict: bool,
    quiet: bool,
    is_pathspec: bool,
    local_only: bool,
    as_json: bool,
) -> None:
    """Make an environment on this machine.

    By itself it is the one that steps run in, shared by all: do not change it. With --name or --into-dir it is one of
    your own, made of the same packages: install into it what you like. What is there and was not made by this command
    is never touched.
    """
    with spoken(as_json=as_json):
        from mfenv.cli.creating import CreateOptions, create_environment

        create_environment(
            env,
            CreateOptions(
                name=name,
                into_dir=into_dir,
                arch=arch,
                force=force,
                exist_ok=exist_ok,
                install_notebook=install_notebook,
                strict=strict,
                is_quiet=quiet,
                is_pathspec=is_pathspec,
                local_only=local_only,
                as_json=as_json,
            ),
        )
