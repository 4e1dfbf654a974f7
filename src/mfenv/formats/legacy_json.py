"""What the existing product stores: names, environments with their packages, its ``conda_v2.cnd``. Read, never written.

An alias is a JSON list of two ids. An environment is a JSON object; of it, this is used::

    {"packages": [{"_type": "conda", "filename": "numpy-1.26.4-py311h64a7726_0", "url": "https://host/c/linux-64/...",
                   "url_format": ".conda", "hashes": {".conda": "<md5 or sha256>"},
                   "cache_info": {".conda": {"_type": "conda", "url": "packages/conda/..."}}}, ...],
     "resolved_on": "2024-01-02T03:04:05", "resolved_by": "ana"}

The file ``conda_v2.cnd`` of a project, version 1, has both, and the steps of runs::

    {"version": 1, "mappings": {"Flow/1/start": [<ids>]}, "mutable_aliases": {"team/env/latest": [<ids>]},
     "aliases": {"team/env/v1": [<ids>]}, "environments": {"linux-64": {"<request>": {"<environment>": {...}}}}}

No library reads these: they are the existing product's own. Version 1 is that of its releases up to 1.3.17.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import unquote, urlsplit

from mfenv.domain.artifact import is_plain_file_name
from mfenv.domain.channel import without_credentials
from mfenv.domain.digest import is_id
from mfenv.errors import LockError
from mfenv.formats.fields import Fields
from mfenv.formats.package_file import shown

_FORMATS = {"conda": (".conda", ".tar.bz2"), "pypi": (".whl", ".tar.gz", ".zip")}
_DIGEST = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")
# What file systems have room for.
_LONGEST_NAME = 255
_NO_ADDRESS = "_fake"
"""A part of the address of what has none: of wheels that were built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyRef:
    """What a name of the existing product stands for: the ids of a request and of an environment."""

    request: str
    full: str

    def __str__(self) -> str:
        return f"{self.request}:{self.full}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyFile:
    """A package in one format."""

    name: str
    digests: tuple[str, ...]
    """MD5 and SHA-256 in hex, each of which has to fit; empty when none was noted."""
    key: str | None
    """Where it is in the store, from its root; None when that was not noted."""
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

    @property
    def has_address(self) -> bool:
        """Whether somebody may serve it; a wheel that was built has an address only in name."""
        return self.url.startswith(("https://", "http://", "file://")) and _NO_ADDRESS not in self.url.split("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyEnvironment:
    """An environment as the existing product resolved it."""

    packages: tuple[LegacyPackage, ...]
    resolved_by: str
    resolved_on: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyManifest:
    """What a project of the existing product knows by itself."""

    names: Mapping[str, LegacyRef]
    """By name and tag, with a slash between."""
    steps: Mapping[str, LegacyRef]
    """By ``Flow/Run/Step``."""
    environments: Mapping[tuple[str, LegacyRef], LegacyEnvironment]
    """By subdir and ids."""


def load_alias(content: bytes, *, path: str) -> LegacyRef:
    """Return what a name stands for. Raises `LockError`."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise LockError(f"{path}: this is not JSON ({error})") from error
    return _ref(found, path)


def load_environment(content: bytes, *, path: str) -> LegacyEnvironment:
    """Read an environment. Raises `LockError` naming the field at fault."""
    return _environment(Fields.parse(content, path=path))


def load_manifest(content: bytes, *, path: str) -> LegacyManifest:
    """Read a project's ``conda_v2.cnd``. Raises `LockError` naming the field at fault, and for other versions."""
    document = Fields.parse(content, path=path)
    if document.required("version", int) != 1:
        raise LockError(f"{path}.version: only version 1 is known here")
    return LegacyManifest(
        names={**dict(_refs(document, "aliases")), **dict(_refs(document, "mutable_aliases"))},
        steps=dict(_refs(document, "mappings")),
        environments={
            (arch, _ref([request, full], there.path)): _environment(there)
            for arch, requests in _objects(document, "environments")
            for request, environments in _objects(requests)
            for full, there in _objects(environments)
        },
    )


def _objects(fields: Fields, key: str | None = None) -> Iterator[tuple[str, Fields]]:
    """Yield the objects in an object, by their keys, but for the text that says which of them is the default."""
    inner = fields
    if key is not None:
        inner = Fields(values=fields.optional(key, dict) or {}, path=f"{fields.path}.{key}")
    for name, value in inner.values.items():
        if name == "_default" and isinstance(value, str):
            continue
        path = f"{inner.path}.{shown(name)}"
        if not isinstance(value, dict):
            raise LockError(f"{path}: expected an object")
        yield name, Fields(values=value, path=path)


def _refs(document: Fields, key: str) -> Iterator[tuple[str, LegacyRef]]:
    for name, value in (document.optional(key, dict) or {}).items():
        # So a name is noted that stands for nothing any more.
        if value is not None and value != [None]:
            yield name, _ref(value, f"{document.path}.{key}.{shown(name)}")


def _ref(found: Any, path: str) -> LegacyRef:
    match found:
        case [str() as request, str() as full] if is_id(request) and is_id(full):
            return LegacyRef(request=request, full=full)
    raise LockError(f"{path}: expected two ids of 40 hex digits")


def _environment(document: Fields) -> LegacyEnvironment:
    when = document.optional("resolved_on", str)
    return LegacyEnvironment(
        packages=tuple(map(_package, document.objects("packages"))),
        resolved_by=document.optional("resolved_by", str) or "unknown",
        resolved_on=_time(when) if when else None,
    )


def _time(text: str) -> datetime | None:
    """Return a time in UTC; None for what is none, without which an environment is as good."""
    try:
        found = datetime.fromisoformat(text)
        # Theirs have no zone: they are of whatever machine it was.
        return found.astimezone(timezone.utc) if found.tzinfo else found.replace(tzinfo=timezone.utc)
    except (ValueError, OverflowError):
        return None


def _package(fields: Fields) -> LegacyPackage:
    written = fields.required("_type", str)
    # So it was called once.
    kind = "pypi" if written == "pip" else written
    if kind not in _FORMATS:
        raise LockError(f"{fields.path}._type: `{shown(kind)}` is not known")
    found = list(_files(fields, kind))
    if not found:
        raise LockError(f"{fields.path}: there is no file in a format that is known")
    return LegacyPackage(
        is_conda=kind == "conda",
        url=_url(fields),
        files=tuple(sorted(found, key=lambda file: (file.key is None, not file.is_served))),
    )


def _url(fields: Fields) -> str:
    url = without_credentials(fields.required("url", str))
    try:
        # Asking for the port checks it.
        if urlsplit(url).port != 0:
            return url
    except ValueError:
        pass
    raise LockError(f"{fields.path}.url: `{shown(url)}` is not an address")


def _files(fields: Fields, kind: str) -> Iterator[LegacyFile]:
    stem, served = unquote(fields.required("filename", str)), fields.required("url_format", str)
    hashes = Fields(values=fields.optional("hashes", dict) or {}, path=f"{fields.path}.hashes")
    cached = Fields(values=fields.optional("cache_info", dict) or {}, path=f"{fields.path}.cache_info")
    for suffix in _FORMATS[kind]:
        entry = cached.optional(suffix, dict)
        if suffix != served and not entry:
            continue
        key = _key(Fields(values=entry, path=f"{cached.path}.{suffix}"), suffix) if entry else None
        # A wheel that was built from a source has another name than that.
        name = key.rpartition("/")[2] if key and suffix != served else stem.removesuffix(suffix) + suffix
        if not is_plain_file_name(name) or name.startswith("-") or len(name.encode()) > _LONGEST_NAME:
            raise LockError(f"{fields.path}.filename: `{shown(name)}` is not the name of a file")
        digests = list(_digests(hashes, [suffix, "sha256", "md5"] if suffix == served else [suffix]))
        if key and not digests and _DIGEST.fullmatch(folder := key.split("/")[-2]):
            digests = [folder]
        yield LegacyFile(name=name, digests=tuple(dict.fromkeys(digests)), key=key, is_served=suffix == served)


def _key(entry: Fields, suffix: str) -> str:
    """Return where a file is in the store; nothing outside of the store's root."""
    key = entry.required("url", str)
    parts = key.split("/")
    if len(parts) < 2 or not key.endswith(suffix) or not all(map(is_plain_file_name, parts)):
        raise LockError(f"{entry.path}.url: `{shown(key)}` is not the place of a file in the store")
    return key


def _digests(hashes: Fields, keys: list[str]) -> Iterator[str]:
    """Yield what was noted under `keys`: formats, and for packages of pylock files the names of algorithms."""
    for key in keys:
        text = (hashes.optional(key, str) or "None").lower()
        # So a digest is noted that nobody knew.
        if text == "none":
            continue
        if not _DIGEST.fullmatch(text):
            raise LockError(f"{hashes.path}.{key}: `{shown(text)}` is neither an MD5 nor a SHA-256")
        yield text
