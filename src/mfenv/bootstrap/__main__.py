"""From the image's Python into the step's environment: ``python -m mfenv.bootstrap``, run by every remote task.

What is printed to standard output is for the shell to evaluate; all else goes to the task's log. Which step it is, and
where logs go, is in Metaflow's own variables (``MF_PATHSPEC``, ``MFLOG_STDOUT``; Metaflow 2.16 to 2.19).

Python 3.8 and the standard library only: see `mfenv.bootstrap`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Mapping, NamedTuple

from mfenv.bootstrap import activate, flow_file
from mfenv.bootstrap.failure import BootstrapError
from mfenv.bootstrap.make import Node, environment, late
from mfenv.bootstrap.objects import ObjectError, open_objects
from mfenv.bootstrap.task_log import TaskLog


class Task(NamedTuple):
    """Which task this is."""

    flow: str
    run: str
    step: str
    task: str


def main(environ: Mapping[str, str], *, is_last: bool = False) -> str:
    """Have the step's environment on this node, and return what the shell evaluates to be in it.

    With `is_last`, nothing more will be known later.
    """
    log = TaskLog(environ)
    task = Task(*(environ.get("MF_PATHSPEC", "").split("/") + [""] * 4)[:4])
    flow = None
    try:
        flow = flow_file.read(_flow_file(environ))
        assignment = flow.assignment(task.step)
        if assignment is None:
            return activate.IMAGE_PYTHON
        if isinstance(assignment, dict):
            # On Argo, a start step learns of parameters in the same breath as it begins: it comes here twice.
            may_wait = task.step == "start" and not is_last and flow.before_start is not None
            found = late(flow, assignment, Node.here(environ), log, may_wait=may_wait)
            if found is None:
                found = flow.lock(flow.before_start), flow.before_start
            lock, identity = found
        else:
            lock, identity = flow.lock(assignment), assignment
        node = Node.here(environ)
        marker = environment(flow, lock, identity, node, log)
        return activate.lines(marker, identity, environ, node.root)
    except (BootstrapError, ObjectError) as error:
        _complain(log, task.step, error)
    except OSError as error:
        what = "`%s`: " % error.filename if error.filename else ""
        _complain(log, task.step, BootstrapError("%s%s" % (what, error.strerror or error), hint=_ROOM))
    if flow is not None:
        _save(log, task, environ)
    return activate.FAILED


_ROOM = "Check the disk and the rights of the task, or set METAFLOW_CONDA_NODE_PATH to another folder"


def _flow_file(environ: Mapping[str, str]) -> str:
    root = environ.get("METAFLOW_EXTRACTED_ROOT") or os.getcwd()
    return os.path.join(root, ".mf_meta", "conda_v2.cnd")


def _complain(log: TaskLog, step: str, error: "BootstrapError | ObjectError") -> None:
    log.complain("The environment of step `%s` cannot be made: %s" % (step, error.message))
    if getattr(error, "output", None):
        log.complain(str(error.output))
    if error.hint:
        log.complain("hint: %s" % error.hint)


def _save(log: TaskLog, task: Task, environ: Mapping[str, str]) -> None:
    """Put the log where Metaflow looks for it, which cannot do so itself without an environment."""
    root = environ.get("MF_DATASTORE_ROOT") or _datastore_root(environ)
    if not root or not all(task):
        return
    with contextlib.suppress(Exception):
        objects = open_objects(environ["MF_DATASTORE"], root, environ)
        for name, content in log.contents().items():
            objects.put("/".join([*task, name]), content)


def _datastore_root(environ: Mapping[str, str]) -> str:
    return environ.get("METAFLOW_DATASTORE_SYSROOT_%s" % environ.get("MF_DATASTORE", "").upper(), "")


if __name__ == "__main__":
    # Standard output belongs to the shell: what else is printed there must not be evaluated.
    # Folders in PATH may have names that are no text.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="surrogateescape")
    os.dup2(2, 1)
    print(main(os.environ, is_last="--last" in sys.argv), file=answer, flush=True)
    # Threads may still wait for a store that does not answer.
    sys.stderr.flush()
    os._exit(0)
