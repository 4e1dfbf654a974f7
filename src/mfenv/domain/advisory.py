"""Known vulnerabilities, and which packages they are in.

What is affected follows the OSV schema, 1.7, section "Evaluation". The few lines of it are here because no kept library
evaluates it with conda's order of versions; PEP 440's order is packaging's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.version import InvalidVersion, Version

from mfenv.domain.conda_version import CondaVersion
from mfenv.errors import InvalidSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package of an environment, as advisories name it."""

    ecosystem: str
    """``pypi`` or ``conda``."""
    name: str
    """For PyPI in the normal form of PEP 503."""
    version: str
    brought_by: str = ""
    """The conda package that it is in, where that has another name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A place in the order of versions, where something begins or ends."""

    kind: str
    """``introduced``, ``fixed`` or ``last_affected``."""
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """Versions of one package that an advisory is about."""

    ecosystem: str
    name: str
    versions: frozenset[str] = frozenset()
    ranges: tuple[tuple[Event, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisory:
    """A known vulnerability."""

    id: str
    aliases: tuple[str, ...] = ()
    summary: str = ""
    severity: str = ""
    """A word such as ``HIGH``, else a CVSS vector, as the database has it."""
    affected: tuple[Affected, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A vulnerability in a package, under all names that it has."""

    package: Package
    ids: tuple[str, ...]
    """The advisory's own name first, then those of others about the same, sorted."""
    summary: str
    severity: str
    fixed_in: tuple[str, ...]
    """Versions in which it is mended, as the advisories have them."""


def findings(packages: Iterable[Package], advisories: Iterable[Advisory]) -> tuple[Finding, ...]:
    """Return what is known against `packages`; advisories that name each other are one finding."""
    wanted: dict[tuple[str, str], list[Package]] = {}
    for package in packages:
        wanted.setdefault((package.ecosystem, package.name), []).append(package)
    found: dict[Package, list[tuple[Advisory, Affected]]] = {}
    for advisory in advisories:
        for affected in advisory.affected:
            for package in wanted.get((affected.ecosystem, affected.name), ()):
                if is_affected(package, affected):
                    found.setdefault(package, []).append((advisory, affected))
    return tuple(
        finding
        for package in sorted(found, key=lambda each: (each.name, each.ecosystem, each.version))
        for finding in _merged(package, found[package])
    )


def is_affected(package: Package, affected: Affected) -> bool:
    """Tell whether a version is among those affected; one that cannot be compared is only by its own spelling."""
    if package.version in affected.versions:
        return True
    order = _ORDERS[affected.ecosystem]
    try:
        version = order(package.version)
        listed = any(_same(order, each, version) for each in affected.versions)
        return listed or any(_is_within(version, events, order) for events in affected.ranges)
    except (InvalidVersion, InvalidSpec):
        return False


_ORDERS: Mapping[str, Callable[[str], Any]] = {"pypi": Version, "conda": CondaVersion.parse}


def _same(order: Callable[[str], Any], text: str, version: Any) -> bool:
    try:
        return bool(order(text) == version)
    except (InvalidVersion, InvalidSpec):
        return False


def _is_within(version: Any, events: tuple[Event, ...], order: Callable[[str], Any]) -> bool:
    """Follow the events in the order of their versions: ``introduced`` begins, the other two end."""
    is_in = False
    for event in sorted(events, key=lambda each: _Place(each, order)):
        if event.kind == "introduced":
            is_in = is_in or event.version == "0" or version >= order(event.version)
        elif (event.kind == "fixed" and version >= order(event.version)) or (
            event.kind == "last_affected" and version > order(event.version)
        ):
            is_in = False
    return is_in


class _Place:
    """Where an event stands; ``0`` is before all versions."""

    def __init__(self, event: Event, order: Callable[[str], Any]) -> None:
        self._version = None if event.version == "0" else order(event.version)

    def __lt__(self, other: _Place) -> bool:
        if self._version is None or other._version is None:
            return self._version is None and other._version is not None
        return bool(self._version < other._version)


def _merged(package: Package, rows: list[tuple[Advisory, Affected]]) -> Iterator[Finding]:
    groups: list[tuple[set[str], list[tuple[Advisory, Affected]]]] = []
    for row in rows:
        names = {row[0].id, *row[0].aliases}
        same = [group for group in groups if group[0] & names]
        groups = [group for group in groups if not group[0] & names]
        members = [*(each for group in same for each in group[1]), row]
        groups.append((names.union(*(group[0] for group in same)), members))
    for names, members in sorted(groups, key=lambda group: group[1][0][0].id):
        first = members[0][0]
        yield Finding(
            package=package,
            ids=(first.id, *sorted(names - {first.id})),
            summary=next((advisory.summary for advisory, _ in members if advisory.summary), ""),
            severity=next((advisory.severity for advisory, _ in members if advisory.severity), ""),
            fixed_in=tuple(
                dict.fromkeys(
                    event.version
                    for _, affected in members
                    for events in affected.ranges
                    for event in events
                    if event.kind == "fixed"
                )
            ),
        )
