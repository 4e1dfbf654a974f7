"""Compile the Python modules of an environment: run by that environment's own interpreter.

``python -I -S compile_all.py PREFIX OUTPUT`` writes an archive (.tar.gz) of ``__pycache__`` files, as they are found
below the prefix. Python 3.7 syntax, and nothing imported but the standard library: it is a program for any interpreter.

`compileall` serves only where the files are to lie beside their sources, and to be compared with these on each import;
here they travel, to where sources have other times. They are of the kind that is never compared (PEP 552): where they
go, sources do not change.
"""

import gzip
import importlib.util
import io
import multiprocessing
import os
import sys
import tarfile
from importlib import _bootstrap_external

_LEFT_OUT = frozenset({"__pycache__", "test", "tests", "idlelib", "lib2to3", "turtledemo"})
"""Folders that no task imports from, or only once."""


def sources(prefix: str) -> "list[str]":
    """Return the paths of all modules below the libraries of a prefix, relative to it, in order."""
    library = os.path.join(prefix, "lib", "python%d.%d" % sys.version_info[:2])
    found = []
    for folder, folders, names in os.walk(library):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        found += [os.path.relpath(os.path.join(folder, name), prefix) for name in names if name.endswith(".py")]
    return sorted(found)


def compiled(job: "tuple[str, str]") -> "tuple[str, bytes] | None":
    """Return the name and the content of a module's bytecode; None for what is no Python of this version."""
    prefix, path = job
    try:
        with open(os.path.join(prefix, path), "rb") as file:
            source = file.read()
        # The name is put right when it is imported.
        code = compile(source, path, "exec", dont_inherit=True)
        # PEP 552 has no public function for this.
        content = _bootstrap_external._code_to_hash_pyc(  # type: ignore[attr-defined]  # noqa: SLF001
            code, importlib.util.source_hash(source), False
        )
        return importlib.util.cache_from_source(path), bytes(content)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def main(prefix: str, output: str) -> None:
    """Write the archive."""
    jobs = [(prefix, path) for path in sources(prefix)]
    with open(output, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            with multiprocessing.Pool() as pool:
                for found in pool.imap(compiled, jobs, chunksize=16):
                    if found is None:
                        continue
                    member = tarfile.TarInfo(found[0])
                    member.size = len(found[1])
                    archive.addfile(member, io.BytesIO(found[1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
