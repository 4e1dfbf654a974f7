"""What a conda package says about itself must not lead out of the prefix.

py-rattler 0.28 links an entry of ``info/paths.json`` that holds ``..`` to where it points, so the package's own lists
are checked before it gets to see the package. The lists are JSON with a published shape (CEP 34, package
metadata files); json and a few lines are all the parser there is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from mfenv.domain.artifact import is_plain_file_name
from mfenv.errors import HydrationFailed

FILES = ("info/index.json", "info/paths.json", "info/files", "info/link.json")
"""The members of an archive that `check_package` wants to see, as far as they are there."""

_OURS = (".mfenv-ready", "conda-meta")


def check_package(file_name: str, expected: tuple[str, str, str], members: dict[str, bytes | None]) -> None:
    """Refuse a package that is not what it is called, or that would write outside its prefix.

    `expected` is name, version and build; `members` are the contents of `FILES`. Raises `HydrationFailed`
    naming the file and the entry.
    """
    index = _object(file_name, "info/index.json", members.get("info/index.json"))
    found = tuple(str(index.get(key)) for key in ("name", "version", "build"))
    if (found[0].lower(), *found[1:]) != expected:
        raise _refusal(file_name, f"it holds `{'-'.join(found)}`")
    for path in _paths(file_name, members):
        check_path(file_name, path)
    if link := members.get("info/link.json"):
        for entry_point in _entry_points(file_name, link):
            command = str(entry_point).partition("=")[0].strip()
            if not is_plain_file_name(command):
                raise _refusal(file_name, f"its entry point `{entry_point}` has a path for a name")


def check_path(file_name: str, path: str) -> None:
    """Refuse a path that is absolute, leads upwards, or belongs to what describes the prefix itself."""
    parts = path.split("/")
    if not path or path.startswith("/") or "\\" in path or "\0" in path or {"..", "."} & set(parts):
        raise _refusal(file_name, f"its path `{path}` leads out of the environment")
    if parts[0] in _OURS:
        raise _refusal(file_name, f"its path `{path}` belongs to the description of the environment")


def _paths(file_name: str, members: dict[str, bytes | None]) -> Iterable[str]:
    # Packages from before 2017 have only the plain list.
    if listed := members.get("info/files"):
        yield from (line for line in listed.decode(errors="replace").splitlines() if line)
    if content := members.get("info/paths.json"):
        entries = _object(file_name, "info/paths.json", content).get("paths") or []
        if not isinstance(entries, list):
            raise _refusal(file_name, "its `info/paths.json` cannot be read")
        for entry in entries:
            yield str(entry["_path"]) if isinstance(entry, dict) and "_path" in entry else ""


def _entry_points(file_name: str, link: bytes) -> list[Any]:
    noarch = _object(file_name, "info/link.json", link).get("noarch") or {}
    found = noarch.get("entry_points") or [] if isinstance(noarch, dict) else None
    if not isinstance(found, list):
        raise _refusal(file_name, "its `info/link.json` cannot be read")
    return found


def _object(file_name: str, member: str, content: bytes | None) -> dict[str, Any]:
    try:
        value = json.loads(content or b"")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _refusal(file_name, f"its `{member}` cannot be read")
    return value


def _refusal(file_name: str, reason: str) -> HydrationFailed:
    return HydrationFailed(
        f"the package `{file_name}` is refused: {reason}",
        hint="Nothing of it was installed; report it to whoever runs the channel, and ask for another version",
    )
