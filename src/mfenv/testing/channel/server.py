"""An HTTP server for channels on loopback, which counts what it serves and can be made to fail.

The standard library's file handler has no ranges and no entity tags, which package tools rely on.
"""

from __future__ import annotations

import base64
import email.utils
import mimetypes
import re
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

_BLOCK = 1 << 16
_Request = socket.socket | tuple[bytes, socket.socket]
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user and a password for HTTP's basic authentication."""

    user: str
    password: str

    @property
    def header(self) -> str:
        """The value of the ``Authorization`` header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with requests for the paths that match ``path``, a pattern such as ``*.conda``.

    ``status`` is answered in place of the file, with ``location`` as the place to look instead. ``keep``
    bytes of the body are sent and the connection is closed, though the headers promise all of it.
    ``corrupt`` sends as many bytes as promised, but not the right ones. ``delay`` is waited before an
    answer, in seconds. The fault happens ``times`` times, or always.
    """

    path: str
    status: int | None = None
    location: str = ""
    keep: int | None = None
    corrupt: bool = False
    delay: float = 0.0
    times: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatistics:
    """What a server has served: requests in all, bytes of bodies, and counts by path and by status."""

    requests: int
    bytes_sent: int
    paths: Mapping[str, int]
    statuses: Mapping[int, int]


class ChannelServer:
    """Serves the folder ``root`` on loopback while it is entered.

    ``port`` 0 takes a free one. With ``credentials``, requests without them get 401. ``faults`` are
    looked at in order, and the first that matches happens. Safe to use from several threads.
    """

    def __init__(
        self,
        root: Path,
        *,
        port: int = 0,
        credentials: Credentials | None = None,
        faults: Sequence[Fault] = (),
    ) -> None:
        """Bind the port; nothing is answered before the server is entered."""
        self.root = root.resolve()
        self.credentials = credentials
        self._lock = threading.Lock()
        self._faults = list(faults)
        self._happened: Counter[int] = Counter()
        self._paths: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()
        self._bytes = 0
        self._server = _HttpServer(self, port)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> ChannelServer:
        """Begin to answer, in a thread."""
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop answering, drop the connections that are open, and free the port."""
        self._server.shutdown()
        self._server.drop_connections()
        if self._thread:
            self._thread.join()
        self._server.server_close()

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the server's thread to end, at most ``seconds``."""
        if self._thread:
            self._thread.join(seconds)

    @property
    def port(self) -> int:
        """The port on loopback."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The URL of the served folder, without credentials and without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def channel_url(self, name: str, *, with_credentials: bool = False) -> str:
        """Give the URL of the channel in folder ``name``, with user and password in it if wanted."""
        if with_credentials and self.credentials:
            user, password = quote(self.credentials.user, safe=""), quote(self.credentials.password, safe="")
            return f"http://{user}:{password}@127.0.0.1:{self.port}/{name}"
        return f"{self.url}/{name}"

    def add_fault(self, fault: Fault) -> None:
        """Let ``fault`` happen from now on, before those that were there."""
        with self._lock:
            self._faults.insert(0, fault)
            self._happened.clear()

    def clear_faults(self) -> None:
        """Let nothing fail from now on."""
        with self._lock:
            self._faults.clear()
            self._happened.clear()

    def statistics(self) -> ServerStatistics:
        """Give what was served since the start or the last reset."""
        with self._lock:
            return ServerStatistics(
                requests=sum(self._statuses.values()),
                bytes_sent=self._bytes,
                paths=dict(self._paths),
                statuses=dict(self._statuses),
            )

    def reset_statistics(self) -> None:
        """Begin to count anew."""
        with self._lock:
            self._paths.clear()
            self._statuses.clear()
            self._bytes = 0

    def count(self, path: str, status: int, size: int) -> None:
        """Note an answer; called by the handler when its headers go out."""
        with self._lock:
            self._paths[path] += 1
            self._statuses[status] += 1
            self._bytes += size

    def take_fault(self, path: str) -> Fault | None:
        """Give the fault that happens to a request for ``path``, and count that it did."""
        with self._lock:
            for number, fault in enumerate(self._faults):
                if not fnmatchcase(path, fault.path):
                    continue
                if fault.times is None or self._happened[number] < fault.times:
                    self._happened[number] += 1
                    return fault
        return None


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    # An installer opens a hundred connections at once.
    request_queue_size = 256

    def __init__(self, owner: ChannelServer, port: int) -> None:
        self.owner = owner
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: _Request, client_address: object) -> None:
        if isinstance(request, socket.socket):
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: _Request) -> None:
        if isinstance(request, socket.socket):
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: _Request, client_address: object) -> None:
        # A client that has seen enough is nothing to report.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def drop_connections(self) -> None:
        """End the connections that clients keep open: their threads would go on answering."""
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class _Span:
    """The bytes from ``first`` to ``last``, both included, of a file of ``size`` bytes."""

    first: int
    last: int
    size: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1


class _Handler(BaseHTTPRequestHandler):
    server: _HttpServer
    protocol_version = "HTTP/1.1"
    wbufsize = _BLOCK
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Print nothing: what was served is counted."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        owner = self.server.owner
        path = unquote(urlsplit(self.path).path)
        fault = owner.take_fault(path)
        if fault and fault.delay:
            time.sleep(fault.delay)
        if owner.credentials and self.headers.get("Authorization") != owner.credentials.header:
            self._refuse(path, HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": 'Basic realm="channel"'})
            return
        if fault and fault.status is not None:
            self._refuse(path, fault.status, {"Location": fault.location} if fault.location else {})
            return
        file = (owner.root / path.lstrip("/")).resolve()
        if file.is_dir():
            file /= "index.html"
        if not file.is_relative_to(owner.root) or not file.is_file():
            self._refuse(path, HTTPStatus.NOT_FOUND, {})
            return
        self._send_file(path, file, fault)

    def _refuse(self, path: str, status: int, headers: Mapping[str, str]) -> None:
        text = f"{status}\n".encode()
        self._send_headers(path, status, {**headers, "Content-Length": str(len(text))}, len(text))
        if self.command != "HEAD":
            self.wfile.write(text)

    def _send_headers(self, path: str, status: int, headers: Mapping[str, str], size: int) -> None:
        self.server.owner.count(path, status, 0 if self.command == "HEAD" else size)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_file(self, path: str, file: Path, fault: Fault | None) -> None:
        stat = file.stat()
        headers = {
            "ETag": f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"',
            "Last-Modified": email.utils.formatdate(stat.st_mtime, usegmt=True),
            "Accept-Ranges": "bytes",
            "Cache-Control": "public, max-age=30",
        }
        if self._is_known(headers):
            self._send_headers(path, HTTPStatus.NOT_MODIFIED, headers, 0)
            return
        span = self._span(stat.st_size, headers)
        if span is None:
            headers.update({"Content-Range": f"bytes */{stat.st_size}", "Content-Length": "0"})
            self._send_headers(path, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers, 0)
            return
        is_whole = "Range" not in self.headers or span.length == span.size
        headers["Content-Type"] = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        headers["Content-Length"] = str(span.length)
        if not is_whole:
            headers["Content-Range"] = f"bytes {span.first}-{span.last}/{span.size}"
        self._send_headers(path, HTTPStatus.OK if is_whole else HTTPStatus.PARTIAL_CONTENT, headers, span.length)
        if self.command != "HEAD":
            self._send_body(file, span, fault)

    def _is_known(self, headers: Mapping[str, str]) -> bool:
        """Tell whether the client's copy is good (RFC 9110, 13.1: an entity tag outweighs a date)."""
        tags = self.headers.get("If-None-Match")
        if tags is not None:
            return headers["ETag"] in tags or tags.strip() == "*"
        return self.headers.get("If-Modified-Since") == headers["Last-Modified"]

    def _span(self, size: int, headers: Mapping[str, str]) -> _Span | None:
        """Give the bytes that are asked for, or None when there are no such (RFC 9110, 14)."""
        whole = _Span(0, size - 1, size)
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        valid = self.headers.get("If-Range") in (None, headers["ETag"], headers["Last-Modified"])
        if match is None or not any(match.groups()) or not valid:
            return whole
        start, end = match.groups()
        if start:
            span = _Span(int(start), min(int(end), size - 1) if end else size - 1, size)
        else:
            span = _Span(max(0, size - int(end)), size - 1, size)
        return span if span.length > 0 else None

    def _send_body(self, file: Path, span: _Span, fault: Fault | None) -> None:
        left = span.length if fault is None or fault.keep is None else min(fault.keep, span.length)
        if left < span.length:
            self.close_connection = True
        with file.open("rb") as source:
            source.seek(span.first)
            while left > 0:
                block = source.read(min(left, _BLOCK))
                if not block:
                    break
                left -= len(block)
                self.wfile.write(bytes(byte ^ 0xFF for byte in block) if fault and fault.corrupt else block)
