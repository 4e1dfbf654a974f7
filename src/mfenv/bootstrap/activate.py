"""The lines with which a shell enters an environment that is ready.

What is ready is told by a marker, which holds what activation changes: see `mfenv.hydrate.prefix` and
`mfenv.hydrate.activation`, whose formats these are. Python 3.8 and the standard library only: see `mfenv.bootstrap`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from typing import Any, Dict, List, Mapping, Optional

_MARKER = ".mfenv-ready"
_SCHEMA = "mfenv/prefix/1"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

IMAGE_PYTHON = "mfenv_standard"
"""What the shell is told where the step runs in the image's own Python: a function that the launching side defines."""
FAILED = "python(){ true; }; false"
"""What the shell is told when there is no environment; Metaflow's own saving of logs, which needs one, is left out."""


def ready(path: str, lock_id: str) -> Optional[Dict[str, Any]]:
    """Return what the marker of an environment says, or None while it is not ready; costs one small read."""
    try:
        with open(os.path.join(path, _MARKER), encoding="utf-8") as file:
            marker = json.load(file)
        is_it = marker["schema"] == _SCHEMA and marker["lock"] == lock_id and marker["path"] == path
        return marker if is_it and os.path.exists(os.path.join(path, "bin", "python")) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def lines(marker: Mapping[str, Any], identity: List[str], environ: Mapping[str, str], root: str) -> str:
    """Return what a shell evaluates to be in an environment; `identity` is noted in the task's metadata.

    Flows that the task runs itself make their environments at `root`: the launching machine has other folders.
    """
    activation = marker["activation"]
    variables = dict(activation["variables"])
    for name, (before, after) in activation["around"].items():
        value = environ.get(name, "")
        variables[name] = before + value + after if value else (before + after).replace("::", ":").strip(":")
    variables.update(
        {
            "PYTHONNOUSERSITE": "1",
            "METAFLOW_CONDA_LOCAL_PATH": root,
            "METAFLOW_MFENV_ENVIRONMENT_ID": json.dumps(identity),
            "METAFLOW_MFENV_PYTHON": os.path.join(marker["path"], "bin", "python"),
        }
    )
    exports = [
        "export %s=%s" % (name, shlex.quote(value))
        for name, value in sorted(variables.items())
        if _NAME.fullmatch(name)
    ]
    return "; ".join([*exports, "unset PYTHONHOME"])
