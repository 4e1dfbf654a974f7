"""Azure Blob Storage through azure-storage-blob."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mfenv.store.base import BlobInfo
from mfenv.store.objects import Trouble

_BUSY = {408, 429, 500, 502, 503, 504}
_PARTS_AT_ONCE = 4
# The client waits 15 seconds and more before each of its own three further attempts. `ObjectBlobStore` tries again
# sooner, and only so knows of a `put` whether an attempt whose answer was lost was the one that wrote.
_ONCE = {"retry_total": 0}
# A part of a large file is worth another attempt before all of the file is.
_BY_PARTS = {"retry_total": 1, "max_concurrency": _PARTS_AT_ONCE}
# What a touch sets; the time of an object goes on with its metadata.
_TOUCHED = {"mfenv": "touched"}


class AzureObjectClient:
    """Blobs of one container; see `mfenv.store.objects.ObjectClient`. `put` is ``If-None-Match: *``."""

    kind = "azure"

    def __init__(self, container: Callable[[], Any], name: str, prefix: str = "") -> None:
        """Use the container client that `container` gives each thread, for the blobs below `prefix`.

        `name` is the container's; `prefix` has no slash at either end.
        """
        self._container = container
        self._prefix = f"{prefix}/" if prefix else ""
        self.location = f"azure://{name}/{prefix}".rstrip("/")

    def get(self, key: str) -> bytes | None:
        """See `ObjectClient.get`."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            content: bytes = self._blob(key).download_blob(**_ONCE).readall()
        except ResourceNotFoundError as error:
            _check_for_container(error)
            return None
        return content

    def put(self, key: str, content: bytes) -> bool:
        """See `ObjectClient.put`."""
        from azure.core.exceptions import HttpResponseError, ResourceExistsError

        try:
            self._blob(key).upload_blob(content, overwrite=False, **_ONCE)
        except ResourceExistsError as error:
            # The client means every conflict by this, such as with a container that is being deleted.
            _check_for_container(error)
            return False
        except HttpResponseError as error:
            # Said to who may create blobs but not write to those that are there.
            if _code(error) == "UnauthorizedBlobOverwrite":
                return False
            raise
        return True

    def replace(self, key: str, content: bytes) -> None:
        """See `ObjectClient.replace`."""
        self._blob(key).upload_blob(content, overwrite=True, **_ONCE)

    def info(self, key: str) -> BlobInfo | None:
        """See `ObjectClient.info`."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            found = self._blob(key).get_blob_properties(**_ONCE)
        except ResourceNotFoundError as error:
            _check_for_container(error)
            return None
        return BlobInfo(key=key, size=found.size, modified=found.last_modified)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `ObjectClient.list`."""
        for found in self._container().list_blobs(name_starts_with=self._prefix + prefix, **_ONCE):
            key = found.name.removeprefix(self._prefix)
            yield BlobInfo(key=key, size=found.size, modified=found.last_modified)

    def send(self, key: str, path: Path) -> None:
        """See `ObjectClient.send`."""
        with path.open("rb") as file:
            self._blob(key).upload_blob(file, overwrite=True, **_BY_PARTS)

    def bring(self, key: str, path: Path) -> bool:
        """See `ObjectClient.bring`."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            stream = self._blob(key).download_blob(**_BY_PARTS)
        except ResourceNotFoundError as error:
            _check_for_container(error)
            return False
        with path.open("wb") as file:
            stream.readinto(file)
        return True

    def touch(self, key: str) -> None:
        """See `ObjectClient.touch`."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            self._blob(key).set_blob_metadata(_TOUCHED, **_ONCE)
        except ResourceNotFoundError as error:
            _check_for_container(error)

    def remove(self, keys: Sequence[str]) -> None:
        """See `ObjectClient.remove`."""
        from azure.core.exceptions import ResourceNotFoundError

        for key in keys:
            try:
                self._blob(key).delete_blob(delete_snapshots="include", **_ONCE)
            except ResourceNotFoundError as error:
                _check_for_container(error)

    def trouble(self, error: Exception) -> Trouble | None:
        """See `ObjectClient.trouble`."""
        from azure.core import exceptions as core

        if isinstance(error, core.ClientAuthenticationError):
            return Trouble.NO_CREDENTIALS
        if isinstance(error, core.HttpResponseError):
            if _is_of_container(error):
                return Trouble.NO_PLACE
            # Without a status when the client gave up on a body that broke off.
            if error.status_code in _BUSY or error.status_code is None or isinstance(error, core.IncompleteReadError):
                return Trouble.MOMENTARY
            return Trouble.DENIED if error.status_code == 403 else Trouble.OTHER
        if isinstance(error, core.ServiceRequestError | core.ServiceResponseError):
            return Trouble.MOMENTARY
        return Trouble.OTHER if isinstance(error, core.AzureError) else None

    def _blob(self, key: str) -> Any:
        return self._container().get_blob_client(self._prefix + key)


def _code(error: Any) -> str:
    code = getattr(error, "error_code", "") or ""
    return str(getattr(code, "value", code))


def _is_of_container(error: Any) -> bool:
    return _code(error) in {"ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"}


def _check_for_container(error: Exception) -> None:
    """Raise again what says that the whole container is not there."""
    if _is_of_container(error):
        raise error
