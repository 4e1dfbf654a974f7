"""ELF files: what they need, where it is, and where they look for it.

``patchelf`` changes them and tells what they need; the system's ``ldd`` tells where the loader finds it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ELF_MAGIC = b"\x7fELF"

_RESOLVED = re.compile(r"^\s*(?P<soname>\S+) => (?P<path>/\S+)", re.MULTILINE)
_CACHED = re.compile(r"^\s*(?P<soname>\S+) \((?P<kind>[^)]*)\) => (?P<path>/\S+)", re.MULTILINE)


def is_elf(path: Path) -> bool:
    """Tell whether the regular file ``path`` is an ELF file."""
    with path.open("rb") as file:
        return file.read(4) == ELF_MAGIC


def set_rpath(paths: Iterable[Path], rpath: str) -> None:
    """Make the loader look in ``rpath`` first for what ``paths`` need; the files are changed in place."""
    files = [str(path) for path in paths]
    if files:
        subprocess.run([_patchelf(), "--set-rpath", rpath, *files], check=True, capture_output=True)


def needed(paths: Sequence[Path]) -> frozenset[str]:
    """Give the sonames that ``paths`` name as needed, without those needed by what they need."""
    names: set[str] = set()
    for path in paths:
        answer = subprocess.run([_patchelf(), "--print-needed", str(path)], capture_output=True, text=True, check=True)
        names.update(answer.stdout.split())
    return frozenset(names)


def resolve(paths: Sequence[Path]) -> dict[str, Path]:
    """Give the file that the loader takes for each soname that ``paths`` need, directly or not."""
    if not paths:
        return {}
    # A file that is not dynamic makes ldd end with 1, and says nothing of the others.
    answer = subprocess.run(["ldd", *map(str, paths)], capture_output=True, text=True, check=False)
    return {match["soname"]: Path(match["path"]) for match in _RESOLVED.finditer(answer.stdout)}


def find_system_library(soname: str) -> Path | None:
    """Find ``soname`` among the libraries of this machine's own architecture."""
    program = shutil.which("ldconfig") or shutil.which("ldconfig", path="/sbin:/usr/sbin")
    if program is None:
        return None
    answer = subprocess.run([program, "-p"], capture_output=True, text=True, check=False)
    for match in _CACHED.finditer(answer.stdout):
        # Libraries for 32 bits stand in the same list, without a word such as `x86-64` or `AArch64`.
        if match["soname"] == soname and ("64" in match["kind"]):
            return Path(match["path"])
    return None


@cache
def _patchelf() -> str:
    beside = Path(sys.executable).parent
    program = shutil.which("patchelf", path=str(beside)) or shutil.which("patchelf")
    if program is None:
        raise FileNotFoundError("`patchelf` is not installed; it comes with the extra `testing`")
    return program
