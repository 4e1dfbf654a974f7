"""The other end of `mfenv.io.worker`: the helper process itself.

It must end with its parent whatever it is doing, and never through an ordinary interpreter exit: the end of its
input is the parent's end (closed or killed), and `os._exit` is the way out.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import resource
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mfenv.domain.digest import Json
from mfenv.io.worker import describe, receive, send

_FILES = 10_000

Emit = Callable[[dict[str, Json]], None]
Operation = Callable[[dict[str, Any], Emit], Awaitable[Json]]


def main(operations: Mapping[str, str]) -> None:
    """Serve calls from standard input until it ends; `operations` maps names to ``module:function``."""
    _open_many_files()
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # What a library prints must not get between the frames.
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    loop = asyncio.new_event_loop()
    server = _Server(loop, answers, operations)

    def read() -> None:
        while (message := receive(requests)) is not None:
            loop.call_soon_threadsafe(server.take, message)
        sys.stderr.flush()
        os._exit(0)

    threading.Thread(target=read, name="requests", daemon=True).start()
    try:
        loop.run_forever()
    finally:
        sys.stderr.flush()
        os._exit(1)


def _open_many_files() -> None:
    """Raise the limit of open files as far as this process may: macOS begins with 256, fewer than links at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Server:
    def __init__(self, loop: asyncio.AbstractEventLoop, answers: Any, operations: Mapping[str, str]) -> None:
        self._loop = loop
        self._answers = answers
        self._writing = threading.Lock()
        self._operations = operations
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, message: dict[str, Any]) -> None:
        task = self._loop.create_task(self._run(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, message: dict[str, Any]) -> None:
        number = message["call"]
        try:
            operation = self._find(message["operation"])
            answer = await operation(message["payload"], lambda event: self._send({"call": number, "event": event}))
            self._send({"call": number, "answer": answer})
        except BaseException as error:  # noqa: BLE001  (a Rust panic is a BaseException)
            self._send({"call": number, "error": describe(error)})

    def _find(self, name: str) -> Operation:
        module, _, function = self._operations[name].partition(":")
        operation: Operation = getattr(importlib.import_module(module), function)
        return operation

    def _send(self, message: Mapping[str, Any]) -> None:
        with self._writing:
            try:
                send(self._answers, message)
            except OSError:
                os._exit(0)
