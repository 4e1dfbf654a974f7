"""The CPython interpreters of this machine, and where each keeps its parts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

OLDEST, NEWEST = Version("3.8"), Version("3.14")

# Asks for the scheme `posix_prefix` by name: Debian's default scheme is its own.
_PROBE = """
import json, os, platform, sys, sysconfig
paths = sysconfig.get_paths("posix_prefix", vars={
    "base": sys.base_prefix, "platbase": sys.base_exec_prefix,
    "installed_base": sys.base_prefix, "installed_platbase": sys.base_exec_prefix})
config = sysconfig.get_config_var
libpython = os.path.join(config("LIBDIR") or "", config("INSTSONAME") or "")
beside = os.path.join(sys.base_prefix, "lib", config("INSTSONAME") or "")
versions = {}
def is_library(path):
    return os.path.isfile(path) and (".so" in path or ".dylib" in path)
def note(name, module, attribute):
    try:
        versions[name] = str(getattr(__import__(module), attribute))
    except Exception:
        pass
note("libsqlite", "sqlite3", "sqlite_version")
note("openssl", "ssl", "OPENSSL_VERSION")
note("libzlib", "zlib", "ZLIB_RUNTIME_VERSION")
note("libexpat", "pyexpat", "EXPAT_VERSION")
print(json.dumps({
    "implementation": platform.python_implementation(),
    "version": ".".join(map(str, sys.version_info[:3])) + (
        "" if sys.version_info[3] == "final" else sys.version_info[3][0] + str(sys.version_info[4])),
    "free_threaded": bool(config("Py_GIL_DISABLED")),
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "prefix": sys.base_prefix, "stdlib": paths["stdlib"], "platstdlib": paths["platstdlib"],
    "include": paths["include"],
    "libpython": next((path for path in (libpython, beside) if is_library(path)), None),
    "versions": versions}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """An installed CPython. ``library_versions`` is what it says of the libraries that it is linked to."""

    version: str
    executable: Path
    prefix: Path
    stdlib: Path
    platstdlib: Path
    include: Path
    libpython: Path | None
    library_versions: Mapping[str, str]

    @property
    def minor(self) -> str:
        """Major and minor version, as in ``3.12``."""
        return ".".join(self.version.split(".")[:2])

    @property
    def abi(self) -> str:
        """The tag of its ABI, as in ``cp312`` (PEP 425)."""
        return "cp" + self.minor.replace(".", "")


def find_interpreters() -> tuple[Interpreter, ...]:
    """Find one CPython for each minor version, oldest first.

    Looks at the interpreter that runs this (a virtual environment's base) and beside it, ``PATH``, pyenv's and uv's
    folders. The running one is preferred for its minor version, elsewhere the newest patch release.
    """
    running = probe(Path(sys.executable))
    with ThreadPoolExecutor() as pool:
        found = [found for found in pool.map(probe, sorted(_candidates())) if found is not None]
    best: dict[str, Interpreter] = {}
    for interpreter in found:
        known = best.get(interpreter.minor)
        if known is None or Version(interpreter.version) > Version(known.version):
            best[interpreter.minor] = interpreter
    if running is not None:
        best[running.minor] = running
    return tuple(sorted(best.values(), key=lambda interpreter: Version(interpreter.version)))


def probe(executable: Path) -> Interpreter | None:
    """Ask ``executable`` where its parts are; None when it is no CPython that a channel can be made of."""
    try:
        answer = subprocess.run(
            [str(executable), "-I", "-c", _PROBE], capture_output=True, text=True, timeout=60, check=True
        )
        facts = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, json.JSONDecodeError):
        # A pyenv shim of a version that is not chosen ends here.
        return None
    version = Version(facts["version"])
    supported = OLDEST <= Version(f"{version.major}.{version.minor}") <= NEWEST
    if facts["implementation"] != "CPython" or facts["free_threaded"] or not supported:
        return None
    return Interpreter(
        version=facts["version"],
        executable=Path(facts["executable"]),
        prefix=Path(facts["prefix"]),
        stdlib=Path(facts["stdlib"]),
        platstdlib=Path(facts["platstdlib"]),
        include=Path(facts["include"]),
        libpython=Path(facts["libpython"]) if facts["libpython"] else None,
        library_versions={name: _digits(text) for name, text in facts["versions"].items()},
    )


def choose_few(interpreters: Iterable[Interpreter], running: str) -> tuple[Interpreter, ...]:
    """Keep the interpreter of minor version ``running``, and the next older and the next newer."""
    ordered = sorted(interpreters, key=lambda interpreter: Version(interpreter.version))
    at = next((i for i, interpreter in enumerate(ordered) if interpreter.minor == running), 0)
    return tuple(ordered[max(0, at - 1) : at + 2])


def _digits(text: str) -> str:
    found = re.search(r"\d+(\.\d+)+[a-z]?", text)
    return found.group() if found else "0"


def _candidates() -> Iterator[Path]:
    minors = [f"3.{minor}" for minor in range(OLDEST.minor, NEWEST.minor + 1)]
    for minor in minors:
        for folder in os.get_exec_path():
            if shutil.which(f"python{minor}", path=folder):
                yield Path(folder, f"python{minor}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    managed = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    # Version managers put versions side by side, wherever that is.
    beside = Path(sys.base_prefix).parent
    for root in (pyenv / "versions", managed, beside):
        yield from root.glob("*/bin/python3.[0-9]")
        yield from root.glob("*/bin/python3.[0-9][0-9]")
