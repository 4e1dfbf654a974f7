"""Who needs whom in an environment, on both sides: a graph of its packages."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mfenv.domain.difference import Held, Side, held_in
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.markers import marker_environment
from mfenv.domain.platform import baseline
from mfenv.domain.wheel_metadata import WheelMetadata

Key = tuple[Side, str]
"""A package: its side, and its name there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """That one package needs another."""

    by: Key
    package: Key
    constraint: str
    """In the words of who needs it; empty for any version."""


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """The packages of an environment, and what each needs of the others."""

    packages: Mapping[Key, Held]
    needs: Mapping[Key, tuple[Need, ...]]
    """Of each package, by name."""

    @classmethod
    def of(
        cls,
        lock: LockedEnvironment,
        wheels: Mapping[str, WheelMetadata],
        *,
        provides: Mapping[str, Sequence[str]] | None = None,
        extras: Mapping[str, Iterable[str]] | None = None,
    ) -> Dependencies:
        """Return the graph of `lock`; `wheels` say what they need, by their sha256.

        `provides` tells which projects a conda package brings, by its name; those that are not in it bring one of their
        own name. Markers are evaluated for the lock's platform and Python. Extras count that the user asks for, by
        project in `extras`, or another package does.
        """
        packages = {(held.side, held.name): held for held in held_in(lock)}
        projects = _projects(packages, provides or {})
        needs = {
            (Side.CONDA, package.name): tuple(_conda_needs(package.name, package.record.depends, packages))
            for package in lock.packages
        }
        return cls(packages=packages, needs={**needs, **_wheel_needs(lock, wheels, projects, extras or {})})

    @property
    def needed_by(self) -> dict[Key, list[Need]]:
        """The needs, by the package that is needed."""
        found: dict[Key, list[Need]] = {key: [] for key in self.packages}
        for needs in self.needs.values():
            for need in needs:
                found[need.package].append(need)
        return found

    def find(self, name: str) -> list[Key]:
        """Return the packages called `name`, in either side's spelling."""
        wanted = _normal(name)
        return [key for key, held in self.packages.items() if held.name == name or held.project == wanted]

    def roots(self, asked: Iterable[str] = ()) -> list[Key]:
        """Return the packages in `asked`, and those that nobody needs, sorted by name."""
        wanted = {_normal(name) for name in asked}
        needed = self.needed_by
        found = [key for key, held in self.packages.items() if held.project in wanted or not needed[key]]
        return sorted(found, key=lambda key: (key[1], key[0].value))

    def chains(self, target: Key, roots: Iterable[Key]) -> list[tuple[Need, ...]]:
        """Return for each of `roots` that leads to `target` a shortest chain of needs; one that is it: an empty one."""
        return [chain for root in roots if (chain := self._chain(root, target)) is not None]

    def _chain(self, root: Key, target: Key) -> tuple[Need, ...] | None:
        came: dict[Key, Need | None] = {root: None}
        waiting = deque([root])
        while waiting:
            key = waiting.popleft()
            if key == target:
                return tuple(_back(came, key))
            for need in self.needs.get(key, ()):
                if need.package not in came:
                    came[need.package] = need
                    waiting.append(need.package)
        return None


def _back(came: Mapping[Key, Need | None], key: Key) -> Iterator[Need]:
    chain = []
    while (need := came[key]) is not None:
        chain.append(need)
        key = need.by
    return reversed(chain)


def _projects(packages: Mapping[Key, Held], provides: Mapping[str, Sequence[str]]) -> dict[str, Key]:
    """Return which package brings each project; a wheel before a conda package."""
    found: dict[str, Key] = {}
    for key, held in packages.items():
        names = provides.get(held.name, [held.project]) if key[0] is Side.CONDA else [held.project]
        for name in names:
            if key[0] is Side.PYPI or name not in found:
                found[name] = key
    return found


def _conda_needs(name: str, depends: Iterable[str], packages: Mapping[Key, Held]) -> Iterator[Need]:
    for text in sorted(depends):
        needed, _, constraint = text.partition(" ")
        if (Side.CONDA, needed) in packages:
            yield Need(by=(Side.CONDA, name), package=(Side.CONDA, needed), constraint=constraint.strip())


def _wheel_needs(
    lock: LockedEnvironment,
    wheels: Mapping[str, WheelMetadata],
    projects: Mapping[str, Key],
    asked: Mapping[str, Iterable[str]],
) -> dict[Key, tuple[Need, ...]]:
    """Return what wheels need; again and again, until nobody asks for another extra."""
    from packaging.requirements import InvalidRequirement, Requirement

    python = lock.find("python")
    environment = marker_environment(baseline(lock.platform), python.version if python else "3.12")
    parsed: dict[Key, list[Requirement]] = {}
    for package in lock.pypi:
        rows = parsed.setdefault((Side.PYPI, package.name), [])
        for text in wheels.get(package.artifact.sha256, WheelMetadata()).requires:
            try:
                rows.append(Requirement(text))
            except InvalidRequirement:
                # An old wheel's need that no tool can read.
                continue
    extras = {key: set(map(_normal, asked.get(key[1], ()))) for key in parsed}
    while True:
        before = sum(map(len, extras.values()))
        found = {key: _needs_of(key, parsed[key], environment, extras, projects) for key in parsed}
        if sum(map(len, extras.values())) == before:
            return found


def _needs_of(
    key: Key,
    requirements: Iterable[object],
    environment: Mapping[str, str],
    extras: dict[Key, set[str]],
    projects: Mapping[str, Key],
) -> tuple[Need, ...]:
    found = {}
    for wanted in requirements:
        marker = wanted.marker  # type: ignore[attr-defined]
        chosen = ("", *sorted(extras[key]))
        if marker is not None and not any(marker.evaluate({**environment, "extra": extra}) for extra in chosen):
            continue
        package = projects.get(_normal(wanted.name))  # type: ignore[attr-defined]
        if package is None or package == key:
            continue
        if package in extras:
            extras[package] |= {_normal(extra) for extra in wanted.extras}  # type: ignore[attr-defined]
        found[package] = Need(by=key, package=package, constraint=str(wanted.specifier))  # type: ignore[attr-defined]
    return tuple(sorted(found.values(), key=lambda need: need.package[1]))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
