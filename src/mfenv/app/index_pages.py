"""The pages of package indexes: what files a project has."""

from __future__ import annotations

import base64
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from mfenv.domain.channel import without_credentials
from mfenv.errors import ResolutionFailed
from mfenv.formats import simple_index
from mfenv.formats.simple_index import IndexFile
from mfenv.io import debug_log
from mfenv.io.process import ProcessRunner
from mfenv.io.secrets import with_credentials
from mfenv.resolve.backends.uv import find_uv

_TIME_LIMIT = 30.0


@dataclass(frozen=True, kw_only=True)
class IndexPages:
    """Asks package indexes, as the user may."""

    secret_urls: Mapping[str, str]
    runner: ProcessRunner
    uv_cache: Path

    def default_of_uv(self) -> str:
        """Ask uv which index it takes when nobody says otherwise; empty when it does not tell."""
        with tempfile.TemporaryDirectory(prefix="mfenv-uv-") as folder:
            (Path(folder) / "empty.in").write_text("")
            done = self.runner.run(
                [find_uv(), "pip", "compile", "--offline", "--quiet", "--no-header", "--emit-index-url", "empty.in"],
                environment={"UV_CACHE_DIR": str(self.uv_cache), "NO_COLOR": "1"},
                folder=Path(folder),
                timeout=_TIME_LIMIT,
            )
        lines = [row.removeprefix("--index-url ") for row in done.output.splitlines() if row.startswith("--index-url ")]
        return lines[0].strip().rstrip("/") if lines else ""

    def files(self, index: str, project: str) -> list[IndexFile]:
        """Return the files that an index has of a project; none where it does not know it.

        Raises `ResolutionFailed` when it cannot be asked.
        """
        page = f"{index}/{project}/"
        parts = urlsplit(page)
        if parts.scheme == "file":
            path = Path(unquote(parts.path)) / "index.html"
            shown = without_credentials(page)
            return simple_index.load(path.read_bytes(), "text/html", shown=shown) if path.is_file() else []
        found = self._get(page, simple_index.ACCEPT)
        return simple_index.load(*found, shown=without_credentials(page)) if found else []

    def document(self, index: str, project: str, address: str, accept: str) -> bytes | None:
        """Return what is at `address`, as a page of the index names it; None where nothing is."""
        found = self._get(urljoin(f"{index}/{project}/", address), accept)
        return found[0] if found else None

    def _get(self, url: str, accept: str) -> tuple[bytes, str] | None:
        shown = without_credentials(url)
        try:
            asked = _request(with_credentials(url, self.secret_urls), accept)
            with (
                debug_log.timed("request", f"GET {shown}"),
                urllib.request.urlopen(asked, timeout=_TIME_LIMIT) as answer,  # noqa: S310
            ):
                return answer.read(), answer.headers.get("Content-Type", "")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise ResolutionFailed(
                f"the package index `{shown}` answers with {error.code} {error.reason}",
                hint="Check the credentials for it" if error.code in {401, 403} else "Try again later",
            ) from error
        except (OSError, ValueError) as error:
            raise ResolutionFailed(
                f"the package index `{shown}` cannot be asked: {getattr(error, 'reason', error)}",
                hint="Check the network, proxies and certificates (SSL_CERT_FILE)",
            ) from error


def _request(url: str, accept: str) -> urllib.request.Request:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    headers = {"Accept": accept, "User-Agent": "metaflow-netflix-extensions"}
    if at:
        headers["Authorization"] = "Basic " + base64.b64encode(unquote(user).encode()).decode()
    return urllib.request.Request(parts._replace(netloc=host).geturl(), headers=headers)  # noqa: S310
