"""The source of a step becomes cells that do what the step does."""

from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.metaflow.debugging.source import StepSource, step_source

FLOW = '''
class Base(FlowSpec):
    @step
    def inherited(self):
        self.x = 1

class Flow(Base):
    @step
    def cells(self):
        # before the first
        a = 1
        b = 2  # beside

        # before the third
        if a:
            b = 3

            b = 4
        self.next(self.end)

    @step
    def strings(self):
        text = """
  less
            more
"""
        shown = f"""
  {text}
"""
        self.text = text + shown

    @step
    def join(flow, branches):
        flow.xs = [one.x for one in branches]

    @step
    def head(self): self.x = 1; self.y = 2

    @step
    def returns(self):
        def inner():
            return 1
        if inner():
            return (1,
                2)  # early
        for _ in range(3): return
        self.never = lambda: 1
'''


def source(**parts: object) -> StepSource:
    return StepSource(**{"self_name": "self", "inputs_name": None, "cells": (), **parts})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (
            "cells",
            source(
                cells=(
                    "# before the first\na = 1\nb = 2  # beside",
                    "# before the third\nif a:\n    b = 3\n\n    b = 4\nself.next(self.end)",
                )
            ),
        ),
        (
            "strings",
            source(
                cells=(
                    'text = """\n  less\n            more\n"""\nshown = f"""\n  {text}\n"""\nself.text = text + shown',
                )
            ),
        ),
        (
            "join",
            source(self_name="flow", inputs_name="branches", cells=("flow.xs = [one.x for one in branches]",)),
        ),
        ("head", source(cells=("self.x = 1; self.y = 2",))),
        (
            "returns",
            source(
                cells=(
                    "def inner():\n    return 1\nif inner():\n    raise StepReturned()  # early\n\nfor _ in range(3): raise StepReturned()\nself.never = lambda: 1",
                )
            ),
        ),
        ("inherited", source(cells=("self.x = 1",))),
        ("elsewhere", None),
    ],
)
def test_a_step_is_cut_at_empty_lines_and_kept_as_it_was_written(step: str, expected: StepSource | None) -> None:
    assert step_source(FLOW, "Flow", step) == expected


def test_only_a_step_that_returns_says_so() -> None:
    found = {name: step_source(FLOW, "Flow", name) for name in ("returns", "cells")}
    assert {name: one.returns for name, one in found.items() if one} == {"returns": True, "cells": False}


@pytest.mark.parametrize("text", ["", "class Flow:", "class Flow(Flow):\n    pass", "\0", "\udcff", "(" * 5000])
def test_a_file_that_cannot_be_read_has_no_cells(text: str) -> None:
    assert step_source(text, "Flow", "start") is None


PIECES = st.sampled_from(
    [
        "x = 1",
        "",
        "# a comment",
        'y = """\n  text\n"""',
        "if x:\n    z = 2\n\n    z = 3",
        "for i in range(2):\n    # inside\n    z = i",
        "w = [\n1,\n]",
        "p = 'a' \\\n  'b'",
        "def inner():\n    return 5",
        "q = 'ä'; r = f'{q}'",
    ]
)


@given(st.lists(PIECES, min_size=1), st.sampled_from(["    ", "\t", "  "]), st.sampled_from(["\n", "\r\n"]))
def test_cells_one_after_the_other_do_what_the_step_does(pieces: list[str], indent: str, end: str) -> None:
    body = "\n".join([*pieces, "last = 1"])
    inside = {
        line
        for node in ast.walk(ast.parse(body))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for line in range(node.lineno + 1, (node.end_lineno or 0) + 1)
    }
    lines = [line if i in inside else indent + line for i, line in enumerate(body.split("\n"), 1)]
    text = f"class F:\n{indent}def s(self):\n" + "\n".join(
        line if i in inside else indent + line for i, line in enumerate(lines, 1)
    )
    found = step_source(text.replace("\n", end), "F", "s")
    assert found is not None
    assert ast.dump(ast.parse("\n".join(found.cells))) == ast.dump(ast.parse(body))


@given(st.text())
def test_any_text_is_read_or_left(text: str) -> None:
    for tried in (text, f"class F:\n  def s(self):\n{textwrap.indent(text, '    ')}"):
        found = step_source(tried, "F", "s")
        assert found is None or all(isinstance(cell, str) for cell in found.cells)
