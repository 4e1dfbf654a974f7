"""A store in a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

from mfenv.errors import StoreError
from mfenv.io.files import write_atomically
from mfenv.store.base import BlobInfo, OnTransfer

T = TypeVar("T")
_ABSENT = {errno.ENOENT, errno.ENOTDIR}


class LocalBlobStore:
    """Keeps each blob in a file of its own; see `mfenv.store.base.BlobStore`."""

    kind = "local"

    def __init__(self, root: Path) -> None:
        """Keep blobs below `root`, which is made by the first write."""
        self._root = root

    @property
    def location(self) -> str:
        """See `BlobStore.location`."""
        return str(self._root)

    def get(self, key: str) -> bytes | None:
        """See `BlobStore.get`."""
        return self._try(key, self._path(key).read_bytes)

    def put(self, key: str, content: bytes) -> bool:
        """See `BlobStore.put`."""
        if self._path(key).exists():
            return False
        return self._write(key, lambda path: write_atomically(path, content, overwrite=False))

    def replace(self, key: str, content: bytes) -> None:
        """See `BlobStore.replace`."""
        self._write(key, lambda path: write_atomically(path, content))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `BlobStore.list`."""
        for path in self._path(prefix).rglob("*"):
            # A neighbour file that is being written begins with a dot.
            if not path.name.startswith(".") and (found := self._info(path.relative_to(self._root).as_posix())):
                yield found

    def find(self, keys: Iterable[str]) -> Mapping[str, BlobInfo]:
        """See `BlobStore.find`."""
        return {key: found for key in keys if (found := self._info(key))}

    def upload(self, files: Mapping[str, Path], on_transfer: OnTransfer | None = None) -> None:
        """See `BlobStore.upload`."""
        for key, source in files.items():
            self._write(key, lambda path, source=source: _copy(source, path))  # type: ignore[misc]
            if on_transfer:
                on_transfer(key, source.stat().st_size)

    def download(self, files: Mapping[str, Path], on_transfer: OnTransfer | None = None) -> set[str]:
        """See `BlobStore.download`."""
        found = set()
        for key, destination in files.items():
            source = self._path(key)
            if source.is_file() and self._try(key, lambda a=source, b=destination: shutil.copyfile(a, b)) is not None:  # type: ignore[misc]
                found.add(key)
                if on_transfer:
                    on_transfer(key, destination.stat().st_size)
        return found

    def touch(self, keys: Iterable[str]) -> None:
        """See `BlobStore.touch`."""
        for key in keys:
            path = self._path(key)
            self._try(key, lambda path=path: os.utime(path))  # type: ignore[misc]

    def delete(self, keys: Iterable[str]) -> None:
        """See `BlobStore.delete`. Folders that are empty then go, too."""
        for key in keys:
            path = self._path(key)
            self._try(key, path.unlink)
            for folder in path.parents:
                if folder == self._root:
                    break
                try:
                    folder.rmdir()
                except OSError:
                    break

    def _info(self, key: str) -> BlobInfo | None:
        status = self._try(key, self._path(key).stat)
        if status is None or not self._path(key).is_file():
            return None
        modified = datetime.fromtimestamp(status.st_mtime, timezone.utc)
        return BlobInfo(key=key, size=status.st_size, modified=modified)

    def _write(self, key: str, write: Callable[[Path], T]) -> T:
        try:
            return write(self._path(key))
        except FileNotFoundError:
            # Somebody who clears away took the folder between its making and this write.
            with contextlib.suppress(OSError):
                return write(self._path(key))
            raise self._error(key, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))) from None
        except OSError as error:
            raise self._error(key, error) from error

    def _try(self, key: str, act: Callable[[], T]) -> T | None:
        """Do something with what is under `key`; None when there is nothing."""
        try:
            return act()
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise self._error(key, error) from error

    def _path(self, key: str) -> Path:
        return self._root.joinpath(*key.split("/"))

    def _error(self, key: str, error: OSError) -> StoreError:
        return StoreError(
            f"`{self._path(key)}` cannot be used: {error.strerror or error}",
            hint="Check the disk and the rights on that folder, or set METAFLOW_CONDA_LOCALROOT to another",
        )


def _copy(source: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    neighbour = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        # Copied and not linked: damage to the one should leave the other, and each has a time of its own.
        shutil.copyfile(source, neighbour)
        neighbour.replace(path)
    finally:
        neighbour.unlink(missing_ok=True)
