"""A store in the form that the existing product gives it, made of package files: what environments are taken over from.

Keys: ``packages/<conda|pypi>/<host>/<path>/<file>/<hash>/<file>``, ``envs/<arch>/<request>/<environment>/env``,
``envs/aliases/generic/<name>/<tag>``, ``envs/aliases/full-id/<environment>``. Conda packages are known by their MD5,
wheels by their SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REQUEST, FULL = "ab" * 20, "cd" * 20
"""The ids of the environment that is written, unless others are given."""

_SUFFIXES = (".conda", ".tar.bz2", ".whl", ".tar.gz", ".zip")


def suffix_of(name: str) -> str:
    """Return the ending of a package file's name."""
    return next(suffix for suffix in _SUFFIXES if name.endswith(suffix))


@dataclass
class LegacyRoot:
    """The root of such a store, and the packages of the environment that is being put together."""

    folder: Path
    envs: str = "envs"
    packages_folder: str = "packages"
    packages: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self, path: Path, url: str, *, is_stored: bool = True, is_noted: bool = True, digest: str | None = ""
    ) -> Path:
        """Add a package with the file at `path`, which `url` serves; return where it is, or would be, in the store.

        Without `is_noted`, a file is stored and the environment does not say so. `digest` is noted instead of the
        right one; None for none.
        """
        suffix = suffix_of(path.name)
        kind = "conda" if suffix in {".conda", ".tar.bz2"} else "pypi"
        found = _digest(kind, path.read_bytes())
        key = self._key(kind, url, found, path.name)
        row: dict[str, Any] = {
            "_type": kind,
            "filename": path.name.removesuffix(suffix),
            "url": url,
            "url_format": suffix,
            "hashes": {suffix: found if digest == "" else digest},
        }
        if is_stored and is_noted:
            row["cache_info"] = {suffix: {"_type": kind, "url": key}}
        self.packages.append(row)
        return self._store(key, path.read_bytes(), is_stored=is_stored)

    def add_converted(self, path: Path, *, is_stored: bool = True) -> Path:
        """Add the file at `path` as another form of the last package: converted, or built from it."""
        row, suffix = self.packages[-1], suffix_of(path.name)
        found = _digest(row["_type"], path.read_bytes())
        place = self._place(row["_type"], row["url"])
        key = f"{place}/{path.name}/{found}/{path.name}"
        row.setdefault("cache_info", {})[suffix] = {"_type": row["_type"], "url": key}
        row["hashes"][suffix] = found
        return self._store(key, path.read_bytes(), is_stored=is_stored)

    def environment(self, archs: Sequence[str] = ()) -> dict[str, Any]:
        """Return the environment of the packages so far."""
        return {
            "deps": ["conda::python==3.11", "pypi::made==1.0"],
            "sources": ["pypi::https://me:secret@index.example.org/simple"],
            "extras": [],
            "packages": self.packages,
            "resolved_on": "2024-01-02T03:04:05.678000",
            "resolved_by": "grace",
            "resolved_archs": list(archs),
            "env_type": "mixed",
            "accurate_source": True,
            "full_id_unique_keys": {},
        }

    def write(self, arch: str, *names: str, request: str = REQUEST, full: str = FULL) -> Path:
        """Write the environment, have `names` (``name/tag``) stand for it, and return its file."""
        place = self.folder / self.envs / arch / request / full / "env"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(self.environment([arch])), encoding="utf-8")
        for name in (*(f"generic/{name}" for name in names), f"full-id/{full}"):
            alias = self.folder / self.envs / "aliases" / name
            alias.parent.mkdir(parents=True, exist_ok=True)
            alias.write_text(json.dumps([request, full]), encoding="utf-8")
        return place

    def manifest(self, arch: str, *, request: str = REQUEST, full: str = FULL, **more: Any) -> bytes:
        """Return the ``conda_v2.cnd`` of a project that knows the environment by itself."""
        document = {
            "version": 1,
            "mappings": {},
            "mutable_aliases": {},
            "aliases": {},
            "environments": {arch: {request: {full: self.environment([arch]), "_default": full}}},
        }
        return json.dumps({**document, **more}).encode()

    def _place(self, kind: str, url: str) -> str:
        host_and_path = url.partition("://")[2].lstrip("/")
        # What was built has no address: the first part says so.
        fake = "_fake/" if "_fake" in host_and_path.split("/") else ""
        return f"{self.packages_folder}/{kind}/{fake}{host_and_path.replace('_fake/', '', 1)}"

    def _key(self, kind: str, url: str, found: str, name: str) -> str:
        place = self._place(kind, url)
        return f"{place if place.endswith(f'/{name}') else f'{place}/{name}'}/{found}/{name}"

    def _store(self, key: str, content: bytes, *, is_stored: bool) -> Path:
        place = self.folder / key
        if is_stored:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        return place


def _digest(kind: str, content: bytes) -> str:
    if kind == "conda":
        return hashlib.md5(content, usedforsecurity=False).hexdigest()
    return hashlib.sha256(content).hexdigest()
