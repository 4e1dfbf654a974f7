"""`metaflow environment verify`."""

from __future__ import annotations

from metaflow._vendor import click

from mfenv.cli.commands.options import arch_option, json_option, local_only_option, pathspec_option
from mfenv.cli.render import spoken


@click.command(epilog="Example: metaflow environment verify team/env:v1")
@click.argument("env", metavar="[ENV]", required=False)
@click.option("--prefix", metavar="DIR", help="One of your own, as `create --into-dir` or `--name` makes them.")
@click.option("--repair", is_flag=True, help="Remove what differs, so that it is made again when it is needed.")
@arch_option
@pathspec_option
@local_only_option
@json_option
def verify(
    env: str | None,
    prefix: str | None,
    arch: str | None,
    *,
    repair: bool,
    is_pathspec: bool,
    local_only: bool,
    as_json: bool,
) -> None:
    """Compare every file of an environment on this machine with its lock.

    The lock has the sha256 of each package, and each package those of its files. Ends with 5 when something differs.
    """
    with spoken(as_json=as_json):
        from mfenv.cli.verifying import verify_environment

        verify_environment(
            env,
            prefix,
            arch,
            with_repair=repair,
            is_pathspec=is_pathspec,
            local_only=local_only,
            as_json=as_json,
        )
