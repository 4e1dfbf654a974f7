"""The call in a decorator, sorted into those that it is written as today; comments stay with their arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import libcst as cst
from libcst import matchers as m

from mfenv.domain.requirement import Requirement, key_and_constraint
from mfenv.errors import InvalidSpec
from mfenv.migrate.names import Names
from mfenv.migrate.spelling import NAMING, Unsure


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """An argument with the comments that are about it: those in the lines above it, and the one behind it."""

    arg: cst.Arg
    above: tuple[cst.EmptyLine, ...] = ()
    behind: cst.TrailingWhitespace | None = None

    @property
    def name(self) -> str:
        """Its keyword."""
        return self.arg.keyword.value if self.arg.keyword else ""

    @property
    def needs_lines(self) -> bool:
        """Whether it cannot stand among others on one line."""
        has_comment = bool(self.above) or (self.behind is not None and self.behind.comment is not None)
        return has_comment or "\n" in cst.Module([]).code_for_node(self.arg.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """The arguments of a call under today's names, by the decorator that has them today."""

    own: tuple[Argument, ...]
    pypi: tuple[Argument, ...]
    named: tuple[Argument, ...]


def sort(call: cst.Call, names: Names, *, today: str) -> Sorted:
    """Sort the arguments of a decorator that is called `today`. Raises `Unsure` when that is not safe."""
    if any(arg.star for arg in call.args):
        raise Unsure("what `*` and `**` bring cannot be seen here")
    if not all(arg.keyword for arg in call.args):
        raise Unsure("it has an argument without a name")
    arguments = _with_comments(call)
    keys = {argument.name for argument in arguments}
    own, pypi, named = list[Argument](), list[Argument](), list[Argument]()
    for argument in arguments:
        match argument.name:
            case "pip_packages" if today.startswith("conda"):
                value = _packages(argument.arg.value, names)
                pypi.append(replace(argument, arg=_keyword(argument.arg, "packages").with_changes(value=value)))
            case "pip_sources" if today.startswith("conda"):
                pypi.append(replace(argument, arg=_keyword(argument.arg, "extra_indices")))
            case "sources":
                own.append(replace(argument, arg=_keyword(argument.arg, _sources(keys, today))))
            case name if name in NAMING:
                named.append(argument)
            case _:
                own.append(argument)
    if (pypi or named) and _has_other_comments(call, arguments):
        raise Unsure("it has comments of which it is not clear what argument they are about")
    return Sorted(own=tuple(own), pypi=tuple(pypi), named=tuple(named))


def _sources(keys: set[str], today: str) -> str:
    new = "channels" if today.startswith("conda") else "extra_indices"
    if new in keys:
        raise Unsure(f"it has both `sources` and `{new}`: put the first before the second by hand")
    return new


def _packages(value: cst.BaseExpression, names: Names) -> cst.BaseExpression:
    if isinstance(value, cst.List):
        return _dictionary(value)
    try:
        names.dictionary(value)
    except Unsure as unsure:
        raise Unsure(f"{unsure}; `@pypi(packages=...)` takes no list") from unsure
    return value


def keep(call: cst.Call, arguments: Sequence[Argument]) -> cst.Call:
    """Return a call with those of its own arguments that it keeps, in the lines that it has."""
    if len(arguments) == len(call.args):
        return call.with_changes(args=[argument.arg for argument in arguments])
    if _hangs(call):
        return _in_lines(call, call.func, arguments)
    args = [argument.arg for argument in arguments]
    # The last one takes over how the last one ended: with or without a comma, and where the bracket stands.
    end = call.args[-1]
    args[-1] = args[-1].with_changes(comma=end.comma, whitespace_after_arg=end.whitespace_after_arg)
    return call.with_changes(args=args)


def make(call: cst.Call, func: cst.BaseExpression, arguments: Sequence[Argument]) -> cst.Call:
    """Return a call of another decorator with arguments of `call`: on one line, or laid out as that one is."""
    if _hangs(call) and any(argument.needs_lines for argument in arguments):
        return _in_lines(call, func, arguments)
    return cst.Call(func=func, args=_plain(argument.arg for argument in arguments))


def add(call: cst.Call, arguments: Iterable[Argument]) -> cst.Call:
    """Return a call on one line with more arguments."""
    return call.with_changes(args=_plain([*call.args, *(argument.arg for argument in arguments)]))


def _plain(args: Iterable[cst.Arg]) -> list[cst.Arg]:
    # The commas between them are put in as usual.
    nothing = cst.SimpleWhitespace("")
    return [arg.with_changes(comma=cst.MaybeSentinel.DEFAULT, whitespace_after_arg=nothing) for arg in args]


def _hangs(call: cst.Call) -> bool:
    """Tell whether every argument is on a line of its own, and the bracket behind them too."""
    if not call.args or not isinstance(call.whitespace_before_args, cst.ParenthesizedWhitespace):
        return False
    return all(_ending(arg) is not None for arg in call.args)


def _ending(arg: cst.Arg) -> cst.ParenthesizedWhitespace | None:
    """Return the end of an argument's line, with what comes before the next one; None when it does not end there."""
    space = arg.comma.whitespace_after if isinstance(arg.comma, cst.Comma) else arg.whitespace_after_arg
    return space if isinstance(space, cst.ParenthesizedWhitespace) else None


def _with_comments(call: cst.Call) -> tuple[Argument, ...]:
    if not _hangs(call):
        return tuple(Argument(arg=arg) for arg in call.args)
    spaces = [call.whitespace_before_args, *map(_ending, call.args)]
    above = [space.empty_lines if isinstance(space, cst.ParenthesizedWhitespace) else () for space in spaces]
    behind = [space.first_line if isinstance(space, cst.ParenthesizedWhitespace) else None for space in spaces]
    return tuple(
        Argument(arg=arg, above=tuple(before), behind=after)
        for arg, before, after in zip(call.args, above, behind[1:], strict=False)
    )


def _has_other_comments(call: cst.Call, arguments: Iterable[Argument]) -> bool:
    known = 0
    for argument in arguments:
        known += sum(_comments(node) for node in (*argument.above, argument.behind, argument.arg.value) if node)
    return _comments(call) > known


def _comments(node: cst.CSTNode) -> int:
    return len(m.findall(node, m.Comment()))


def _in_lines(call: cst.Call, func: cst.BaseExpression, arguments: Sequence[Argument]) -> cst.Call:
    """Return a call of `func` whose arguments have lines of their own, as those of `call` have."""
    start, end = call.whitespace_before_args, _ending(call.args[-1])
    assert isinstance(start, cst.ParenthesizedWhitespace)
    assert end is not None
    args = []
    for argument, following in zip(arguments, [*arguments[1:], None], strict=True):
        line = (start if following else end).with_changes(
            first_line=argument.behind, empty_lines=following.above if following else ()
        )
        has_comma = following or isinstance(call.args[-1].comma, cst.Comma)
        args.append(
            argument.arg.with_changes(
                comma=cst.Comma(whitespace_after=line) if has_comma else cst.MaybeSentinel.DEFAULT,
                whitespace_after_arg=cst.SimpleWhitespace("") if has_comma else line,
            )
        )
    first = start.with_changes(empty_lines=arguments[0].above)
    return call.with_changes(func=func, args=args, whitespace_before_args=first)


def _keyword(arg: cst.Arg, name: str) -> cst.Arg:
    return arg.with_changes(keyword=cst.Name(name))


def _dictionary(value: cst.List) -> cst.Dict:
    """Return the dictionary that a list of requirements stands for, in the lines of the list."""
    seen, elements = set[str](), []
    for element in value.elements:
        text = ast.literal_eval(element.value.value) if isinstance(element.value, cst.SimpleString) else None
        if not isinstance(text, str):
            raise Unsure("an item of `pip_packages` is no plain text: write `@pypi(packages={...})` by hand")
        name, constraint = key_and_constraint(text)
        try:
            requirement = Requirement.parse(name, constraint, where="an item of `pip_packages` cannot be read")
        except InvalidSpec as error:
            raise Unsure(error.message) from error
        if requirement.name in seen:
            raise Unsure(f"`pip_packages` has `{requirement.name}` twice, and a dictionary has it once")
        seen.add(requirement.name)
        key, text = (cst.SimpleString(_quoted(one, like=element.value)) for one in (name, constraint))
        elements.append(cst.DictElement(key=key, value=text, comma=element.comma))
    return cst.Dict(
        elements=elements,
        lbrace=cst.LeftCurlyBrace(whitespace_after=value.lbracket.whitespace_after),
        rbrace=cst.RightCurlyBrace(whitespace_before=value.rbracket.whitespace_before),
        lpar=value.lpar,
        rpar=value.rpar,
    )


def _quoted(text: str, *, like: cst.BaseExpression) -> str:
    """Write a text in the quotes of another one where that can be done simply."""
    quote = like.quote if isinstance(like, cst.SimpleString) and len(like.quote) == 1 else '"'
    is_simple = text.isprintable() and not {quote, "\\"} & set(text)
    return f"{quote}{text}{quote}" if is_simple else repr(text)
