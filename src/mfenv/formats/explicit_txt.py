"""Lists of package files (``@EXPLICIT``), as ``conda list --explicit`` and conda-lock write them.

The format is that of CEP 23: a URL or a path on each line, perhaps with ``#`` and an md5, or a sha256 (which may have
``sha256:`` before it). conda-lock puts PyPI packages into comments, ``# pip name @ url#sha256=...``; conda reads
over them, but who installs such a file with conda-lock gets them, so they are read. py-rattler reads such files too,
but not the digests' newer form nor the comments, and its errors have no line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mfenv.domain.artifact import Artifact
from mfenv.domain.base import LockFileContent, LockFilePypiPackage
from mfenv.domain.channel import Channel
from mfenv.domain.platform import Platform
from mfenv.errors import LockError
from mfenv.formats import package_file
from mfenv.formats.package_file import shown as safe
from mfenv.formats.pypi_file import pypi_package

_FILE = re.compile(r"(?P<address>[^#]+)(?:#(?P<digest>.*))?")
_DIGEST = re.compile(r"(?P<md5>[0-9a-f]{32})|(?:sha256:)?(?P<sha256>[0-9a-f]{64})|md5:(?P<named>[0-9a-f]{32})")
_PIP = re.compile(r"#\s*pip\s+(?P<name>\S+)\s+@\s+(?P<url>\S+)(?P<options>.*)")
_HASH = re.compile(r"--hash=(?P<kind>sha256|md5):(?P<digest>\S+)")
_PLATFORM = re.compile(r"#\s*platform:\s*(?P<platform>\S+)")
_SUFFIXES = (".conda", ".tar.bz2")


def load(text: str, *, shown: str, folder: Path, platform: Platform) -> LockFileContent:
    """Read the package files of a list for `platform`; paths are relative to `folder`.

    Raises `LockError` naming line and column, and for what is made for another platform.
    """
    conda: dict[str, Artifact] = {}
    pypi: dict[str, LockFilePypiPackage] = {}
    for where, line in _lines(text, shown):
        if line == "@EXPLICIT":
            continue
        if made_for := _PLATFORM.fullmatch(line):
            _check_platform(made_for["platform"], platform, where)
        elif pip := _PIP.fullmatch(line):
            package = _pypi(pip, where, folder)
            if pypi.setdefault(package.name, package) != package:
                raise LockError(f"{where}: `{package.name}` is there twice, with different files")
        elif not line.startswith("#"):
            found = _conda(line, where, folder)
            package_file.check_subdir(found, platform, where=where)
            if conda.setdefault(found.file_name, found) != found:
                raise LockError(f"{where}: `{safe(found.file_name)}` is there twice, from different places")
    places = [package_file.place_of(found.url) for found in conda.values()]
    return LockFileContent(
        conda=tuple(conda.values()),
        pypi=tuple(pypi.values()),
        channels=tuple(dict.fromkeys(Channel(location=channel) for channel, subdir in places if subdir)),
    )


def _lines(text: str, shown: str) -> Iterator[tuple[str, str]]:
    """Yield the lines that are not empty, each with its place."""
    for number, line in enumerate(text.splitlines(), start=1):
        if bare := line.strip():
            yield f"{shown}:{number}:{line.index(bare[0]) + 1}", bare


def _check_platform(made_for: str, platform: Platform, where: str) -> None:
    if made_for != platform.value:
        raise LockError(
            f"{where}: the list is for {safe(made_for)}, and the step runs on {platform.value}",
            hint=f"Make a list for {platform.value}, or let the step run on {safe(made_for)}",
        )


def _conda(line: str, where: str, folder: Path) -> Artifact:
    found = _FILE.fullmatch(line)
    address = found["address"].strip() if found else ""
    if not address.endswith(_SUFFIXES):
        raise LockError(
            f"{where}: `{safe(line)}` is not the address of a conda package",
            hint="Each line has a URL or a path that ends in `.conda` or `.tar.bz2`, perhaps with `#` and a digest",
        )
    assert found is not None
    sha256 = md5 = None
    if found["digest"] is not None:
        digest = _DIGEST.fullmatch(found["digest"].strip().lower())
        if digest is None:
            raise LockError(
                f"{where}: `{safe(found['digest'])}` is not a digest",
                hint="Behind `#` stands an md5, or `sha256:` with a sha256",
            )
        sha256, md5 = digest["sha256"], digest["md5"] or digest["named"]
    return package_file.artifact(address, folder=folder, where=where, sha256=sha256, md5=md5)


def _pypi(pip: re.Match[str], where: str, folder: Path) -> LockFilePypiPackage:
    digests = {found["kind"]: found["digest"] for found in _HASH.finditer(pip["options"])}
    return pypi_package(
        pip["name"].partition("[")[0],
        "",
        pip["url"],
        folder=folder,
        where=where,
        sha256=digests.get("sha256"),
        md5=digests.get("md5"),
    )
