"""Bring package files here, each checked to the last byte before anybody else sees it.

Runs in the helper process (its downloads are py-rattler's, which knows netrc, auth stores, proxies and mirrors), but
knows nothing of py-rattler itself: the download is passed in.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mfenv.errors import HydrationFailed
from mfenv.io.filelock import held_async
from mfenv.io.files import copy_hashing, sha256_of

Download = Callable[[str, Path], Awaitable[None]]
"""Bring the file at a URL to a path; raise anything when that does not work."""

USED = ".used"
"""Beside a package file: its time tells when that was last used."""
LOCK_TIMEOUT = 3600.0
SILENCE = 30.0
"""Seconds without a byte after which a download counts as broken off."""
_PAUSES = (0.2, 1.0)
"""Seconds before a download that broke is tried again."""


class SilentServerError(Exception):
    """A server took the request and sends nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFile:
    """A package file to have; `sha256` and `size` are None only when no index knows them."""

    name: str
    url: str
    sha256: str | None
    size: int | None
    md5: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedFile:
    """A package file that is here, and how it came: ``cached``, ``fetched`` or ``healed``."""

    name: str
    sha256: str
    size: int
    how: str


async def bring(wanted: WantedFile, archives: Path, download: Download) -> FetchedFile:
    """Have `wanted` in `archives`, checked; raise `HydrationFailed` naming it when that cannot be.

    A damaged file in the cache is fetched again. Other processes that want the same file wait for this one.
    """
    try:
        return await _bring(wanted, wanted.sha256, archives, download)
    except OSError as error:
        raise _not_brought(wanted, error) from error


async def _bring(wanted: WantedFile, sha256: str | None, archives: Path, download: Download) -> FetchedFile:
    if sha256 is None:
        return await _bring_unknown(wanted, archives, download)
    path = archives / sha256 / wanted.name
    if await _is_whole(path, sha256):
        with contextlib.suppress(OSError):
            # When it was last used: nobody clears it away now. The file's own time stays: uv knows wheels by it.
            (path.parent / USED).touch()
        return FetchedFile(name=wanted.name, sha256=sha256, size=path.stat().st_size, how="cached")
    async with held_async(archives / sha256 / ".lock", timeout=LOCK_TIMEOUT):
        if await _is_whole(path, sha256):
            return FetchedFile(name=wanted.name, sha256=sha256, size=path.stat().st_size, how="cached")
        how = "healed" if path.exists() else "fetched"
        for left_over in path.parent.glob(".*.part"):
            # Of a process that died: a living one would hold the lock.
            left_over.unlink(missing_ok=True)
        incoming = _incoming(path)
        try:
            found, size = await _fetch(wanted, incoming, download)
            _check(wanted, found, size)
            incoming.replace(path)
        finally:
            incoming.unlink(missing_ok=True)
    return FetchedFile(name=wanted.name, sha256=sha256, size=size, how=how)


async def _bring_unknown(wanted: WantedFile, archives: Path, download: Download) -> FetchedFile:
    """Bring a file that no index has a sha256 for: its bytes of today are what gets locked."""
    incoming = _incoming(archives / "unknown" / wanted.name)
    incoming.parent.mkdir(parents=True, exist_ok=True)
    try:
        sha256, size = await _fetch(wanted, incoming, download)
        _check(wanted, sha256, size, md5=await asyncio.to_thread(_md5_of, incoming))
        path = archives / sha256 / wanted.name
        path.parent.mkdir(parents=True, exist_ok=True)
        incoming.replace(path)
    finally:
        incoming.unlink(missing_ok=True)
    return FetchedFile(name=wanted.name, sha256=sha256, size=size, how="fetched")


def _incoming(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")


async def _is_whole(path: Path, sha256: str) -> bool:
    try:
        return await asyncio.to_thread(sha256_of, path) == sha256
    except OSError:
        return False


async def _fetch(wanted: WantedFile, destination: Path, download: Download) -> tuple[str, int]:
    parts = urlsplit(wanted.url)
    try:
        if parts.scheme == "file":
            return await asyncio.to_thread(copy_hashing, Path(unquote(parts.path)), destination)
        await _download(wanted.url, destination, download)
        return await asyncio.to_thread(sha256_of, destination), destination.stat().st_size
    except HydrationFailed:
        raise
    except OSError as error:
        if error.errno is None:
            raise _not_downloaded(wanted, error) from error
        raise _not_brought(wanted, error) from error
    except Exception as error:
        raise _not_downloaded(wanted, error) from error


def _not_brought(wanted: WantedFile, error: OSError) -> HydrationFailed:
    where = f"`{error.filename2 or error.filename}`: " if error.filename else ""
    hint = "Check the disk space and the rights on the folder, and that the file's channel is there"
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        hint = "Let processes open more files, for example with `ulimit -n 1024`"
    return HydrationFailed(
        f"the package file `{wanted.name}` cannot be brought here: {where}{error.strerror or error}", hint=hint
    )


def _not_downloaded(wanted: WantedFile, error: Exception) -> HydrationFailed:
    return HydrationFailed(
        f"the package file `{wanted.name}` cannot be downloaded",
        hint="Check that the channel can be reached from here, and run again: what is here is kept",
        output=str(error),
    )


async def _download(url: str, destination: Path, download: Download) -> None:
    """Download, again when the connection breaks in the middle: the client repeats only what was refused."""
    for pause in _PAUSES:
        try:
            return await _while_it_grows(download(url, destination), destination)
        except Exception as error:
            # An error number comes from the system's own files; the network's errors have none.
            if isinstance(error, OSError) and error.errno is not None:
                raise
            await asyncio.sleep(pause)
    return await _while_it_grows(download(url, destination), destination)


async def _while_it_grows(coming: Awaitable[None], destination: Path) -> None:
    """Await a download for as long as its file grows: a server that falls silent would be waited for in vain."""
    task = asyncio.ensure_future(coming)
    seen = -1
    while True:
        done, _ = await asyncio.wait({task}, timeout=SILENCE)
        if done:
            return task.result()
        size = destination.stat().st_size if destination.exists() else 0
        if size == seen:
            task.cancel()
            raise SilentServerError(f"nothing came for {SILENCE:.0f} seconds, after {size} bytes")
        seen = size


def _check(wanted: WantedFile, sha256: str, size: int, md5: str | None = None) -> None:
    for kind, expected, found in (
        ("sha256", wanted.sha256, sha256),
        ("size", wanted.size, size),
        ("md5", wanted.md5 if md5 else None, md5),
    ):
        if expected is not None and expected != found:
            raise HydrationFailed(
                f"the package file `{wanted.name}` is refused: its {kind} is {found} where {expected} is locked",
                hint="The file was changed after its channel was indexed, or on the way here: "
                "nothing of it was installed; tell whoever runs the channel",
            )


def _md5_of(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    digest.update(path.read_bytes())
    return digest.hexdigest()
