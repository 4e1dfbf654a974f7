"""The index of a made-up channel as large as wanted: metadata that solves, and no packages.

py-rattler 0.28 indexes packages that exist. Here is only an index, so its two forms are written by hand:
``repodata.json`` with the same compressed by zstd beside it, and shards (CEP 16).
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import msgpack
import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
_MOST_DEPENDENCIES = 6
_BEGINNING = 1_500_000_000_000
_DAY = 86_400_000
_CREATED = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticChannel:
    """How large it is: `names` packages, and `records` of them in all; the same numbers give the same channel."""

    names: int
    records: int
    subdir: str = "linux-64"

    def name(self, number: int) -> str:
        """The name of a package; those with small numbers are needed by many."""
        return f"made-up-{number:05d}"

    def write(self, root: Path, *, sharded: bool) -> None:
        """Write the index below `root`, with shards or without."""
        for subdir, records in ((self.subdir, dict(self._records())), ("noarch", {})):
            folder = root / subdir
            folder.mkdir(parents=True, exist_ok=True)
            if sharded:
                _write_shards(folder, subdir, records)
            _write_repodata(folder, subdir, records, zstd_only=sharded)

    def _records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for python in PYTHONS:
            yield _record("python", f"{python}.1", "h1_0", ("__glibc >=2.17,<3.0.a0",), self.subdir)
        random = Random(self.names)  # noqa: S311 - the same channel each time
        each, more = divmod(self.records - len(PYTHONS), self.names)
        for number in range(self.names):
            needed = _needed(random, number)
            for version in range(each + (number < more)):
                yield self._package(number, version, needed)

    def _package(self, number: int, version: int, needed: tuple[int, ...]) -> tuple[str, dict[str, Any]]:
        python = PYTHONS[version % len(PYTHONS)]
        release = version // len(PYTHONS)
        depends = [f"python >={python},<{python.split('.')[0]}.{int(python.split('.')[1]) + 1}.0a0"]
        # Each release of a package takes the releases of its dependencies up to its own.
        depends += [f"{self.name(other)} >={max(0, release - 2)},<{release + 2}" for other in needed]
        return _record(
            self.name(number),
            f"{release}.{number % 7}",
            f"py{python.replace('.', '')}h1_0",
            tuple(depends),
            self.subdir,
        )


def _needed(random: Random, number: int) -> tuple[int, ...]:
    """Choose dependencies among the packages before, the first ones most often: so is a real channel."""
    if number == 0:
        return ()
    count = random.randint(0, min(number, _MOST_DEPENDENCIES))
    return tuple(sorted({int(number * random.random() ** 3) for _ in range(count)}))


def _record(name: str, version: str, build: str, depends: tuple[str, ...], subdir: str) -> tuple[str, dict[str, Any]]:
    file_name = f"{name}-{version}-{build}.conda"
    digest = hashlib.sha256(file_name.encode())
    return file_name, {
        "name": name,
        "version": version,
        "build": build,
        "build_number": 0,
        "depends": list(depends),
        "license": "MIT",
        "md5": digest.hexdigest()[:32],
        "sha256": digest.hexdigest(),
        "size": 100_000,
        "subdir": subdir,
        "timestamp": _BEGINNING + int(version.split(".")[0]) * _DAY,
    }


def _write_repodata(folder: Path, subdir: str, records: Mapping[str, Any], *, zstd_only: bool) -> None:
    content = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": records, "repodata_version": 1}
    text = json.dumps(content, separators=(",", ":")).encode()
    (folder / "repodata.json.zst").write_bytes(zstandard.compress(text, 3))
    if not zstd_only:
        (folder / "repodata.json").write_bytes(text)


def _write_shards(folder: Path, subdir: str, records: Mapping[str, dict[str, Any]]) -> None:
    by_name: dict[str, dict[str, Any]] = defaultdict(dict)
    for file_name, record in records.items():
        digests = {kind: bytes.fromhex(record[kind]) for kind in ("md5", "sha256")}
        by_name[record["name"]][file_name] = {**record, **digests}
    shards = {}
    (folder / "shards").mkdir(exist_ok=True)
    for name, packages in by_name.items():
        packed = zstandard.compress(msgpack.packb({"packages": {}, "packages.conda": packages, "removed": []}), 3)
        digest = hashlib.sha256(packed)
        (folder / "shards" / f"{digest.hexdigest()}.msgpack.zst").write_bytes(packed)
        shards[name] = digest.digest()
    info = {"subdir": subdir, "base_url": "", "shards_base_url": "./shards/", "created_at": _CREATED}
    index = {"info": info, "shards": shards, "version": 1}
    (folder / "repodata_shards.msgpack.zst").write_bytes(zstandard.compress(msgpack.packb(index), 3))
