"""A helper process that runs what must not run in the user's process, and the calls to it.

py-rattler 0.28 crashes at interpreter exit in several percent of runs, its panics are not `Exception`s, and
its import would be paid by every task. So it lives in a process of its own, which serves all calls of a run over
a pipe and ends with `os._exit`. Its death is an ordinary error; `WorkerClient.call` repeats the call once.

What travels are frames: four bytes of length (big-endian), then JSON. The other end is `mfenv.io.worker_main`.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any, Protocol

from mfenv import errors
from mfenv.domain.digest import Json
from mfenv.errors import EnvironmentsError, ToolNotFound, WorkerDied
from mfenv.io import debug_log

OnEvent = Callable[[dict[str, Any]], None]

# Runs with -I: neither the working folder (which may hold a module called like one of ours) nor
# PYTHONPATH is searched; what the parent found is handed over explicitly.
_START = (
    "import sys, json; paths, operations = json.loads(sys.argv[1]); "
    "sys.path.extend(path for path in paths if path not in sys.path); "
    "from mfenv.io.worker_main import main; main(operations)"
)


class Calls(Protocol):
    """The seam: something that carries out named operations elsewhere. Called from any thread."""

    def call(self, operation: str, payload: Mapping[str, Json], on_event: OnEvent | None = None) -> Any:
        """Return the operation's answer; raise the `EnvironmentsError` that it raised."""
        ...


class WorkerClient:
    """Calls to a helper process, which is started by the first call and ends with `close` or with this process."""

    def __init__(self, operations: Mapping[str, str], *, needs: tuple[str, ...] = ()) -> None:
        """Offer `operations` (name to ``module:function``); `needs` are modules that the process must find."""
        self._operations = dict(operations)
        self._needs = needs
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._closed = False
        atexit.register(self.close)

    def call(self, operation: str, payload: Mapping[str, Json], on_event: OnEvent | None = None) -> Any:
        """Run `operation` in the helper process and wait for its answer.

        If the process dies the call is made once more, in a new one. Raises `WorkerDied` when that dies
        too, `ToolNotFound` when a needed module is missing, and whatever `EnvironmentsError` the
        operation raised. `on_event` is called from another thread.
        """
        if not debug_log.is_on():
            return self._call(operation, payload, on_event)
        with debug_log.timed("request", _outline(operation, payload)):
            return self._call(operation, payload, on_event)

    def _call(self, operation: str, payload: Mapping[str, Json], on_event: OnEvent | None) -> Any:
        process = self._running()
        try:
            return process.submit(operation, payload, on_event).result()
        except WorkerDied:
            if self._closed:
                raise
            return self._running().submit(operation, payload, on_event).result()

    def start(self) -> None:
        """Start the process now, so that it is there when the first call comes; returns at once."""
        self._running()

    def close(self) -> None:
        """End the process, if there is one, for good; calls under way and later ones fail with `WorkerDied`."""
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
        if process is not None:
            process.close()

    @property
    def is_running(self) -> bool:
        """Whether a helper process was started and still lives."""
        return self._process is not None and self._process.is_alive

    def _running(self) -> _Process:
        with self._lock:
            if self._closed:
                raise WorkerDied("the helper process was ended, since nobody waits for its work any more")
            if self._process is None or not self._process.is_alive:
                self._process = _Process(_command(self._operations, self._needs))
            return self._process


def _outline(operation: str, payload: Mapping[str, Json]) -> str:
    """Return what is asked, without its content: that may hold credentials in any form."""
    sizes = (f"{len(value)} {name}" for name, value in payload.items() if isinstance(value, list))
    platform = payload.get("platform")
    parts = [*([platform] if isinstance(platform, str) else []), *sizes]
    return f"helper process: {operation}" + (f" ({', '.join(parts)})" if parts else "")


def _command(operations: Mapping[str, str], needs: tuple[str, ...]) -> list[str]:
    folders = [str(Path(__file__).parents[2])]
    for name in needs:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            raise ToolNotFound(
                f"the Python package `{name}` is not installed here",
                hint="Install metaflow-netflix-extensions with pip, which brings what it needs",
            )
        folders.append(str(Path(found.origin).parents[1]))
    return [sys.executable, "-I", "-c", _START, json.dumps([folders, dict(operations)])]


class _Process:
    """One helper process and the answers that are still awaited from it."""

    def __init__(self, command: list[str]) -> None:
        # A file and not a pipe: nobody has to read it, and it is there when the process is not.
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            # An interrupt from the keyboard is the parent's to handle.
            start_new_session=True,
        )
        self._writing = threading.Lock()
        self._awaited: dict[int, tuple[Future[Any], OnEvent | None]] = {}
        self._next = 0
        self._dead = False
        self._failing = threading.Lock()
        self._output: str | None = None
        threading.Thread(target=self._read, name="mfenv-worker-answers", daemon=True).start()

    @property
    def is_alive(self) -> bool:
        return not self._dead and self._popen.poll() is None

    def submit(self, operation: str, payload: Mapping[str, Json], on_event: OnEvent | None) -> Future[Any]:
        future: Future[Any] = Future()
        with self._writing:
            self._next += 1
            number = self._next
            self._awaited[number] = (future, on_event)
            try:
                assert self._popen.stdin is not None
                send(self._popen.stdin, {"call": number, "operation": operation, "payload": dict(payload)})
            except (OSError, ValueError):
                self._dead = True
        if self._dead:
            self._fail_all()
        return future

    def close(self) -> None:
        with contextlib.suppress(OSError):
            assert self._popen.stdin is not None
            self._popen.stdin.close()
        try:
            self._popen.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        while (message := receive(self._popen.stdout)) is not None:
            self._deliver(message)
        self._dead = True
        self._fail_all()
        self._popen.stdout.close()
        with contextlib.suppress(OSError):
            assert self._popen.stdin is not None
            self._popen.stdin.close()

    def _deliver(self, message: dict[str, Any]) -> None:
        if "event" in message:
            _, on_event = self._awaited.get(message["call"], (None, None))
            if on_event:
                # A reporter's fault is not a reason to lose the answer.
                with contextlib.suppress(Exception):
                    on_event(message["event"])
            return
        future, _ = self._awaited.pop(message["call"])
        if "error" in message:
            future.set_exception(rebuild(message["error"]))
        else:
            future.set_result(message["answer"])

    def _fail_all(self) -> None:
        code = self._popen.wait()
        # The reader and those who call may find out at the same time.
        with self._failing:
            if self._output is None:
                with self._errors as file:
                    file.seek(0)
                    self._output = file.read().decode(errors="replace")
            while self._awaited:
                _, (future, _) = self._awaited.popitem()
                future.set_exception(
                    WorkerDied(
                        f"the helper process ended in the middle of its work (exit code {code})",
                        hint="Run again; if it happens again, check the memory and disk space of this machine",
                        output=self._output,
                    )
                )


def send(stream: IO[bytes], message: Mapping[str, Any]) -> None:
    """Write one frame. Raises `OSError` when nobody reads."""
    content = json.dumps(message).encode()
    stream.write(struct.pack(">I", len(content)) + content)
    stream.flush()


def receive(stream: IO[bytes]) -> dict[str, Any] | None:
    """Read one frame; None at the end of the stream, also when that comes in the middle of a frame."""
    head = _exactly(stream, 4)
    content = _exactly(stream, struct.unpack(">I", head)[0]) if head else None
    if content is None:
        return None
    message: dict[str, Any] = json.loads(content)
    return message


def _exactly(stream: IO[bytes], size: int) -> bytes | None:
    parts = []
    while size:
        try:
            part = stream.read(size)
        except (OSError, ValueError):
            return None
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def describe(error: BaseException) -> dict[str, Any]:
    """Return an error as JSON, for `rebuild` at the other end."""
    if isinstance(error, EnvironmentsError):
        fields = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
        return {**fields, "output": error.output, "packages": list(getattr(error, "packages", ()))}
    if isinstance(error, OSError) and isinstance(error.filename, str):
        return {"kind": "HydrationFailed", "message": f"`{error.filename}`: {error.strerror}"}
    return {"kind": "", "message": f"{type(error).__name__}: {error}"}


def rebuild(fields: Mapping[str, Any]) -> EnvironmentsError:
    """Return the error that `describe` described; what was no `EnvironmentsError` becomes a plain one."""
    kind = getattr(errors, fields["kind"] or "EnvironmentsError", EnvironmentsError)
    error: EnvironmentsError = kind(fields["message"], hint=fields.get("hint"), output=fields.get("output", ""))
    if isinstance(error, errors.ResolutionFailed):
        error.packages = tuple(fields.get("packages", ()))
    return error
