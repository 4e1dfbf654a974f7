"""Packages made to be awkward: link scripts, activation, conflicts, virtual packages, lies.

The table of them is in ``docs/how-to/local-channel.md``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from mfenv.testing.channel.package import (
    PLACEHOLDER,
    CondaPackage,
    Entry,
    FileMode,
    RegularFile,
    SoftLink,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


def _generic(
    name: str,
    version: str = "1.0",
    *,
    files: Mapping[str, Entry] | None = None,
    depends: Iterable[str] = (),
    constrains: Iterable[str] = (),
) -> CondaPackage:
    """Make a ``noarch: generic`` package, with one file of its own at least."""
    own = {f"share/{name}.txt": RegularFile(f"{name} {version}\n".encode())}
    return CondaPackage(
        name=name,
        version=version,
        build="0",
        subdir="noarch",
        noarch="generic",
        depends=tuple(depends),
        constrains=tuple(constrains),
        files={**own, **(files or {})},
    )


def _script(text: str) -> RegularFile:
    return RegularFile(text.encode(), 0o755)


def main_packages(subdir: str) -> tuple[CondaPackage, ...]:
    """Make the special packages of the main channel, for this machine's ``subdir``."""
    return (
        prefix_probe(subdir),
        _generic(
            "postlink",
            files={
                "bin/.postlink-post-link.sh": _script(
                    '#!/bin/sh\necho "$PKG_NAME $PKG_VERSION" > "$PREFIX/share/postlink-ran.txt"\n'
                ),
                "bin/.postlink-pre-unlink.sh": _script('#!/bin/sh\nrm -f "$PREFIX/share/postlink-ran.txt"\n'),
            },
        ),
        _generic(
            "postlink-fails",
            files={
                "bin/.postlink-fails-post-link.sh": _script(
                    '#!/bin/sh\necho "this post-link script fails on purpose" >&2\nexit 3\n'
                )
            },
        ),
        _generic(
            "activates",
            files={
                "etc/conda/activate.d/activates.sh": RegularFile(
                    b'export MFENV_TEST_ACTIVATED=1\nexport MFENV_TEST_ACTIVATED_PREFIX="$CONDA_PREFIX"\n'
                ),
                "etc/conda/deactivate.d/activates.sh": RegularFile(
                    b"unset MFENV_TEST_ACTIVATED MFENV_TEST_ACTIVATED_PREFIX\n"
                ),
                "etc/conda/env_vars.d/activates.json": RegularFile(
                    json.dumps({"MFENV_TEST_VARIABLE": "from a package"}).encode()
                ),
            },
        ),
        _generic("clobber-left", files={"share/clobbered.txt": RegularFile(b"left\n")}),
        _generic("clobber-right", files={"share/clobbered.txt": RegularFile(b"right\n")}),
        _generic("limited", "1.0"),
        _generic("limited", "2.0"),
        _generic("limits", constrains=["limited >=2"]),
        _generic("violates-limits", depends=["limits", "limited <2"]),
        _generic("quarrel-base", "1.0"),
        _generic("quarrel-base", "2.0"),
        _generic("quarrel-left", depends=["quarrel-base 1.*"]),
        _generic("quarrel-right", depends=["quarrel-base 2.*"]),
        _generic("needs-missing", depends=["this-package-does-not-exist >=1"]),
        _generic("needs-cuda", depends=["__cuda >=12"]),
        _generic("needs-new-glibc", depends=["__glibc >=2.99"]),
    )


def prefix_probe(subdir: str) -> CondaPackage:
    """Make ``prefixprobe``: files that hold the prefix as text and as binary, and links."""
    prefix = PLACEHOLDER.encode()
    binary = b"\x00probe\x00" + prefix + b"/share/prefixprobe.txt\x00tail-intact\x00"
    return CondaPackage(
        name="prefixprobe",
        version="1.0",
        build="0",
        subdir=subdir,
        files={
            "bin/prefixprobe": RegularFile(b"#!/bin/sh\necho " + prefix + b"\n", 0o755, FileMode.TEXT),
            "share/prefixprobe.txt": RegularFile(b"prefix=" + prefix + b"\n", 0o644, FileMode.TEXT),
            "share/prefixprobe.bin": RegularFile(binary, 0o644, FileMode.BINARY),
            "share/prefixprobe-link.txt": SoftLink("prefixprobe.txt"),
        },
    )


def extra_packages() -> tuple[CondaPackage, ...]:
    """Make the packages of the second channel: a name of its own, and a newer one of the main channel."""
    return (
        _generic("only-extra"),
        _generic("itsdangerous", "99.0"),
        _generic("limited", "3.0"),
    )


def tampered_packages() -> tuple[CondaPackage, ...]:
    """Make the packages of the channel whose files are changed after they were indexed."""
    return (_generic("tampered"), _generic("untouched"))


def replacement_for_tampered() -> CondaPackage:
    """Make what is put in place of ``tampered``: a good archive, but not the one in the index."""
    return _generic("tampered", files={"share/tampered.txt": RegularFile(b"not what was indexed\n")})


def hostile_packages() -> tuple[CondaPackage, ...]:
    """Make packages that try to write outside of the prefix."""
    return (_escaping_paths(), _escaping_entry_point())


def _escaping_paths() -> CondaPackage:
    """Make a package whose ``paths.json`` names a file beside the prefix, in a folder called as its stem.

    Unpacked in a package cache, the name leads back into the package: the file to be linked exists, and
    an installer that does not check names succeeds.
    """
    good = _generic("escaping-paths")
    content = next(entry.content for entry in good.files.values() if isinstance(entry, RegularFile))
    row = {
        "_path": f"../{good.stem}/share/escaping-paths.txt",
        "path_type": "hardlink",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_in_bytes": len(content),
    }
    return replace(good, extra_paths=(row,))


def _escaping_entry_point() -> CondaPackage:
    return CondaPackage(
        name="escaping-entry-point",
        version="1.0",
        build="0",
        subdir="noarch",
        noarch="python",
        depends=("python",),
        entry_points=("../../escape = os:getcwd",),
        files={"site-packages/escaping_entry_point.py": RegularFile(b"VALUE = 1\n")},
    )


def time_zones(wheel: Path) -> CondaPackage:
    """Make ``tzdata`` from the PyPI distribution of that name, unpacked in ``wheel``."""
    root = wheel / "tzdata" / "zoneinfo"
    files = {
        f"share/zoneinfo/{file.relative_to(root).as_posix()}": RegularFile(file.read_bytes())
        for file in sorted(root.rglob("*"))
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    return _generic("tzdata", "2025b", files=files)


def certificates(wheel: Path) -> CondaPackage:
    """Make ``ca-certificates`` from the PyPI distribution ``certifi``, unpacked in ``wheel``."""
    bundle = RegularFile((wheel / "certifi" / "cacert.pem").read_bytes())
    files: dict[str, Entry] = {"ssl/cacert.pem": bundle, "ssl/cert.pem": SoftLink("cacert.pem")}
    return _generic("ca-certificates", "2025.1.1", files=files, depends=["__unix"])


def typing_extensions_alias(version: str) -> CondaPackage:
    """Make ``typing-extensions``, which on conda-forge only depends on ``typing_extensions``."""
    return _generic("typing-extensions", version, depends=[f"typing_extensions =={version}"])
