"""Old spellings that are no decorators: they are left as they are, and told of."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import libcst as cst
from libcst import matchers as m

from mfenv.migrate.imports import ImportChanges
from mfenv.migrate.names import Names, aliases_of
from mfenv.migrate.spelling import ALIASES, OLD_ARGUMENTS, Left, has_old_arguments

_OLD_OPTION = re.compile(
    rf"\s*(pip(_base)?\s*(:|$)|(conda|pypi)(_base)?\s*:.*\b({'|'.join(sorted(OLD_ARGUMENTS))})\s*=)", re.DOTALL
)
_WITH = "--with"


def left_elsewhere(
    module: cst.Module, names: Names, imports: ImportChanges, *, known: Collection[cst.CSTNode]
) -> Iterator[Left]:
    """Yield the old spellings outside of decorators; `known` are names in the file that need no word."""
    for alias in imports.unused():
        today = ALIASES[alias.evaluated_name]
        yield Left(
            node=alias, why=f"`{alias.evaluated_name}` is imported, and no decorator uses it: import `{today}` by hand"
        )
    decorators = {id(node.decorator) for node in m.findall(module, m.Decorator()) if isinstance(node, cst.Decorator)}
    for node in _other_uses(names, known):
        yield Left(node=node, why="`pip` is no decorator here: write `pypi` by hand")
    for call in m.findall(module, m.Call()):
        if isinstance(call, cst.Call) and id(call) not in decorators:
            yield from _in_call(call, names)
    for node in m.findall(module, m.List() | m.Tuple()):
        if isinstance(node, cst.List | cst.Tuple):
            yield from _in_arguments(node)


def _other_uses(names: Names, known: Collection[cst.CSTNode]) -> Iterator[cst.CSTNode]:
    for node in names.imports:
        for alias in aliases_of(node):
            if alias.evaluated_name in ALIASES and not alias.asname:
                yield from (use for use in names.references(node, alias.evaluated_name) if use not in known)


def _in_call(call: cst.Call, names: Names) -> Iterator[Left]:
    """Find old arguments of a decorator that is called as a function, and what mutators and `Runner` are given."""
    meaning = names.meaning(call.func)
    keys = {arg.keyword.value for arg in call.args if arg.keyword}
    if meaning and has_old_arguments(meaning.name) and keys & OLD_ARGUMENTS:
        found = ", ".join(f"`{key}`" for key in sorted(keys & OLD_ARGUMENTS))
        yield Left(node=call, why=f"@{meaning.name} is called as a function here: replace {found} by hand")
    if m.matches(call.func, m.Attribute(attr=m.Name("add_decorator"))):
        yield from _in_mutator(call, names)
    for arg in call.args:
        if arg.keyword and arg.keyword.value == "decospecs":
            yield from _options(arg.value)


def _in_mutator(call: cst.Call, names: Names) -> Iterator[Left]:
    if not call.args:
        return
    first = call.args[0].value
    meaning = names.meaning(first)
    name = meaning.name if meaning else _text(first)
    given = [
        key
        for node in m.findall(call, m.DictElement())
        if isinstance(node, cst.DictElement) and (key := _text(node.key))
    ]
    if name in ALIASES and not meaning:
        yield Left(node=first, why=f"`{name}` is added by name here: write `{ALIASES[name]}` by hand")
    old = sorted(OLD_ARGUMENTS & set(given))
    if name and has_old_arguments(name) and old:
        yield Left(
            node=call, why=f"{', '.join(f'`{key}`' for key in old)} of @{name} is added here: replace it by hand"
        )


def _in_arguments(node: cst.List | cst.Tuple) -> Iterator[Left]:
    """Find what follows ``--with`` in the words of a command."""
    previous = ""
    for element in node.elements:
        text = _text(element.value) or ""
        option = text if previous == _WITH else text.removeprefix(f"{_WITH}=") if text.startswith(f"{_WITH}=") else ""
        if _OLD_OPTION.match(option):
            yield _option(element.value)
        previous = text


def _options(value: cst.BaseExpression) -> Iterator[Left]:
    for node in m.findall(value, m.SimpleString()):
        if _OLD_OPTION.match(_text(node) or ""):
            yield _option(node)


def _option(node: cst.CSTNode) -> Left:
    return Left(node=node, why="this asks for a decorator in an old spelling: write today's by hand")


def _text(node: cst.CSTNode) -> str | None:
    value = node.evaluated_value if isinstance(node, cst.SimpleString) else None
    return value if isinstance(value, str) else None
