"""Rewriting the files of flows: reads, rewrites, writes."""

from __future__ import annotations

import difflib
import os
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
    """The change as a unified diff, which `patch` and `git apply -p0` take; empty where there is none."""
    notes: tuple[Note, ...]


def migrate_file(path: Path, *, write: bool) -> Migrated:
    """Bring the decorators in a file into today's spelling; change the file only with `write`.

    Raises `InvalidSpec` when the file cannot be read, written, or is not Python. The file is then as it was.
    """
    text = _read(path)
    found = rewrite(text, shown=str(path))
    if write and found.text != text:
        _replace(path, found.text.encode())
    return Migrated(
        path=path,
        is_changed=found.text != text,
        diff=unified_diff(text, found.text, shown=str(path)),
        notes=found.notes,
    )


def unified_diff(before: str, after: str, *, shown: str) -> str:
    """Return the change of a file as a unified diff.

    Only a newline ends a line, as for those who read diffs; Python also takes a form feed for an end.
    """
    lines = difflib.unified_diff(_lines(before), _lines(after), shown, shown)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    *lines, last = text.split("\n")
    return [*(f"{line}\n" for line in lines), *([last] if last else [])]


def _read(path: Path) -> str:
    hint = "Name the Python file of a flow"
    try:
        # Reading a pipe would wait for somebody to write.
        if path.exists() and not path.is_file():
            raise InvalidSpec(f"`{path}` is not a file", hint=hint)
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidSpec(f"`{path}` is not a text in UTF-8", hint="Save it as UTF-8") from error
    except OSError as error:
        raise InvalidSpec(f"`{path}` cannot be read: {error.strerror}", hint=hint) from error


def _replace(path: Path, content: bytes) -> None:
    try:
        # A link stays a link: the file it leads to is the one that changes.
        target = path.resolve(strict=True)
        if not os.access(target, os.W_OK):
            # The rename would pass over it.
            raise InvalidSpec(f"`{path}` cannot be written: it is read-only", hint="Make it writable, or change a copy")
        write_atomically(target, content, mode=target.stat().st_mode & 0o7777)
    except OSError as error:
        raise InvalidSpec(
            f"`{path}` cannot be written: {error.strerror}", hint="Check the rights on the file and its folder"
        ) from error
