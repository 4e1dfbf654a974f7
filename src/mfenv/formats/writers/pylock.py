"""pylock.toml (PEP 751, version 1.0): the PyPI packages of one environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tomli_w

from mfenv.domain.difference import Side
from mfenv.domain.locked import LockedEnvironment, LockedPypiPackage
from mfenv.formats.writers.content import Content, lost_builds, lost_conda, lost_variables, published, python_of


def losses(lock: LockedEnvironment) -> Iterator[str]:
    """Say what the format cannot hold."""
    yield from lost_conda(lock)
    yield from lost_builds(lock)
    yield from lost_variables(lock)


def dump(content: Content) -> str:
    """Return the file."""
    lock = content.only
    written = published(lock)
    names = {package.name for package in written}
    # PEP 751 wants only what is in the file, and calls it no more than information.
    needs = {
        key[1]: [need.package[1] for need in found if need.package[0] is Side.PYPI and need.package[1] in names]
        for key, found in content.needs(lock).items()
        if key[0] is Side.PYPI
    }
    document: dict[str, Any] = {"lock-version": "1.0", "created-by": "metaflow-netflix-extensions"}
    if python := python_of(lock):
        document["requires-python"] = f"=={'.'.join(python.split('.')[:2])}.*"
    document["packages"] = [_package(package, content, needs) for package in written]
    return tomli_w.dumps(document)


def _package(package: LockedPypiPackage, content: Content, needs: Mapping[str, list[str]]) -> dict[str, Any]:
    artifact = package.artifact
    wheel: dict[str, Any] = {"name": artifact.file_name, "url": artifact.url}
    if artifact.size is not None:
        wheel["size"] = artifact.size
    wheel["hashes"] = {"sha256": artifact.sha256}
    row: dict[str, Any] = {"name": package.name, "version": package.version}
    if requires := content.metadata(package).requires_python:
        row["requires-python"] = requires
    if needs[package.name]:
        row["dependencies"] = [{"name": name} for name in needs[package.name]]
    return {**row, "wheels": [wheel]}
