"""PyPI packages of lock files that name one file, folder or repository for each: conda-lock's, pixi's and lists."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from mfenv.domain.artifact import Artifact
from mfenv.domain.base import LockFilePypiPackage
from mfenv.domain.resolved import BuildSource
from mfenv.errors import LockError
from mfenv.formats import package_file
from mfenv.formats.package_file import shown

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_SOURCE = (".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz", ".tar.zst")
_COMMIT = re.compile(r"[0-9a-fA-F]{40}|[0-9a-fA-F]{64}")


def pypi_package(
    name: str,
    version: str,
    address: str,
    *,
    folder: Path,
    where: str,
    sha256: str | None = None,
    md5: str | None = None,
    requires_python: str = "",
) -> LockFilePypiPackage:
    """Return the package `name` at `address`, as written at `where`: a wheel, or what one is built from.

    An address of a wheel or of a source archive is told by its ending, a repository by ``git+``; anything else that
    is a path is a folder. Raises `LockError`.
    """
    if not _NAME.fullmatch(name):
        raise LockError(f"{where}: `{shown(name)}` is not the name of a project")
    normal = re.sub(r"[-_.]+", "-", name).lower()
    wheels: tuple[Artifact, ...] = ()
    build = None
    if address.startswith("git+"):
        build = _repository(address, where)
    else:
        found = _file_or_folder(address, folder, where, sha256, md5)
        if isinstance(found, BuildSource):
            build = found
        elif found.file_name.endswith(".whl"):
            wheels = (found,)
        else:
            inner = _in_fragment(address, "subdirectory")
            build = package_file.source(found, where=where, subdirectory=inner)
    for wheel in wheels:
        if re.sub(r"[-_.]+", "-", wheel.file_name.partition("-")[0]).lower() != normal:
            raise LockError(f"{where}: `{shown(wheel.file_name)}` is not a wheel of `{name}`")
    return LockFilePypiPackage(
        name=normal,
        version=checked_version(version, where=where),
        wheels=wheels,
        build=build,
        requires_python=checked_specifier(requires_python, where=where),
    )


def _file_or_folder(
    address: str, folder: Path, where: str, sha256: str | None, md5: str | None
) -> Artifact | BuildSource:
    bare = address.partition("#")[0].partition("?")[0]
    if bare.lower().endswith((".whl", *_SOURCE)):
        sha256, md5 = sha256 or _in_fragment(address, "sha256"), md5 or _in_fragment(address, "md5")
        return package_file.artifact(bare, folder=folder, where=where, sha256=sha256, md5=md5)
    url = package_file.url_of(bare, folder=folder, where=where)
    if not url.startswith("file:"):
        raise LockError(f"{where}: `{shown(address)}` is neither a wheel, nor a source archive, nor a repository")
    return BuildSource(
        url=url, subdirectory=package_file.inner_folder(_in_fragment(address, "subdirectory"), where=where)
    )


def _in_fragment(address: str, key: str) -> str | None:
    """Return ``key=value`` behind the ``#`` of an address."""
    for part in address.partition("#")[2].split("&"):
        name, equals, value = part.partition("=")
        if equals and name == key:
            return unquote(value)
    return None


def _repository(address: str, where: str) -> BuildSource:
    """Read ``git+url@commit`` (PEP 610), or ``git+url?rev=branch#commit`` as uv and pixi write it."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise LockError(f"{where}: `{shown(address)}` is not the address of a git repository") from error
    path, at, commit = parts.path.rpartition("@")
    if not at:
        path, commit = parts.path, parts.fragment.partition("&")[0]
    query = parse_qs(parts.query)
    if not _COMMIT.fullmatch(commit):
        commit = next((text for text in query.get("rev", []) if _COMMIT.fullmatch(text)), commit)
    inner = _in_fragment(address, "subdirectory") or next(iter(query.get("subdirectory", [])), None)
    bare = parts._replace(path=path, query="", fragment="").geturl()
    return package_file.repository(bare, commit, where=where, subdirectory=inner)


def checked_version(text: str, *, where: str) -> str:
    """Return a version (PEP 440) in normal form; nothing for nothing. Raises `LockError`."""
    from packaging.version import InvalidVersion, Version

    try:
        return str(Version(text)) if text else ""
    except InvalidVersion as error:
        raise LockError(f"{where}: `{shown(text)}` is not a version") from error


def checked_specifier(text: str, *, where: str) -> str:
    """Return a range of versions (PEP 440) in normal form; nothing for nothing. Raises `LockError`."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return str(SpecifierSet(text))
    except InvalidSpecifier as error:
        raise LockError(f"{where}: `{shown(text)}` is not a range of versions") from error
