"""Google Cloud Storage through google-cloud-storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

from mfenv.store.base import BlobInfo
from mfenv.store.objects import Trouble

_BUSY = {408, 429, 500, 502, 503, 504}
# What a touch sets; the time of an object goes on with its metadata.
_TOUCHED = {"mfenv": "touched"}
# The client tries again for two minutes. `ObjectBlobStore` tries again as well, and only so knows of a `put` whether an
# attempt whose answer was lost was the one that wrote.
_ONCE: dict[str, Any] = {"retry": None}
_FILE_RETRY_SECONDS = 10


class GsObjectClient:
    """Objects of one bucket; see `mfenv.store.objects.ObjectClient`. `put` is ``ifGenerationMatch=0``."""

    kind = "gs"

    def __init__(self, bucket: Callable[[], Any], name: str, prefix: str = "") -> None:
        """Use the bucket that `bucket` gives each thread, for the objects below `prefix`.

        `name` is the bucket's; `prefix` has no slash at either end.
        """
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self.location = f"gs://{name}/{prefix}".rstrip("/")

    def get(self, key: str) -> bytes | None:
        """See `ObjectClient.get`."""
        from google.api_core.exceptions import NotFound

        try:
            content: bytes = self._blob(key).download_as_bytes(**_ONCE)
        except NotFound as error:
            _check_for_bucket(error)
            return None
        return content

    def put(self, key: str, content: bytes) -> bool:
        """See `ObjectClient.put`."""
        from google.api_core.exceptions import PreconditionFailed

        try:
            self._blob(key).upload_from_string(content, if_generation_match=0, **_ONCE)
        except PreconditionFailed:
            return False
        return True

    def replace(self, key: str, content: bytes) -> None:
        """See `ObjectClient.replace`."""
        self._blob(key).upload_from_string(content, **_ONCE)

    def info(self, key: str) -> BlobInfo | None:
        """See `ObjectClient.info`."""
        from google.api_core.exceptions import NotFound

        found = self._blob(key)
        try:
            found.reload(**_ONCE)
        except NotFound as error:
            _check_for_bucket(error)
            return None
        return BlobInfo(key=key, size=found.size, modified=found.updated)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `ObjectClient.list`."""
        for found in self._bucket().list_blobs(prefix=self._prefix + prefix, **_ONCE):
            key = found.name.removeprefix(self._prefix)
            yield BlobInfo(key=key, size=found.size, modified=found.updated)

    def send(self, key: str, path: Path) -> None:
        """See `ObjectClient.send`."""
        self._blob(key).upload_from_filename(str(path), retry=_file_retry())

    def bring(self, key: str, path: Path) -> bool:
        """See `ObjectClient.bring`."""
        from google.api_core.exceptions import NotFound

        try:
            with path.open("wb") as file:
                self._blob(key).download_to_file(file, retry=_file_retry())
        except NotFound as error:
            _check_for_bucket(error)
            return False
        return True

    def touch(self, key: str) -> None:
        """See `ObjectClient.touch`."""
        from google.api_core.exceptions import NotFound

        blob = self._blob(key)
        blob.metadata = _TOUCHED
        try:
            blob.patch(**_ONCE)
        except NotFound as error:
            _check_for_bucket(error)

    def remove(self, keys: Sequence[str]) -> None:
        """See `ObjectClient.remove`."""
        from google.api_core.exceptions import NotFound

        for key in keys:
            try:
                self._blob(key).delete(**_ONCE)
            except NotFound as error:
                _check_for_bucket(error)

    def trouble(self, error: Exception) -> Trouble | None:
        """See `ObjectClient.trouble`."""
        from google.api_core import exceptions as api
        from google.auth import exceptions as auth
        from requests import exceptions as http

        if isinstance(error, auth.TransportError):
            return Trouble.MOMENTARY
        if isinstance(error, auth.GoogleAuthError | api.Unauthorized):
            return Trouble.NO_CREDENTIALS
        if isinstance(error, api.NotFound):
            return Trouble.NO_PLACE
        if isinstance(error, api.Forbidden):
            return Trouble.DENIED
        if isinstance(error, api.GoogleAPICallError):
            return Trouble.MOMENTARY if error.code in _BUSY else Trouble.OTHER
        if isinstance(error, api.RetryError | http.ConnectionError | http.ChunkedEncodingError | http.Timeout):
            return Trouble.MOMENTARY
        # The client lets these through as they are.
        if isinstance(error, ConnectionError | HTTPException) or type(error).__module__.startswith("urllib3"):
            return Trouble.MOMENTARY
        if isinstance(error, api.GoogleAPIError | http.RequestException):
            return Trouble.OTHER
        return Trouble.MOMENTARY if type(error).__name__ == "DataCorruption" else None

    def _blob(self, key: str) -> Any:
        return self._bucket().blob(self._prefix + key)


def _file_retry() -> Any:
    """Return the client's own way of trying again, for a short time: it goes on where a file broke off."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_deadline(_FILE_RETRY_SECONDS)


def _check_for_bucket(error: Exception) -> None:
    """Raise again what says that the whole bucket is not there."""
    if "bucket does not exist" in str(error):
        raise error
