"""`metaflow environment show`, `list`, `get` and `diff`."""

from __future__ import annotations

import sys

from metaflow._vendor import click

from mfenv.cli.commands.options import arch_option, json_option, local_only_option, pathspec_option
from mfenv.cli.render import spoken


@click.command(epilog="Example: metaflow environment show team/env:v1 MyFlow/latest/train")
@click.argument("envs", nargs=-1, required=True, metavar="ENV...")
@arch_option
@pathspec_option
@local_only_option
@json_option
def show(envs: tuple[str, ...], *, arch: str | None, is_pathspec: bool, local_only: bool, as_json: bool) -> None:
    """Show environments: packages, names, who made them, what they were asked to be, where they are.

    ENV is a name, an id or its first digits, or a step of a run (Flow/Run/Step). Ends with code 2 when one of them is
    not known; the others are shown all the same.
    """
    with spoken(as_json=as_json):
        from mfenv.cli.looking import show_environments

        sys.exit(show_environments(envs, arch=arch, is_pathspec=is_pathspec, local_only=local_only, as_json=as_json))


@click.command("list", epilog="Example: metaflow environment list --store --sort size --filter team/")
@click.option("--local", is_flag=True, help="Those of this project and machine only.")
@click.option("--store", is_flag=True, help="Those of the shared store only.")
@click.option("--aliases", is_flag=True, help="Only those that have a name, by name.")
@click.option("--filter", "text", metavar="TEXT", help="Those with TEXT in id, name, platform, user, or a package.")
@click.option("--sort", type=click.Choice(["time", "name", "size"]), default="time", show_default=True)
@click.option("--arch", metavar="ARCH", help="Those for a platform, such as linux-64.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N only.")
@json_option
def list_(
    *,
    local: bool,
    store: bool,
    aliases: bool,
    text: str | None,
    sort: str,
    arch: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List environments: of this project and machine, and of the shared store."""
    with spoken(as_json=as_json):
        from mfenv.cli.looking import list_environments

        list_environments(
            local=local or not store,
            store=store or not local,
            only_named=aliases,
            text=text,
            sort=sort,
            arch=arch,
            limit=limit,
            as_json=as_json,
        )


@click.command(epilog="Example: metaflow environment get team/env:v1")
@click.argument("source", metavar="ENV")
@click.option("--default/--no-default", default=True, help="Use it for its request from now on.")
@arch_option
@pathspec_option
@json_option
def get(source: str, *, default: bool, arch: str | None, is_pathspec: bool, as_json: bool) -> None:
    """Take an environment into this project.

    Its lock is then kept beside the local datastore, and used for the request that it answered.
    """
    with spoken(as_json=as_json):
        from mfenv.cli.looking import get_environment

        get_environment(source, sets_default=default, arch=arch, is_pathspec=is_pathspec, as_json=as_json)


@click.command(epilog="Example: metaflow environment diff team/env:v1 team/env:v2")
@click.argument("before", metavar="ENV")
@click.argument("after", metavar="ENV")
@arch_option
@json_option
def diff(before: str, after: str, *, arch: str | None, as_json: bool) -> None:
    """Show what two environments differ in: packages added, removed and changed, with their sizes.

    ENV is a name, an id, a step of a run (Flow/Run/Step), a lock file of this or another tool, or a whole run
    (Flow/Run): two runs are compared step by step.
    """
    with spoken(as_json=as_json):
        from mfenv.cli.looking import compare_environments

        compare_environments(before, after, arch=arch, as_json=as_json)
