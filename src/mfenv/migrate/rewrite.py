"""Rewrites the decorators of a flow's file from old spellings to today's; LibCST keeps everything else as it is."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from mfenv.errors import InvalidSpec
from mfenv.migrate.elsewhere import left_elsewhere
from mfenv.migrate.plan import Apply, Plan
from mfenv.migrate.spelling import Left

_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
_MOST_OPERANDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
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
    """What was left, in the order of the file."""


def rewrite(text: str, *, shown: str) -> Rewritten:
    """Return the text of a Python file with the decorators of its flows in today's spelling.

    Raises `InvalidSpec`, with line and column where they are known, when it is not Python that can be read.
    """
    # LibCST drops the mark, and Python refuses it in a text.
    mark, text = text[: text.startswith(_BOM)], text.removeprefix(_BOM)
    _check(text, shown=shown)
    try:
        return _rewritten(text, mark)
    except cst.ParserSyntaxError as error:
        raise InvalidSpec(
            f"{shown}:{error.raw_line}:{error.raw_column + 1}: this cannot be rewritten, though Python reads it",
            hint="Change its decorators by hand",
        ) from error
    except RecursionError as error:
        raise _too_deep(shown) from error


def _rewritten(text: str, mark: str) -> Rewritten:
    wrapper = MetadataWrapper(cst.parse_module(text))
    plan = Plan(wrapper)
    wrapper.visit(plan)
    changed = wrapper.visit(Apply(plan)) if plan.has_changes else wrapper.module
    places = wrapper.resolve(PositionProvider)
    left = [*plan.left, *left_elsewhere(wrapper.module, plan.names, plan.imports, known=plan.known)]
    notes = {_note(one, places[one.node].start) for one in left}
    if not plan.names.is_about_metaflow:
        notes = {Note(line=1, column=1, message="this is no flow: it does not import Metaflow")}
    return Rewritten(text=mark + changed.code, notes=tuple(sorted(notes)))


def _note(left: Left, place: cst.metadata.CodePosition) -> Note:
    return Note(line=place.line, column=place.column + 1, message=left.why)


def _check(text: str, *, shown: str) -> None:
    """Have Python read the text first: it says more of what is wrong, and LibCST's parser dies of what has no end."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
        operands = max((len(node.values) for node in ast.walk(tree) if isinstance(node, ast.BoolOp)), default=0)
    except SyntaxError as error:
        raise InvalidSpec(
            f"{shown}:{error.lineno or 1}:{error.offset or 1}: this is not Python that can be read ({error.msg})",
            hint="Correct it first, until Python itself can read it",
        ) from error
    except (RecursionError, MemoryError) as error:
        raise _too_deep(shown) from error
    except ValueError as error:
        raise InvalidSpec(
            f"{shown}: this is not Python that can be read ({error})", hint="Name the Python file of a flow"
        ) from error
    if operands > _MOST_OPERANDS:
        raise _too_deep(shown)


def _too_deep(shown: str) -> InvalidSpec:
    return InvalidSpec(f"{shown}: this is nested too deeply to be rewritten", hint="Change its decorators by hand")
