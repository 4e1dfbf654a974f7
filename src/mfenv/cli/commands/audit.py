"""`metaflow environment audit`."""

from __future__ import annotations

from metaflow._vendor import click

from mfenv.cli.commands.options import arch_option, json_option, local_only_option, pathspec_option
from mfenv.cli.render import spoken


@click.command(epilog="Example: metaflow environment audit team/env:v1 --database all.zip")
@click.argument("env", metavar="ENV")
@click.option(
    "--database",
    "databases",
    multiple=True,
    metavar="FILE|URL",
    help="Advisories as OSV publishes them; can be repeated. Default: METAFLOW_CONDA_OSV_DATABASE.",
)
@arch_option
@pathspec_option
@local_only_option
@json_option
def audit(
    env: str,
    arch: str | None,
    databases: tuple[str, ...],
    *,
    is_pathspec: bool,
    local_only: bool,
    as_json: bool,
) -> None:
    """Show known vulnerabilities of an environment's packages, conda's and PyPI's.

    What conda packages bring for Python counts as what it is on PyPI. Ends with 9 when something is known.
    """
    with spoken(as_json=as_json):
        from mfenv.cli.auditing import audit_environment

        audit_environment(env, arch, databases, is_pathspec=is_pathspec, local_only=local_only, as_json=as_json)
