"""Wheels that say "this version is there" and hold nothing: how a PyPI resolver is told what conda provides.

A resolver that is given ``name @ file:///stub.whl`` as a constraint takes that version as the only one, for whoever
needs it, and does not ask an index; also where no index has the project. The file is a wheel in the least form
of the binary distribution format (PEP 427); no library writes wheels without building them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from mfenv.resolve.pypi import Provided

_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def write_stubs(provided: Iterable[Provided], folder: Path) -> list[str]:
    """Write a stub for each distribution into `folder`; return the constraints that name them.

    A version that PyPI's rules do not allow (PEP 440) gets none: no resolver could take it.
    """
    from packaging.version import InvalidVersion, Version

    constraints = []
    for distribution in provided:
        try:
            version = str(Version(distribution.version))
        except InvalidVersion:
            continue
        constraints.append(f"{distribution.name} @ {_write(distribution.name, version, folder).as_uri()}")
    return constraints


def _write(name: str, version: str, folder: Path) -> Path:
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    members = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: mfenv\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for member, content in members.items():
            wheel.writestr(zipfile.ZipInfo(f"{stem}.dist-info/{member}", date_time=_LONG_AGO), content)
    return path
