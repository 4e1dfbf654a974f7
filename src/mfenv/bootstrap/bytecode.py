"""Compiled modules that others made of the same environment, for a first import as fast as any other.

They are a help and no part of the lock: what is damaged, or is not there, is left out, and Python compiles itself.
Python 3.8 and the standard library only: see `mfenv.bootstrap`.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from typing import Dict, List, Mapping, Optional

from mfenv.bootstrap.failure import BootstrapError
from mfenv.bootstrap.objects import Objects

_SEAL = 65


def fetch(objects: Objects, key: str) -> Optional[bytes]:
    """Return the archive of compiled modules, if there is a whole one."""
    try:
        content = objects.read(key)
    except BootstrapError:
        return None
    digest, archive = content[:_SEAL].strip().decode("ascii", "replace"), content[_SEAL:]
    return archive if hashlib.sha256(archive).hexdigest() == digest else None


def members(archive: bytes) -> Dict[str, bytes]:
    """Return the compiled modules in an archive, by their paths below a prefix."""
    found: Dict[str, bytes] = {}
    try:
        packed = tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz")  # noqa: SIM115
        for member in packed:
            parts = member.name.split("/")
            content = packed.extractfile(member) if member.isreg() else None
            is_module = parts[0] == "lib" and parts[-2:-1] == ["__pycache__"] and parts[-1].endswith(".pyc")
            if content is not None and is_module and ".." not in parts:
                found[member.name] = content.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError):
        # What came before is whole.
        return found
    return found


def put(modules: Mapping[str, bytes], prefix: str) -> None:
    """Put compiled modules beside their sources."""
    inside = os.path.realpath(prefix) + os.sep
    by_folder: Dict[str, List[str]] = {}
    for name in modules:
        by_folder.setdefault(os.path.dirname(name), []).append(name)
    for folder, names in by_folder.items():
        path = os.path.join(prefix, folder)
        # A link in the prefix may lead to files of others.
        if os.path.realpath(path).startswith(inside) and os.path.isdir(os.path.dirname(path)):
            os.makedirs(path, exist_ok=True)
            for name in names:
                _write(os.path.join(prefix, name), modules[name])


def _write(path: str, content: bytes) -> None:
    # Not in place: the file may have other names, in a cache that several environments share.
    neighbour = "%s.%d.part" % (path, os.getpid())
    with open(neighbour, "wb") as file:
        file.write(content)
    os.replace(neighbour, path)
