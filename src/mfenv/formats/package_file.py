"""What lock files say of a package file: its address, a URL or a path, and its digests. One reading for all formats."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from mfenv.domain.artifact import Artifact, is_plain_file_name
from mfenv.domain.channel import without_credentials
from mfenv.domain.platform import Platform
from mfenv.domain.requirement import without_user_info
from mfenv.domain.resolved import BuildSource
from mfenv.errors import LockError

_SCHEMES = frozenset({"http", "https", "file", "s3", "gcs", "oci"})
_REPOSITORIES = frozenset({"http", "https", "ssh", "git", "file"})
_COMMIT = re.compile(r"[0-9a-fA-F]{40}|[0-9a-fA-F]{64}")
_HEX = {"sha256": re.compile(r"[0-9a-f]{64}"), "md5": re.compile(r"[0-9a-f]{32}")}
_LARGEST = 1 << 53
# What file systems have room for.
_LONGEST_NAME = 255
# All subdirs that conda has or had (CEP 26): other folders that a file lies in are no statement about a platform.
_SUBDIR = re.compile(r"noarch|(linux|osx|win|freebsd|netbsd|openbsd|zos|emscripten|wasi)-[a-z0-9]+")


def artifact(
    address: str,
    *,
    folder: Path,
    where: str,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    name: str | None = None,
) -> Artifact:
    """Return the file at `address`, a URL or a path relative to `folder`, as written at `where`.

    Credentials are left out of it. `name` is the file's name where the address does not end in it. Raises `LockError`
    for what is no address, no digest, no size, or has a name that would lead out of a folder.
    """
    url = url_of(address, folder=folder, where=where)
    name = name or file_name_in(url)
    if not is_plain_file_name(name) or name.startswith("-") or len(name) > _LONGEST_NAME:
        raise LockError(f"{where}: `{shown(name)}` is not the name of a package file")
    if size is not None and not 0 <= size < _LARGEST:
        raise LockError(f"{where}: a package file cannot have {shown(str(size))} bytes")
    return Artifact(
        file_name=name,
        url=url,
        size=size,
        sha256=digest("sha256", sha256, where=where),
        md5=digest("md5", md5, where=where),
    )


def url_of(address: str, *, folder: Path, where: str) -> str:
    """Return `address` as a URL without credentials; a path is taken from `folder`. Raises `LockError`."""
    try:
        address.encode()
        parts = urlsplit(address)
        if "://" not in address and parts.scheme != "file":
            return file_url(address, folder)
        # Asking for the port checks it.
        if parts.scheme in _SCHEMES and parts.path and (parts.hostname or parts.scheme == "file") and parts.port != 0:
            return without_credentials(address)
    except ValueError:
        pass
    raise LockError(
        f"{where}: `{shown(address)}` is not the address of a package file",
        hint="Lock again with the tool that wrote the file",
    )


def file_url(path: str, folder: Path) -> str:
    """Return the URL of a path relative to `folder`. Raises `ValueError` for what no file system has."""
    if "\0" in path:
        raise ValueError("a path cannot hold a zero byte")
    return f"file://{quote(os.path.normpath(folder / path))}"


def file_name_in(url: str) -> str:
    """Return the name of the file at the end of a URL."""
    return unquote(urlsplit(url).path.rpartition("/")[2])


def place_of(url: str) -> tuple[str, str]:
    """Return the channel and the subdir that a conda package's URL names; the subdir is empty when it names none.

    >>> place_of("https://host/team/linux-64/zlib-1.3-0.conda")
    ('https://host/team', 'linux-64')
    """
    base, _, subdir = url.rpartition("/")[0].rpartition("/")
    return (base, subdir) if _SUBDIR.fullmatch(subdir) else (f"{base}/{subdir}", "")


def check_subdir(found: Artifact, platform: Platform, *, where: str) -> None:
    """Refuse a conda package that, by its address, is for another platform."""
    subdir = place_of(found.url)[1]
    if subdir and subdir not in {platform.value, "noarch"}:
        raise LockError(
            f"{where}: `{shown(found.file_name)}` is for {subdir}, and the step runs on {platform.value}",
            hint=f"Make a lock file for {platform.value}, or let the step run on {subdir}",
        )


def digest(kind: str, text: str | None, *, where: str) -> str | None:
    """Return a digest in lower case. Raises `LockError` for what is none; `kind` is ``sha256`` or ``md5``."""
    if text is None:
        return None
    if not _HEX[kind].fullmatch(text.lower()):
        raise LockError(f"{where}: `{shown(text)}` is not a {kind}")
    return text.lower()


def digests(hashes: Mapping[str, object], *, where: str) -> tuple[str | None, str | None]:
    """Return sha256 and md5 of a table of hashes. Raises `LockError` when it holds only others, which nobody checks."""
    found = {}
    for kind in ("sha256", "md5"):
        value = hashes.get(kind)
        if value is not None and not isinstance(value, str):
            raise LockError(f"{where}.{kind}: expected str, found {type(value).__name__}")
        found[kind] = value
    if hashes and not any(found.values()):
        raise LockError(
            f"{where}: a file is known only by its {', '.join(f'`{shown(str(kind))}`' for kind in [*hashes][:3])}",
            hint="Lock again with a tool that writes the sha256 of files",
        )
    return digest("sha256", found["sha256"], where=where), digest("md5", found["md5"], where=where)


def repository(url: str, commit: str, *, where: str, subdirectory: str | None = None) -> BuildSource:
    """Return a git repository at a commit. Raises `LockError` for what git would take for something else."""
    address = without_user_info(url.removeprefix("git+"))
    try:
        parts = urlsplit(address)
        known = parts.scheme in _REPOSITORIES and bool(parts.hostname or parts.scheme == "file") and parts.port != 0
        address.encode()
    except ValueError:
        known = False
    if not known:
        raise LockError(f"{where}: `{shown(url)}` is not the address of a git repository")
    if not _COMMIT.fullmatch(commit):
        raise LockError(
            f"{where}: `{shown(commit)}` is not a commit in full",
            hint="Lock again: a branch or a tag may be another commit tomorrow",
        )
    return BuildSource(
        url=f"git+{address}", commit=commit.lower(), subdirectory=inner_folder(subdirectory, where=where)
    )


def inner_folder(path: str | None, *, where: str) -> str | None:
    """Return the path of a folder inside a source; None for none. Raises `LockError` for one that leads out of it."""
    if path is None or path in {"", "."}:
        return None
    if not all(part not in {"..", ""} and is_plain_file_name(part) for part in path.rstrip("/").split("/")):
        raise LockError(f"{where}: `{shown(path)}` is not a folder inside the source")
    return path


def source(found: Artifact, *, where: str, subdirectory: str | None = None) -> BuildSource:
    """Return a source archive as what a wheel is built from. Raises `LockError` when only its md5 is known."""
    if found.sha256 is None and found.md5 is not None:
        raise LockError(
            f"{where}: of the source `{shown(found.file_name)}` only the md5 is known",
            hint="Lock again with a tool that writes the sha256 of files",
        )
    return BuildSource(url=found.url, sha256=found.sha256, subdirectory=inner_folder(subdirectory, where=where))


def shown(text: str) -> str:
    """Return a text of a lock file for a message: without credentials, on one line, and not longer than one."""
    bare = without_user_info(without_credentials(text)) if "://" in text else text
    line = re.sub(r"[^\x20-\x7e\u00a1-\ud7ff]", "?", bare.replace("`", "'"))
    return line if len(line) <= 100 else f"{line[:97]}..."
