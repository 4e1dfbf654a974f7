"""The shared libraries that interpreters and wheels need, as conda packages with conda's names.

Linux only: on macOS an interpreter is packaged alone, and finds its libraries where it was built.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mfenv.testing.channel import elf
from mfenv.testing.channel.package import CondaPackage, RegularFile, SoftLink, build_string
from mfenv.testing.channel.subdirs import system_floor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mfenv.testing.channel.interpreters import Interpreter

# glibc and the loader are the machine's own, always. So are libraries of a desktop, which conda took
# from the system for years: `tk` needs them, and works only where they are.
_SYSTEM = re.compile(
    r"""linux-vdso|ld-linux|ld64|ld-musl
      | lib(c|m|dl|rt|pthread|util|resolv|anl|mvec|nsl|nss_\w+|thread_db|BrokenLocale)\.
      | libc\.musl|lib(X\w+|xcb|fontconfig|freetype|png16|brotli\w+|bsd|md)[-.]
      | libpython""",
    re.VERBOSE,
)

# conda's name of a library, by the start of its soname; the version where the file name has an older scheme.
_CONDA_NAMES: tuple[tuple[str, str, str | None], ...] = (
    ("libssl.", "openssl", None),
    ("libcrypto.", "openssl", None),
    ("libffi.so.8", "libffi", "3.4.4"),
    ("libffi.so.7", "libffi", "3.3"),
    ("libffi.so.6", "libffi", "3.2.1"),
    ("libbz2.", "bzip2", "1.0.8"),
    ("liblzma.", "liblzma", None),
    ("libz.", "libzlib", None),
    ("libsqlite3.", "libsqlite", None),
    ("libtinfo", "ncurses", None),
    ("libncurses", "ncurses", None),
    ("libpanel", "ncurses", None),
    ("libreadline.", "readline", None),
    ("libuuid.", "libuuid", "2.38.1"),
    ("libexpat.", "libexpat", None),
    ("libtcl", "tk", "8.6.13"),
    ("libtk", "tk", "8.6.13"),
    ("libcrypt.so.1", "libxcrypt", "4.4.33"),
    ("libcrypt.so.2", "libxcrypt", "4.4.33"),
    ("libgcc_s.", "libgcc", "14.2.0"),
    ("libstdc++.", "libstdcxx", "14.2.0"),
    ("libgomp.", "libgomp", "14.2.0"),
    ("libzstd.", "zstd", None),
    ("libgdbm", "gdbm", None),
    ("libmpdec.", "mpdecimal", None),
)

# Libraries that compilers bring: never changed, as a second copy with another RPATH would be loaded beside.
COMPILER_RUNTIME = {"libgcc": "libgcc_s.so.1", "libstdcxx": "libstdc++.so.6", "libgomp": "libgomp.so.1"}

# Extension modules that serve tests, or need libraries that nothing else does.
_LEFT_OUT = re.compile(r"^(_test|_xxtest|xxlimited|xxsubtype|_ctypes_test|nis\.|_gdbm\.|_dbm\.|.*_failed)")


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeLibrary:
    """A conda package of shared libraries: its files by soname."""

    name: str
    version: str
    files: Mapping[str, Path]

    @property
    def pin(self) -> str:
        """The requirement on it of what was linked to it: not older, and of the same major version."""
        major = int(self.version.split(".")[0])
        return f"{self.name} >={self.version},<{major + 1}.0a0"


def is_kept_extension(name: str) -> bool:
    """Tell whether the extension module with file name ``name`` goes into the package ``python``."""
    return not _LEFT_OUT.match(name)


def libraries_of(interpreter: Interpreter) -> tuple[NativeLibrary, ...]:
    """Find the libraries that ``interpreter`` and its extension modules need, by conda package."""
    dynload = interpreter.platstdlib / "lib-dynload"
    roots = [path for path in sorted(dynload.glob("*.so")) if is_kept_extension(path.name)]
    roots += [interpreter.executable, *([interpreter.libpython] if interpreter.libpython else [])]
    return group_libraries(_closure(roots), interpreter.library_versions)


def compiler_runtime() -> tuple[NativeLibrary, ...]:
    """Find the libraries of the C and C++ compilers that compiled wheels expect; empty where none is."""
    found = {soname: elf.find_system_library(soname) for soname in COMPILER_RUNTIME.values()}
    return group_libraries({soname: path for soname, path in found.items() if path}, {})


def _closure(roots: Sequence[Path]) -> dict[str, Path]:
    located = elf.resolve(roots)
    closure: dict[str, Path] = {}
    frontier = list(roots)
    while frontier:
        sonames = sorted(elf.needed(frontier) - closure.keys())
        new = {name: located[name] for name in sonames if name in located and not _SYSTEM.match(name)}
        closure.update(new)
        frontier = list(new.values())
    return closure


def group_libraries(files: Mapping[str, Path], versions: Mapping[str, str]) -> tuple[NativeLibrary, ...]:
    """Put sonames into conda packages. ``versions`` is by conda name, and has precedence."""
    grouped: dict[str, dict[str, Path]] = {}
    fixed: dict[str, str | None] = {}
    for soname, path in sorted(files.items()):
        name, version = conda_name(soname)
        grouped.setdefault(name, {})[soname] = path
        fixed[name] = version
    return tuple(
        NativeLibrary(
            name=name,
            version=versions.get(name) or fixed[name] or _version_in_file_name(members.values()),
            files=members,
        )
        for name, members in sorted(grouped.items())
    )


def conda_name(soname: str) -> tuple[str, str | None]:
    """Give conda's name of the package with library ``soname``, and its version where that is fixed.

    >>> conda_name("libz.so.1"), conda_name("libfoo.so.3")
    (('libzlib', None), ('libfoo', None))
    """
    for start, name, version in _CONDA_NAMES:
        if soname.startswith(start):
            return name, version
    return soname.split(".so")[0].lower(), None


def _version_in_file_name(paths: Iterable[Path]) -> str:
    """Give the version at the end of the real file's name, as in ``libz.so.1.2.13``."""
    found = [re.search(r"\.so\.([\d.]*\d)", path.resolve().name) for path in paths]
    return max((match.group(1) for match in found if match), default="1")


def library_package(library: NativeLibrary, depends: Sequence[str], subdir: str) -> CondaPackage:
    """Make the conda package of ``library``: its files, finding each other, with the usual links."""
    files: dict[str, RegularFile | SoftLink] = {}
    with TemporaryDirectory() as scratch:
        copies = []
        for soname, path in library.files.items():
            copy = Path(scratch, soname)
            copy.write_bytes(path.read_bytes())
            copies.append(copy)
        if library.name not in COMPILER_RUNTIME:
            elf.set_rpath(copies, "$ORIGIN")
        for copy in copies:
            real = library.files[copy.name].resolve().name
            files[f"lib/{real}"] = RegularFile(copy.read_bytes(), 0o755)
            for alias in {copy.name, copy.name.split(".so")[0] + ".so"} - {real}:
                files[f"lib/{alias}"] = SoftLink(real)
    requirements = (*depends, system_floor(subdir))
    sources = [str(path) for path in library.files.values()]
    return CondaPackage(
        name=library.name,
        version=library.version,
        build=build_string(library.name, library.version, requirements, sources),
        subdir=subdir,
        depends=requirements,
        files=files,
    )


def requirements_among(library: NativeLibrary, others: Iterable[NativeLibrary]) -> tuple[str, ...]:
    """Give what ``library`` needs of ``others``, as requirements of its conda package."""
    names = elf.needed(list(library.files.values()))
    return tuple(sorted(other.pin for other in others if other.name != library.name and names & other.files.keys()))
