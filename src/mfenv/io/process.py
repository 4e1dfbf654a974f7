"""Run a program and keep all that is needed to explain what came of it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mfenv.errors import ToolNotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How a program ended and what it printed."""

    code: int
    """The exit code; negative when a signal ended it; None is never used: see `timed_out`."""
    output: str
    errors: str
    timed_out: bool = False


class ProcessRunner(Protocol):
    """Runs programs. Called from any thread."""

    def run(self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path, timeout: float) -> Completed:
        """Run `command` in `folder` for at most `timeout` seconds, then end it with all its children.

        `environment` is put over this process's. Raises `ToolNotFound` when the program is not there.
        """
        ...


class SystemProcessRunner:
    """Runs programs on this machine; see `ProcessRunner`."""

    def run(self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path, timeout: float) -> Completed:
        """See `ProcessRunner.run`."""
        try:
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError) as error:
            raise ToolNotFound(f"the program `{command[0]}` cannot be started: {error.strerror}") from error
        timed_out = False
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        return Completed(
            code=process.returncode,
            output=output.decode(errors="replace"),
            errors=errors.decode(errors="replace"),
            timed_out=timed_out,
        )
