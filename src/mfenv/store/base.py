"""The store seam: bytes and files by key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

OnTransfer = Callable[[str, int], None]
"""Told of each file that was sent or brought: its key and its bytes. Called from any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobInfo:
    """What a store tells of a blob without sending it."""

    key: str
    size: int
    """In bytes."""
    modified: datetime
    """When it was last written or touched, by the store's own clock; with a time zone."""


class BlobStore(Protocol):
    """Keeps bytes under keys such as ``mfenv/v1/locks/<id>.json``.

    Called from any thread. Readers never see half of a blob. What takes several keys works on many at a time. Raises
    `StoreError` naming the key, or the place, when it is out of reach or access is denied; what is refused for a moment
    is tried again first.
    """

    @property
    def kind(self) -> str:
        """What it is called in Metaflow: ``local``, ``s3``, ``azure``, ``gs``."""
        ...

    @property
    def location(self) -> str:
        """Where it is, as a user would write it, such as ``s3://bucket/folder``; the same for everybody who uses it."""
        ...

    def get(self, key: str) -> bytes | None:
        """Return the bytes under `key`, or None."""
        ...

    def put(self, key: str, content: bytes) -> bool:
        """Keep `content` under `key`, if there is nothing yet, and return True; otherwise leave what is there.

        Of several that put at the same time, one gets True.
        """
        ...

    def replace(self, key: str, content: bytes) -> None:
        """Keep `content` under `key`, whatever is there. For the few keys that may change, and to heal."""
        ...

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield what is below `prefix`, which ends with a slash, in no order."""
        ...

    def find(self, keys: Iterable[str]) -> Mapping[str, BlobInfo]:
        """Return those of `keys` that are there."""
        ...

    def upload(self, files: Mapping[str, Path], on_transfer: OnTransfer | None = None) -> None:
        """Keep the content of each file under its key, whatever is there."""
        ...

    def download(self, files: Mapping[str, Path], on_transfer: OnTransfer | None = None) -> set[str]:
        """Write what is under each key to its file, and return the keys that were there.

        The folders of the files are there. What a file holds is the caller's to check; a file of a key that is not
        there, or of a call that raised, may hold anything.
        """
        ...

    def touch(self, keys: Iterable[str]) -> None:
        """Make the modification time of each of `keys` now, without sending its content; what is not there is left."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Remove `keys`; what is not there is left."""
        ...
