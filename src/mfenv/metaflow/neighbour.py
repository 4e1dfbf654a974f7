"""Says when another extension stands in our place.

Where two extensions offer a name, Metaflow takes the one that it loads later, and that is not ours to decide. Somebody
who has just installed this package should not wonder why nothing changed. Python 3.7 syntax: see `mfenv.metaflow`.
"""

from __future__ import annotations

import os
import sys

OTHER = "metaflow-netflixext"
_TOLD = "METAFLOW_MFENV_NEIGHBOUR_TOLD"


def tell() -> None:
    """Print one line, once in a tree of processes, when the other extension is installed beside this one."""
    from metaflow import extension_support

    # Which extensions there are is only in this private name (Metaflow 2.16 to 2.19); without it nothing is said.
    installed = getattr(extension_support, "_all_packages", {})
    if OTHER not in installed or _TOLD in os.environ:
        return
    os.environ[_TOLD] = "1"
    print(
        f"metaflow-netflix-extensions: {OTHER} is installed as well, and is the one that --environment=conda uses; "
        "uninstall one of the two.",
        file=sys.stderr,
    )
