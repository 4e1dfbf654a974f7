"""The page of a project in a package index: its files, as JSON (PEP 691, 700, 740) or HTML (PEP 503, 592, 740).

The standard library parses both forms; packaging knows what file names mean. `pypi-simple` reads such pages too, but
brings its own way to the network, which knows neither this project's credentials nor folders.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from mfenv.errors import LockError

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """One file of a project."""

    name: str
    requires_python: str = ""
    is_yanked: bool = False
    size: int | None = None
    """Bytes; None where the index does not tell."""
    time: str = ""
    """When it was uploaded (ISO 8601), where the index tells."""
    sha256: str = ""
    """Empty where the index does not tell."""
    provenance: str = ""
    """Where its attestations are (PEP 740), perhaps relative to the page; empty where there are none."""


def load(content: bytes, content_type: str, *, shown: str) -> list[IndexFile]:
    """Read a page. Raises `LockError` naming `shown` for one that is neither form."""
    if "json" in content_type or content.lstrip()[:1] == b"{":
        try:
            rows = json.loads(content)["files"]
            return [_file(row) for row in rows]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise LockError(f"{shown}: this is not a page of a package index ({error})") from error
    return list(_anchors(content.decode(errors="replace")))


def _file(row: dict[str, Any]) -> IndexFile:
    size, time = row.get("size"), row.get("upload-time")
    return IndexFile(
        name=str(row["filename"]),
        requires_python=str(row.get("requires-python") or ""),
        is_yanked=bool(row.get("yanked")),
        size=size if isinstance(size, int) else None,
        time=str(time or ""),
        sha256=str((row.get("hashes") or {}).get("sha256") or ""),
        provenance=str(row.get("provenance") or ""),
    )


class _Anchors(HTMLParser):
    """Collects links with their texts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self._open: dict[str, str | None] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = dict(attrs) if tag == "a" else self._open

    def handle_data(self, data: str) -> None:
        if self._open is not None and data.strip():
            self.found.append((data.strip(), self._open))

    def handle_endtag(self, tag: str) -> None:
        self._open = None if tag == "a" else self._open


def _anchors(text: str) -> Iterator[IndexFile]:
    parser = _Anchors()
    parser.feed(text)
    for name, attributes in parser.found:
        yield IndexFile(
            name=name,
            requires_python=attributes.get("data-requires-python") or "",
            is_yanked="data-yanked" in attributes,
            sha256=_sha256_in(attributes.get("href") or ""),
            provenance=attributes.get("data-provenance") or "",
        )


def _sha256_in(link: str) -> str:
    """Return the digest in a link's fragment, as PEP 503 has it."""
    kind, _, digest = link.partition("#")[2].partition("=")
    return digest if kind == "sha256" else ""
