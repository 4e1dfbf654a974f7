"""What the existing product stores: names, and environments with their packages. Read, never written.

An alias is a JSON list of two ids. An environment is a JSON object; of it, this is used::

    {"packages": [{"_type": "conda", "filename": "numpy-1.26.4-py311h64a7726_0", "url": "https://host/c/linux-64/...",
                   "url_format": ".conda", "hashes": {".conda": "<md5 or sha256>"},
                   "cache_info": {".conda": {"_type": "conda", "url": "packages/conda/..."}}}, ...],
     "resolved_on": "2024-01-02T03:04:05", "resolved_by": "ana"}
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from mfenv.domain.artifact import is_plain_file_name
from mfenv.domain.channel import without_credentials
from mfenv.errors import LockError
from mfenv.formats.fields import Fields

_FORMATS = {"conda": (".conda", ".tar.bz2"), "pypi": (".whl", ".tar.gz", ".zip")}


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyFile:
    """A package in one format."""

    name: str
    digest: str | None
    """MD5 or SHA-256 in hex; None when it was not noted."""
    key: str | None
    """Where it is in the store, from its root; None when it is not there."""
    is_served: bool
    """Whether the package's address serves this format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyPackage:
    """A package of an environment."""

    is_conda: bool
    url: str
    """Without credentials."""
    files: tuple[LegacyFile, ...]
    """The formats that are known: those in the store first, and of these what the address serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyEnvironment:
    """An environment as the existing product resolved it."""

    packages: tuple[LegacyPackage, ...]
    resolved_by: str
    resolved_on: datetime | None


def load_alias(content: bytes, *, path: str) -> tuple[str, str]:
    """Return the request's id and the environment's that a name stands for. Raises `LockError`."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise LockError(f"{path}: this is not JSON ({error})") from error
    match found:
        case [str() as request, str() as full] if is_plain_file_name(request) and is_plain_file_name(full):
            return request, full
    raise LockError(f"{path}: expected two ids")


def load_environment(content: bytes, *, path: str) -> LegacyEnvironment:
    """Read an environment. Raises `LockError` naming the field at fault."""
    document = Fields.parse(content, path=path)
    when = document.optional("resolved_on", str)
    return LegacyEnvironment(
        packages=tuple(map(_package, document.objects("packages"))),
        resolved_by=document.optional("resolved_by", str) or "unknown",
        resolved_on=_time(when) if when else None,
    )


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    # Theirs have no zone: they are of whatever machine it was.
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _package(fields: Fields) -> LegacyPackage:
    kind = fields.required("_type", str)
    if kind not in _FORMATS:
        raise LockError(f"{fields.path}._type: `{kind}` is not known")
    found = list(_files(fields, kind))
    if not found:
        raise LockError(f"{fields.path}: there is no file in a format that is known")
    return LegacyPackage(
        is_conda=kind == "conda",
        url=without_credentials(fields.required("url", str)),
        files=tuple(sorted(found, key=lambda file: (file.key is None, not file.is_served))),
    )


def _files(fields: Fields, kind: str) -> Iterator[LegacyFile]:
    stem, served = fields.required("filename", str), fields.required("url_format", str)
    hashes = Fields(values=fields.optional("hashes", dict) or {}, path=f"{fields.path}.hashes")
    cached = Fields(values=fields.optional("cache_info", dict) or {}, path=f"{fields.path}.cache_info")
    for suffix in _FORMATS[kind]:
        if suffix != served and suffix not in cached.values:
            continue
        name = stem if stem.endswith(suffix) else stem + suffix
        if not is_plain_file_name(name):
            raise LockError(f"{fields.path}.filename: `{stem}` is not the name of a file")
        key = None
        if entry := cached.optional(suffix, dict):
            key = Fields(values=entry, path=f"{cached.path}.{suffix}").required("url", str)
        digest = hashes.optional(suffix, str)
        yield LegacyFile(name=name, digest=digest, key=key, is_served=suffix == served)
