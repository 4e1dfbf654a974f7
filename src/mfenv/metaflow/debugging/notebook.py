"""The notebook and the script that begin with a past task's `self`: the same cells in two forms.

The script marks its cells as editors know them (``# %%``). The notebook is nbformat 4.5, which is plain JSON: a library
for it would only be one more dependency.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from mfenv.metaflow.debugging.source import StepSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A part of a notebook."""

    text: str
    is_code: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """What a notebook is run with."""

    name: str
    display_name: str


def cells_of(pathspec: str, step: str, source: StepSource | None, *, inspects: bool, is_join: bool) -> tuple[Cell, ...]:
    """Return the cells for a task; `source` is that of its step, None where it is not in the flow's file."""
    return tuple(_cells(pathspec, step, source, inspects=inspects, is_join=is_join))


def _cells(pathspec: str, step: str, source: StepSource | None, *, inspects: bool, is_join: bool) -> Iterator[Cell]:
    flow = source.self_name if source else "self"
    inputs = (source.inputs_name if source else None) or "inputs"
    names = f"`{flow}`, {f'`{inputs}`, ' if is_join else ''}`current`"
    when = "after its task ran" if inspects else "before its task ran"
    yield Cell(
        text=f"# {pathspec}\n\n{names} and all that the flow's file defines are here as they were for the step "
        f"`{step}` {when}.\n\nArtifacts are read when they are asked for. Nothing is written to the datastore or the "
        "metadata of the run. `recreated.task` is the task in Metaflow's client: `recreated.task.data` has what it "
        "left.",
        is_code=False,
    )
    yield Cell(text=_setup(flow, inputs if is_join else None, uses_returned=bool(source and source.returns)))
    if inspects:
        yield Cell(text="recreated.artifacts")
        if source:
            text = "\n\n".join(source.cells)
            yield Cell(text=f"The step `{step}` is:\n\n```python\n{text}\n```", is_code=False)
        return
    if source is None:
        yield Cell(text=f"The step `{step}` is not written in the flow's file. This runs all of it.", is_code=False)
        yield Cell(text=f"{flow}.{step}({inputs if is_join else ''})")
        return
    yield Cell(text=f"The step `{step}`; `{flow}.next` does nothing here.", is_code=False)
    for text in source.cells:
        yield Cell(text=text)


def _setup(flow: str, inputs: str | None, *, uses_returned: bool) -> str:
    lines = [
        f"from task_stand_in import {'StepReturned, ' if uses_returned else ''}recreate",
        "",
        "recreated = recreate(globals())",
        f"{flow} = recreated.self",
        *([f"{inputs} = recreated.inputs"] if inputs else []),
        "current = recreated.current",
    ]
    return "\n".join(lines)


def script(cells: tuple[Cell, ...]) -> str:
    """Return a Python file with the cells, texts as comments."""
    parts = []
    for cell in cells:
        if cell.is_code:
            parts.append(f"# %%\n{cell.text}\n")
        else:
            comment = "\n".join(f"# {line}".rstrip() for line in cell.text.split("\n"))
            parts.append(f"# %% [markdown]\n{comment}\n")
    return "\n".join(parts)


def notebook(cells: tuple[Cell, ...], kernel: Kernel) -> str:
    """Return a notebook with the cells, which runs in `kernel`."""
    document = {
        "cells": [_in_notebook(number, cell) for number, cell in enumerate(cells)],
        "metadata": {
            "kernelspec": {"name": kernel.name, "display_name": kernel.display_name, "language": "python"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1) + "\n"


def _in_notebook(number: int, cell: Cell) -> dict[str, object]:
    common: dict[str, object] = {
        "id": f"cell-{number}",
        "metadata": {},
        "source": cell.text.splitlines(keepends=True),
    }
    if cell.is_code:
        return {"cell_type": "code", "execution_count": None, "outputs": [], **common}
    return {"cell_type": "markdown", **common}
