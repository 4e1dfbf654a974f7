"""YAML as plain values with their lines and columns, by ruamel.yaml: no tags, no objects, no repeated keys."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mfenv.errors import InvalidSpec

Place = tuple[int, int]

_DEEPEST = 30
_TAGS = frozenset({"null", "bool", "int", "float", "str", "timestamp", "map", "seq"})
# A file of a few lines can stand for more values than fit into memory ("billion laughs").
_MOST_NODES = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A value and where it stands; lines and columns count from 1.

    A mapping's `value` is a dict of nodes, a list's a list of nodes, anything else a text, or None where there is none.
    """

    value: Any
    line: int
    column: int
    key: Place = (1, 1)
    """Line and column of the key, for the value of a mapping's entry."""

    def entries(self, where: str, what: str) -> Iterator[tuple[str, Node]]:
        """Yield the entries of a mapping. Raises `InvalidSpec` saying `what` is expected."""
        if not isinstance(self.value, dict):
            raise self._unexpected(where, what)
        yield from self.value.items()

    def items(self, where: str, what: str) -> Iterator[Node]:
        """Yield the items of a list; none at all where there is no value."""
        if self.value is None:
            return
        if not isinstance(self.value, list):
            raise self._unexpected(where, what)
        yield from self.value

    def text(self, where: str, what: str) -> str:
        """Return a text; numbers and the like are the text that they are written as."""
        if not isinstance(self.value, str):
            raise self._unexpected(where, what)
        return self.value

    def plain(self) -> Any:
        """Return the value without places: dicts, lists, texts and None."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def _unexpected(self, where: str, what: str) -> InvalidSpec:
        kinds = {"dict": "a mapping", "list": "a list", "NoneType": "nothing"}
        # An address may stand there, with a password in it.
        shown = re.sub(r"://[^/\s]*@", "://", str(self.value))
        return InvalidSpec(f"{where}: expected {what}, found {kinds.get(type(self.value).__name__, f'`{shown}`')}")


def parse(text: str, *, shown: str) -> Node:
    """Read one YAML document. Raises `InvalidSpec` with the line at fault."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        with warnings.catch_warnings():
            # An anchor that is used again is odd, and means what it says.
            warnings.simplefilter("ignore")
            node = YAML(typ="rt", pure=True).compose(text)
        return _Reader(shown=shown).read(node) if node is not None else Node(value=None, line=1, column=1)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{shown}:{mark.line + 1}:{mark.column + 1}" if mark else shown
        raise InvalidSpec(f"{place}: this is not YAML ({error.problem or error.context})") from error
    except (YAMLError, ValueError, RuntimeError, AttributeError, IndexError, AssertionError) as error:
        # ruamel.yaml says of comments in some places that they are not implemented, and of deep texts that it recurs.
        raise InvalidSpec(f"{shown}: this is not YAML ({str(error).strip() or type(error).__name__})") from error


def _is_writable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


class _Reader:
    def __init__(self, *, shown: str) -> None:
        self._shown = shown
        self._left = _MOST_NODES

    def read(self, node: Any, depth: int = 0) -> Node:
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        where = f"{self._shown}:{line}:{column}"
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            raise InvalidSpec(f"{where}: this is too {'deep' if depth > _DEEPEST else 'large'} for such a file")
        kind = type(node).__name__
        tag = str(node.tag)
        if tag.rpartition(":")[2] not in _TAGS or not tag.startswith("tag:yaml.org,2002:"):
            raise InvalidSpec(f"{where}: the tag `{tag}` means nothing here", hint="Write the value without it")
        if kind == "MappingNode":
            return Node(value=self._mapping(node, where, depth), line=line, column=column)
        if kind == "SequenceNode":
            return Node(value=[self.read(item, depth + 1) for item in node.value], line=line, column=column)
        if not _is_writable(str(node.value)):
            raise InvalidSpec(
                f"{where}: there is a character here that no file can hold",
                hint="Take its escape (`\\0`, `\\ud800`) out",
            )
        is_null = tag.endswith(":null")
        return Node(value=None if is_null else str(node.value), line=line, column=column)

    def _mapping(self, node: Any, where: str, depth: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key, value in node.value:
            if str(key.tag).endswith(":merge"):
                inner = self.read(value, depth + 1)
                for one in inner.value if isinstance(inner.value, list) else [inner]:
                    merged = {**dict(one.entries(where, "a mapping to merge")), **merged}
                continue
            name = self.read(key, depth + 1).value
            if not isinstance(name, str):
                raise InvalidSpec(f"{where}: a key has to be a text")
            if name in found:
                place = f"{self._shown}:{key.start_mark.line + 1}:{key.start_mark.column + 1}"
                raise InvalidSpec(
                    f"{place}: the key `{name}` is there twice",
                    hint="Put the two together",
                )
            at = (key.start_mark.line + 1, key.start_mark.column + 1)
            found[name] = replace(self.read(value, depth + 1), key=at)
        return {**merged, **found}
