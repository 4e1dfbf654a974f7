"""Each file and each distribution of an environment belongs to one package.

Installers let the last one win, or the first, without a word; then one of the two packages is not what it says it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from mfenv.domain.locked import LockedEnvironment
from mfenv.errors import HydrationFailed
from mfenv.hydrate.wheels import WheelFiles


class OwnedFile(NamedTuple):
    """A path below the prefix, who brings it, and the digest of its content where that is known."""

    owner: str
    path: str
    digest: str | None


def check_ownership(lock: LockedEnvironment, prefix: Path, site_packages: str, wheels: Iterable[WheelFiles]) -> None:
    """Refuse an environment in which two packages bring different files under one name, or one distribution.

    Looks at the linked conda packages in `prefix` and at what `wheels` would add to it. Raises `HydrationFailed` naming
    the path and both owners.
    """
    _refuse_second_distributions(lock, prefix / site_packages)
    if found := contested(_owned(prefix, wheels)):
        path, first, second = found
        raise HydrationFailed(
            f"`{path}` would belong to two packages: {first} and {second}",
            hint="Ask for only one of the two, or for versions that do not get in each other's way",
        )


def contested(files: Iterable[OwnedFile]) -> tuple[str, str, str] | None:
    """Return the first path that two bring with different content, and both; None when there is none.

    Case does not tell paths apart: on some file systems it cannot.
    """
    seen: dict[str, OwnedFile] = {}
    for file in files:
        other = seen.setdefault(file.path.casefold(), file)
        if other.owner != file.owner and (file.digest is None or other.digest != file.digest):
            return file.path, other.owner, file.owner
    return None


def _owned(prefix: Path, wheels: Iterable[WheelFiles]) -> Iterator[OwnedFile]:
    for path in sorted((prefix / "conda-meta").glob("*.json")):
        record = json.loads(path.read_bytes())
        owner = f"conda's `{record['name']}`"
        digests = {entry["_path"]: entry.get("sha256") for entry in record.get("paths_data", {}).get("paths", ())}
        for file in record.get("files", ()):
            yield OwnedFile(owner, file, digests.get(file))
    for wheel in wheels:
        for file in wheel.digests:
            yield OwnedFile(f"PyPI's `{wheel.name}`", file, None)


def _refuse_second_distributions(lock: LockedEnvironment, site_packages: Path) -> None:
    """Refuse a project that a conda package has brought already, under whatever version or spelling."""
    there = {
        re.sub(r"[-_.]+", "-", path.name.split("-")[0]).lower(): path.name
        for path in site_packages.glob("*-info")
        if path.suffix in {".dist-info", ".egg-info"}
    }
    for package in lock.pypi:
        if package.name in there:
            raise HydrationFailed(
                f"`{package.name}` would be there twice: `{there[package.name]}` from conda "
                f"and {package.version} from PyPI",
                hint=f"Resolve again; if it stays so, ask for `{package.name}` with @conda",
            )
