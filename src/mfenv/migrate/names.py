"""What the names in a file stand for: Metaflow's decorators, its module, a dictionary. Scopes are LibCST's."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TypeGuard, TypeVar

import libcst as cst
from libcst import matchers as m
from libcst.helpers import get_full_name_for_node
from libcst.metadata import (
    Assignment,
    BaseAssignment,
    BuiltinAssignment,
    ImportAssignment,
    MetadataWrapper,
    ParentNodeProvider,
    PositionProvider,
    ScopeProvider,
)

from mfenv.migrate.spelling import Unsure

_Node = TypeVar("_Node", bound=cst.CSTNode)
_OURS = frozenset({"conda", "pypi", "pip", "named_env"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What an expression stands for: a decorator of Metaflow's, and the imports that bring it.

    No imports: it is an attribute of the module, or came with a star.
    """

    name: str
    imports: tuple[cst.ImportFrom, ...] = ()
    doubt: str = ""
    """Why it may be something else after all."""


class Names:
    """Looks names up in one file."""

    def __init__(self, wrapper: MetadataWrapper) -> None:
        """Read the scopes of the file."""
        self._scopes = wrapper.resolve(ScopeProvider)
        self._parents = wrapper.resolve(ParentNodeProvider)
        self.imports = [node for node in _found(wrapper, cst.ImportFrom) if _is_import(node)]
        """The file's imports of names of Metaflow's."""
        self._has_star = any(isinstance(node.names, cst.ImportStar) for node in self.imports)
        self._places = wrapper.resolve(PositionProvider)
        self.exported = {text for node in _found(wrapper, cst.Assign) for text in _exported(node)}
        """What the file says that it has for others, in ``__all__``."""
        named = [node.module for node in _found(wrapper, cst.ImportFrom) if node.module and not node.relative]
        named += [alias.name for node in _found(wrapper, cst.Import) for alias in node.names]
        modules = {(get_full_name_for_node(name) or "").partition(".")[0] for name in named}
        self.is_about_metaflow = "metaflow" in modules

    def meaning(self, node: cst.BaseExpression) -> Meaning | None:
        """Return which of Metaflow's decorators an expression stands for, None when it is something else."""
        if isinstance(node, cst.Name):
            return self._imported(node)
        if not isinstance(node, cst.Attribute) or not isinstance(node.value, cst.Name) or not _is_ours(node.attr.value):
            return None
        bound = self._bound(node, node.value.value)
        modules = [one for one in bound if isinstance(one, ImportAssignment) and isinstance(one.node, cst.Import)]
        if not any(_is_module(_alias(one)) for one in modules):
            return None
        is_sure = len(modules) == len(bound) and all(_is_module(_alias(one)) for one in modules)
        doubt = "" if is_sure else f"`{node.value.value}` is not always Metaflow"
        return Meaning(name=node.attr.value, doubt=doubt)

    def called(self, node: cst.BaseExpression, today: str, *, beside: Meaning) -> str | None:
        """Return by what name `today` can be written in the place of `node`, None when it has to be imported for that.

        An import that may not have run by then is none. Raises `Unsure` when the file has something else of that name.
        """
        for one in self.imports:
            for alias in aliases_of(one):
                local = alias.evaluated_alias or alias.evaluated_name
                is_it = alias.evaluated_name == today and self._stands_for(node, local) == today
                if is_it and (beside.imports == (one,) or self._has_run(one, node)):
                    return local
        if self._bound(node, today) and self._stands_for(node, today) != today:
            raise Unsure(f"the file has a `{today}` of its own: rename that first")
        return today if self._has_star and not beside.imports else None

    def _has_run(self, statement: cst.ImportFrom, node: cst.CSTNode) -> bool:
        """Tell whether an import of the file itself, under no condition, stands before `node`."""
        is_of_file = isinstance(self._parents.get(self._parents[statement]), cst.Module)
        places = [(self._places[one].start.line, self._places[one].start.column) for one in (statement, node)]
        return is_of_file and places[0] < places[1]

    def references(self, node: cst.ImportFrom, local: str) -> list[cst.CSTNode]:
        """Return where what an import calls `local` is used."""
        scope = self._scopes.get(node)
        bound = scope[local] if scope else set()
        return [access.node for one in bound if one.scope is scope for access in one.references]

    def dictionary(self, node: cst.BaseExpression) -> cst.BaseExpression:
        """Return the expression that makes the dictionary `node`: itself, or what its variable is set to.

        Raises `Unsure` when it may be something else.
        """
        if self._is_dictionary(node) or m.matches(node, m.Name("None")):
            return node
        if not isinstance(node, cst.Name):
            raise Unsure("whether that is a dictionary cannot be seen here")
        bound = list(self._bound(node, node.value))
        if len(bound) > 1:
            raise Unsure(f"`{node.value}` is set in more than one place")
        value = self._set_to(bound[0]) if bound else None
        if isinstance(value, cst.List):
            raise Unsure(f"`{node.value}` is a list")
        if value is None or not self._is_dictionary(value):
            raise Unsure(f"whether `{node.value}` is a dictionary cannot be seen here")
        return value

    def _is_dictionary(self, node: cst.BaseExpression) -> bool:
        if m.matches(node, m.Call(func=m.Name("dict"))):
            return all(isinstance(one, BuiltinAssignment) for one in self._bound(node, "dict"))
        return isinstance(node, cst.Dict | cst.DictComp)

    def _set_to(self, assignment: BaseAssignment) -> cst.BaseExpression | None:
        place = self._parents.get(assignment.node) if isinstance(assignment, Assignment) else None
        if isinstance(place, cst.AssignTarget):
            place = self._parents.get(place)
        return place.value if isinstance(place, cst.Assign | cst.AnnAssign) else None

    def _stands_for(self, node: cst.BaseExpression, local: str) -> str | None:
        """Return what Metaflow calls that which is called `local` in the place of `node`; None when it is not sure."""
        bound = self._bound(node, local)
        meanings = {_alias(one).evaluated_name if _is_from_metaflow(one) else None for one in bound}
        return meanings.pop() if len(meanings) == 1 else None

    def _imported(self, node: cst.Name) -> Meaning | None:
        bound = self._bound(node, node.value)
        if not bound:
            return Meaning(name=node.value) if self._has_star and _is_ours(node.value) else None
        found = {one.node: _alias(one).evaluated_name for one in bound if _is_from_metaflow(one)}
        ours = sorted({name for name in found.values() if _is_ours(name)})
        if not ours:
            return None
        is_sure = len(set(found.values())) == 1 and all(map(_is_from_metaflow, bound))
        imports = tuple(one for one in found if isinstance(one, cst.ImportFrom))
        return Meaning(
            name=ours[0], imports=imports, doubt="" if is_sure else f"`{node.value}` is not always Metaflow's"
        )

    def _bound(self, node: cst.BaseExpression, local: str) -> list[BaseAssignment]:
        scope = self._scopes.get(node)
        return list(scope[local]) if scope else []


def _is_ours(name: str) -> bool:
    return name.removesuffix("_base") in _OURS


def _is_from_metaflow(one: BaseAssignment) -> TypeGuard[ImportAssignment]:
    return isinstance(one, ImportAssignment) and _is_import(one.node)


def _is_import(node: cst.CSTNode) -> bool:
    return m.matches(node, m.ImportFrom(module=m.Name("metaflow"), relative=()))


def aliases_of(node: cst.ImportFrom) -> tuple[cst.ImportAlias, ...]:
    """Return what an import brings; nothing for a star."""
    return () if isinstance(node.names, cst.ImportStar) else tuple(node.names)


def _alias(assignment: ImportAssignment) -> cst.ImportAlias:
    """Return the part of an import statement that makes an assignment."""
    node = assignment.node
    assert isinstance(node, cst.Import | cst.ImportFrom)
    assert not isinstance(node.names, cst.ImportStar)
    # A name that is imported twice by one statement is what it was imported as last.
    return next(alias for alias in reversed(node.names) if _local(alias) == assignment.name.partition(".")[0])


def _local(alias: cst.ImportAlias) -> str:
    return alias.evaluated_alias or alias.evaluated_name.partition(".")[0]


def _is_module(alias: cst.ImportAlias) -> bool:
    name = alias.evaluated_name
    return name == "metaflow" or (name.startswith("metaflow.") and not alias.evaluated_alias)


def _exported(node: cst.Assign) -> list[str]:
    if not any(m.matches(target.target, m.Name("__all__")) for target in node.targets):
        return []
    return [
        ast.literal_eval(text.value) for text in m.findall(node, m.SimpleString()) if isinstance(text, cst.SimpleString)
    ]


def _found(wrapper: MetadataWrapper, kind: type[_Node]) -> list[_Node]:
    return [
        node
        for node in m.findall(wrapper.module, m.MatchIfTrue(lambda n: isinstance(n, kind)))
        if isinstance(node, kind)
    ]
