"""What a process needs in its environment variables to run in a prefix.

conda activates in a shell: it sets a few variables, reads ``etc/conda/env_vars.d/*.json`` (conda 4.8), and
sources ``etc/conda/activate.d/*.sh``. Here the scripts run once, when the prefix is made; what they changed is
kept as data, and every task, local or remote, starts with it without running a shell.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfenv.domain.digest import Json, canonical_json
from mfenv.errors import HydrationFailed
from mfenv.io.files import write_atomically

# Lists of folders that scripts like to put theirs in front of. They are remembered as what stands before
# and after the value that the process already has.
_LISTS = (
    "PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "XDG_DATA_DIRS",
    "PKG_CONFIG_PATH",
    "CMAKE_PREFIX_PATH",
    "MANPATH",
)
_HERE = "/mfenv-what-was-there"
_OF_THE_SHELL = frozenset({"_", "PWD", "OLDPWD", "SHLVL"})
_TIME_LIMIT = 60.0
# On the way out and not at the end: a script may end the shell. By its path: a script may lose `PATH`.
_SOURCE_ALL = 'exec 3>&1 1>&2; trap "/usr/bin/env -0 >&3" EXIT; for script in "$@"; do . "$script"; done'


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """Variables to set, and lists of folders to put something around."""

    variables: Mapping[str, str] = field(default_factory=dict)
    around: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """What stands before and after the value there is, for each list; with its separators."""

    def apply(self, current: Mapping[str, str]) -> dict[str, str]:
        """Return the variables to put over `current`."""
        result = dict(self.variables)
        for name, (before, after) in self.around.items():
            value = current.get(name, "")
            result[name] = f"{before}{value}{after}" if value else (before + after).replace("::", ":").strip(":")
        return result

    def dump(self) -> Json:
        """Return this as JSON, for `load`."""
        return {
            "variables": dict(self.variables),
            "around": {name: list(both) for name, both in self.around.items()},
        }

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> Activation:
        """Read what `dump` gave; raises `KeyError`, `TypeError`, `ValueError` or `AttributeError` otherwise."""
        around = {name: (str(before), str(after)) for name, (before, after) in value["around"].items()}
        return cls(variables={name: str(text) for name, text in value["variables"].items()}, around=around)


def activation_of(prefix: Path) -> Activation:
    """Find out what activating `prefix` does. Runs the packages' own activation scripts, if there are any.

    Raises `HydrationFailed` when they hang, or when a file of variables cannot be read.
    """
    given = {
        "CONDA_PREFIX": str(prefix),
        "CONDA_DEFAULT_ENV": prefix.name,
        "CONDA_SHLVL": "1",
        **_env_vars_d(prefix),
    }
    around = {"PATH": (f"{prefix / 'bin'}{os.pathsep}", "")}
    scripts = sorted((prefix / "etc" / "conda" / "activate.d").glob("*.sh"))
    if not scripts:
        return Activation(variables=given, around=around)
    return _compare(_run(scripts, prefix, given))


_VARIABLES = Path("etc", "conda", "env_vars.d")
_OURS = "mfenv-variables.json"


def write_variables(variables: Iterable[tuple[str, str]], staging: Path) -> None:
    """Put the variables of a lock where conda, too, looks for them; none: nothing.

    Raises `HydrationFailed` where a package has laid a link that leads out of `staging`.
    """
    content: dict[str, Json] = dict(variables)
    if not content:
        return
    folder = staging / _VARIABLES
    if not folder.resolve().is_relative_to(staging.resolve()):
        raise HydrationFailed(f"a package has a link at `{_VARIABLES}` that leads out of the environment")
    # In place of what a package has there, and not into it: that file may have other names.
    write_atomically(folder / _OURS, canonical_json(content))


def _env_vars_d(prefix: Path) -> dict[str, str]:
    variables: dict[str, str] = {}
    # The user's word counts more than the packages', whatever their files are called.
    for path in sorted((prefix / _VARIABLES).glob("*.json"), key=lambda path: (path.name == _OURS, path)):
        try:
            content = json.loads(path.read_bytes())
            variables.update({str(name): str(value) for name, value in content.items()})
        except (ValueError, AttributeError) as error:
            raise HydrationFailed(f"`{path}` does not hold variables as JSON: {error}") from error
    return variables


def _run(scripts: Iterable[Path], prefix: Path, given: Mapping[str, str]) -> dict[str, str]:
    shell = shutil.which("bash") or "/bin/sh"
    environment = {
        **dict.fromkeys(_LISTS, _HERE),
        **{name: os.environ[name] for name in ("HOME", "LANG", "USER", "TMPDIR") if name in os.environ},
        **given,
        # The real folders stand behind the mark, for the scripts' own use of ordinary programs.
        "PATH": f"{prefix / 'bin'}:{_HERE}:{os.defpath}",
    }
    command = [shell, "-c", _SOURCE_ALL, shell, *map(str, scripts)]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIME_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise HydrationFailed(
            f"the activation scripts of `{prefix}` did not end within {_TIME_LIMIT:.0f} seconds",
            output=(error.stderr or b"").decode(errors="replace"),
        ) from error
    pairs = (entry.partition("=") for entry in done.stdout.decode(errors="replace").split("\0") if "=" in entry)
    # A script that fails stops nobody, as in conda; what it set before stays set.
    # What it unset is unset; a shell that told nothing at all changed nothing.
    return {name: value for name, _, value in pairs if name not in _OF_THE_SHELL} or environment


def _compare(after: Mapping[str, str]) -> Activation:
    variables: dict[str, str] = {}
    around: dict[str, tuple[str, str]] = {}
    inherited = {"HOME", "LANG", "USER", "TMPDIR"}
    for name, value in after.items():
        before, found, behind = value.partition(_HERE)
        if found:
            behind = behind.removeprefix(f":{os.defpath}") if name == "PATH" else behind
            if before or behind:
                around[name] = (before, behind)
        elif name not in inherited or value != os.environ.get(name):
            variables[name] = value
    return Activation(variables=variables, around=around)
