"""A store in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mfenv.errors import StoreError
from mfenv.io.files import write_atomically


class LocalBlobStore:
    """Keeps each blob in a file of its own; see `mfenv.store.base.BlobStore`."""

    def __init__(self, root: Path) -> None:
        """Keep blobs below `root`, which is made by the first write."""
        self._root = root

    def get(self, key: str) -> bytes | None:
        """See `BlobStore.get`."""
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._error(key, error) from error

    def put(self, key: str, content: bytes) -> None:
        """See `BlobStore.put`."""
        if not self._path(key).exists():
            self._write(key, content, overwrite=False)

    def replace(self, key: str, content: bytes) -> None:
        """See `BlobStore.replace`."""
        self._write(key, content, overwrite=True)

    def _write(self, key: str, content: bytes, *, overwrite: bool) -> None:
        try:
            write_atomically(self._path(key), content, overwrite=overwrite)
        except OSError as error:
            raise self._error(key, error) from error

    def list(self, prefix: str) -> Iterator[str]:
        """See `BlobStore.list`."""
        folder = self._path(prefix)
        for path in folder.rglob("*"):
            # A neighbour file that is being written begins with a dot.
            if path.is_file() and not path.name.startswith("."):
                yield path.relative_to(self._root).as_posix()

    def _path(self, key: str) -> Path:
        return self._root.joinpath(*key.split("/"))

    def _error(self, key: str, error: OSError) -> StoreError:
        return StoreError(
            f"`{self._path(key)}` cannot be used: {error.strerror or error}",
            hint="Check the disk and the rights on that folder, or set METAFLOW_CONDA_LOCALROOT to another",
        )
