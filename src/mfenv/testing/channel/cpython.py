"""An installed CPython as the conda package ``python``, and the ``python_abi`` that goes with it."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from packaging.version import Version

from mfenv.testing.channel import elf
from mfenv.testing.channel.native import is_kept_extension
from mfenv.testing.channel.package import (
    PLACEHOLDER,
    CondaPackage,
    Entry,
    SoftLink,
    build_string,
    read_tree,
)
from mfenv.testing.channel.subdirs import system_floor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mfenv.testing.channel.interpreters import Interpreter

_LEFT_OUT_FOLDERS = shutil.ignore_patterns(
    "test", "tests", "idle_test", "idlelib", "turtledemo", "__pycache__",
    "site-packages", "dist-packages", "*.a", "*.o", "*.pyc", "*.exe", "sitecustomize.py",
)  # fmt: skip

# The files in which a CPython says how it was built. Nothing else in its tree holds its prefix.
_BUILD_DESCRIPTIONS = ("_sysconfigdata*.py", "_sysconfig_vars*.json", "build-details.json", "config-*/*")

# What Debian does to `sysconfig`: its own scheme of folders, which only makes sense in /usr.
_DEBIAN_SCHEME = ("prefix_scheme = 'posix_local'", "prefix_scheme = 'posix_prefix'")

# Debian's `site` never looks into `site-packages`, and from 3.11 on it is frozen into the program, where
# it cannot be edited. What it still does is to import this.
_DEBIAN_SITE = """import os
import site
import sys

if sys.prefix == sys.base_prefix:
    _version = "python%d.%d" % sys.version_info[:2]
    site.addsitedir(os.path.join(sys.prefix, "lib", _version, "site-packages"))
"""


def python_package(interpreter: Interpreter, libraries: Sequence[str], subdir: str, scratch: Path) -> CondaPackage:
    """Make the package ``python`` of ``interpreter``, which needs the requirements ``libraries``.

    ``scratch`` is an empty folder of the caller's; the interpreter itself is only read.
    """
    text_prefixed = _stage(interpreter, scratch)
    depends = (*libraries, "tzdata", "ca-certificates", system_floor(subdir))
    minor = interpreter.minor
    return CondaPackage(
        name="python",
        version=interpreter.version,
        build=build_string("python", interpreter.version, depends) + "_cpython",
        subdir=subdir,
        depends=depends,
        constrains=(f"python_abi {minor}.* *_{interpreter.abi}",),
        license="Python-2.0",
        summary="CPython, repackaged",
        # conda-forge has this field since 3.12 only; installers know the path of older ones (CEP 17).
        site_packages_path=_site_packages(minor) if Version(minor) >= Version("3.12") else None,
        files={**read_tree(scratch, text_prefixed=text_prefixed), **_links(minor)},
    )


def python_abi_package(interpreter: Interpreter) -> CondaPackage:
    """Make ``python_abi``, which keeps compiled packages and ``python`` of one minor version together."""
    minor = interpreter.minor
    return CondaPackage(
        name="python_abi",
        version=minor,
        build=f"8_{interpreter.abi}",
        build_number=8,
        subdir="noarch",
        noarch="generic",
        constrains=(f"python {minor}.* *_cpython",),
    )


def _site_packages(minor: str) -> str:
    return f"lib/python{minor}/site-packages"


def _links(minor: str) -> dict[str, Entry]:
    return {f"bin/{name}": SoftLink(f"python{minor}") for name in ("python", "python3")}


def _stage(interpreter: Interpreter, root: Path) -> frozenset[str]:
    """Lay the interpreter out below ``root``; give the paths of text files that hold the placeholder."""
    minor = interpreter.minor
    stdlib = root / "lib" / f"python{minor}"
    shutil.copytree(interpreter.stdlib, stdlib, symlinks=False, ignore=_LEFT_OUT_FOLDERS)
    if interpreter.platstdlib != interpreter.stdlib:
        shutil.copytree(interpreter.platstdlib / "lib-dynload", stdlib / "lib-dynload", ignore=_LEFT_OUT_FOLDERS)
    for extension in (stdlib / "lib-dynload").glob("*.so"):
        if not is_kept_extension(extension.name):
            extension.unlink()
    if interpreter.include.is_dir():
        shutil.copytree(interpreter.include, root / "include" / f"python{minor}")
    (root / "bin").mkdir()
    shutil.copy2(interpreter.executable, root / "bin" / f"python{minor}")
    if interpreter.libpython:
        shutil.copy2(interpreter.libpython, root / "lib" / interpreter.libpython.name)
    (stdlib / "site-packages").mkdir()
    (stdlib / "site-packages" / "README.txt").write_text("Packages are installed here.\n")
    undo_debian(stdlib)
    prefixed = _mark_prefix(interpreter, stdlib)
    _relocate_elf(interpreter, root)
    _compile(interpreter, stdlib)
    for path in prefixed:
        _remove_bytecode(path)
    return frozenset(path.relative_to(root).as_posix() for path in prefixed)


def undo_debian(stdlib: Path) -> None:
    """Make a copy of Debian's standard library look for packages where every other one does."""
    if "dist-packages" not in (stdlib / "site.py").read_text(encoding="utf-8"):
        return
    (stdlib / "sitecustomize.py").write_text(_DEBIAN_SITE, encoding="utf-8")
    for file in (stdlib / "sysconfig.py", stdlib / "sysconfig" / "__init__.py"):
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace(*_DEBIAN_SCHEME), encoding="utf-8")


def _mark_prefix(interpreter: Interpreter, stdlib: Path) -> list[Path]:
    # A prefix such as /usr is part of many paths that have nothing to do with the interpreter: programs
    # of the build, and longer paths.
    pattern = re.compile(rf"(?<![\w/.]){re.escape(str(interpreter.prefix))}(?![\w.-])(?!/bin/(?!python))")
    marked = []
    for file in _build_descriptions(stdlib):
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        changed = pattern.sub(PLACEHOLDER, text)
        if changed != text:
            file.write_text(changed, encoding="utf-8")
            marked.append(file)
    return marked


def _build_descriptions(stdlib: Path) -> Iterable[Path]:
    for pattern in _BUILD_DESCRIPTIONS:
        yield from (file for file in sorted(stdlib.glob(pattern)) if file.is_file())


def _relocate_elf(interpreter: Interpreter, root: Path) -> None:
    """Make what is linked look beside itself for libraries, and forget the folder of the build."""
    minor = interpreter.minor
    libpython = [root / "lib" / interpreter.libpython.name] if interpreter.libpython else []
    groups = (
        (sorted((root / "lib" / f"python{minor}" / "lib-dynload").glob("*.so")), "$ORIGIN/../.."),
        ([root / "bin" / f"python{minor}"], "$ORIGIN/../lib"),
        (libpython, "$ORIGIN"),
    )
    for files, rpath in groups:
        linked = [file for file in files if elf.is_elf(file)]
        for file in linked:
            file.chmod(0o755)
        elf.set_rpath(linked, rpath)
        for file in linked:
            content = file.read_bytes()
            changed = forget_prefix(content, str(interpreter.prefix))
            if changed != content:
                file.write_bytes(changed)


def forget_prefix(content: bytes, prefix: str) -> bytes:
    """Overwrite ``prefix`` in a binary file with a path of the same length that is nowhere.

    A CPython falls back to the prefix that is compiled into it when it does not find its library; were
    the original still there, an environment that lacks files would seem to work. The string is too short
    for a placeholder. Only the part before the last folder is changed, since linkers let other strings
    share the tail of a longer one, the version number for one. A prefix whose parent is too short to
    hold the replacement, such as /usr/local, stays.

    >>> forget_prefix(b"x/home/someone/versions/3.12.1/lib", "/home/someone/versions/3.12.1")
    b'x/nonexistent__________/3.12.1/lib'
    """
    parent, _, last = prefix.rpartition("/")
    nowhere = "/nonexistent"
    if len(parent) < len(nowhere):
        return content
    replacement = nowhere.ljust(len(parent), "_") + "/" + last
    return content.replace(prefix.encode(), replacement.encode())


def compile_command(interpreter: Interpreter, folder: Path, shown: str) -> list[str]:
    """Give the command that writes the bytecode of all below ``folder``, which will be called ``shown``.

    The bytecode does not depend on dates: it is of PEP 552's unchecked kind, as conda-forge's.
    """
    # Python 3.8 cannot strip the folder from the names in tracebacks, only set them.
    where = ["-d", shown] if interpreter.minor == "3.8" else ["-s", str(folder), "-p", shown]
    return [
        str(interpreter.executable), "-I", "-m", "compileall", "-q", "-f",
        "--invalidation-mode", "unchecked-hash", *where, str(folder),
    ]  # fmt: skip


def _compile(interpreter: Interpreter, stdlib: Path) -> None:
    # Some files of the library are not meant to compile (lib2to3's), so its exit code says nothing.
    command = compile_command(interpreter, stdlib, f"/lib/python{interpreter.minor}")
    subprocess.run(command, check=False, capture_output=True)


def _remove_bytecode(source: Path) -> None:
    for file in (source.parent / "__pycache__").glob(f"{source.stem}.*.pyc"):
        file.unlink()
