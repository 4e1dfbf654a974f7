"""Rewrites the decorators of a flow's file from old spellings to today's; LibCST keeps everything else as it is."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst
from libcst import matchers as m
from libcst.metadata import MetadataWrapper, PositionProvider

from mfenv.errors import InvalidSpec

_ALIASES = {"pip": "pypi", "pip_base": "pypi_base"}
_OURS = frozenset({"conda", "conda_base", "pypi", "pypi_base", *_ALIASES})
_NAMED = ("name", "pathspec", "fetch_at_exec")
_OLD = frozenset({"pip_packages", "pip_sources", "sources", *_NAMED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that was left as it is, and why; lines and columns count from 1."""

    line: int
    column: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """A file in today's spelling, as far as that is sure."""

    text: str
    notes: tuple[Note, ...]


def rewrite(text: str, *, shown: str) -> Rewritten:
    """Return the text of a Python file with the decorators of its flows in today's spelling.

    Raises `InvalidSpec` with line and column when it is not Python.
    """
    try:
        wrapper = MetadataWrapper(cst.parse_module(text))
    except cst.ParserSyntaxError as error:
        place = f"{shown}:{error.raw_line}:{error.raw_column + 1}"
        raise InvalidSpec(
            f"{place}: this is not Python that can be read", hint="Rewrite what Python itself accepts"
        ) from error
    except (RecursionError, ValueError, UnicodeError) as error:
        raise InvalidSpec(f"{shown}: this is not Python that can be read ({error})") from error
    names = _Names()
    wrapper.visit(names)
    rewriter = _Rewriter(names)
    changed = wrapper.visit(rewriter)
    if rewriter.needed or rewriter.renamed:
        changed = changed.visit(_Imports(rewriter.needed, rewriter.gone))
    return Rewritten(text=changed.code, notes=tuple(rewriter.notes))


class _Names(cst.CSTVisitor):
    """Finds what names of Metaflow's decorators are called in the file, and which variables are dictionaries."""

    def __init__(self) -> None:
        self.decorators: dict[str, str] = {}
        self.modules: set[str] = set()
        self.dictionaries: set[str] = set()
        self.taken: set[str] = set()
        self.uses: Counter[str] = Counter()

    def visit_Name(self, node: cst.Name) -> None:  # noqa: N802
        self.uses[node.value] += 1

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:  # noqa: N802
        if not m.matches(node, m.ImportFrom(module=m.Name("metaflow"))):
            return
        if isinstance(node.names, cst.ImportStar):
            self.decorators.update({name: name for name in _OURS})
            return
        for alias in node.names:
            name = alias.evaluated_name
            if name in _OURS:
                self.decorators[alias.evaluated_alias or name] = name

    def visit_Import(self, node: cst.Import) -> None:  # noqa: N802
        self.modules |= {a.evaluated_alias or a.evaluated_name for a in node.names if a.evaluated_name == "metaflow"}

    def visit_Assign(self, node: cst.Assign) -> None:  # noqa: N802
        for target in node.targets:
            if isinstance(target.target, cst.Name):
                self.taken.add(target.target.value)
                if isinstance(node.value, cst.Dict):
                    self.dictionaries.add(target.target.value)

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:  # noqa: N802
        self.taken.add(node.name.value)

    def visit_ClassDef(self, node: cst.ClassDef) -> None:  # noqa: N802
        self.taken.add(node.name.value)


class _Unsure(Exception):
    """Why a decorator is left as it is."""


class _Rewriter(cst.CSTTransformer):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, names: _Names) -> None:
        super().__init__()
        self._names = names
        self.needed: set[str] = set()
        self.renamed: set[str] = set()
        """Names that decorators no longer use, and that the import can give up."""
        self.kept: set[str] = set()
        """Those of them that something still uses."""
        self._given_up: Counter[str] = Counter()
        self.notes: list[Note] = []

    def leave_FunctionDef(  # noqa: N802
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        return updated_node.with_changes(decorators=self._decorators(original_node.decorators))

    def leave_ClassDef(self, original_node: cst.ClassDef, updated_node: cst.ClassDef) -> cst.ClassDef:  # noqa: N802
        return updated_node.with_changes(decorators=self._decorators(original_node.decorators))

    def _decorators(self, decorators: Sequence[cst.Decorator]) -> list[cst.Decorator]:
        found: list[cst.Decorator] = []
        for decorator in decorators:
            name = self._name(decorator.decorator)
            if name is None:
                found.append(decorator)
                continue
            try:
                found += self._rewritten(decorator, name)
            except _Unsure as unsure:
                place = self.get_metadata(PositionProvider, decorator).start
                self.notes.append(Note(line=place.line, column=place.column + 1, message=f"@{name}: {unsure}"))
                self.kept.add(name)
                found.append(decorator)
        return found

    def _name(self, node: cst.BaseExpression) -> str | None:
        """Return which of the decorators an expression is, if it is one."""
        if isinstance(node, cst.Call):
            node = node.func
        if isinstance(node, cst.Name):
            return self._names.decorators.get(node.value)
        if isinstance(node, cst.Attribute) and isinstance(node.value, cst.Name):
            is_ours = node.value.value in self._names.modules and node.attr.value in _OURS
            return node.attr.value if is_ours else None
        return None

    def _rewritten(self, decorator: cst.Decorator, name: str) -> list[cst.Decorator]:
        call = decorator.decorator if isinstance(decorator.decorator, cst.Call) else None
        keys = {arg.keyword.value for arg in call.args if arg.keyword} if call else set()
        if not keys & _OLD:
            return [self._renamed(decorator, name)]
        assert call is not None
        _check_is_plain(call)
        today = _ALIASES.get(name, name)
        base = "_base" if today.endswith("_base") else ""
        mine, pypi, named = self._split(call.args, today)
        parts = [self._with_args(decorator, call, mine, name)] if mine else []
        for other, args in ((f"pypi{base}", pypi), (f"named_env{base}", named)):
            if args:
                parts.append(self._new(call, other, args))
        if parts and not mine:
            parts[0] = parts[0].with_changes(
                leading_lines=decorator.leading_lines, trailing_whitespace=decorator.trailing_whitespace
            )
        if not mine:
            self._give_up(name)
        return parts

    def _split(self, args: Sequence[cst.Arg], today: str) -> tuple[list[cst.Arg], list[cst.Arg], list[cst.Arg]]:
        """Sort arguments: those that stay, those of `@pypi`, those of `@named_env`; all in today's words."""
        mine, pypi, named = list[cst.Arg](), list[cst.Arg](), list[cst.Arg]()
        keys = {arg.keyword.value for arg in args if arg.keyword}
        for arg in args:
            assert arg.keyword is not None
            key = arg.keyword.value
            if key in _NAMED:
                named.append(arg)
            elif key == "pip_packages":
                pypi.append(_keyword(arg, "packages").with_changes(value=self._packages(arg.value)))
            elif key == "pip_sources":
                pypi.append(_keyword(arg, "extra_indices"))
            elif key == "sources":
                new = "channels" if today.startswith("conda") else "extra_indices"
                if new in keys:
                    raise _Unsure(f"it has both `sources` and `{new}`: put the first before the second by hand")
                mine.append(_keyword(arg, new))
            else:
                mine.append(arg)
        return mine, pypi, named

    def _packages(self, value: cst.BaseExpression) -> cst.BaseExpression:
        if isinstance(value, cst.Dict) or (isinstance(value, cst.Name) and value.value in self._names.dictionaries):
            return value
        if isinstance(value, cst.List):
            return _dictionary(value)
        raise _Unsure("whether `pip_packages` is a dictionary cannot be seen here: write @pypi(packages=...) by hand")

    def _with_args(self, decorator: cst.Decorator, call: cst.Call, args: list[cst.Arg], name: str) -> cst.Decorator:
        # The last one takes over how the last one ended: with or without a comma, and where the bracket stands.
        args[-1] = args[-1].with_changes(
            comma=call.args[-1].comma, whitespace_after_arg=call.args[-1].whitespace_after_arg
        )
        return self._renamed(decorator.with_changes(decorator=call.with_changes(args=args)), name)

    def _new(self, call: cst.Call, name: str, args: list[cst.Arg]) -> cst.Decorator:
        if isinstance(call.func, cst.Attribute):
            func: cst.BaseExpression = call.func.with_changes(attr=cst.Name(name))
        else:
            if name in self._names.taken:
                raise _Unsure(f"the file has a `{name}` of its own: rename that first")
            self.needed.add(name)
            func = cst.Name(name)
        # The commas between them are put in as usual.
        plain = [
            arg.with_changes(comma=cst.MaybeSentinel.DEFAULT, whitespace_after_arg=cst.SimpleWhitespace(""))
            for arg in args
        ]
        return cst.Decorator(decorator=cst.Call(func=func, args=plain))

    def _renamed(self, decorator: cst.Decorator, name: str) -> cst.Decorator:
        """Give `@pip` its name of today; an alias that the file gave it stays, and its import changes."""
        if name not in _ALIASES:
            self.kept.add(name)
            return decorator
        today = _ALIASES[name]
        node = decorator.decorator
        func = node.func if isinstance(node, cst.Call) else node
        if isinstance(func, cst.Attribute):
            new: cst.BaseExpression = func.with_changes(attr=cst.Name(today))
        else:
            assert isinstance(func, cst.Name)
            if func.value != name:
                self._give_up(name)
                self.needed.add(f"{today} as {func.value}")
                return decorator
            if today in self._names.taken:
                raise _Unsure(f"the file has a `{today}` of its own: rename that first")
            self._give_up(name)
            self.needed.add(today)
            new = func.with_changes(value=today)
        changed = node.with_changes(func=new) if isinstance(node, cst.Call) else new
        return decorator.with_changes(decorator=changed)

    def _give_up(self, name: str) -> None:
        self.renamed.add(name)
        self._given_up[name] += 1

    @property
    def gone(self) -> set[str]:
        """The names that nothing in the file uses any more, but for its imports."""
        aliases = {name: local for local, name in self._names.decorators.items()}
        # One use is the import itself.
        return {n for n in self.renamed - self.kept if self._names.uses[aliases.get(n, n)] <= self._given_up[n] + 1}


def _keyword(arg: cst.Arg, name: str) -> cst.Arg:
    return arg.with_changes(keyword=cst.Name(name))


def _check_is_plain(call: cst.Call) -> None:
    if any(arg.star for arg in call.args):
        raise _Unsure("what `**` brings cannot be seen here")
    if not all(arg.keyword for arg in call.args):
        raise _Unsure("it has an argument without a name")
    inside = sum(len(m.findall(arg.value, m.Comment())) for arg in call.args)
    if len(m.findall(call, m.Comment())) > inside:
        raise _Unsure("there are comments between its arguments, which belong to one of the new decorators")


_ITEM = re.compile(r"\s*([A-Za-z0-9._-]+\s*(?:\[[^\]]*\])?)\s*(.*)$", re.DOTALL)


def _dictionary(value: cst.List) -> cst.Dict:
    """Return the dictionary that a list of requirements stands for."""
    elements = []
    for element in value.elements:
        text = ast.literal_eval(element.value.value) if isinstance(element.value, cst.SimpleString) else None
        if not isinstance(text, str):
            raise _Unsure("an item of `pip_packages` is no plain text: write @pypi(packages=...) by hand")
        if "@" in text or ";" in text:
            raise _Unsure(f"`{text}` has an address or a marker: write @pypi(packages=...) by hand")
        found = _ITEM.match(text)
        if not found:
            raise _Unsure(f"`{text}` is not a requirement")
        name, constraint = found[1].strip(), found[2].strip()
        bare = re.fullmatch(r"==\s*([^*,\s]+)", constraint)
        elements.append(
            cst.DictElement(
                key=cst.SimpleString(_quoted(name)),
                value=cst.SimpleString(_quoted(bare[1] if bare else constraint)),
                comma=element.comma,
            )
        )
    return cst.Dict(
        elements=elements,
        lbrace=cst.LeftCurlyBrace(whitespace_after=value.lbracket.whitespace_after),
        rbrace=cst.RightCurlyBrace(whitespace_before=value.rbracket.whitespace_before),
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class _Imports(cst.CSTTransformer):
    """Adds what the file now uses to its import of Metaflow's names, and takes out what it no longer does."""

    def __init__(self, needed: set[str], gone: set[str]) -> None:
        super().__init__()
        self._needed = sorted(needed)
        self._gone = gone
        self._done = False

    def leave_ImportFrom(  # noqa: N802
        self,
        original_node: cst.ImportFrom,  # noqa: ARG002
        updated_node: cst.ImportFrom,
    ) -> cst.ImportFrom:
        if not m.matches(updated_node, m.ImportFrom(module=m.Name("metaflow"))) or isinstance(
            updated_node.names, cst.ImportStar
        ):
            return updated_node
        names = list(updated_node.names)
        present = {_imported(alias) for alias in names}
        new = [] if self._done else [name for name in self._needed if name not in present]
        gone = [alias for alias in names if alias.evaluated_name in self._gone & set(_ALIASES)]
        self._done = True
        # In the place of what goes, so that long imports keep their lines.
        for alias in gone:
            index = names.index(alias)
            today = _ALIASES[alias.evaluated_name]
            wanted = f"{today} as {alias.evaluated_alias}" if alias.evaluated_alias else today
            if wanted in new:
                new.remove(wanted)
                names[index] = alias.with_changes(name=cst.Name(today))
            elif len(names) > 1:
                names.pop(index)
        for name in new:
            bare, _, other = name.partition(" as ")
            as_name = cst.AsName(name=cst.Name(other)) if other else None
            last = names[-1]
            names[-1] = last.with_changes(comma=_between(names))
            names.append(cst.ImportAlias(name=cst.Name(bare), asname=as_name, comma=last.comma))
        if not updated_node.rpar and isinstance(names[-1].comma, cst.Comma):
            names[-1] = names[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
        return updated_node.with_changes(names=names)


def _between(names: list[cst.ImportAlias]) -> cst.Comma:
    """Return the comma that stands between two of the names, as the file has it."""
    if len(names) > 1 and isinstance(names[0].comma, cst.Comma):
        return names[0].comma
    return cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))


def _imported(alias: cst.ImportAlias) -> str:
    return f"{alias.evaluated_name} as {alias.evaluated_alias}" if alias.evaluated_alias else alias.evaluated_name
