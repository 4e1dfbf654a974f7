"""PEP 751 lock files: those of any tool, and uv's answers, which are in the same format.

`packaging.pylock` reads them too, but it came with packaging 26, and many a library that data scientists have installed
beside Metaflow wants an older packaging; the getters that our own formats use are enough.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from mfenv.domain.artifact import Artifact
from mfenv.domain.channel import without_credentials
from mfenv.domain.requirement import without_user_info
from mfenv.domain.resolved import BuildSource, ResolvedPypiPackage
from mfenv.errors import LockError
from mfenv.formats.fields import Fields

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # the same, before it went into the standard library


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelChoice:
    """Which of several wheels fits best: its tags in order of preference (PEP 425), as text."""

    tags: tuple[str, ...]

    def best(self, wheels: Iterable[Artifact]) -> Artifact | None:
        """Return the wheel whose tags come first, or None when none fits."""
        rank = {tag: index for index, tag in enumerate(self.tags)}
        ranked = [(min(found), wheel.file_name, wheel) for wheel in wheels if (found := _ranks(wheel.file_name, rank))]
        return min(ranked)[2] if ranked else None


def _ranks(file_name: str, rank: dict[str, int]) -> list[int]:
    # The file name convention of PEP 427: compressed sets of tags are joined by dots (PEP 425).
    parts = file_name.removesuffix(".whl").split("-")
    if len(parts) not in {5, 6}:
        return []
    pythons, abis, platforms = (part.split(".") for part in parts[-3:])
    tags = (f"{python}-{abi}-{platform}" for python in pythons for abi in abis for platform in platforms)
    return [rank[tag] for tag in tags if tag in rank]


def load(
    content: bytes, choice: WheelChoice, *, folder: Path = Path("/"), path: str = "pylock.toml"
) -> tuple[ResolvedPypiPackage, ...]:
    """Read the packages of a lock file, each with its best wheel or what a wheel has to be built from.

    Relative paths in it are relative to `folder`.

    Raises `LockError` naming the field at fault.
    """
    try:
        document = Fields(values=tomllib.loads(content.decode()), path=path)
    except ValueError as error:
        raise LockError(f"{path}: this is not TOML ({error})") from error
    if "packages" not in document.values:
        return ()
    return tuple(_package(fields, choice, folder) for fields in document.objects("packages"))


def _package(fields: Fields, choice: WheelChoice, folder: Path) -> ResolvedPypiPackage:
    wheel = choice.best(_wheels(fields, folder))
    return ResolvedPypiPackage(
        name=fields.required("name", str),
        version=fields.optional("version", str) or "",
        wheel=wheel,
        build=None if wheel else _source(fields, folder),
    )


def _wheels(fields: Fields, folder: Path) -> Iterator[Artifact]:
    if "wheels" in fields.values:
        yield from (_artifact(wheel, folder) for wheel in fields.objects("wheels"))
    archive = _child(fields, "archive")
    if archive and (artifact := _artifact(archive, folder)).file_name.endswith(".whl"):
        yield artifact


def _artifact(fields: Fields, folder: Path) -> Artifact:
    url = fields.optional("url", str) or _file_url(fields.required("path", str), folder)
    hashes: dict[str, Any] = fields.optional("hashes", dict) or {}
    return Artifact(
        file_name=unquote(urlsplit(url).path.rsplit("/", 1)[-1]),
        url=without_credentials(url),
        size=fields.optional("size", int),
        sha256=hashes.get("sha256"),
        md5=hashes.get("md5"),
    )


def _source(fields: Fields, folder: Path) -> BuildSource | None:
    if vcs := _child(fields, "vcs"):
        kind = vcs.required("type", str)
        return BuildSource(
            url=f"{kind}+{without_user_info(vcs.optional('url', str) or '')}",
            commit=vcs.required("commit-id", str),
            subdirectory=vcs.optional("subdirectory", str),
        )
    if directory := _child(fields, "directory"):
        return BuildSource(
            url=_file_url(directory.required("path", str), folder),
            subdirectory=directory.optional("subdirectory", str),
        )
    for key in ("archive", "sdist"):
        if archive := _child(fields, key):
            artifact = _artifact(archive, folder)
            return BuildSource(
                url=artifact.url, sha256=artifact.sha256, subdirectory=archive.optional("subdirectory", str)
            )
    return None


def _file_url(path: str, folder: Path) -> str:
    # What the user asks for has an absolute path; what a local package needs of others has one relative to the lock.
    return f"file://{quote(os.path.normpath(folder / path))}"


def _child(fields: Fields, key: str) -> Fields | None:
    values = fields.optional(key, dict)
    return None if values is None else Fields(values=values, path=f"{fields.path}.{key}")
