"""Which versions of a package there are: on the channels, and on the package indexes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from mfenv.app.wiring import Wiring
from mfenv.domain.channel import Channel, without_credentials
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import EnvironmentsError, LockError, ResolutionFailed
from mfenv.formats.simple_index import IndexFile
from mfenv.resolve.wheel_tags import wheel_tags


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One version of a package that can be had."""

    version: str
    side: str
    """``conda`` or ``pypi``."""
    source: str
    """The channel or index."""
    builds: tuple[str, ...] = ()
    """conda: builds and their subdirs, best first; PyPI: files that can be installed on the platform."""
    size: int | None = None
    """Bytes of the best one, where that is known."""
    time: str = ""
    """When the best one was published (ISO 8601), where that is known."""
    note: str = ""
    """What speaks against it: ``yanked``, ``source only``, ``not for Python 3.11``."""


def on_channels(wiring: Wiring, wanted: MatchSpec, channels: Sequence[Channel], platform: Platform) -> list[Release]:
    """Return the versions that channels have, newest first. Raises `ResolutionFailed` when one cannot be read."""
    spec = EnvironmentSpec(python=None, conda=(wanted,), channels=tuple(channels) or wiring.settings.channels)
    request = ResolutionRequest(spec=spec, target=wiring.settings.target(platform))
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in wiring.distributions.search(request):
        found.setdefault((row["version"], row["channel"]), []).append(row)
    return [
        Release(
            version=version,
            side="conda",
            source=without_credentials(channel).rstrip("/"),
            builds=tuple(f"{row['subdir']}/{row['build']}" for row in rows),
            size=rows[0]["size"],
            time=rows[0]["time"] or "",
        )
        for (version, channel), rows in found.items()
    ]


def on_indexes(wiring: Wiring, wanted: Requirement, platform: Platform, python: str) -> list[Release]:
    """Return the versions that the indexes have, newest first. Raises `ResolutionFailed` when one cannot be asked.

    The first index that has the project counts, as in a resolution.
    """
    for url in _indexes(wiring):
        files = wiring.index_pages.files(url, wanted.name)
        if files:
            return _releases(files, wanted, without_credentials(url), platform, python, wiring)
    return []


def _indexes(wiring: Wiring) -> list[str]:
    """Return the indexes in their order; the last is the one that the settings, or uv, take for the default."""
    settings = wiring.settings
    last = str(settings.default_index) if settings.default_index else wiring.index_pages.default_of_uv()
    return [*map(str, settings.indexes), *([last] if last else [])]


def _releases(
    files: Iterable[IndexFile], wanted: Requirement, source: str, platform: Platform, python: str, wiring: Wiring
) -> list[Release]:
    tags = set(wheel_tags(wiring.settings.target(platform), python))
    allowed = SpecifierSet(wanted.specifier)
    by_version: dict[Version, list[tuple[IndexFile, bool]]] = {}
    for file in files:
        parsed = _parsed(file.name)
        if parsed and (not wanted.specifier or allowed.contains(parsed[0], prereleases=True)):
            fits = parsed[1] is not None and bool({str(tag) for tag in parsed[1]} & tags)
            by_version.setdefault(parsed[0], []).append((file, fits))
    return [_release(version, rows, source, python) for version, rows in sorted(by_version.items(), reverse=True)]


def _parsed(name: str) -> tuple[Version, Iterable[object] | None] | None:
    try:
        if name.endswith(".whl"):
            _, version, _, tags = parse_wheel_filename(name)
            return version, tags
        return parse_sdist_filename(name)[1], None
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def _release(version: Version, rows: Sequence[tuple[IndexFile, bool]], source: str, python: str) -> Release:
    wheels = [file for file, fits in rows if fits]
    best = (wheels or [file for file, _ in rows])[0]
    notes = []
    if all(file.is_yanked for file, _ in rows):
        notes.append("yanked")
    if not wheels:
        has_source = any(not file.name.endswith(".whl") for file, _ in rows)
        notes.append("source only" if has_source else "not for this platform")
    if not _admits(best.requires_python, python):
        notes.append(f"not for Python {python}")
    return Release(
        version=str(version),
        side="pypi",
        source=source,
        builds=tuple(file.name for file in wheels),
        size=best.size,
        time=best.time,
        note=", ".join(notes),
    )


def _admits(requires: str, python: str) -> bool:
    try:
        return not requires or SpecifierSet(requires).contains(python, prereleases=True)
    except InvalidSpecifier:
        return True


Answer = tuple[list[Release], EnvironmentsError | None]


def tried(look: Any) -> Answer:
    """Return what a side has, or why it could not be asked."""
    try:
        return look(), None
    except (ResolutionFailed, LockError) as error:
        return [], error


def running_python() -> str:
    """Return the Python that versions are looked up for when nobody names one."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"
