"""What makes environments on a node: the wheels of py-rattler and uv, and a Python that can run them.

They are kept unpacked, by what is in them, for the next task of the node. Python 3.8 and the standard library only: see
`mfenv.bootstrap`.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
import zlib
from typing import Callable, List

from mfenv.bootstrap.failure import BootstrapError
from mfenv.bootstrap.fetch import held
from mfenv.bootstrap.flow_file import File

OLDEST_PYTHON = (3, 10)
"""What py-rattler 0.28 and `mfenv` itself run on."""


_AGAIN = "Launch or deploy the flow again"


def needs_runtime() -> bool:
    """Tell whether the image's Python is too old to make environments with."""
    return sys.version_info[:2] < OLDEST_PYTHON


def unpack_wheels(files: List[File], path_of: Callable[[File], str], root: str) -> str:
    """Return a folder that the modules of wheels can be imported from."""
    together = hashlib.sha256("".join(sorted(file.sha256 for file in files)).encode()).hexdigest()[:40]

    def unpack(folder: str) -> None:
        for file in files:
            with zipfile.ZipFile(path_of(file)) as wheel:
                # Neither drives nor `..` get through: `extractall` takes them out of names.
                wheel.extractall(folder)  # noqa: S202
        for program in glob.glob(os.path.join(folder, "*.data", "scripts", "*")):
            os.chmod(program, 0o755)  # noqa: S103

    return _unpacked_once(os.path.join(root, "toolchain", together), unpack)


def unpack_runtime(file: File, path_of: Callable[[File], str], root: str) -> str:
    """Return the interpreter of a Python that was packed for nodes."""

    def unpack(folder: str) -> None:
        with tarfile.open(path_of(file)) as archive:
            for member in archive:
                if not _stays_inside(member, folder):
                    raise BootstrapError(
                        "the Python in the store has a file outside its folder: `%s`" % member.name, hint=_AGAIN
                    )
                archive.extract(member, folder)

    return os.path.join(_unpacked_once(os.path.join(root, "toolchain", file.sha256[:40]), unpack), "bin", "python")


def _stays_inside(member: tarfile.TarInfo, folder: str) -> bool:
    """Tell whether what a member writes, and where it leads, is below `folder`, with the links that are there."""
    places = [member.name]
    if member.issym():
        places.append(os.path.join(os.path.dirname(member.name), member.linkname))
    elif member.islnk():
        places.append(member.linkname)
    elif not member.isreg() and not member.isdir():
        return False
    inside = os.path.realpath(folder)
    real = [os.path.realpath(os.path.join(inside, place)) for place in places]
    return ".." not in member.name.split("/") and all((one + os.sep).startswith(inside + os.sep) for one in real)


def _unpacked_once(folder: str, unpack: Callable[[str], None]) -> str:
    if os.path.isdir(folder):
        return folder
    parent = os.path.dirname(folder)
    os.makedirs(parent, exist_ok=True)
    with held(folder + ".lock"):
        if not os.path.isdir(folder):
            making = tempfile.mkdtemp(prefix=".making-", dir=parent)
            try:
                unpack(making)
                os.rename(making, folder)
            except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
                raise BootstrapError(
                    "the toolchain in the store cannot be unpacked: %s" % error, hint=_AGAIN
                ) from error
            finally:
                shutil.rmtree(making, ignore_errors=True)
    return folder


def uv_in(wheels: str) -> str:
    """Return the path of uv among unpacked wheels. Raises `BootstrapError`."""
    found = glob.glob(os.path.join(wheels, "uv-*.data", "scripts", "uv"))
    if not found:
        raise BootstrapError("the toolchain in the store has no uv", hint=_AGAIN)
    return found[0]
