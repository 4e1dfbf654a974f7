"""uv's own lock file: it is no public format, so uv itself turns it into one that is (PEP 751), without resolving."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mfenv.errors import LockError
from mfenv.formats.package_file import shown as safe

_MISSING = re.compile(r"error: (?P<kind>Group|Extra) `(?P<name>[^`]*)` is not defined")
_VERSION = re.compile(r"unsupported schema version \(v(?P<version>\d+)")


def export_arguments(*, groups: Sequence[str], extras: Sequence[str]) -> list[str]:
    """Return what uv (0.13) is told to print its lock with `groups` (PEP 735) and `extras`.

    The group ``dev``, which uv installs unasked, is for those who develop the project: it has to be named.
    """
    arguments = [
        *("export", "--frozen", "--offline", "--no-config", "--no-python-downloads"),
        *("--no-header", "--format", "pylock.toml"),
    ]
    if "dev" not in groups:
        arguments.append("--no-dev")
    # One argument each: a name that looks like an option stays a name.
    return arguments + [f"--group={name}" for name in groups] + [f"--extra={name}" for name in extras]


def refusal(errors: str, *, shown: str) -> LockError:
    """Return in our words why uv could not print a lock; `errors` is what it said."""
    if missing := _MISSING.search(errors):
        kind = missing["kind"].lower()
        return LockError(
            f"{shown}: there is no {kind} `{safe(missing['name'])}`",
            hint="The groups and extras are those of the `pyproject.toml` beside it",
        )
    if version := _VERSION.search(errors):
        return LockError(
            f"{shown}: the version {version['version']} of the format is not known to the uv that is installed here",
            hint="Update metaflow-netflix-extensions, or lock again with an older uv",
        )
    return LockError(
        f"{shown}: uv cannot read this lock", hint="Run `uv lock` and try again", output=safe_lines(errors)
    )


def safe_lines(text: str) -> str:
    """Return what uv said, without its hints and without credentials."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("hint:", "warning:"))]
    return "\n".join(re.sub(r"(\w://)[^/\s'\"`]*@", r"\1", line) for line in lines[:40])
