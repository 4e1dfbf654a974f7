"""Build the channel: once for each key, by one process at a time, and entirely or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mfenv.testing.channel.catalog import WHEEL_SETS
from mfenv.testing.channel.interpreters import Interpreter, choose_few, find_interpreters
from mfenv.testing.channel.layout import (
    DESCRIPTION,
    LocalChannel,
)
from mfenv.testing.channel.subdirs import host_subdir

# Raised with every change of what the builder writes, so that nobody is served an older channel.
BUILDER_VERSION = 3

FOLDER_VARIABLE = "MFENV_TEST_CHANNEL_DIR"

# Which interpreters: the running one with its neighbours, every one, or these minor versions.
FEW, ALL = "few", "all"
PythonChoice = str | Sequence[str]


class NoInterpreterError(RuntimeError):
    """A Python that the channel should have is not on this machine."""


def built_channel() -> LocalChannel:
    """Give the channel for this machine's tests, building it when there is none yet."""
    return LocalChannel.read(build_channel())


def build_channel(out: Path | None = None, *, pythons: PythonChoice = FEW, force: bool = False) -> Path:
    """Build the channel unless it is there, and give its root.

    Without ``out``, the folder is the one that ``MFENV_TEST_CHANNEL_DIR`` names, where a complete channel
    is taken as it is; else one in the user's cache, named after a digest of all that decides the
    content. Callers at the same time wait for the first. Raises ``NoInterpreterError`` or
    ``subprocess.CalledProcessError``.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if out is None and named and not force and (Path(named) / DESCRIPTION).is_file():
        return Path(named).absolute()
    chosen = choose_interpreters(pythons)
    key = channel_key(chosen, host_subdir())
    root = (out or (Path(named) if named else default_folder() / key)).absolute()
    root.parent.mkdir(parents=True, exist_ok=True)
    with _locked(root.with_name(root.name + ".lock")) as lock:
        if force or not _is_complete(root, key):
            minors = [interpreter.minor for interpreter in chosen]
            # In a process of its own: pools of processes need a main module that can be imported again,
            # and a caller with threads must not be forked.
            command = [sys.executable, "-m", "mfenv.testing.channel.assembly", str(root), key, *minors]
            # It has the lock too: should this process be killed, nobody builds beside it.
            subprocess.run(command, check=True, pass_fds=[lock])
    return root


def default_folder() -> Path:
    """Give the folder of the user's cache in which channels are kept, by key."""
    if sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "mfenv-testing" / "channel"


def choose_interpreters(pythons: PythonChoice) -> tuple[Interpreter, ...]:
    """Choose among this machine's interpreters. Raises ``NoInterpreterError``."""
    found = find_interpreters()
    if pythons == ALL:
        return found
    if pythons == FEW:
        return choose_few(found, running_minor())
    wanted = [pythons] if isinstance(pythons, str) else pythons
    by_minor = {interpreter.minor: interpreter for interpreter in found}
    missing = [minor for minor in wanted if minor not in by_minor]
    if missing:
        raise NoInterpreterError(f"no CPython {', '.join(missing)} on this machine, only {', '.join(by_minor)}")
    return tuple(by_minor[minor] for minor in wanted)


def channel_key(interpreters: Iterable[Interpreter], subdir: str) -> str:
    """Digest what decides the channel's content: this builder, the interpreters and the wheel sets."""
    facts = {
        "builder": BUILDER_VERSION,
        "subdir": subdir,
        "running": running_minor(),
        "interpreters": [
            [
                each.version,
                str(each.executable),
                each.executable.stat().st_size,
                each.executable.stat().st_mtime_ns,
            ]
            for each in interpreters
        ],
        "wheels": [repr(wheel_set) for wheel_set in WHEEL_SETS],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def running_minor() -> str:
    """Give the minor version of the Python that runs this."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _is_complete(root: Path, key: str) -> bool:
    try:
        return LocalChannel.read(root).key == key
    except (OSError, ValueError, KeyError):
        return False


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
