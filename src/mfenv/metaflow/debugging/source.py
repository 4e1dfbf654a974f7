"""The source of a step, as cells that can be run one after the other.

Statements are found with Python's own parser, and their lines are taken as they were written: its own printer would
lose the comments.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

RETURNED = "raise StepReturned()"
"""Stands where a step returns, which only a function can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSource:
    """What a step does, without the function around it."""

    self_name: str
    """What the step calls the flow, nearly always ``self``."""
    inputs_name: str | None
    """What a join calls its inputs."""
    cells: tuple[str, ...]
    """Its statements; those with an empty line between them are in different cells."""

    @property
    def returns(self) -> bool:
        """Whether it can return before its end."""
        return any(RETURNED in cell for cell in self.cells)


def step_source(text: str, flow: str, step: str) -> StepSource | None:
    """Return the source of a step from the text of its flow's file; None where it is written in another file."""
    try:
        with warnings.catch_warnings():
            # On what the flow's author may write better: not asked for here.
            warnings.simplefilter("ignore")
            module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    classes = {node.name: node for node in ast.walk(module) if isinstance(node, ast.ClassDef)}
    function = _method(classes, flow, step)
    if function is None:
        return None
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    # Bytes count in what the parser tells of columns.
    lines = [line.encode() for line in _lines(text)]
    _replace_returns(lines, function)
    return StepSource(
        self_name=names[0] if names else "self",
        inputs_name=names[1] if len(names) > 1 else None,
        cells=tuple(_cells(lines, function)),
    )


def _lines(text: str) -> list[str]:
    """Cut a text where Python's parser does: form feeds and the like end no line."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _method(classes: dict[str, ast.ClassDef], flow: str, step: str, depth: int = 20) -> ast.FunctionDef | None:
    """Return the function of a step, in the class of the flow or in those that it builds upon."""
    if flow not in classes or depth == 0:
        return None
    found = [node for node in classes[flow].body if isinstance(node, ast.FunctionDef) and node.name == step]
    if found:
        return found[-1]
    bases = [base.id for base in classes[flow].bases if isinstance(base, ast.Name)]
    return next((one for base in bases if (one := _method(classes, base, step, depth - 1))), None)


def _replace_returns(lines: list[bytes], function: ast.FunctionDef) -> None:
    """Replace each `return`, from the last to the first, so that columns stay true; the number of lines stays."""
    found = sorted(_returns(function.body), key=lambda node: (node.lineno, node.col_offset), reverse=True)
    for node in found:
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        rest = lines[last][node.end_col_offset or 0 :]
        lines[first] = lines[first][: node.col_offset] + RETURNED.encode()
        for number in range(first + 1, last + 1):
            lines[number] = b""
        # Behind the last line stands at most a comment, or a semicolon with what is never reached.
        lines[first] += rest


def _returns(nodes: Sequence[ast.AST]) -> Iterator[ast.Return]:
    for node in nodes:
        if isinstance(node, ast.Return):
            yield node
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _returns(list(ast.iter_child_nodes(node)))


def _cells(lines: list[bytes], function: ast.FunctionDef) -> Iterator[str]:
    inside_strings = _continued(function)
    indent = function.body[0].col_offset
    begin = _begin(lines, function)
    cell: list[str] = []
    for first, last in _spans(function.body, begin):
        shown = [_dedented(lines[number], indent, number + 1 in inside_strings) for number in range(first - 1, last)]
        is_apart = any(not line.strip() for line in shown[: _leading(shown)])
        if is_apart and cell:
            yield "\n".join(cell).strip("\n")
            cell = []
        cell += shown
    yield "\n".join(cell).strip("\n")


def _begin(lines: list[bytes], function: ast.FunctionDef) -> int:
    """Return the line where the body begins, with the comments before its first statement."""
    body = function.body[0]
    first = min([body.lineno, *(int(node.lineno) for node in getattr(body, "decorator_list", []))])
    if lines[first - 1][: body.col_offset].strip():
        # On the line of the head: what is before the statement belongs to that.
        lines[first - 1] = b" " * body.col_offset + lines[first - 1][body.col_offset :]
        return first
    while first - 1 > function.lineno and lines[first - 2].lstrip().startswith(b"#"):
        first -= 1
    return first


def _spans(body: Sequence[ast.stmt], begin: int) -> Iterator[tuple[int, int]]:
    """Give first and last line of each statement, with what stands before it; those of one line are together."""
    first, last = begin, body[0].end_lineno or begin
    for node in body[1:]:
        if node.lineno > last:
            yield first, last
            first = last + 1
        last = max(last, node.end_lineno or last)
    yield first, last


def _leading(shown: Sequence[str]) -> int:
    """Return how many lines stand before the first that has code."""
    return next((i for i, line in enumerate(shown) if line.strip() and not line.lstrip().startswith("#")), len(shown))


def _continued(function: ast.FunctionDef) -> set[int]:
    """Return the lines that begin within a string: their first characters are part of it."""
    found = set[int]()
    for node in ast.walk(function):
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)):
            found.update(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    return found


def _dedented(line: bytes, indent: int, is_inside_string: bool) -> str:  # noqa: FBT001
    if is_inside_string:
        return line.decode()
    return (line[indent:] if not line[:indent].strip() else line.lstrip()).decode()
