"""Wheels that say "this version is there" and hold nothing: how a PyPI resolver is told what conda provides.

A resolver that is given ``name @ file:///stub.whl`` as a constraint takes that version as the only one, for whoever
needs it, and does not ask an index; also where no index has the project. The file is a wheel in the least form
of the binary distribution format (PEP 427); no library writes wheels without building them.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mfenv.resolve.pypi import Provided
from mfenv.resolve.versions import normal_version

_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def write_stubs(provided: Iterable[Provided], folder: Path) -> list[str]:
    """Write a stub for each distribution into `folder`; return the constraints that name them.

    A version that PyPI's rules do not allow (PEP 440) gets none: no resolver could take it.
    """
    constraints = []
    for distribution in provided:
        if version := normal_version(distribution.version):
            stub = _write(distribution.name, version, folder, distribution.extra_requirements or ())
            constraints.append(f"{distribution.name} @ {stub.as_uri()}")
    return constraints


def write_index(candidates: Mapping[str, Sequence[str]], folder: Path) -> None:
    """Make `folder` a package index (PEP 503) that has stubs of each project in all versions given."""
    for name, versions in candidates.items():
        page = folder / name
        page.mkdir(parents=True)
        stubs = [stub.name for stub in write_candidates({name: versions}, page)]
        links = "".join(f'<a href="{stub}">{stub}</a>\n' for stub in stubs)
        (page / "index.html").write_text(f"<!DOCTYPE html><html><body>\n{links}</body></html>\n")


def write_candidates(candidates: Mapping[str, Sequence[str]], folder: Path) -> list[Path]:
    """Write stubs of each project in all versions given into `folder`; return them in that order."""
    return [_write(name, version, folder, ()) for name, versions in candidates.items() for version in versions]


def _write(name: str, version: str, folder: Path, requirements: Sequence[str]) -> Path:
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    members = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{_extras(requirements)}",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: mfenv\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for member, content in members.items():
            wheel.writestr(zipfile.ZipInfo(f"{stem}.dist-info/{member}", date_time=_LONG_AGO), content)
    return path


def _extras(requirements: Sequence[str]) -> str:
    """Return the lines of METADATA for what extras need; what is needed in any case is conda's business."""
    extras = sorted({extra for text in requirements for extra in re.findall(r"extra\s*==\s*['\"]([^'\"]+)['\"]", text)})
    needed = [text for text in requirements if "extra" in text.partition(";")[2]]
    return "".join(
        [*(f"Provides-Extra: {extra}\n" for extra in extras), *(f"Requires-Dist: {text}\n" for text in needed)]
    )
