"""The folder in which a past task is looked at: its code, what stands in for it, a script and a notebook."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfenv.errors import HydrationFailed, InvalidSpec
from mfenv.io.files import write_atomically
from mfenv.metaflow.debugging import stand_in
from mfenv.metaflow.debugging.notebook import Kernel, cells_of, notebook, script
from mfenv.metaflow.debugging.past_task import PastTask
from mfenv.metaflow.debugging.source import step_source
from mfenv.metaflow.past_code import PastCode

NOTEBOOK = "00_DEBUG_ME.ipynb"
STAND_IN = "task_stand_in.py"
_SCHEMA = "mfenv/debug/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DebugFolder:
    """What was put into a folder."""

    script: Path
    notebook: Path | None


def claim(folder: Path, *, where: str) -> None:
    """Make sure that a folder is ours, and clear what an earlier call put there; other files in it stay.

    Raises `InvalidSpec` for a folder with content that is not from here, `HydrationFailed` where it cannot be written.
    """
    marker = folder / stand_in.DESCRIPTION
    try:
        if folder.exists() and not folder.is_dir():
            raise InvalidSpec(f"{where}: `{folder}` is not a folder", hint="Name a folder that is empty or not there")
        if folder.is_dir() and any(folder.iterdir()):
            _clear(folder, _files_of(marker, folder, where))
        folder.mkdir(parents=True, exist_ok=True)
        # From here on the folder is ours, however far we come.
        write_atomically(marker, json.dumps({"schema": _SCHEMA, "files": []}).encode())
    except OSError as error:
        raise HydrationFailed(f"{where}: `{folder}` cannot be written", output=str(error)) from error


def _files_of(marker: Path, folder: Path, where: str) -> list[str]:
    """Return what an earlier call put there. Raises `InvalidSpec` when there was none."""
    found: Any = None
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads(marker.read_bytes())
    if not isinstance(found, dict) or found.get("schema") != _SCHEMA:
        raise InvalidSpec(
            f"{where}: the folder `{folder}` has content that is not from an earlier `metaflow debug task`",
            hint="Name a folder that is empty or not there",
        )
    files = found.get("files")
    return [name for name in files if isinstance(name, str)] if isinstance(files, list) else []


def _clear(folder: Path, files: list[str]) -> None:
    parents = set[Path]()
    for name in files:
        path = Path(os.path.normpath(folder / name))
        # A marker may come from anywhere.
        if folder not in path.parents or folder.resolve() not in [
            path.parent.resolve(),
            *path.parent.resolve().parents,
        ]:
            continue
        with contextlib.suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError):
            path.unlink()
        parents.update(parent for parent in path.parents if folder in parent.parents)
    for parent in sorted(parents, key=lambda one: len(one.parts), reverse=True):
        _clear_bytecode(parent / "__pycache__")
        with contextlib.suppress(OSError):
            parent.rmdir()
    _clear_bytecode(folder / "__pycache__")


def _clear_bytecode(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for path in folder.glob("*.pyc"):
            path.unlink()
        folder.rmdir()


def fill(
    folder: Path, task: PastTask, code: PastCode, *, inspects: bool, kernel: Kernel | None, where: str
) -> DebugFolder:
    """Write what is needed to look at `task` into a claimed folder with its `code`; no notebook without `kernel`.

    Raises `InvalidSpec` for a flow's file that cannot be read.
    """
    try:
        text = code.flow_file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidSpec(f"{where}: the flow's file `{code.flow_file}` cannot be read", output=str(error)) from error
    source = step_source(text, task.flow, task.step)
    cells = cells_of(task.pathspec, task.step, source, inspects=inspects, is_join=task.is_join)
    name = f"{task.pathspec.replace('/', '_')}_debug.py"
    written = {
        STAND_IN: Path(stand_in.__file__).read_text(encoding="utf-8"),
        name: script(cells),
        **({NOTEBOOK: notebook(cells, kernel)} if kernel else {}),
    }
    try:
        for file, content in written.items():
            (folder / file).unlink(missing_ok=True)
            (folder / file).write_text(content, encoding="utf-8")
        description = _description(folder, task, code, inspects=inspects)
        files = sorted({*written, *code.files})
        write_atomically(
            folder / stand_in.DESCRIPTION,
            json.dumps({"schema": _SCHEMA, **description, "files": files}, indent=1).encode(),
        )
    except OSError as error:
        raise HydrationFailed(f"{where}: `{folder}` cannot be written", output=str(error)) from error
    return DebugFolder(script=folder / name, notebook=folder / NOTEBOOK if kernel else None)


def _description(folder: Path, task: PastTask, code: PastCode, *, inspects: bool) -> Mapping[str, Any]:
    """Return what the stand-in has to know; places in the folder are relative to it, so that it can be moved."""
    return {
        "pathspec": task.pathspec,
        "flow": task.flow,
        "run": task.run,
        "step": task.step,
        "task": task.task,
        "parents": task.parents,
        "index": task.index,
        "inspect": inspects,
        "flow_file": _relative(code.flow_file, folder),
        "python_path": [_relative(path, folder) for path in code.python_path],
        "folders": {name: _relative(Path(value), folder) for name, value in code.variables.items()},
        "variables": task.variables,
        "current": task.current,
    }


def _relative(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
