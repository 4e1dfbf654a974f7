"""One job of a node, from its command line to one line of JSON on standard output.

It ends with `os._exit`: py-rattler, which is loaded into this very process, may crash at an ordinary exit (see ADR 6).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from mfenv.domain.digest import Json
from mfenv.errors import EnvironmentsError


def main(job: Mapping[str, Any]) -> None:
    """Carry out `job`, which names its ``task``, and say how it went."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # What a library prints must not get into the answer.
    os.dup2(2, 1)
    try:
        said: Json = _TASKS[job["task"]](job)
    except EnvironmentsError as error:
        said = {"error": {"message": error.message, "hint": error.hint, "output": error.output}}
    except OSError as error:
        place = f"`{error.filename}`: " if error.filename else ""
        said = {"error": {"message": f"{place}{error.strerror or error}", "hint": "Check the disk and the rights"}}
    print(json.dumps(said), file=answer, flush=True)
    sys.stderr.flush()
    os._exit(0)


def _hydrate(job: Mapping[str, Any]) -> Json:
    from mfenv.node.hydrate import hydrate

    return hydrate(job, sys.stdin)


def _find(job: Mapping[str, Any]) -> Json:
    from mfenv.node.late import find

    return find(job, os.environ)


_TASKS: Mapping[str, Callable[[Mapping[str, Any]], Json]] = {"hydrate": _hydrate, "find": _find}
