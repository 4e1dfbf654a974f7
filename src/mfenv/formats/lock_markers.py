"""Markers of lock files (PEP 751): those of PEP 508, and the questions which groups and extras are installed.

The latter are answered here, since who locks for a step knows them, and packaging before 25 cannot read them at all.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from mfenv.domain.markers import applies
from mfenv.domain.platform import Target
from mfenv.errors import InvalidSpec, LockError
from mfenv.formats.package_file import shown

# A quoted text (which may hold anything), perhaps with the question whether it is among the groups or extras.
_QUESTION = re.compile(
    r"""(?P<quoted>"(?P<double>[^"]*)"|'(?P<single>[^']*)')"""
    r"""(?:\s*(?P<negated>\bnot\s+)?\bin\s+(?P<kind>extras|dependency_groups)\b)?"""
)
_QUOTED = re.compile(r""""[^"]*"|'[^']*'""")
_KINDS = re.compile(r"\b(extras|dependency_groups)\b")
_OF_PYTHON = re.compile(r"\b(python_version|python_full_version|implementation_version)\b")
# The targets there are have this in common.
_TRUE, _FALSE = "os_name == 'posix'", "os_name != 'posix'"


def settled(marker: str, *, groups: Collection[str], extras: Collection[str], target: Target, where: str) -> str | None:
    """Return what of `marker` still depends on the Python; empty when it holds for all, None when for none.

    `groups` and `extras`, in normal form, are those that are installed. Raises `LockError` naming `where`.
    """

    def answered(found: re.Match[str]) -> str:
        if not found["kind"]:
            return found["quoted"]
        name = re.sub(r"[-_.]+", "-", found["double"] or found["single"] or "").lower()
        chosen = groups if found["kind"] == "dependency_groups" else extras
        return _TRUE if (name in chosen) is not bool(found["negated"]) else _FALSE

    if not marker:
        return ""
    rest = _QUESTION.sub(answered, marker)
    bare = _QUOTED.sub("''", rest)
    if _KINDS.search(bare):
        raise LockError(f"{where}: `{shown(marker)}` asks for groups or extras in a way that cannot be read")
    # Also where the Python counts: what cannot be read has to be refused now.
    holds = holds_for(rest, target=target, python="3.11.0", where=where)
    if _OF_PYTHON.search(bare):
        return rest
    return "" if holds else None


def holds_for(marker: str, *, target: Target, python: str, where: str) -> bool:
    """Tell whether a marker (PEP 508) holds for CPython `python` on `target`. Raises `LockError` naming `where`."""
    try:
        return bool(applies(marker, target=target, pythons=[python]))
    # A name that no marker has is a `ValueError` or a `KeyError`, by the version of the library.
    except (InvalidSpec, ValueError, KeyError, RecursionError) as error:
        raise LockError(f"{where}: `{shown(marker)}` is not a marker") from error
