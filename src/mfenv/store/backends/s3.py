"""S3, and what speaks its language, through boto3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mfenv.store.base import BlobInfo
from mfenv.store.objects import Trouble

_ABSENT = {"404", "NoSuchKey", "NotFound"}
_TAKEN = {"412", "PreconditionFailed"}
_UNKNOWN_HEADER = {"501", "NotImplemented"}
_MOMENTARY = {
    *("500", "502", "503", "504", "InternalError", "ServiceUnavailable", "SlowDown", "Throttling"),
    *("ThrottlingException", "RequestTimeout", "RequestTimeTooSkewed", "RequestLimitExceeded", "OperationAborted"),
    # Two wrote at the same moment, and neither did.
    *("409", "ConditionalRequestConflict"),
}
_DENIED = {"403", "AccessDenied", "Forbidden", "AllAccessDisabled", "AccountProblem"}
_CREDENTIALS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}


class S3ObjectClient:
    """Objects of one bucket; see `mfenv.store.objects.ObjectClient`.

    `put` asks the server for ``If-None-Match: *`` (Amazon S3 since August 2024). Of a server that does not know it,
    objects are looked for first: two that write the same key in the same moment may both think that they were first.
    """

    kind = "s3"

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        """Use boto3's `client` for the objects of `bucket` below `prefix`, which has no slash at either end."""
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self.location = f"s3://{bucket}/{prefix}".rstrip("/")
        self._knows_conditions = True

    def get(self, key: str) -> bytes | None:
        """See `ObjectClient.get`."""
        try:
            content: bytes = self._client.get_object(**self._at(key))["Body"].read()
        except self._client.exceptions.ClientError as error:
            if _code(error) in _ABSENT:
                return None
            raise
        return content

    def put(self, key: str, content: bytes) -> bool:
        """See `ObjectClient.put`."""
        if not self._knows_conditions:
            if is_new := self.info(key) is None:
                self.replace(key, content)
            return is_new
        try:
            self._client.put_object(**self._at(key), Body=content, IfNoneMatch="*")
        except self._client.exceptions.ClientError as error:
            if _code(error) in _TAKEN:
                return False
            if _code(error) in _UNKNOWN_HEADER:
                self._knows_conditions = False
                return self.put(key, content)
            raise
        return True

    def replace(self, key: str, content: bytes) -> None:
        """See `ObjectClient.replace`."""
        self._client.put_object(**self._at(key), Body=content)

    def info(self, key: str) -> BlobInfo | None:
        """See `ObjectClient.info`."""
        try:
            head = self._client.head_object(**self._at(key))
        except self._client.exceptions.ClientError as error:
            if _code(error) in _ABSENT:
                return None
            raise
        return BlobInfo(key=key, size=head["ContentLength"], modified=head["LastModified"])

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `ObjectClient.list`."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        for page in pages:
            for row in page.get("Contents", ()):
                key = row["Key"].removeprefix(self._prefix)
                yield BlobInfo(key=key, size=row["Size"], modified=row["LastModified"])

    def send(self, key: str, path: Path) -> None:
        """See `ObjectClient.send`."""
        self._client.upload_file(str(path), self._bucket, self._prefix + key)

    def bring(self, key: str, path: Path) -> bool:
        """See `ObjectClient.bring`."""
        try:
            body = self._client.get_object(**self._at(key))["Body"]
        except self._client.exceptions.ClientError as error:
            if _code(error) in _ABSENT:
                return False
            raise
        with path.open("wb") as file:
            for chunk in body.iter_chunks(1 << 20):
                file.write(chunk)
        return True

    def touch(self, key: str) -> None:
        """See `ObjectClient.touch`: S3 takes a copy onto itself for a change when it replaces the metadata."""
        at = self._at(key)
        try:
            self._client.copy_object(**at, CopySource=at, MetadataDirective="REPLACE")
        except self._client.exceptions.ClientError as error:
            if _code(error) not in _ABSENT:
                raise

    def remove(self, keys: Sequence[str]) -> None:
        """See `ObjectClient.remove`."""
        objects = [{"Key": self._prefix + key} for key in keys]
        answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
        for failed in answer.get("Errors", ()):
            if failed.get("Code") not in _ABSENT:
                raise self._client.exceptions.ClientError({"Error": failed}, "DeleteObjects")

    def trouble(self, error: Exception) -> Trouble | None:
        """See `ObjectClient.trouble`."""
        from boto3.exceptions import Boto3Error
        from botocore import exceptions as core

        if isinstance(error, Boto3Error) and isinstance(error.__context__, Exception):
            # boto3's transfers put their own error over the client's.
            return self.trouble(error.__context__) or Trouble.OTHER
        if isinstance(error, core.ClientError):
            return _of_code(_code(error), error)
        if isinstance(error, core.NoCredentialsError | core.CredentialRetrievalError | core.PartialCredentialsError):
            return Trouble.NO_CREDENTIALS
        if isinstance(error, core.HTTPClientError | core.ConnectionError | core.IncompleteReadError):
            return Trouble.MOMENTARY
        if type(error).__module__.startswith("urllib3"):
            return Trouble.MOMENTARY
        return Trouble.OTHER if isinstance(error, core.BotoCoreError | Boto3Error) else None

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _of_code(code: str, error: Any) -> Trouble:
    status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    if code == "NoSuchBucket":
        return Trouble.NO_PLACE
    for codes, trouble in (
        (_MOMENTARY, Trouble.MOMENTARY),
        (_CREDENTIALS, Trouble.NO_CREDENTIALS),
        (_DENIED, Trouble.DENIED),
    ):
        if code in codes or status in codes:
            return trouble
    return Trouble.OTHER
