"""pixi's lock file, versions 6 and 7: py-rattler reads it, in the helper process; here its answer becomes values.

The answer (see ``pixi_lock`` in `mfenv.resolve.backends.rattler_worker`) has conda packages in install order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mfenv.domain.base import LockFileContent, LockFilePypiPackage
from mfenv.domain.channel import Channel, without_credentials
from mfenv.domain.platform import Platform
from mfenv.domain.resolved import ResolvedPackage
from mfenv.errors import LockError
from mfenv.formats import package_file
from mfenv.formats.fields import Fields
from mfenv.formats.lock_json import load_record
from mfenv.formats.package_file import shown as safe
from mfenv.formats.pypi_file import pypi_package

_DEFAULT = "default"
_VERSION = re.compile(r"^version:\s*(?P<version>\d{1,9})\s*$", re.MULTILINE)
_KNOWN = ("6", "7")


def check_version(text: str, *, shown: str) -> None:
    """Refuse a file of another version than 6 or 7. Raises `LockError`."""
    found = _VERSION.search(text)
    if found is None:
        raise LockError(f"{shown}: this is not a lock file of pixi's: it has no `version`")
    if found["version"] not in _KNOWN:
        line = text[: found.start()].count("\n") + 1
        raise LockError(
            f"{shown}:{line}:1: the version {found['version']} is not known here",
            hint="Known are the versions 6 and 7, which pixi has written since 0.39",
        )


def environment_of(groups: Sequence[str], *, shown: str) -> str:
    """Return the name of the one environment that is asked for: the default one when none is. Raises `LockError`."""
    if len(groups) > 1:
        raise LockError(
            f"{shown}: only one environment of a file can be taken, not {', '.join(f'`{safe(n)}`' for n in groups)}",
            hint="Name one of them, or an environment of pixi's that has the features of both",
        )
    return groups[0] if groups else _DEFAULT


def content(
    answer: Mapping[str, Any], *, shown: str, folder: Path, platform: Platform, environment: str
) -> LockFileContent:
    """Return what is locked in `environment` for `platform`; relative paths are relative to `folder`.

    Raises `LockError` naming the package at fault, or the environments and platforms there are.
    """
    _check_choice(answer, shown=shown, platform=platform, environment=environment)
    return LockFileContent(
        conda=tuple(_conda(row, shown, folder, platform) for row in answer["conda"]),
        pypi=_pypi(answer["pypi"], shown, folder),
        channels=tuple(dict.fromkeys(Channel(location=_location(text)) for text in answer["channels"])),
    )


def _check_choice(answer: Mapping[str, Any], *, shown: str, platform: Platform, environment: str) -> None:
    environments: Mapping[str, Sequence[str]] = answer["environments"]
    if environment not in environments:
        listed = ", ".join(f"`{safe(name)}`" for name in sorted(environments))
        raise LockError(
            f"{shown}: there is no environment `{safe(environment)}`", hint=f"The file has {listed or 'none'}"
        )
    platforms = environments[environment]
    if platform.value not in platforms:
        listed = ", ".join(f"`{safe(name)}`" for name in sorted(platforms))
        raise LockError(
            f"{shown}: the environment `{safe(environment)}` is not locked for {platform.value}"
            + (f", only for {listed}" if listed else ""),
            hint=f"Add {platform.value} to the platforms of the workspace and run `pixi lock`",
        )


def _location(url: str) -> str:
    return without_credentials(url).rstrip("/")


def _conda(row: Mapping[str, Any], shown: str, folder: Path, platform: Platform) -> ResolvedPackage:
    name = safe(str(row["name"]))
    where = f"{shown}: `{name}`"
    if row["record"] is None:
        raise LockError(
            f"{where} is built from source by pixi, and has no file that could be installed",
            hint="Publish it to a channel, or take it from one",
        )
    found = package_file.artifact(
        row["location"],
        folder=folder,
        where=where,
        sha256=row["sha256"],
        md5=row["md5"],
        size=row["size"],
    )
    package_file.check_subdir(found, platform, where=where)
    channel = _location(row["record"]["channel"] or package_file.place_of(found.url)[0])
    record = {**row["record"], "channel": channel}
    return ResolvedPackage(record=load_record(Fields(values=record, path=f"{shown}: {name}")), artifact=found)


def _pypi(rows: Sequence[Mapping[str, Any]], shown: str, folder: Path) -> tuple[LockFilePypiPackage, ...]:
    found: dict[str, LockFilePypiPackage] = {}
    for row in rows:
        where = f"{shown}: `{safe(row['name'])}`"
        package = pypi_package(
            row["name"],
            "" if row["version"] == "<dynamic>" else row["version"],
            row["location"],
            folder=folder,
            where=where,
            sha256=row["sha256"],
            md5=row["md5"],
            requires_python=row["requires_python"] or "",
        )
        if found.setdefault(package.name, package) != package:
            raise LockError(f"{where} is there twice, with different files")
    return tuple(found[name] for name in sorted(found))
