"""Digests and identities: canonical JSON, request keys, lock ids."""

from __future__ import annotations

import hashlib
import json
import re
from typing import NewType

RequestKey = NewType("RequestKey", str)
"""What the user wrote, as 40 hex digits (see `mfenv.domain.request`)."""

LockId = NewType("LockId", str)
"""Which packages exactly, as 40 hex digits (see `mfenv.domain.locked`)."""

_ID = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def canonical_json(value: Json) -> bytes:
    """Return the one spelling of `value` as JSON: keys sorted, no spaces, UTF-8.

    Floats are refused: their spelling is no promise.

    >>> canonical_json({"b": [1, "é"], "a": None})
    b'{"a":null,"b":[1,"\\xc3\\xa9"]}'
    """
    if _has_float(value):
        raise ValueError("a float has no canonical spelling")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _has_float(value: Json) -> bool:
    match value:
        case float():
            return True
        case list():
            return any(map(_has_float, value))
        case dict():
            return any(map(_has_float, value.values()))
        case _:
            return False


def identity(schema: str, value: Json) -> str:
    """Return the first 40 hex digits of the SHA-256 of `schema` and `value` in canonical form.

    The hashed bytes begin with `schema`, so a change of meaning can never collide with an old id.
    """
    return hashlib.sha256(schema.encode() + b"\n" + canonical_json(value)).hexdigest()[:40]


def is_id(text: str) -> bool:
    """Tell whether `text` has the form of a `RequestKey` or a `LockId`."""
    return _ID.fullmatch(text) is not None


def is_sha256(text: str) -> bool:
    """Tell whether `text` has the form of a SHA-256 in lower-case hex."""
    return _SHA256.fullmatch(text) is not None
