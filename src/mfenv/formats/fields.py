"""Typed getters for JSON documents of our own, with the path of the bad field in the message.

A schema library would do the same, but this code also reads locks in containers that hold nothing but Python.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from mfenv.domain.channel import without_credentials
from mfenv.domain.platform import Platform
from mfenv.domain.requirement import without_user_info
from mfenv.errors import InvalidSpec, LockError

T = TypeVar("T")

_LONGEST = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """One JSON object inside a document; `path` says where, for messages."""

    values: Mapping[str, Any]
    path: str

    @classmethod
    def parse(cls, content: bytes, *, path: str) -> Fields:
        """Read a document that must be an object; raise `LockError` naming `path` otherwise."""
        try:
            values = json.loads(content)
            if rb"\u" in content:
                # Half of a surrogate pair is a text that no file or digest can hold.
                json.dumps(values, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise LockError(f"{path}: this is not JSON ({error})") from error
        if not isinstance(values, dict):
            raise LockError(f"{path}: expected an object")
        return cls(values=values, path=path)

    def required(self, key: str, kind: type[T]) -> T:
        """Return the field `key`; raise `LockError` when it is missing or not a `kind`."""
        value = self.optional(key, kind)
        if value is None:
            raise LockError(f"{self.path}.{key}: missing")
        return value

    def optional(self, key: str, kind: type[T]) -> T | None:
        """Return the field `key` or None; raise `LockError` when it is something else than a `kind`."""
        value = self.values.get(key)
        if value is None:
            return None
        # JSON's true is not a number, though Python's True is an int.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise LockError(f"{self.path}.{key}: expected {kind.__name__}, found {_found(value)}")
        return value

    def platform(self, key: str) -> Platform:
        """Return a field that names a platform."""
        return platform(self.required(key, str), path=f"{self.path}.{key}")

    def strings(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; a missing one is empty."""
        values = self.optional(key, list) or []
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise LockError(f"{self.path}.{key}[{index}]: expected str, found {_found(value)}")
        return tuple(values)

    def texts(self, key: str) -> tuple[tuple[str, str], ...]:
        """Return an object of texts, sorted by key; a missing one is empty."""
        values = self.optional(key, dict) or {}
        for name, value in values.items():
            if not isinstance(value, str):
                raise LockError(f"{self.path}.{key}.{name}: expected str, found `{value!r}`")
        return tuple(sorted(values.items()))

    def objects(self, key: str) -> Iterator[Fields]:
        """Yield the objects of a list."""
        for index, value in enumerate(self.required(key, list)):
            path = f"{self.path}.{key}[{index}]"
            if not isinstance(value, dict):
                raise LockError(f"{path}: expected an object")
            yield Fields(values=value, path=path)


def platform(text: str, *, path: str) -> Platform:
    """Read a platform in a document; raises `LockError` naming `path`."""
    try:
        return Platform.parse(text, where=path)
    except InvalidSpec as error:
        raise LockError(error.message, hint=error.hint) from error


def _found(value: object) -> str:
    """Describe a value of the wrong kind: whole documents, and credentials, have no place in a message."""
    if value and isinstance(value, list | dict):
        return f"a {type(value).__name__}"
    if isinstance(value, int) and value.bit_length() > _LONGEST:
        return "a huge number"
    text = repr(without_user_info(without_credentials(value)) if isinstance(value, str) else value)
    return f"`{text}`" if len(text) <= _LONGEST else f"`{text[:_LONGEST]}...`"


@contextlib.contextmanager
def at(path: str) -> Iterator[None]:
    """Put `path` before the refusals of values that are made in this block, where they do not name it."""
    try:
        yield
    except LockError as error:
        if error.message.startswith(path):
            raise
        raise LockError(f"{path}: {error.message}", hint=error.hint) from error
