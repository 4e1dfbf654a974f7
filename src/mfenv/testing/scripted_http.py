"""A server on loopback that answers each request as a test says, also in ways that no honest server would."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Asked:
    """A request that the server got."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        """Read all of it."""
        self.method = handler.command
        self.path = handler.path
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0)).decode()
        self._handler = handler

    @property
    def start(self) -> int:
        """The byte that a part of an object is asked from; 0 for all of it."""
        return int(self.headers.get("range", "bytes=0-")[len("bytes=") : -1])

    def answer(self, body: Any, status: int = 200, *, cut: int | None = None, **headers: str) -> None:
        """Answer with bytes, text, or what becomes JSON; `headers` have underscores for hyphens.

        With `cut`, only so many bytes of the body come before the connection ends.
        """
        content = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.send_header("Content-Length", str(len(content)))
        self._handler.end_headers()
        self._handler.wfile.write(content[:cut])
        if cut is not None:
            self.hang_up()

    def answer_part(self, content: bytes, *, cut: int | None = None) -> None:
        """Answer with an object from the byte on that is asked for."""
        if not self.start:
            return self.answer(content, cut=cut)
        place = f"bytes {self.start}-{len(content) - 1}/{len(content)}"
        return self.answer(content[self.start :], 206, cut=cut, Content_Range=place)

    def hang_up(self) -> None:
        """End the connection."""
        self._handler.wfile.flush()
        self._handler.close_connection = True
        # Whoever asked may have ended it already.
        with contextlib.suppress(OSError):
            self._handler.connection.shutdown(2)


@contextlib.contextmanager
def serving(say: Callable[[Asked, int], None]) -> Iterator[tuple[str, list[Asked]]]:
    """Answer each request as `say` does, which gets its number as well; give the address, and what was asked so far."""
    asked: list[Asked] = []
    one_at_a_time = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: Any) -> None:
            pass

        def say(self) -> None:
            one = Asked(self)
            with one_at_a_time:
                number = len(asked)
                asked.append(one)
            say(one, number)

        do_GET = do_PUT = do_POST = say  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
