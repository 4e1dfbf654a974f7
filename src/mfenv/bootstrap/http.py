"""HTTP with what every Python has: connections that are kept, streams, proxies, certificates.

No library serves here: the node may not install one. Python 3.8 and the standard library only: see `mfenv.bootstrap`.
"""

from __future__ import annotations

import http.client
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

    def __init__(self, status: int, word: str, headers: Optional[Mapping[str, str]] = None) -> None:
        """Know the status, the server's own word for it, and the headers."""
        super().__init__(status, word)
        self.status = status
        self.word = word
        self.headers = headers or {}

    @property
    def is_for_a_moment(self) -> bool:
        """Whether it may be otherwise soon."""
        return self.status in _MOMENTARY


class Answer:
    """A body that is being read."""

    def __init__(self, stream: Any, length: int) -> None:
        """Read `length` bytes from `stream`."""
        self._stream = stream
        self.length = length
        """In bytes."""

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
        """Return an answer's headers and body. Raises `Refused` for one above 299, and `HttpError`."""
        parts = urllib.parse.urlsplit(url)
        origin = (parts.scheme, parts.netloc)
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        kept: Dict[Any, http.client.HTTPConnection] = self._kept.__dict__.setdefault("open", {})
        connection = kept.pop(origin, None)
        is_fresh = connection is None
        if connection is None:
            connection = self._open(parts, timeout)
        try:
            if isinstance(connection, _ViaProxy):
                target = url
            connection.request(method, target, body=body, headers={"Accept-Encoding": "identity", **headers})
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            if not is_fresh:
                # One that was kept may have been closed meanwhile.
                return self.ask(method, url, headers, body, timeout)
            raise HttpError(_words(error)) from error
        # The next question may go over it once this answer was read: `http.client` sees to that.
        kept[origin] = connection
        if response.status > 299:
            raise Refused(response.status, _word(response), dict(response.headers.items()))
        if response.length is None and method != "HEAD":
            # Without a length: all of it, so that there is one.
            content = _whole(response)
            return response.headers, Answer(_Text(content), len(content))
        return response.headers, Answer(response, response.length or 0)

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
            return _ViaProxy(proxy.hostname or "", proxy.port, timeout=timeout)
        return http.client.HTTPConnection(host, port, timeout=timeout)

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._bundle)
        if not self.verifies:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _proxy(self, parts: urllib.parse.SplitResult) -> Optional[urllib.parse.SplitResult]:
        environ = {name.lower(): value for name, value in self._environ.items()}
        address = environ.get("%s_proxy" % parts.scheme) or environ.get("all_proxy")
        # `urllib`'s own reading of NO_PROXY, of these variables.
        proxies = {"no": environ.get("no_proxy", "")}
        if not address or urllib.request.proxy_bypass_environment(parts.netloc, proxies):  # type: ignore[attr-defined]
            return None
        return urllib.parse.urlsplit(address if "://" in address else "http://" + address)


class _ViaProxy(http.client.HTTPConnection):
    """A connection to a proxy that is told the whole URL."""


class _Text:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, size: int) -> bytes:
        block, self._content = self._content[:size], self._content[size:]
        return block

    def close(self) -> None:
        self._content = b""


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


def _word(response: http.client.HTTPResponse) -> str:
    """Return the store's own word for a refusal; the three stores say it in XML or JSON."""
    try:
        text = response.read(1 << 16).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return response.reason
    finally:
        response.close()
    found = re.search(r"<Code>([^<]{1,80})</Code>", text)
    found = found or re.search(r'"(?:reason|code|error)":\s*"([^"]{1,80})"', text)
    return found.group(1) if found else response.reason
