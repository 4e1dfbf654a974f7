"""Names of environments as they are kept: canonical JSON, version 1::

    {"schema": "mfenv/alias/1", "name": "team/env", "tag": "stable", "locks": {"linux-64": "<lock id>"},
     "requests": {"linux-64": "<request key>"}, "user": "ana", "time": "2026-01-02T03:04:05+00:00",
     "digest": "<of all the others>"}

One flipped bit would make another lock's id of an id: the digest tells.
"""

from __future__ import annotations

from datetime import datetime

from mfenv.domain.alias import Alias
from mfenv.domain.digest import Json, LockId, RequestKey, canonical_json, identity, is_id
from mfenv.domain.reference import ByName, parse_reference
from mfenv.errors import InvalidSpec, LockError
from mfenv.formats import fields
from mfenv.formats.fields import Fields

SCHEMA = "mfenv/alias/1"
_FAMILY = SCHEMA.removesuffix("1")


class LaterVersionError(LockError):
    """A name was written by a version of this package that knows more than this one."""


def dump(alias: Alias) -> bytes:
    """Return the canonical bytes of an alias."""
    return canonical_json(values(alias))


def values(alias: Alias) -> dict[str, Json]:
    """Return an alias as a JSON object."""
    said: dict[str, Json] = {
        "schema": SCHEMA,
        "name": alias.ref.name,
        "tag": alias.ref.tag,
        "locks": {platform.value: lock for platform, lock in alias.locks},
        "requests": {platform.value: key for platform, key in alias.requests},
        "user": alias.user,
        "time": alias.time.isoformat(),
    }
    return {**said, "digest": identity(SCHEMA, said)}


def load(content: bytes, *, path: str) -> Alias:
    """Read an alias. Raises `LockError` naming `path`, `LaterVersionError` among them."""
    return read(Fields.parse(content, path=path))


def read(document: Fields) -> Alias:
    """Read an alias from a JSON object. Raises `LockError`."""
    path, schema = document.path, document.required("schema", str)
    if schema != SCHEMA:
        is_later = schema.startswith(_FAMILY) and schema.removeprefix(_FAMILY).isdecimal()
        raise (LaterVersionError if is_later else LockError)(
            f"{path}: the schema `{schema}` is not known here",
            hint="A later version wrote it: use that one, or a newer" if is_later else None,
        )
    _check_digest(document)
    text = f"{document.required('name', str)}:{document.required('tag', str)}"
    try:
        ref = parse_reference(text, where=path)
        time = datetime.fromisoformat(document.required("time", str))
    except (InvalidSpec, ValueError) as error:
        raise LockError(f"{path}: {error}") from error
    if not isinstance(ref, ByName) or time.tzinfo is None:
        raise LockError(f"{path}: `{text}` is not a name, or has no time")
    return Alias.of(
        ref,
        {fields.platform(name, path=path): LockId(_id(lock, path)) for name, lock in document.texts("locks")},
        requests={fields.platform(name, path=path): RequestKey(_id(k, path)) for name, k in document.texts("requests")},
        user=document.required("user", str),
        time=time,
    )


def _check_digest(document: Fields) -> None:
    said = {key: value for key, value in document.values.items() if key != "digest"}
    try:
        found = identity(SCHEMA, said)
    except (ValueError, RecursionError) as error:
        raise LockError(f"{document.path}: {error}") from error
    if found != document.required("digest", str):
        raise LockError(f"{document.path}: its digest is {found}, and not what it says")


def _id(text: str, path: str) -> str:
    if not is_id(text):
        raise LockError(f"{path}: `{text}` is not an id")
    return text
