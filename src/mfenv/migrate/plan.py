"""What is to be changed in a file, found before anything is changed; and the change itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import libcst as cst
from libcst import matchers as m
from libcst.metadata import MetadataWrapper

from mfenv.migrate import calls
from mfenv.migrate.imports import ImportChanges
from mfenv.migrate.names import Meaning, Names
from mfenv.migrate.spelling import ALIASES, OLD_ARGUMENTS, Left, Unsure, base_of, has_old_arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One of the decorators of a function; `name` is today's, empty where it is not one of ours."""

    decorator: cst.Decorator
    name: str = ""
    moved: tuple[calls.Argument, ...] = ()
    """The arguments that were another decorator's; empty where this one was there before."""


class Plan(cst.CSTVisitor):
    """The changes to a file; a decorator is rewritten as a whole or left as it is."""

    def __init__(self, wrapper: MetadataWrapper) -> None:
        """Make an empty plan; visiting the file fills it."""
        super().__init__()
        self.names = Names(wrapper)
        self.imports = ImportChanges(self.names)
        self.decorators: dict[cst.CSTNode, list[cst.Decorator]] = {}
        """The new decorators of functions and classes where they change."""
        self.left: list[Left] = []
        self.known: set[cst.CSTNode] = set()
        """The names of decorators that were rewritten, or are among what is left."""

    @property
    def has_changes(self) -> bool:
        """Whether anything in the file changes."""
        return bool(self.decorators) or not self.imports.are_none

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:  # noqa: N802
        """Plan for a step."""
        self._decorated(node)

    def visit_ClassDef(self, node: cst.ClassDef) -> None:  # noqa: N802
        """Plan for a flow."""
        self._decorated(node)

    def _decorated(self, node: cst.FunctionDef | cst.ClassDef) -> None:
        parts = [part for decorator in node.decorators for part in self._parts(decorator)]
        decorators = [part.decorator for part in _named_once(parts)]
        is_changed = len(decorators) != len(node.decorators) or any(
            new is not old for new, old in zip(decorators, node.decorators, strict=False)
        )
        if is_changed:
            self.decorators[node] = decorators

    def _parts(self, decorator: cst.Decorator) -> list[_Part]:
        func = _func(decorator)
        meaning = self.names.meaning(func)
        if meaning is None:
            return [_Part(decorator=decorator)]
        today = ALIASES.get(meaning.name, meaning.name)
        is_old = bool(has_old_arguments(today) and _keywords(decorator) & OLD_ARGUMENTS)
        if meaning.doubt:
            return self._kept(decorator, meaning, meaning.doubt if is_old or today != meaning.name else "")
        try:
            if is_old:
                return self._divided(decorator, meaning, today)
            if has_old_arguments(today) and self._may_hide_arguments(decorator):
                why = f"@{meaning.name}: what `**` brings cannot be seen here; there may be old arguments in it"
                self.left.append(Left(node=decorator, why=why))
            return [_Part(decorator=self._renamed(decorator, func, meaning, today), name=today)]
        except Unsure as unsure:
            return self._kept(decorator, meaning, str(unsure))

    def _kept(self, decorator: cst.Decorator, meaning: Meaning, why: str) -> list[_Part]:
        """Leave a decorator as it is; without a word where there is nothing to say."""
        if why:
            self.known.add(_func(decorator))
            self.left.append(Left(node=decorator, why=f"@{meaning.name}: {why}"))
        return [_Part(decorator=decorator, name=meaning.name)]

    def _divided(self, decorator: cst.Decorator, meaning: Meaning, today: str) -> list[_Part]:
        """Return the decorators that one with old arguments stands for. Raises `Unsure`, having changed nothing."""
        call, func, base = decorator.decorator, _func(decorator), base_of(today)
        assert isinstance(call, cst.Call)
        found = calls.sort(call, self.names, today=today)
        wanted = [(f"pypi{base}", found.pypi), (f"named_env{base}", found.named)]
        local = {name: self._local(func, meaning, name) for name, arguments in wanted if arguments}
        parts = []
        if found.own:
            kept = decorator.with_changes(decorator=calls.keep(call, found.own))
            parts.append(_Part(decorator=self._renamed(kept, func, meaning, today), name=today))
        else:
            self.known.add(func)
            self.imports.no_longer_uses(func)
        for name, arguments in wanted:
            if arguments:
                new = calls.make(call, self._written(func, meaning, name, local[name]), arguments)
                parts.append(_Part(decorator=cst.Decorator(decorator=new), name=name, moved=arguments))
        if not found.own:
            first = parts[0].decorator.with_changes(
                leading_lines=decorator.leading_lines, trailing_whitespace=decorator.trailing_whitespace
            )
            parts[0] = replace(parts[0], decorator=first)
        return parts

    def _renamed(
        self, decorator: cst.Decorator, func: cst.BaseExpression, meaning: Meaning, today: str
    ) -> cst.Decorator:
        """Give `@pip` its name of today. Where the file calls it otherwise, only the import changes."""
        if meaning.name == today:
            return decorator
        if isinstance(func, cst.Name) and func.value != meaning.name:
            self.imports.rename(meaning, func)
            self.known.add(func)
            return decorator
        new = self._written(func, meaning, today, self._local(func, meaning, today))
        self.known.add(func)
        self.imports.no_longer_uses(func)
        node = decorator.decorator
        return decorator.with_changes(decorator=node.with_changes(func=new) if isinstance(node, cst.Call) else new)

    def _local(self, func: cst.BaseExpression, meaning: Meaning, today: str) -> str | None:
        return None if isinstance(func, cst.Attribute) else self.names.called(func, today, beside=meaning)

    def _written(self, func: cst.BaseExpression, meaning: Meaning, today: str, local: str | None) -> cst.BaseExpression:
        """Return how `today` is written beside `func`, and see to it that it is imported."""
        if isinstance(func, cst.Attribute):
            return func.with_changes(attr=cst.Name(today), lpar=(), rpar=())
        if local is None:
            self.imports.add(meaning, today)
        return cst.Name(local or today)

    def _may_hide_arguments(self, decorator: cst.Decorator) -> bool:
        """Tell whether a dictionary brings old arguments, or some that cannot be seen."""
        args = decorator.decorator.args if isinstance(decorator.decorator, cst.Call) else ()
        return any(arg.star == "**" and not self._has_only_todays(arg.value) for arg in args)

    def _has_only_todays(self, value: cst.BaseExpression) -> bool:
        try:
            found = self.names.dictionary(value)
        except Unsure:
            return False
        if not isinstance(found, cst.Dict):
            return False
        keys = [element.key if isinstance(element, cst.DictElement) else None for element in found.elements]
        return all(isinstance(key, cst.SimpleString) and key.evaluated_value not in OLD_ARGUMENTS for key in keys)


class Apply(cst.CSTTransformer):
    """Makes the changes of a plan."""

    def __init__(self, plan: Plan) -> None:
        """Take the plan of the file that is visited."""
        super().__init__()
        self._plan = plan

    def leave_FunctionDef(  # noqa: N802
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        """Put the new decorators on a step."""
        decorators = self._plan.decorators.get(original_node)
        return updated_node if decorators is None else updated_node.with_changes(decorators=decorators)

    def leave_ClassDef(self, original_node: cst.ClassDef, updated_node: cst.ClassDef) -> cst.ClassDef:  # noqa: N802
        """Put the new decorators on a flow."""
        decorators = self._plan.decorators.get(original_node)
        return updated_node if decorators is None else updated_node.with_changes(decorators=decorators)

    def leave_ImportFrom(  # noqa: N802
        self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom
    ) -> cst.ImportFrom:
        """Import what the file uses now."""
        names = self._plan.imports.names_of(original_node)
        return updated_node if names is None else updated_node.with_changes(names=names)


def _func(decorator: cst.Decorator) -> cst.BaseExpression:
    return decorator.decorator.func if isinstance(decorator.decorator, cst.Call) else decorator.decorator


def _keywords(decorator: cst.Decorator) -> set[str]:
    args: Iterable[cst.Arg] = decorator.decorator.args if isinstance(decorator.decorator, cst.Call) else ()
    return {arg.keyword.value for arg in args if arg.keyword}


def _named_once(parts: Sequence[_Part]) -> list[_Part]:
    """Put a new `@named_env` into the one that is there already, or into the first new one, where that is sure."""
    new = [part for part in parts if part.moved and part.name.startswith("named_env")]
    there = [part for part in parts if not part.moved and part.name.startswith("named_env")]
    if not new or len(there) > 1:
        return list(parts)
    first = there[0] if there else new[0]
    target, joined = first, list[_Part]()
    for part in new:
        if part is not first and (both := _joined(target, part)):
            target = both
            joined.append(part)
    return [target if part is first else part for part in parts if part not in joined]


def _joined(target: _Part, part: _Part) -> _Part | None:
    """Return both in one, None where that would lose a comment or choose between two values."""
    call = target.decorator.decorator
    if not isinstance(call, cst.Call) or target.name != part.name or not _is_simple(call, part.decorator):
        return None
    values = {arg.keyword.value: arg.value for arg in call.args if arg.keyword}
    same = [argument for argument in part.moved if argument.name in values]
    if any(not argument.arg.value.deep_equals(values[argument.name]) for argument in same):
        return None
    more = [argument for argument in part.moved if argument.name not in values]
    if {"name", "pathspec"} <= {*values, *(argument.name for argument in more)}:
        return None
    return replace(target, decorator=target.decorator.with_changes(decorator=calls.add(call, more)))


def _is_simple(call: cst.Call, decorator: cst.Decorator) -> bool:
    is_plain = all(arg.keyword and not arg.star for arg in call.args)
    is_on_one_line = "\n" not in cst.Module([]).code_for_node(call)
    return is_plain and is_on_one_line and not decorator.leading_lines and not m.findall(decorator, m.Comment())
