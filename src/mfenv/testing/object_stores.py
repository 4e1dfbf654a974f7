"""Object stores on this machine's loopback, for tests; and what a network between them and us may do.

`s3_server` starts moto's S3 in a process that ends with the one that started it. `Wire` stands between a client and a
server: it counts what passes, and does harm when it is told to.
"""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_SERVE_S3 = """
import os, sys
import time
from moto.server import ThreadedMotoServer
from werkzeug.serving import WSGIRequestHandler
answer = WSGIRequestHandler.run_wsgi
WSGIRequestHandler.run_wsgi = lambda self: time.sleep(float(sys.argv[1])) or answer(self)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
os._exit(0)
"""


@contextlib.contextmanager
def s3_server(*, delay: float = 0) -> Iterator[int]:
    """Run moto's S3 and give its port; needs ``moto[server,s3]``. It ends with the block, and with this process.

    Each of its answers takes `delay` seconds more than it must.
    """
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _SERVE_S3, str(delay)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        yield int(server.stdout.readline())
        # It waits for this: whoever is killed closes it, too.
        server.stdin.close()


def s3_client(port: int, *, user: str = "") -> Any:
    """Return boto3's client for the server at `port`, which takes any credentials and tries everything once.

    `user` is what stands before the host in the server's address, such as ``name:password@``.
    """
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=f"http://{user}127.0.0.1:{port}",
        aws_access_key_id="any",
        aws_secret_access_key="any",  # noqa: S106
        region_name="us-east-1",
        config=Config(
            retries={"total_max_attempts": 1},
            max_pool_connections=32,
            connect_timeout=5,
            read_timeout=20,
            s3={"addressing_style": "path"},
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A request that went over a wire."""

    method: str
    path: str
    sent: int
    """Bytes of the request's body."""
    status: int
    received: int
    """Bytes of the answer's body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answered."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    is_cut: bool = False
    """Whether the connection ends in the middle of the body."""


Harm = Callable[[str, str, Answer | None], Answer | None]
"""Given method and path, first without the answer: an answer of its own, or None to ask the server; then with it."""


class Wire:
    """Carries HTTP to a server on loopback, and counts it."""

    def __init__(self, upstream: int) -> None:
        """Lead to the port `upstream`; begins at once."""
        self.passed: list[Passed] = []
        self.harm: Harm | None = None
        wire = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return lambda: wire._carry(self, upstream)
                raise AttributeError(name)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.port: int = self._server.server_address[1]

    def close(self) -> None:
        """Carry nothing more."""
        self._server.shutdown()
        self._server.server_close()

    def _carry(self, handler: BaseHTTPRequestHandler, upstream: int) -> None:
        body = _body_of(handler)
        answer = self.harm(handler.command, handler.path, None) if self.harm else None
        if answer is None:
            answer = _asked(handler, body, upstream)
            answer = (self.harm and self.harm(handler.command, handler.path, answer)) or answer
        self.passed.append(
            Passed(
                method=handler.command,
                path=handler.path,
                sent=len(body),
                status=answer.status,
                received=len(answer.body),
            )
        )
        with contextlib.suppress(ConnectionError):
            _answer(handler, answer)


def _body_of(handler: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in handler.headers.get("Transfer-Encoding", ""):
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    body = b""
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return body


def _asked(handler: BaseHTTPRequestHandler, body: bytes, upstream: int) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", upstream, timeout=60)
    headers = {
        name: value
        for name, value in handler.headers.items()
        if name.lower() not in {"transfer-encoding", "content-length", "expect", "connection"}
    }
    connection.request(handler.command, handler.path, body, {**headers, "Content-Length": str(len(body))})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return Answer(status=response.status, headers=tuple(response.getheaders()), body=content)


def _answer(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    handler.send_response_only(answer.status)
    length = str(len(answer.body))
    for name, value in answer.headers:
        if name.lower() == "content-length":
            length = value
        elif name.lower() not in {"transfer-encoding", "connection"}:
            handler.send_header(name, value)
    handler.send_header("Content-Length", length)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(answer.body[: len(answer.body) // 2] if answer.is_cut else answer.body)
    if answer.is_cut:
        handler.close_connection = True
        handler.connection.close()


# -------------------------------------------------------------------- harms


def refused(status: int, code: str, *, times: int | None = None, on: str = "") -> Harm:
    """Answer requests whose path has `on` in it with an S3 error; the first `times`, or all."""
    left = [times]

    def harm(_method: str, path: str, answer: Answer | None) -> Answer | None:
        if answer is not None or on not in path or left[0] == 0:
            return None
        left[0] = None if left[0] is None else left[0] - 1
        text = f"<Error><Code>{code}</Code><Message>refused on purpose</Message></Error>"
        return Answer(status=status, headers=(("Content-Type", "application/xml"),), body=text.encode())

    return harm


def cut(*, times: int, on: str = "") -> Harm:
    """End the connection in the middle of the body of answers; the first `times`."""
    left = [times]

    def harm(method: str, path: str, answer: Answer | None) -> Answer | None:
        if answer is None or method != "GET" or on not in path or not left[0]:
            return None
        left[0] -= 1
        return Answer(status=answer.status, headers=answer.headers, body=answer.body, is_cut=True)

    return harm


def slow(seconds: float) -> Harm:
    """Let every answer take `seconds`."""

    def harm(_method: str, _path: str, answer: Answer | None) -> Answer | None:
        if answer is None:
            time.sleep(seconds)
        return None

    return harm
