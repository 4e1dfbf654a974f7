"""Environments of one's own: at a name or in a folder of the user's, to be changed as one likes."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mfenv.app.wiring import Wiring
from mfenv.domain.artifact import is_plain_file_name
from mfenv.domain.digest import LockId, is_id
from mfenv.domain.locked import LockedEnvironment
from mfenv.errors import HydrationFailed, InvalidSpec
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.prefix import MARKER, Prefix, owner, ready_prefix
from mfenv.hydrate.service import HydrationEvents
from mfenv.io.files import remove_tree, write_atomically

IN_FOLDER = "__conda_python"
"""The folder of the environment in a folder that it is made in."""

ACTIVATE = "activate.sh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an environment of one's own is."""

    prefix: Path
    folder: Path
    """Where the script is that activates it: the environment's folder, or the one around it and its code."""


def named_place(folders: LocalFolders, name: str) -> Place:
    """Return where an environment called `name` is on this machine. Raises `InvalidSpec` for what cannot be a name."""
    if not is_plain_file_name(name) or name.startswith((".", "-")) or is_id(name):
        raise InvalidSpec(
            f"--name: `{name}` cannot be the name of an environment on this machine",
            hint="Write a plain name, such as `analysis`; the folder of an environment is called so",
        )
    path = folders.named(name)
    return Place(prefix=path, folder=path)


def place_in(folder: Path) -> Place:
    """Return where the environment is that is made in `folder`."""
    # Its files name it in one way, however it is written: without `..`.
    folder = Path(os.path.abspath(folder.expanduser()))  # noqa: PTH100
    return Place(prefix=folder / IN_FOLDER, folder=folder)


def existing(lock: LockedEnvironment, place: Place, *, force: bool = False, exist_ok: bool = False) -> Prefix | None:
    """Return the environment that is at `place` already, or None where one can be made; with `force`, anew.

    Raises `InvalidSpec` for what is in the way.
    """
    there = owner(place.prefix)
    if os.path.lexists(place.prefix) and there is None:
        raise InvalidSpec(
            f"`{place.prefix}` is there, and is not an environment that was made here",
            hint="Choose another name or folder; what is there is left alone, also with --force",
        )
    if there and (place.prefix / MARKER).exists() and not force:
        return _as_it_is(place.prefix, there, lock, exist_ok=exist_ok)
    if place.prefix.name == IN_FOLDER and there is None:
        _check_empty(place.folder)
    return None


def make(wiring: Wiring, lock: LockedEnvironment, place: Place, *, events: HydrationEvents | None = None) -> Prefix:
    """Make an environment at `place`; one of ours that is there is removed, what is not ours is never touched.

    Raises `HydrationFailed`.
    """
    if owner(place.prefix):
        _remove(place.prefix)
    return wiring.hydrator.make_at(lock, place.prefix, events)


def _as_it_is(path: Path, there: LockId, lock: LockedEnvironment, *, exist_ok: bool) -> Prefix:
    if not exist_ok:
        raise InvalidSpec(
            f"`{path}` is there already, and holds the environment `{there}`",
            hint="Add --exist-ok to use it as it is, or --force to make it anew",
        )
    if there != lock.id:
        raise InvalidSpec(
            f"`{path}` holds the environment `{there}`, and `{lock.id}` is asked for",
            hint="Add --force to make it anew, or choose another name",
        )
    prefix = ready_prefix(path, lock.id)
    if prefix is None:
        raise InvalidSpec(
            f"`{path}` was moved here, and its files name another place", hint="Add --force to make it anew"
        )
    return prefix


def _check_empty(folder: Path) -> None:
    try:
        entries = sorted(entry.name for entry in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise InvalidSpec(f"`{folder}` cannot be used: {error.strerror or error}") from error
    if entries:
        raise InvalidSpec(
            f"`{folder}` is not empty: it holds `{entries[0]}`{' and more' if len(entries) > 1 else ''}",
            hint="Name a folder that is empty or not there yet; what others put there is left alone",
        )


def _remove(path: Path) -> None:
    try:
        remove_tree(path)
    except OSError as error:
        raise HydrationFailed(f"`{path}` cannot be removed: {error.strerror or error}") from error


def write_activation(prefix: Prefix, place: Place, variables: Mapping[str, str] | None = None) -> Path:
    """Write the script that activates an environment in any POSIX shell; return its path.

    `variables` are put over the environment's own; PYTHONPATH among them stands before what is there.
    """
    path = place.folder / ACTIVATE
    text = "\n".join([*_lines(prefix, variables or {}), ""])
    try:
        write_atomically(path, text.encode(errors="surrogateescape"))
    except OSError as error:
        raise HydrationFailed(f"`{path}` cannot be written: {error.strerror or error}") from error
    return path


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _lines(prefix: Prefix, variables: Mapping[str, str]) -> Iterator[str]:
    yield f"# Activates {prefix.path}: . {ACTIVATE}"
    for name, text in {**prefix.activation.variables, "PYTHONNOUSERSITE": "1", **variables}.items():
        # A shell has no other names.
        if name != "PYTHONPATH" and _VARIABLE.fullmatch(name):
            yield f"export {name}={shlex.quote(text)}"
    around = dict(prefix.activation.around)
    if python_path := variables.get("PYTHONPATH"):
        around["PYTHONPATH"] = (f"{python_path}{os.pathsep}", "")
    for name, (before, after) in around.items():
        alone = (before + after).replace("::", ":").strip(":")
        yield f'if [ -n "${{{name}:-}}" ]; then'
        ends = [shlex.quote(end) if end else "" for end in (before, after)]
        yield f'  export {name}={ends[0]}"${name}"{ends[1]}'
        yield "else"
        yield f"  export {name}={shlex.quote(alone)}"
        yield "fi"
    yield "unset PYTHONHOME"
