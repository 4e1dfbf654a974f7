"""Advisories as OSV has them: JSON of the OSV schema, 1.x, alone, in a list, in a folder or in a zip archive.

The standard library reads JSON and zip. What the schema says of an advisory is taken as far as it tells whether a
package is affected; there is no kept library that reads it into values.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mfenv.domain.advisory import Advisory, Affected, Event
from mfenv.errors import StoreError

_KINDS = ("introduced", "fixed", "last_affected")
_ECOSYSTEMS = {"pypi": "pypi", "conda": "conda", "conda-forge": "conda", "bioconda": "conda"}
_PURL = re.compile(r"pkg:(?P<type>pypi|conda)/(?:[^@?#]*/)?(?P<name>[^@?#/]+)")
_MOST_BYTES = 1 << 26


def read(path: Path) -> Iterator[Advisory]:
    """Read all advisories of a file or folder; those that were withdrawn are left out.

    Raises `StoreError` naming what cannot be read.
    """
    try:
        for name, content in _documents(path):
            yield from _advisories(content, name)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise StoreError(
            f"the advisories in `{path}` cannot be read: {getattr(error, 'strerror', None) or error}",
            hint="Give the zip archive of an ecosystem that OSV publishes, or JSON of its schema",
        ) from error


def _documents(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for inner in sorted(path.rglob("*.json")):
            yield str(inner), inner.read_bytes()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".json") and member.file_size <= _MOST_BYTES:
                    yield f"{path}:{member.filename}", archive.read(member)
    else:
        yield str(path), path.read_bytes()


def _advisories(content: bytes, name: str) -> Iterator[Advisory]:
    try:
        found = json.loads(content)
        for row in found if isinstance(found, list) else [found]:
            if not row.get("withdrawn"):
                yield _advisory(row)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"`{name}` is no advisory as OSV has it ({type(error).__name__}: {error})",
            hint="Give the zip archive of an ecosystem that OSV publishes, or JSON of its schema",
        ) from error


def _advisory(row: dict[str, Any]) -> Advisory:
    word = (row.get("database_specific") or {}).get("severity")
    scores = [str(each["score"]) for each in row.get("severity") or ()]
    return Advisory(
        id=str(row["id"]),
        aliases=tuple(map(str, row.get("aliases") or ())),
        summary=" ".join(str(row.get("summary") or row.get("details") or "").split()),
        severity=word if isinstance(word, str) else next(iter(scores), ""),
        affected=tuple(found for each in row.get("affected") or () if (found := _affected(each))),
    )


def _affected(row: dict[str, Any]) -> Affected | None:
    package = row.get("package") or {}
    # An ecosystem may have a suffix after a colon.
    ecosystem = _ECOSYSTEMS.get(str(package.get("ecosystem") or "").partition(":")[0].lower())
    name = str(package.get("name") or "")
    if found := _PURL.match(str(package.get("purl") or "")):
        ecosystem, name = found["type"], name if ecosystem else found["name"]
    if ecosystem is None or not name:
        return None
    ranges = [
        tuple(
            Event(kind=kind, version=str(event[kind])) for event in each["events"] for kind in _KINDS if kind in event
        )
        for each in row.get("ranges") or ()
        # Commits of a repository say nothing of packages.
        if each.get("type") != "GIT"
    ]
    plain = re.sub(r"[-_.]+", "-", name) if ecosystem == "pypi" else name
    return Affected(
        ecosystem=ecosystem,
        name=plain.lower(),
        versions=frozenset(map(str, row.get("versions") or ())),
        ranges=tuple(events for events in ranges if events),
    )
