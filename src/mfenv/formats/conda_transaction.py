"""What conda, mamba and micromamba print for ``create --dry-run --json``.

None of them documents its JSON; what is read here is what recorded answers have in common. Only the names of the
packages that were chosen are taken: what they are is the channel's index's to say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mfenv.errors import LockError


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A package that was chosen."""

    name: str
    version: str
    build: str
    subdir: str
    sha256: str = ""
    """Empty where the program does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What a program says when it finds no answer."""

    kind: str
    """The name of conda's exception; empty for the others."""
    text: str


def load(output: str, *, program: str) -> tuple[Chosen, ...] | Failure:
    """Read a program's standard output. Raises `LockError` for what is no answer at all."""
    document = _document(output)
    if document is None:
        raise LockError(f"`{program}` printed something else than its answer")
    if failure := _failure(document):
        return failure
    actions = document.get("actions")
    # conda says so when there is nothing to be done.
    if actions is None and document.get("message") == "All requested packages already installed.":
        return ()
    try:
        linked: list[dict[str, Any]] = [] if actions is None else actions["LINK"]
        fetched = {_key(row): row for row in (actions or {}).get("FETCH") or ()}
        return tuple(_chosen(row, fetched) for row in linked)
    except (KeyError, TypeError, AttributeError) as error:
        raise LockError(f"`{program}` printed an answer that cannot be read: there is no {error}") from error


def _document(output: str) -> dict[str, Any] | None:
    """Find the JSON object in what was printed; some programs print warnings before it."""
    start = output.find("{")
    while start >= 0:
        try:
            found, _ = json.JSONDecoder().raw_decode(output[start:])
        except (ValueError, RecursionError):
            start = output.find("\n{", start)
            start += 1 if start >= 0 else 0
            continue
        return found if isinstance(found, dict) else None
    return None


def _failure(document: dict[str, Any]) -> Failure | None:
    problems = document.get("solver_problems")
    logged = [str(row.get("message", "")) for row in document.get("log_history") or () if isinstance(row, dict)]
    if document.get("exception_name") or document.get("error"):
        text = str(document.get("message") or document.get("error"))
        return Failure(kind=str(document.get("exception_name") or ""), text=text)
    if document.get("success") is not True and (problems or logged or "success" in document):
        # libmamba 2 says more in its log than among its problems.
        told = [str(problem) for problem in problems or () if problem != "unsupported request"]
        return Failure(kind="", text="\n".join(dict.fromkeys([*told, *logged])))
    return None


def _key(row: dict[str, Any]) -> tuple[str, str, str]:
    return str(row["name"]), str(row["version"]), str(row.get("build_string") or row.get("build"))


def _chosen(row: dict[str, Any], fetched: dict[tuple[str, str, str], dict[str, Any]]) -> Chosen:
    name, version, build = key = _key(row)
    more = fetched.get(key, {})
    # conda calls the subdir of what it links `platform`.
    subdir = row.get("subdir") or more.get("subdir") or row["platform"]
    return Chosen(
        name=name,
        version=version,
        build=build,
        subdir=str(subdir),
        sha256=str(row.get("sha256") or more.get("sha256") or ""),
    )
