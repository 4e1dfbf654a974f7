"""Stores of objects: S3, Azure Blob, Google Storage. What they share: many at a time, tried again, errors in our words.

Each vendor's own client moves the bytes, of large files in parts at the same time; an `ObjectClient` is the little that
differs between them.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

from mfenv.domain.channel import without_credentials
from mfenv.domain.requirement import without_user_info
from mfenv.errors import StoreError
from mfenv.store.base import BlobInfo, OnTransfer

T = TypeVar("T")
K = TypeVar("K")

_AT_ONCE = 32
_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each further attempt, on top of the vendor's own."""
_PAGE = 1000
"""Objects that one request for a listing tells of, with all three vendors."""


class Trouble(Enum):
    """What kind of trouble an object store has; the value is what to do about it."""

    DENIED = "Check that you may read and write there, with the credentials that the datastore is used with"
    NO_PLACE = "Make the bucket or container, or name another"
    NO_CREDENTIALS = "Set up the credentials that the datastore is used with"
    MOMENTARY = "It was tried several times: try again later"
    OTHER = "Check the settings of the datastore"


class ObjectClient(Protocol):
    """One bucket or container through its vendor's client, an object at a time. Called from any thread.

    Raises what the vendor's client raises; `trouble` says what that is.
    """

    kind: str
    location: str

    def get(self, key: str) -> bytes | None:
        """Return an object's bytes, or None."""
        ...

    def put(self, key: str, content: bytes) -> bool:
        """Write an object if there is none, as the store decides it; tell whether this call wrote it."""
        ...

    def replace(self, key: str, content: bytes) -> None:
        """Write an object, whatever is there."""
        ...

    def info(self, key: str) -> BlobInfo | None:
        """Return size and time of an object, or None."""
        ...

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield all objects below a prefix, page by page."""
        ...

    def send(self, key: str, path: Path) -> None:
        """Write a file to an object, whatever is there."""
        ...

    def bring(self, key: str, path: Path) -> bool:
        """Write an object to a file, and tell whether there was one."""
        ...

    def touch(self, key: str) -> None:
        """Make an object's time now; one that is not there is left."""
        ...

    def remove(self, keys: Sequence[str]) -> None:
        """Remove at most a thousand objects; those that are not there are left."""
        ...

    def trouble(self, error: Exception) -> Trouble | None:
        """Say what trouble an error of the vendor's client is; None when it is not the client's."""
        ...


class ObjectBlobStore:
    """Keeps blobs in an object store; see `mfenv.store.base.BlobStore`."""

    def __init__(self, client: ObjectClient, *, pauses: Sequence[float] = _PAUSES) -> None:
        """Keep blobs where `client` leads; after each of `pauses` (seconds) try again what was refused for a moment."""
        self._client = client
        self._pauses = pauses
        self.kind = client.kind
        self.location = client.location

    def get(self, key: str) -> bytes | None:
        """See `BlobStore.get`."""
        return self._try(key, lambda: self._client.get(key))

    def put(self, key: str, content: bytes) -> bool:
        """See `BlobStore.put`."""
        attempts = [0]

        def put() -> bool:
            attempts[0] += 1
            if self._client.put(key, content):
                return True
            # An attempt whose answer was lost may have been the one that wrote this.
            return attempts[0] > 1 and self._client.get(key) == content

        return self._try(key, put)

    def replace(self, key: str, content: bytes) -> None:
        """See `BlobStore.replace`."""
        self._try(key, lambda: self._client.replace(key, content))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `BlobStore.list`."""
        yield from self._try(prefix, lambda: list(self._client.list(prefix)))

    def find(self, keys: Iterable[str]) -> Mapping[str, BlobInfo]:
        """See `BlobStore.find`. Many keys of one folder are found by listing it, where that takes fewer requests."""
        wanted = dict.fromkeys(keys)
        found: dict[str, BlobInfo] = {}
        for prefix, group in _folders(wanted).items():
            listed = self._listed(prefix, group)
            if listed is not None:
                found |= listed
                continue
            infos = self._each(group, lambda key: self._try(key, lambda: self._client.info(key)))
            found |= {info.key: info for info in infos if info}
        return {key: found[key] for key in wanted if key in found}

    def _listed(self, prefix: str, keys: Sequence[str]) -> dict[str, BlobInfo] | None:
        """Look for keys by listing their folder; None when that would take about as many requests as keys."""
        # A page takes longer than a key, and pages come one after the other.
        budget = len(keys) // 200
        if not budget:
            return None
        pages = self._try(prefix, lambda: list(islice(self._client.list(prefix), budget * _PAGE + 1)))
        if len(pages) > budget * _PAGE:
            return None
        wanted = set(keys)
        return {info.key: info for info in pages if info.key in wanted}

    def upload(self, files: Mapping[str, Path], on_transfer: OnTransfer | None = None) -> None:
        """See `BlobStore.upload`."""

        def send(key: str) -> None:
            self._try(key, lambda: self._client.send(key, files[key]))
            if on_transfer:
                on_transfer(key, files[key].stat().st_size)

        # The largest first: the end is not then a wait for one of them.
        self._each(sorted(files, key=lambda key: -_size(files[key])), send)

    def download(self, files: Mapping[str, Path], on_transfer: OnTransfer | None = None) -> set[str]:
        """See `BlobStore.download`."""

        def bring(key: str) -> bool:
            came = self._try(key, lambda: self._client.bring(key, files[key]))
            if came and on_transfer:
                on_transfer(key, files[key].stat().st_size)
            return came

        keys = list(files)
        return {key for key, came in zip(keys, self._each(keys, bring), strict=True) if came}

    def touch(self, keys: Iterable[str]) -> None:
        """See `BlobStore.touch`."""
        self._each(list(keys), lambda key: self._try(key, lambda: self._client.touch(key)))

    def delete(self, keys: Iterable[str]) -> None:
        """See `BlobStore.delete`."""
        wanted = list(keys)
        batches = [wanted[start : start + _PAGE] for start in range(0, len(wanted), _PAGE)]
        self._each(batches, lambda batch: self._try(batch[0], lambda: self._client.remove(batch)))

    # ---------------------------------------------------------------- many, and again

    @staticmethod
    def _each(items: Sequence[K], act: Callable[[K], T]) -> Sequence[T]:
        """Do something with each item, many at a time; the first error ends it."""
        if len(items) < 2:
            return [act(item) for item in items]
        pool = ThreadPoolExecutor(min(_AT_ONCE, len(items)), thread_name_prefix="mfenv-store")
        try:
            futures = [pool.submit(act, item) for item in items]
            for done in as_completed(futures):
                done.result()
            return [future.result() for future in futures]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _try(self, key: str, act: Callable[[], T]) -> T:
        for pause in self._pauses:
            try:
                return act()
            except Exception as error:
                if self._client.trouble(error) is not Trouble.MOMENTARY:
                    raise self._explained(key, error) from error
                # Somewhat uneven, or all that were refused together come back together.
                _wait(pause * random.uniform(0.7, 1.3))  # noqa: S311
        try:
            return act()
        except Exception as error:
            raise self._explained(key, error) from error

    def _explained(self, key: str, error: Exception) -> Exception:
        trouble = self._client.trouble(error)
        if trouble is not None:
            return StoreError(
                f"`{self.location}/{key}` cannot be used: {_reason(error)}", hint=f"{trouble.value}; see {_SETTINGS}"
            )
        if isinstance(error, OSError):
            name = error.filename or "a file"
            return StoreError(
                f"`{name}` cannot be used while `{self.location}/{key}` is copied: {error.strerror or error}",
                hint="Check the disk and the rights on that folder",
            )
        return error


_SETTINGS = "METAFLOW_CONDA_S3ROOT, METAFLOW_CONDA_AZUREROOT, METAFLOW_CONDA_GSROOT"
_waiting = threading.Event()


def _wait(seconds: float) -> None:
    _waiting.wait(seconds) if seconds else time.sleep(0)


def _reason(error: Exception) -> str:
    """Return what a vendor's client says, on one line."""
    text = without_user_info(without_credentials(" ".join(str(error).split())))
    return text[:500] or type(error).__name__


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _folders(keys: Iterable[str]) -> dict[str, list[str]]:
    """Group keys by the folder at the top of those that hold many: all packages are in one."""
    groups: dict[str, list[str]] = {}
    for key in keys:
        head, slash, _ = key.partition("/sha256/")
        prefix = f"{head}/sha256/" if slash else key.rpartition("/")[0] + "/"
        groups.setdefault(prefix, []).append(key)
    return groups
