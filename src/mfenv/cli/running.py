"""Commands and shells in environments: this process becomes them."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from metaflow._vendor import click

from mfenv.app.create import IN_FOLDER
from mfenv.cli.finding import environments
from mfenv.cli.looking import for_this_machine
from mfenv.cli.reporting import hydration
from mfenv.errors import InvalidSpec
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.prefix import Prefix, mark_used, owner, ready_prefix
from mfenv.io.filelock import hold_while_it_lives

_NOT_FOUND = 127


def run_in(text: str, command: Sequence[str], *, arch: str | None, is_pathspec: bool, local_only: bool) -> None:
    """Become `command` in an environment. Raises `EnvironmentsError`; ends with 127 when there is no such command."""
    prefix = _prefix(text, arch=arch, is_pathspec=is_pathspec, local_only=local_only)
    _become(list(command), _variables(prefix))


def _prefix(text: str, *, arch: str | None, is_pathspec: bool, local_only: bool) -> Prefix:
    """Return an environment, made if need be, that nobody clears away as long as this process lives."""
    with environments(local_only=local_only) as found:
        folders = found.wiring.folders
        if not is_pathspec and (own := _own(text, folders)):
            return own
        lock = for_this_machine(found, text, arch=arch, is_pathspec=is_pathspec)
        hold_while_it_lives(folders.use_lock(lock.id))
        prefix = found.wiring.hydrator.ready(lock)
        if prefix is None:
            with hydration(lock) as events:
                prefix = found.wiring.hydrator.hydrate(lock, events)
        mark_used(prefix)
        return prefix


def _own(text: str, folders: LocalFolders) -> Prefix | None:
    """Return the environment that `create` made under a name, or in a folder; None where there is none."""
    # As its files name it.
    folder = Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100
    places = [folder / IN_FOLDER, folder] if "/" in text or Path(text).is_dir() else []
    if "/" not in text and ":" not in text:
        places.append(folders.named(text))
    for place in places:
        if (lock_id := owner(place)) and place.name != lock_id:
            if prefix := ready_prefix(place, lock_id):
                return prefix
            raise InvalidSpec(
                f"`{place}` is not ready, or was moved", hint="Make it anew with `metaflow environment create --force`"
            )
    return None


def _variables(prefix: Prefix) -> dict[str, str]:
    variables = {**os.environ, **prefix.environment(os.environ), "PYTHONNOUSERSITE": "1"}
    # Another Python's: the environment has its own.
    variables.pop("PYTHONHOME", None)
    return variables


def _become(command: list[str], variables: Mapping[str, str]) -> None:
    program = shutil.which(command[0], path=variables.get("PATH"))
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if program is None:
            raise FileNotFoundError(command[0])
        os.execvpe(program, command, dict(variables))  # noqa: S606
    except OSError as error:
        reason = "there is no such command" if program is None else error.strerror
        click.secho("error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(f"`{command[0]}` cannot be run in this environment: {reason}", err=True)
        sys.exit(_NOT_FOUND)


# ---------------------------------------------------------------- shells


def shell_in(text: str, *, arch: str | None, is_pathspec: bool, local_only: bool) -> None:
    """Become an interactive shell in an environment. Raises `EnvironmentsError`."""
    prefix = _prefix(text, arch=arch, is_pathspec=is_pathspec, local_only=local_only)
    shell = os.environ.get("SHELL") or "/bin/sh"
    variables = _variables(prefix)
    variables["METAFLOW_ENVIRONMENT"] = text
    command = {"bash": _bash, "zsh": _zsh, "fish": _fish}.get(Path(shell).name, _sh)(shell, variables)
    _become(command, variables)


def _bash(shell: str, variables: dict[str, str]) -> list[str]:
    # The user's own file may put other folders first.
    script = _script(
        "[ -f ~/.bashrc ] && . ~/.bashrc\n"
        'export PATH="$METAFLOW_ENVIRONMENT_PATH"\nPS1="($METAFLOW_ENVIRONMENT) $PS1"\n'
    )
    variables["METAFLOW_ENVIRONMENT_PATH"] = variables["PATH"]
    return [shell, "--rcfile", script, "-i"]


def _zsh(shell: str, variables: dict[str, str]) -> list[str]:
    script = Path(
        _script(
            'ZDOTDIR="${METAFLOW_ZDOTDIR:-$HOME}"\n[ -f "$ZDOTDIR/.zshrc" ] && . "$ZDOTDIR/.zshrc"\n'
            'export PATH="$METAFLOW_ENVIRONMENT_PATH"\nPROMPT="($METAFLOW_ENVIRONMENT) $PROMPT"\n',
            name=".zshrc",
        )
    )
    if "ZDOTDIR" in variables:
        variables["METAFLOW_ZDOTDIR"] = variables["ZDOTDIR"]
    variables["ZDOTDIR"] = str(script.parent)
    variables["METAFLOW_ENVIRONMENT_PATH"] = variables["PATH"]
    return [shell, "-i"]


def _fish(shell: str, variables: dict[str, str]) -> list[str]:
    variables["METAFLOW_ENVIRONMENT_PATH"] = variables["PATH"]
    begin = (
        'set -gx PATH (string split ":" -- $METAFLOW_ENVIRONMENT_PATH); functions -c fish_prompt _mfenv_prompt; '
        'function fish_prompt; echo -n "($METAFLOW_ENVIRONMENT) "; _mfenv_prompt; end'
    )
    return [shell, "-i", "-C", begin]


def _sh(shell: str, variables: dict[str, str]) -> list[str]:
    variables["PS1"] = f"({variables['METAFLOW_ENVIRONMENT']}) $ "
    return [shell, "-i"]


def _script(content: str, *, name: str = "rc") -> str:
    """Write what a shell reads first; it is in a folder of its own for as long as the machine keeps such folders."""
    folder = Path(tempfile.mkdtemp(prefix="mfenv-shell-"))
    path = folder / name
    # This process is gone by the time it was read: the shell removes it itself.
    path.write_text(f'{content}rm -rf "{folder}"\n', encoding="utf-8")
    return str(path)
