"""HTTP with what every Python has: connections that are kept, streams, proxies, certificates.

No library serves here: the node may not install one. Python 3.8 and the standard library only: see `mfenv.bootstrap`.
"""

from __future__ import annotations

import http.client
import io
import re
import ssl
import threading
import urllib.parse
import urllib.request
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple

_SILENCE = 60.0
"""Seconds without a byte after which a connection counts as lost."""
_MOMENTARY = frozenset({408, 425, 429, 500, 502, 503, 504})


class HttpError(Exception):
    """Nobody answered, or not to the end."""


class Refused(Exception):
    """An answer that is not what was asked for."""

    def __init__(self, status: int, word: str, region: str = "") -> None:
        """Know the status, the server's own word for it, and the region where S3 has what was asked for."""
        super().__init__(status, word)
        self.status = status
        self.word = word
        self.region = region

    @property
    def is_for_a_moment(self) -> bool:
        """Whether it may be otherwise soon."""
        return self.status in _MOMENTARY


class Answer:
    """A body that is being read."""

    def __init__(self, stream: Any, length: int, start: int = 0) -> None:
        """Read `length` bytes from `stream`; when they are not all read, it is closed."""
        self._stream = stream
        self.length = length
        """In bytes."""
        self.start = start
        """Which byte of the object comes first; a server need not heed what was asked for (RFC 9110, 14.2)."""

    def blocks(self, size: int) -> Iterator[bytes]:
        """Yield the body. Raises `HttpError` where it is cut off."""
        left = self.length
        try:
            while left > 0:
                block = self._stream.read(min(size, left))
                if not block:
                    raise HttpError("the connection ended %d bytes too early" % left)
                left -= len(block)
                yield block
        except (OSError, http.client.HTTPException) as error:
            raise HttpError(_words(error)) from error
        finally:
            if left > 0:
                self.close()

    def close(self) -> None:
        """Read no more of it."""
        self._stream.close()


def _words(error: BaseException) -> str:
    return "%s: %s" % (type(error).__name__, error) if str(error) else type(error).__name__


class Connections:
    """Connections to hosts, kept for each thread."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Reach hosts as `environ` says: ``HTTPS_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE`` and the like."""
        self._environ = environ
        self._kept = threading.local()
        bundle = environ.get("AWS_CA_BUNDLE") or environ.get("REQUESTS_CA_BUNDLE") or environ.get("SSL_CERT_FILE")
        self._bundle = bundle or None
        self._tls: Optional[ssl.SSLContext] = None
        self.verifies = True
        """Whether certificates are checked."""

    def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Optional[bytes] = None,
        timeout: float = _SILENCE,
    ) -> Tuple[Any, Answer]:
        """Return an answer's headers and body. Raises `Refused` for one above 299, and `HttpError`.

        For an address or a header that is none, a `ValueError`, whose words may hold credentials.
        """
        parts = urllib.parse.urlsplit(url)
        origin = (parts.scheme, parts.netloc)
        kept: Dict[Any, http.client.HTTPConnection] = self._kept.__dict__.setdefault("open", {})
        connection = kept.pop(origin, None)
        is_fresh = connection is None
        try:
            if connection is None:
                connection = self._open(parts, timeout)
            target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
            sent = {"Accept-Encoding": "identity", **headers}
            if isinstance(connection, _ViaProxy):
                target = url
                sent.update(connection.credentials)
            connection.request(method, target, body=body, headers=sent)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            if connection:
                connection.close()
            if not is_fresh:
                # One that was kept may have been closed meanwhile.
                return self.ask(method, url, headers, body, timeout)
            raise HttpError(_words(error)) from error
        # The next question may go over it once this answer was read: `http.client` sees to that.
        kept[origin] = connection
        if response.status > 299:
            raise _refused(connection, response)
        if not response.length:
            # Without a length: all of it, so that there is one. Of nothing: its end, which the connection waits for.
            content = _whole(response)
            return response.headers, Answer(io.BytesIO(content), len(content), _start(response))
        return response.headers, Answer(_Body(connection, response), response.length, _start(response))

    def read(
        self, method: str, url: str, headers: Mapping[str, str], body: Optional[bytes] = None, timeout: float = _SILENCE
    ) -> bytes:
        """Return an answer's whole body. Raises `Refused` and `HttpError`."""
        _, answer = self.ask(method, url, headers, body, timeout)
        return b"".join(answer.blocks(1 << 16))

    def _open(self, parts: urllib.parse.SplitResult, timeout: float) -> http.client.HTTPConnection:
        host, port = parts.hostname or "", parts.port
        proxy = self._proxy(parts)
        if parts.scheme == "https":
            secured = http.client.HTTPSConnection(
                proxy.hostname if proxy and proxy.hostname else host,
                proxy.port if proxy else port,
                timeout=timeout,
                context=self._context(),
            )
            if proxy:
                secured.set_tunnel(host, port or 443, headers=_proxy_headers(proxy))
            return secured
        if proxy:
            through = _ViaProxy(proxy.hostname or "", proxy.port, timeout=timeout)
            through.credentials = _proxy_headers(proxy)
            return through
        return http.client.HTTPConnection(host, port, timeout=timeout)

    def _context(self) -> ssl.SSLContext:
        # Once for all threads: to read the certificates takes longer than to open a connection.
        if self._tls is None:
            try:
                context = ssl.create_default_context(cafile=self._bundle)
            except OSError as error:
                raise HttpError("the certificates in `%s` cannot be read: %s" % (self._bundle, error)) from error
            if not self.verifies:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._tls = context
        return self._tls

    def _proxy(self, parts: urllib.parse.SplitResult) -> Optional[urllib.parse.SplitResult]:
        # Who a machine or a container is, no other machine can tell.
        if (parts.hostname or "").startswith("169.254.") or parts.hostname == "metadata.google.internal":
            return None
        environ = {name.lower(): value for name, value in self._environ.items()}
        address = environ.get("%s_proxy" % parts.scheme) or environ.get("all_proxy")
        # `urllib`'s own reading of NO_PROXY, of these variables.
        proxies = {"no": environ.get("no_proxy", "")}
        if not address or urllib.request.proxy_bypass_environment(parts.netloc, proxies):  # type: ignore[attr-defined]
            return None
        return urllib.parse.urlsplit(address if "://" in address else "http://" + address)


class _ViaProxy(http.client.HTTPConnection):
    """A connection to a proxy that is told the whole URL."""

    credentials: Mapping[str, str] = {}


class _Body:
    """The body of an answer, of which an unread rest must not be taken for the next answer."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self.read = response.read
        self.close = connection.close


def _proxy_headers(proxy: urllib.parse.SplitResult) -> Dict[str, str]:
    if not proxy.username:
        return {}
    import base64

    pair = "%s:%s" % (urllib.parse.unquote(proxy.username), urllib.parse.unquote(proxy.password or ""))
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def _whole(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read()
    except (OSError, http.client.HTTPException) as error:
        raise HttpError(_words(error)) from error


def _start(response: http.client.HTTPResponse) -> int:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range") or "")
    return int(found.group(1)) if found and response.status == 206 else 0


def _refused(connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> Refused:
    """Return what a server says of a refusal; the three stores say it in XML or JSON."""
    try:
        text = response.read(1 << 16).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        text = ""
    if not response.isclosed():
        connection.close()
    word = re.search(r"<Code>([^<]{1,80})</Code>", text)
    word = word or re.search(r'"(?:reason|code|error)":\s*"([^"]{1,80})"', text)
    region = response.headers.get("x-amz-bucket-region")
    inside = re.search(r"<Region>([a-z0-9-]{1,40})</Region>", text)
    return Refused(
        response.status, word.group(1) if word else response.reason, region or (inside.group(1) if inside else "")
    )
