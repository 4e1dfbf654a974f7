"""Compile an environment on a node, beside its task, for the tasks that come after.

Started by the first task of an environment that the launching machine could not compile, being of another platform:
``python -m mfenv.bootstrap.publish PREFIX KIND ROOT KEY``. Python 3.8 and the standard library only: see
`mfenv.bootstrap`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from typing import List

from mfenv.bootstrap import bytecode
from mfenv.bootstrap.objects import open_objects

_LONGEST = 1800


def main(arguments: List[str]) -> None:
    """Compile the environment at a prefix; put that beside its sources, and into a store under a key."""
    prefix, kind, root, key = arguments
    # The task comes first.
    os.nice(19)
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    program = os.path.join(package, "hydrate", "compile_all.py")
    with tempfile.TemporaryDirectory(prefix="mfenv-bytecode-") as folder:
        path = os.path.join(folder, "bytecode.tar.gz")
        command = [os.path.join(prefix, "bin", "python"), "-I", "-S", "-B", program, prefix, path]
        subprocess.run(command, check=True, timeout=_LONGEST, env={"PATH": os.defpath})
        with open(path, "rb") as file:
            archive = file.read()
    bytecode.put(bytecode.members(archive), prefix)
    sealed = hashlib.sha256(archive).hexdigest().encode() + b"\n" + archive
    open_objects(kind, root, os.environ).put(key, sealed)


if __name__ == "__main__":
    main(sys.argv[1:])
