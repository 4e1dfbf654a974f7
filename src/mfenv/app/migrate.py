"""Rewriting the files of flows: reads, rewrites, writes."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from mfenv.errors import InvalidSpec
from mfenv.io.files import write_atomically
from mfenv.migrate.rewrite import Note, rewrite


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """What is to be changed in a file, or was."""

    path: Path
    is_changed: bool
    diff: str
    notes: tuple[Note, ...]


def migrate_file(path: Path, *, write: bool) -> Migrated:
    """Bring the decorators in a file into today's spelling; change the file only with `write`.

    Raises `InvalidSpec` when the file cannot be read, written, or is not Python.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidSpec(f"`{path}` is not a text in UTF-8", hint="Save it as UTF-8") from error
    except OSError as error:
        raise InvalidSpec(
            f"`{path}` cannot be read: {error.strerror}", hint="Name the Python file of a flow"
        ) from error
    found = rewrite(text, shown=str(path))
    if write and found.text != text:
        _replace(path, found.text.encode())
    lines = difflib.unified_diff(
        text.splitlines(keepends=True), found.text.splitlines(keepends=True), f"{path}", f"{path} (migrated)"
    )
    return Migrated(path=path, is_changed=found.text != text, diff="".join(lines), notes=found.notes)


def _replace(path: Path, content: bytes) -> None:
    # A link stays a link: the file it leads to is the one that changes.
    target = path.resolve()
    try:
        mode = target.stat().st_mode & 0o7777
        write_atomically(target, content)
        target.chmod(mode)
    except OSError as error:
        raise InvalidSpec(
            f"`{path}` cannot be written: {error.strerror}", hint="Check the rights on the file and its folder"
        ) from error
