"""The bytecode of an environment's modules, made once and taken along: a first import is as fast as any other."""

from __future__ import annotations

import os
from pathlib import Path

from mfenv.errors import HydrationFailed
from mfenv.hydrate.prefix import Prefix
from mfenv.io.process import ProcessRunner

_TIME_LIMIT = 1800.0
_PROGRAM = Path(__file__).with_name("compile_all.py")


def compile_bytecode(prefix: Prefix, archive: Path, runner: ProcessRunner) -> None:
    """Compile the modules of an environment with its own Python into `archive`.

    Raises `HydrationFailed` when that Python fails.
    """
    command = [str(prefix.python), "-I", "-S", "-B", str(_PROGRAM), str(prefix.path), str(archive)]
    environment = {name: os.environ[name] for name in ("PATH", "TMPDIR", "HOME") if name in os.environ}
    done = runner.run(command, environment=environment, folder=archive.parent, timeout=_TIME_LIMIT)
    if done.code or done.timed_out:
        raise HydrationFailed("the modules of the environment could not be compiled", output=done.errors)
