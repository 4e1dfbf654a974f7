"""pip's installation report, version 1 (pip documentation, "Installation Report"): what ``--report`` writes.

The standard library reads the JSON; what a `download_info` is follows PEP 610. No library reads the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from mfenv.domain.artifact import Artifact
from mfenv.domain.channel import without_credentials
from mfenv.domain.requirement import without_user_info
from mfenv.domain.resolved import BuildSource, ResolvedPypiPackage
from mfenv.errors import LockError
from mfenv.formats.fields import Fields

VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A package that pip would install, and what it needs itself."""

    package: ResolvedPypiPackage
    requires: tuple[str, ...]
    """``Requires-Dist`` of its metadata, as it stands there."""


def load(content: bytes) -> tuple[Reported, ...]:
    """Read a report. Raises `LockError` naming what cannot be read."""
    document = Fields.parse(content, path="pip's report")
    if (version := document.required("version", str)) != VERSION:
        raise LockError(f"pip's report is of version `{version}`, which is not known here")
    return tuple(_reported(row) for row in document.objects("install"))


def _reported(row: Fields) -> Reported:
    metadata = Fields(values=row.required("metadata", dict), path=f"{row.path}.metadata")
    requires: list[Any] = metadata.values.get("requires_dist") or []
    name, version = canonicalize_name(metadata.required("name", str)), metadata.required("version", str)
    info = Fields(values=row.required("download_info", dict), path=f"{row.path}.download_info")
    return Reported(package=_package(name, version, info), requires=tuple(map(str, requires)))


def _package(name: str, version: str, info: Fields) -> ResolvedPypiPackage:
    url = info.required("url", str)
    inner = info.optional("subdirectory", str)
    if vcs := info.values.get("vcs_info"):
        found = Fields(values=vcs, path=f"{info.path}.vcs_info")
        source = BuildSource(
            url=f"{found.required('vcs', str)}+{without_user_info(url)}",
            commit=found.required("commit_id", str),
            subdirectory=inner,
        )
        return ResolvedPypiPackage(name=name, version=version, build=source)
    if info.values.get("dir_info") is not None:
        return ResolvedPypiPackage(name=name, version=version, build=BuildSource(url=url, subdirectory=inner))
    archive = info.values.get("archive_info") or {}
    # `hash` is the older spelling, of one digest.
    kind, _, digest = str(archive.get("hash") or "").partition("=")
    sha256 = (archive.get("hashes") or {}).get("sha256") or (digest if kind == "sha256" else None)
    plain = without_credentials(url.partition("#")[0])
    file_name = Path(unquote(urlsplit(plain).path)).name
    if file_name.endswith(".whl"):
        wheel = Artifact(file_name=file_name, url=plain, sha256=sha256)
        return ResolvedPypiPackage(name=name, version=version, wheel=wheel)
    return ResolvedPypiPackage(
        name=name, version=version, build=BuildSource(url=plain, sha256=sha256, subdirectory=inner)
    )
