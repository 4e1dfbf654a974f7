"""TOML with places: the standard library reads the values, and a search of the text tells where they stand.

A library that keeps places (tomlkit) does not give them out; a value's text is nearly always there once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mfenv.errors import InvalidSpec
from mfenv.formats.problems import Problems

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # the same, before it went into the standard library


def parse(text: str, *, shown: str) -> dict[str, Any]:
    """Read a TOML document. Raises `InvalidSpec` with the place of the fault as the library tells it."""
    try:
        document: dict[str, Any] = tomllib.loads(text)
        return document
    except (ValueError, RecursionError) as error:
        raise InvalidSpec(f"{shown}: this is not TOML ({error})") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of a document: `path` is its name in full, such as ``tool.uv``."""

    values: Mapping[str, Any]
    path: str
    text: str
    problems: Problems

    def where(self, *literals: str) -> str:
        """Return the place of the first of `literals` that is found in the text, behind those before it."""
        start, line, column = 0, 1, 1
        for literal in literals:
            found = self.text.find(literal, start)
            if found < 0:
                continue
            start = found + len(literal)
            line = self.text.count("\n", 0, found) + 1
            column = found - self.text.rfind("\n", 0, found)
        return self.problems.where(line, column)

    def at(self, key: str, *literals: str) -> str:
        """Return the place of `literals` within what `key` of this table says."""
        return self.where(*self.path.split(".")[-1:], key, *literals)

    def table(self, key: str) -> Table | None:
        """Return an inner table, or None when there is none. Raises `InvalidSpec` when it is something else."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.unexpected(key, "a table")
        return Table(values=value, path=f"{self.path}.{key}".lstrip("."), text=self.text, problems=self.problems)

    def tables(self, key: str) -> Iterator[Table]:
        """Yield the tables of a list of tables."""
        value = self.values.get(key)
        if isinstance(value, Mapping):
            value = [value]
        for one in self._list(key, value):
            if not isinstance(one, Mapping):
                raise self.unexpected(key, "a list of tables")
            yield Table(values=one, path=f"{self.path}.{key}".lstrip("."), text=self.text, problems=self.problems)

    def strings(self, key: str) -> list[str]:
        """Return a list of texts; a missing one is empty, one text is a list of one."""
        value = self.values.get(key)
        texts = [value] if isinstance(value, str) else self._list(key, value)
        if not all(isinstance(one, str) for one in texts):
            raise self.unexpected(key, "a list of texts")
        return list(texts)

    def string(self, key: str) -> str:
        """Return a text; a missing one is empty."""
        value = self.values.get(key, "")
        if not isinstance(value, str):
            raise self.unexpected(key, "a text")
        return value

    def is_set(self, key: str) -> bool:
        """Return a truth value; a missing one is False."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self.unexpected(key, "true or false")
        return value

    def unexpected(self, key: str, what: str) -> InvalidSpec:
        """Return the error for a key that holds something else than `what`."""
        name = f"{self.path}.{key}".lstrip(".")
        return InvalidSpec(f"{self.at(key)}: expected {what} in `{name}`, found `{self.values.get(key)!r}`")

    def _list(self, key: str, value: Any) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.unexpected(key, "a list")
        return value
