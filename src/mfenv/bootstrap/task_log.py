"""Lines in the task's log, before Metaflow itself can write any.

The lines are Metaflow's own: ``[MFLOG|0|<time>Z|task|<id>]text`` (its `metaflow.mflog`, version 0 of the format), which
its log viewers put in order. Python 3.8 and the standard library only: see `mfenv.bootstrap`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from datetime import datetime, timedelta, timezone
from typing import Mapping


class TaskLog:
    """Writes lines for whoever waits for the task."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Write to the files that Metaflow collects, where it said which, and to standard error."""
        self._path = environ.get("MFLOG_STDOUT", "")
        self._errors = environ.get("MFLOG_STDERR", "")
        self._environ = environ
        self._last = datetime.fromtimestamp(0, timezone.utc)

    def say(self, line: str) -> None:
        """Write a line."""
        self._write(self._path, line)

    def complain(self, line: str) -> None:
        """Write a line about what went wrong."""
        self._write(self._errors, line)

    def _write(self, path: str, line: str) -> None:
        print(line, file=sys.stderr, flush=True)
        if path:
            marked = "".join(
                "[MFLOG|0|%sZ|task|%s]%s\n" % (self._time(), uuid.uuid4().hex[:8], one) for one in line.splitlines()
            )
            # A full disk is what may be told about: standard error has it already.
            with contextlib.suppress(OSError), open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(marked)

    def _time(self) -> str:
        # Each later than the one before: Metaflow puts lines of the same moment in no order.
        self._last = max(datetime.now(timezone.utc), self._last + timedelta(microseconds=1))
        return self._last.strftime("%Y-%m-%dT%H:%M:%S.%f")

    def contents(self) -> "dict[str, bytes]":
        """Return what there is so far, by the name that Metaflow gives it in its datastore (2.9 and later)."""
        found = {}
        for stream, path in (("stdout", self._path), ("stderr", self._errors)):
            if path and os.path.exists(path):
                with open(path, "rb") as file:
                    found["%s.task_%s.log" % (self._environ.get("MF_ATTEMPT", "0"), stream)] = file.read()
        return found
