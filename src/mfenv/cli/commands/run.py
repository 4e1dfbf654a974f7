"""`metaflow environment run` and `shell`."""

from __future__ import annotations

from metaflow._vendor import click

from mfenv.cli.commands.options import arch_option, local_only_option, pathspec_option
from mfenv.cli.render import spoken


@click.command(
    epilog="Example: metaflow environment run team/env:v1 -- python -c 'import six'",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@arch_option
@pathspec_option
@local_only_option
@click.argument("env", metavar="ENV")
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...", type=click.UNPROCESSED)
def run(env: str, command: tuple[str, ...], arch: str | None, *, is_pathspec: bool, local_only: bool) -> None:
    """Run a command in an environment, which is made when it is not there.

    ENV can also be the name or the folder that `create` made one at. Ends with the code that the command ends with;
    with 127 when there is no such command.
    """
    typed = command[1:] if command[0] == "--" else command
    if not typed:
        raise click.UsageError("Missing argument '-- COMMAND...'.")
    with spoken(as_json=False):
        from mfenv.cli.running import run_in

        run_in(
            env,
            typed,
            arch=arch,
            is_pathspec=is_pathspec,
            local_only=local_only,
        )


@click.command(epilog="Example: metaflow environment shell team/env:v1")
@arch_option
@pathspec_option
@local_only_option
@click.argument("env", metavar="ENV")
def shell(env: str, arch: str | None, *, is_pathspec: bool, local_only: bool) -> None:
    """Start a shell in an environment, which is made when it is not there; `exit` leaves it.

    It is the shell that SHELL names. ENV can also be the name or the folder that `create` made one at.
    """
    with spoken(as_json=False):
        from mfenv.cli.running import shell_in

        shell_in(env, arch=arch, is_pathspec=is_pathspec, local_only=local_only)
