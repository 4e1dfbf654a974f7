"""Writing files so that a reader sees all of one or nothing, and hashing them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import time
from pathlib import Path

_CHUNK = 1 << 20
_PAUSES = (0.05, 0.2, 1.0)


def write_atomically(
    path: Path, content: bytes, *, durable: bool = False, overwrite: bool = True, mode: int | None = None
) -> bool:
    """Write `content` to `path` by way of a neighbour file and a rename; `durable` also survives power loss.

    Without `overwrite`, a file that is there stays, whoever wrote it and however short a time ago; return whether this
    call wrote. With `mode`, the file has these permissions before anything is in it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    neighbour = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        with neighbour.open("wb") as file:
            if mode is not None:
                neighbour.chmod(mode)
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        linked = None if overwrite else _linked(neighbour, path)
        if linked is None:
            neighbour.replace(path)
        return linked is not False
    except BaseException:
        neighbour.unlink(missing_ok=True)
        raise


def _linked(neighbour: Path, path: Path) -> bool | None:
    """Give `neighbour` the name `path`; False when that is taken, None where the file system has no hard links."""
    try:
        path.hardlink_to(neighbour)
    except OSError:
        if not path.exists():
            return None
        neighbour.unlink()
        return False
    neighbour.unlink()
    return True


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex. Raises `OSError`."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def copy_hashing(source: Path, destination: Path) -> tuple[str, int]:
    """Copy a file and return the SHA-256 (hex) and size of exactly the bytes that were written."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb", buffering=0) as reader, destination.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            writer.write(chunk)
    return digest.hexdigest(), size


def remove_tree(path: Path) -> None:
    """Remove a folder and all in it, or what stands in its place, if it is there.

    First it gets another name, so that nobody sees half of it.
    """
    if doomed := set_aside(path):
        remove_aside(doomed)


def set_aside(path: Path) -> Path | None:
    """Give what is to be removed another name, by one rename, and return that; None when it is not there."""
    doomed = path.with_name(f".{path.name}.{secrets.token_hex(4)}.doomed")
    try:
        path.rename(doomed)
    except FileNotFoundError:
        return None
    return doomed


def remove_aside(doomed: Path) -> None:
    """Remove what was set aside."""
    with contextlib.suppress(FileNotFoundError):
        if doomed.is_symlink() or not doomed.is_dir():
            doomed.unlink()
        else:
            _remove_folder(doomed)


def _remove_folder(folder: Path) -> None:
    """Remove a folder into which somebody may still be writing: the helper of a killed process, for a moment."""
    for pause in _PAUSES:
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            time.sleep(pause)
        else:
            return
    shutil.rmtree(folder)
