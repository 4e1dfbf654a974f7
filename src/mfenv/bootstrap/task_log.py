"""Lines in the task's log, before Metaflow itself can write any.

The lines are Metaflow's own: ``[MFLOG|0|<time>Z|task|<id>]text`` (its `metaflow.mflog`, version 0 of the format), which
its log viewers put in order. Python 3.8 and the standard library only: see `mfenv.bootstrap`.
"""

from __future__ import annotations

import os
import sys
import uuid
from datetime import datetime, timezone
from typing import Mapping


class TaskLog:
    """Writes lines for whoever waits for the task."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Write to the files that Metaflow collects, where it said which, and to standard error."""
        self._path = environ.get("MFLOG_STDOUT", "")
        self._errors = environ.get("MFLOG_STDERR", "")
        self._environ = environ

    def say(self, line: str) -> None:
        """Write a line."""
        self._write(self._path, line)

    def complain(self, line: str) -> None:
        """Write a line about what went wrong."""
        self._write(self._errors, line)

    def _write(self, path: str, line: str) -> None:
        print(line, file=sys.stderr, flush=True)
        if path:
            time = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")
            marked = "".join(
                "[MFLOG|0|%sZ|task|%s]%s\n" % (time, uuid.uuid4().hex[:8], one) for one in line.splitlines()
            )
            with open(path, "a", encoding="utf-8") as file:
                file.write(marked)

    def contents(self) -> "dict[str, bytes]":
        """Return what there is so far, by the name that Metaflow gives it in its datastore (2.9 and later)."""
        found = {}
        for stream, path in (("stdout", self._path), ("stderr", self._errors)):
            if path and os.path.exists(path):
                with open(path, "rb") as file:
                    found["%s.task_%s.log" % (self._environ.get("MF_ATTEMPT", "0"), stream)] = file.read()
        return found
