"""`metaflow environment tree` and `why`."""

from __future__ import annotations

from metaflow._vendor import click

from mfenv.cli.commands.options import arch_option, json_option, local_only_option, pathspec_option
from mfenv.cli.render import spoken


@click.command(epilog="Example: metaflow environment tree team/env:v2 --depth 2")
@click.argument("env", metavar="ENV")
@click.argument("package", required=False, metavar="[PACKAGE]")
@click.option("--depth", type=click.IntRange(min=0), metavar="N", help="How deep; 0 shows the packages themselves.")
@click.option("--invert", is_flag=True, help="Who needs it, in place of what it needs.")
@arch_option
@pathspec_option
@local_only_option
@json_option
def tree(
    env: str,
    package: str | None,
    depth: int | None,
    arch: str | None,
    *,
    invert: bool,
    is_pathspec: bool,
    local_only: bool,
    as_json: bool,
) -> None:
    """Show who needs whom, conda and PyPI packages together.

    The tree begins with what was asked for, or with PACKAGE. What a package needs is shown where it comes up first;
    `(*)` stands for it after that.
    """
    with spoken(as_json=as_json):
        from mfenv.cli.trees import TreeOptions, show_tree

        options = TreeOptions(
            arch=arch,
            is_pathspec=is_pathspec,
            local_only=local_only,
            as_json=as_json,
            depth=depth,
            is_inverted=invert,
        )
        show_tree(env, package, options)


@click.command(epilog="Example: metaflow environment why team/env:v2 python")
@click.argument("env", metavar="ENV")
@click.argument("package", metavar="PACKAGE")
@arch_option
@pathspec_option
@local_only_option
@json_option
def why(env: str, package: str, arch: str | None, *, is_pathspec: bool, local_only: bool, as_json: bool) -> None:
    """Show why a package is in an environment: who asked for it, and by way of which others."""
    with spoken(as_json=as_json):
        from mfenv.cli.trees import TreeOptions, show_why

        options = TreeOptions(arch=arch, is_pathspec=is_pathspec, local_only=local_only, as_json=as_json)
        show_why(env, package, options)
