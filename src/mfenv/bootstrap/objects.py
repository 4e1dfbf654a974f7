"""Objects of a datastore by key, on a node that has nothing but a Python.

No library serves here: the vendors' are what would have to be fetched first. What is asked of a store is little: read
an object, list names, write a small one. Python 3.8 and the standard library only: see `mfenv.bootstrap`.
"""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
import threading
import time
from typing import Any, Callable, Iterator, List, Mapping, Optional

from mfenv.bootstrap.failure import BootstrapError
from mfenv.bootstrap.http import Answer, Connections, HttpError, Refused

_TRIES = 5
_TRIES_WHILE_BUSY = 8
"""In half a minute: where thousands of tasks begin at once, a store says for a while that it has too much to do."""
_FIRST_PAUSE = 0.2
_BLOCK = 1 << 18


class ObjectError(BootstrapError):
    """The store did not give what was asked for."""


class Missing(ObjectError):
    """There is no such object."""


class Denied(ObjectError):
    """The task may not have it."""


class Unreachable(ObjectError):
    """The store does not answer, after several tries."""


class NoCredentials(ObjectError):
    """Nothing on this machine says who the task is."""


class Client:
    """What the stores differ in; see `mfenv.bootstrap.s3` and its neighbours."""

    connections: Connections
    location: str
    """Where the store is, as a user would write it."""

    def get(self, key: str, start: int) -> Answer:
        """Begin to read an object from its byte `start`."""
        raise NotImplementedError

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        raise NotImplementedError

    def names(self, prefix: str) -> List[str]:
        """Return the keys that begin with `prefix`."""
        raise NotImplementedError


def first_found(ways: Mapping[str, Callable[[], Any]], vendors: Callable[[], Any], nothing: str, hint: str) -> Any:
    """Return the first credentials that one of `ways` finds, by the names of those who give them.

    One that is there, and fails, ends the search, as the vendors' libraries do it: whoever comes next would be another.
    Only `vendors`, the library of an image that has it, is asked then. Raises `NoCredentials` saying what went wrong.
    """
    wrong = ""
    for name, way in ways.items():
        try:
            found = _patiently(way)
            if found:
                return found
        except Refused as refused:
            wrong = ": %s answers %d %s" % (name, refused.status, refused.word)
        except HttpError as error:
            wrong = ": %s does not answer (%s)" % (name, error)
        except OSError as error:
            wrong = ": %s has no `%s` (%s)" % (name, error.filename, error.strerror)
        except (ValueError, LookupError, TypeError, AttributeError):
            # Without its words, which may hold a part of a credential.
            wrong = ": what %s says is malformed" % name
        if wrong:
            break
    try:
        found = vendors()
    except Exception:  # noqa: BLE001
        # A library of any version, with errors of its own; most often there is none.
        found = None
    if found:
        return found
    raise NoCredentials(nothing + wrong, hint=hint)


def _patiently(ask: Callable[[], Any]) -> Any:
    """Ask again where an answer is for a moment: whoever knows who tasks are may have too much to do as well."""
    for attempt in range(_TRIES - 1):
        try:
            return ask()
        except Refused as refused:
            if not refused.is_for_a_moment:
                raise
        time.sleep(_pause(attempt))
    return ask()


class Objects:
    """The objects below one place of a store. Used from any thread."""

    def __init__(self, client: Client) -> None:
        """Ask `client`; what is refused for a moment is tried again."""
        self._client = client

    def fetch(
        self,
        key: str,
        destination: str,
        *,
        sha256: Optional[str] = None,
        size: Optional[int] = None,
        on_bytes: Callable[[int], None] = lambda _count: None,
    ) -> str:
        """Write an object to a file, which appears when it is whole, and return its SHA-256.

        A transfer that was cut off goes on where it stopped. Raises `ObjectError` for what is not there, may not be
        had, cannot be had, or is not what it should be.
        """
        digest = hashlib.sha256()
        partial = "%s.%d.%d.part" % (destination, os.getpid(), threading.get_ident())
        try:
            with open(partial, "wb") as file:
                for block in self._blocks(key):
                    digest.update(block)
                    file.write(block)
                    on_bytes(len(block))
                found = file.tell()
            if sha256 not in (None, digest.hexdigest()) or size not in (None, found):
                self._refuse_damaged(key)
            os.replace(partial, destination)
        except BaseException:
            if os.path.exists(partial):
                os.unlink(partial)
            raise
        return digest.hexdigest()

    def _refuse_damaged(self, key: str) -> None:
        raise ObjectError(
            "`%s` in %s is damaged: it is not what was locked" % (key, self._client.location),
            hint="Remove it from the store, and launch or deploy the flow again: what is missing there is sent again",
        )

    def read(self, key: str) -> bytes:
        """Return an object. Raises `ObjectError`."""
        return b"".join(self._blocks(key))

    def put(self, key: str, content: bytes) -> None:
        """Write an object. Raises `ObjectError`."""
        self._tried(key, lambda: self._client.put(key, content))

    def names(self, prefix: str) -> List[str]:
        """Return the keys that begin with `prefix`. Raises `ObjectError`."""
        found: List[str] = self._tried(prefix, lambda: self._client.names(prefix))
        return found

    def _blocks(self, key: str) -> Iterator[bytes]:
        """Yield the bytes of an object; one that is cut off is asked for again, from where it stopped."""
        got, length = 0, -1
        tries = 0
        while got != length:
            answer: Answer = self._tried(key, lambda start=got: self._client.get(key, start))  # type: ignore[misc]
            length = answer.start + answer.length
            before = got
            try:
                for block in _from(got, answer):
                    got += len(block)
                    yield block
            except HttpError as error:
                tries = 0 if got > before else tries + 1
                if tries >= _TRIES:
                    raise self._unreachable(key, error) from error
                time.sleep(_pause(tries))

    def _tried(self, key: str, ask: Callable[[], Any]) -> Any:
        for attempt in range(_TRIES_WHILE_BUSY):
            try:
                return ask()
            except Refused as refused:
                if not refused.is_for_a_moment or attempt == _TRIES_WHILE_BUSY - 1:
                    raise self._refusal(key, refused) from refused
            except HttpError as error:
                if attempt >= _TRIES - 1:
                    raise self._unreachable(key, error) from error
            except ValueError:
                # Such an error quotes what was to be sent, which may be a password.
                raise Unreachable(
                    "`%s` cannot be had from %s: its address, its answer or the credentials are malformed"
                    % (key, self._client.location),
                    hint="Check the settings of the datastore, and what the task's variables and files say of "
                    "credentials",
                ) from None
            time.sleep(_pause(attempt))
        raise AssertionError

    def _unreachable(self, key: str, error: HttpError) -> Unreachable:
        return Unreachable(
            "`%s` cannot be fetched from %s: %s" % (key, self._client.location, error),
            hint="Check that the machine of the task reaches the datastore, and run it again",
        )

    def _refusal(self, key: str, refused: Refused) -> ObjectError:
        what = (key, self._client.location, refused.status, refused.word)
        if refused.status == 404:
            return Missing(
                "`%s` is not in %s (%d %s)" % what,
                hint="Launch or deploy the flow again, which puts there what is missing",
            )
        if refused.status in (401, 403):
            return Denied(
                "the task may not have `%s` in %s (%d %s)" % what,
                hint="Give the task's role access to the datastore; without the right to list it, what is not there is "
                "refused in this way, too",
            )
        return Unreachable("`%s` cannot be had from %s: it answers %d %s" % what, hint="Run the task again")


def _from(position: int, answer: Answer) -> Iterator[bytes]:
    """Yield what an answer has from a byte of the object on; some proxies begin at the beginning, whatever is asked."""
    if not answer.start <= position <= answer.start + answer.length:
        answer.close()
        raise HttpError("it answers with another part than was asked for")
    ahead = position - answer.start
    for block in answer.blocks(_BLOCK):
        yield block[ahead:]
        ahead = max(0, ahead - len(block))


def _pause(attempt: int) -> float:
    return float(_FIRST_PAUSE * 2**attempt * (0.5 + random.random()))  # noqa: S311


class LocalClient(Client):
    """A folder, for tests and for nodes that mount what others call a store."""

    def __init__(self, root: str) -> None:
        """Read below the folder `root`."""
        self.location = root

    def get(self, key: str, start: int) -> Answer:
        """See `Client.get`."""
        try:
            file = open(os.path.join(self.location, key), "rb")  # noqa: SIM115
        except FileNotFoundError:
            raise Refused(404, "no such file") from None
        except PermissionError:
            raise Refused(403, "permission denied") from None
        file.seek(start)
        return Answer(file, os.fstat(file.fileno()).st_size - start, start)

    def put(self, key: str, content: bytes) -> None:
        """See `Client.put`."""
        path = os.path.join(self.location, key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=os.path.dirname(path))
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(partial, path)

    def names(self, prefix: str) -> List[str]:
        """See `Client.names`."""
        top = os.path.join(self.location, os.path.dirname(prefix))
        paths = (os.path.join(folder, name) for folder, _, names in os.walk(top) for name in names)
        keys = (os.path.relpath(path, self.location) for path in paths)
        return sorted(key for key in keys if key.startswith(prefix))


def open_objects(kind: str, root: str, environ: Mapping[str, str]) -> Objects:
    """Return the objects below `root` (``s3://bucket/folder``) in a datastore of a kind (``s3``).

    Raises `ObjectError` for a kind that is not known, and where nothing says who the task is.
    """
    return Objects(_client(kind, root, environ))


def _client(kind: str, root: str, environ: Mapping[str, str]) -> Client:
    # Imported here: the program that fetches the code package has only the one that it needs.
    if kind == "s3":
        from mfenv.bootstrap.s3 import S3Client

        return S3Client(root, environ)
    if kind == "azure":
        from mfenv.bootstrap.azure import AzureClient

        return AzureClient(root, environ)
    if kind == "gs":
        from mfenv.bootstrap.gs import GsClient

        return GsClient(root, environ)
    if kind == "local":
        return LocalClient(root)
    raise ObjectError(
        "environments cannot be fetched from the datastore `%s`" % kind, hint="Use `s3`, `azure`, `gs` or `local`"
    )


def place(root: str) -> "tuple[str, str]":
    """Return bucket and folder of ``s3://bucket/folder``, or of ``container/folder``.

    >>> place("s3://bucket/some/folder/")
    ('bucket', 'some/folder')
    """
    bucket, _, folder = root.rpartition("://")[2].strip("/").partition("/")
    return bucket, folder
