"""Where PyPI packages come from."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from mfenv.domain.channel import relative_path, without_credentials
from mfenv.errors import InvalidSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageIndex:
    """The base URL of a package index (PEP 503), without credentials. The order of indexes is their priority."""

    url: str
    written: str = field(default="", compare=False, repr=False)
    """A relative path as the user wrote it; empty for anything else."""
    is_of_machine: bool = field(default=False, compare=False, repr=False)
    """Whether it comes from the configuration of a tool on the launching machine, which is no part of any identity."""

    @classmethod
    def parse(cls, text: str, *, where: str, relative_to: Path | None = None) -> PackageIndex:
        """Read an index's URL or the path of a local one, as written at `where`; raise `InvalidSpec` otherwise.

        Credentials in the URL are left out: see `mfenv.domain.index.index_secret`.
        """
        text = text.strip().rstrip("/")
        # Each of the libraries' own refusals (half an IPv6 address, a byte that no file name has) is one of ours.
        with contextlib.suppress(ValueError):
            text.encode()
            if text.startswith(("/", "./", "../")):
                url = Path(relative_to or Path.cwd(), text).resolve().as_uri()
                return cls(url=url, written=relative_path(text))
            parts = urlsplit(text)
            # Asking for the port checks it.
            is_web = parts.scheme in {"http", "https"} and bool(parts.netloc) and parts.port != 0
            if is_web or (parts.scheme == "file" and parts.path):
                return cls(url=without_credentials(text))
        raise InvalidSpec(
            f"{where}: `{_shown(text)}` is not the address of a package index",
            hint="Write the full URL of its simple API, or the path of a local index",
        )

    @property
    def identity(self) -> str:
        """What counts for the identity of a request: a relative path as it was written, so that no machine counts."""
        return self.written or self.url

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSecret:
    """The URL of an index as the user wrote it, with its credentials; never prints, is never stored."""

    index: PackageIndex
    secret_url: str

    def __repr__(self) -> str:
        return f"IndexSecret({self.index}, ***)"


def index_secret(text: str, index: PackageIndex) -> IndexSecret | None:
    """Return the credentials that `text` (as the user wrote it) holds for `index`, if any."""
    text = text.strip().rstrip("/")
    return IndexSecret(index=index, secret_url=text) if "@" in urlsplit(text).netloc else None


def _shown(text: str) -> str:
    """Return what is no address, but may hold credentials as one does."""
    return re.sub(r"[^/\s]*@", "", without_credentials(text))


_WITH_USER = re.compile(r"(?:git\+)?(?P<url>https?://[^/\s]*@[^\s;#]*)")


def secrets_in(text: str) -> list[IndexSecret]:
    """Return the addresses with credentials that stand anywhere in `text`, as in that of a requirement."""
    found = [match["url"] for match in _WITH_USER.finditer(text)]
    return [IndexSecret(index=PackageIndex(url=without_credentials(url)), secret_url=url) for url in found]


def origin_of(secret_url: str) -> tuple[str, str]:
    """Return scheme and host of a URL without and with its credentials; an index's files may lie beside it."""
    parts = urlsplit(secret_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", f"{parts.scheme}://{parts.netloc}"
