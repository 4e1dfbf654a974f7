"""Run a program and keep all that is needed to explain what came of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from mfenv.errors import EnvironmentsError, ToolNotFound
from mfenv.io import debug_log


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

    def run(
        self, command: Sequence[str], *, environment: Mapping[str, str | None], folder: Path, timeout: float
    ) -> Completed:
        """Run `command` in `folder` for at most `timeout` seconds, then end it with all its children.

        `environment` is put over this process's; None takes a variable away. Raises `ToolNotFound` when the program is
        not there.
        """
        ...


class SystemProcessRunner:
    """Runs programs on this machine; see `ProcessRunner`."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def close(self) -> None:
        """End all programs under way, for good: Python waits at its end for the threads that wait for them."""
        with self._lock:
            self._closed = True
            for process in self._running:
                _kill(process)

    def run(
        self, command: Sequence[str], *, environment: Mapping[str, str | None], folder: Path, timeout: float
    ) -> Completed:
        """See `ProcessRunner.run`."""
        if not debug_log.is_on():
            return self._run(command, environment, folder, timeout)
        with debug_log.timed("command", debug_log.of_command(command)):
            done = self._run(command, environment, folder, timeout)
        debug_log.say("command", f"{command[0]} ended with code {done.code}{', out of time' if done.timed_out else ''}")
        return done

    def _run(
        self, command: Sequence[str], environment: Mapping[str, str | None], folder: Path, timeout: float
    ) -> Completed:
        # Files and not pipes: a program may leave a child behind that holds them open, and would be waited for.
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            process = self._started(command, environment, folder, output, errors)
            timed_out = False
            try:
                process.wait(timeout=timeout)
            except subprocess.TimeoutExpired:
                timed_out = True
                _kill(process)
                process.wait()
            except BaseException:
                _kill(process)
                process.wait()
                raise
            finally:
                with self._lock:
                    self._running.discard(process)
            return Completed(code=process.returncode, output=_text(output), errors=_text(errors), timed_out=timed_out)

    def _started(
        self,
        command: Sequence[str],
        environment: Mapping[str, str | None],
        folder: Path,
        output: IO[bytes],
        errors: IO[bytes],
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise EnvironmentsError(f"`{command[0]}` is not started, since nobody waits for its work any more")
            try:
                process = subprocess.Popen(
                    list(command),
                    cwd=folder,
                    env={name: value for name, value in {**os.environ, **environment}.items() if value is not None},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    start_new_session=True,
                )
            except (FileNotFoundError, PermissionError) as error:
                raise ToolNotFound(f"the program `{command[0]}` cannot be started: {error.strerror}") from error
            self._running.add(process)
            return process


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a program with all its children; one that has ended is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
