"""What the user wrote: one level of it, the two levels merged, and the whole with its defaults."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeVar

from mfenv.domain.base import BaseWish, LockFile, LockFileKind, NamedBase, PathspecBase
from mfenv.domain.channel import Channel
from mfenv.domain.digest import Json
from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import PackageIndex
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.python import PythonConstraint
from mfenv.domain.requirement import Requirement
from mfenv.errors import InvalidSpec

T = TypeVar("T")
Pairs = tuple[tuple[str, str], ...]


class ChannelPriority(Enum):
    """How the order of channels counts (CEP 24 calls the two ways strict and flexible)."""

    STRICT = "strict"
    """A package comes from the first channel that has its name at all."""
    DISABLED = "disabled"
    """The best version wins, whichever channel has it."""


class IndexStrategy(Enum):
    """How several package indexes count; the values are uv's."""

    FIRST_INDEX = "first-index"
    """A project comes from the first index that has it at all, so that nobody can slip one in by its name."""
    FIRST_MATCH = "unsafe-first-match"
    """The first index that has a version that fits."""
    BEST_MATCH = "unsafe-best-match"
    """The best version that fits, whichever index has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveOptions:
    """How to choose where the user left a choice."""

    channel_priority: ChannelPriority = ChannelPriority.STRICT
    index_strategy: IndexStrategy = IndexStrategy.FIRST_INDEX
    exclude_newer: str = ""
    """Nothing that was published after this date (ISO 8601), or later than this long ago (``30 days``)."""

    def canonical(self) -> dict[str, Json]:
        """Return the options that are not the default ones, and the priority of channels."""
        chosen: dict[str, Json] = {"channel_priority": self.channel_priority.value}
        if self.index_strategy is not IndexStrategy.FIRST_INDEX:
            chosen["index_strategy"] = self.index_strategy.value
        if self.exclude_newer:
            chosen["exclude_newer"] = self.exclude_newer
        return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a wish was written: ``step `train`, @conda(libraries={"numpy": "1.26"})``."""

    owner: str
    text: str

    def __str__(self) -> str:
        return f"{self.owner}, {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecLayer:
    """What one level, the flow or a step, asks for. None means "not said at this level"."""

    python: PythonConstraint | None = None
    requires_python: PythonConstraint | None = None
    """What a project can run on: a bound, where `python` is a choice."""
    conda: tuple[MatchSpec, ...] = ()
    channels: tuple[Channel, ...] = ()
    pypi: tuple[Requirement, ...] = ()
    conda_only: tuple[MatchSpec, ...] = ()
    """conda packages that have nothing to do with Python, beside PyPI packages."""
    indexes: tuple[PackageIndex, ...] = ()
    default_index: PackageIndex | None = None
    """The index behind all others, in place of the configured one."""
    constraints: tuple[Requirement, ...] = ()
    """What holds for PyPI packages if they are chosen at all."""
    flags: tuple[ResolverFlag, ...] = ()
    exclude_newer: str = ""
    system: tuple[tuple[str, str], ...] = ()
    """Virtual packages of the machines that the step will run on, and their versions."""
    variables: tuple[tuple[str, str], ...] = ()
    """Environment variables that processes in the environment have."""
    base: BaseWish | None = None
    """What the environment is built upon."""
    fetch_at_exec: bool | None = None
    """Whether `base` is looked up when the task starts, and not when the flow is launched."""
    disabled: bool | None = None
    places: tuple[tuple[str, Place], ...] = ()
    """Where each package (and ``python``) was written; for messages only."""

    @property
    def asks_for_something(self) -> bool:
        """Whether this level wants an environment of a certain content."""
        return bool(
            self.python or self.conda or self.channels or self.pypi or self.conda_only or self.indexes or self.base
        )


def combine(first: SpecLayer, second: SpecLayer, *, owner: str) -> SpecLayer:
    """Put two decorators of one level together: their wishes add up, and their single answers must agree.

    What both say of one package has to hold together. Lists keep their order, `first` before `second`. Raises
    `InvalidSpec` naming `owner` and both answers when they do not agree.
    """

    def agreed(key: str, one: T | None, other: T | None) -> T | None:
        return _agreed(owner, key, one, other)

    return SpecLayer(
        python=agreed("python", first.python, second.python),
        requires_python=_bounded(first.requires_python, second.requires_python),
        conda=_both(first.conda, second.conda, owner),
        channels=_union(first.channels, second.channels),
        pypi=_both_requirements(first.pypi, second.pypi, owner),
        conda_only=_both(first.conda_only, second.conda_only, owner),
        indexes=_union(first.indexes, second.indexes),
        default_index=agreed("index-url", first.default_index, second.default_index),
        constraints=_union(first.constraints, second.constraints),
        flags=_both_flags(first.flags, second.flags, owner),
        exclude_newer=agreed("exclude_newer", first.exclude_newer or None, second.exclude_newer or None) or "",
        system=_both_texts(first.system, second.system, owner),
        variables=_both_texts(first.variables, second.variables, owner),
        base=_agreed_base(owner, first.base, second.base),
        fetch_at_exec=agreed("fetch_at_exec", first.fetch_at_exec, second.fetch_at_exec),
        disabled=agreed("disabled", first.disabled, second.disabled),
        places=_updated(first.places, second.places),
    )


def override(flow: SpecLayer, step: SpecLayer) -> SpecLayer:
    """Put a step's layer over its flow's.

    The step's word replaces the flow's: single answers where the step has one, packages one by one. Of lists, the
    step's part comes before the flow's. A step that asks for packages is enabled even where the flow is disabled,
    and then gets nothing from the flow's level.
    """
    disabled = step.disabled
    if disabled is None:
        disabled = False if step.asks_for_something else flow.disabled
    base = SpecLayer() if flow.disabled else flow
    return SpecLayer(
        python=step.python or base.python,
        requires_python=step.requires_python or base.requires_python,
        conda=tuple({spec.name: spec for spec in (*base.conda, *step.conda)}.values()),
        channels=_union(step.channels, base.channels),
        pypi=_over(base.pypi, step.pypi),
        conda_only=tuple({spec.name: spec for spec in (*base.conda_only, *step.conda_only)}.values()),
        indexes=_union(step.indexes, base.indexes),
        default_index=step.default_index or base.default_index,
        constraints=_over(base.constraints, step.constraints),
        flags=_flags_over(base.flags, step.flags),
        exclude_newer=step.exclude_newer or base.exclude_newer,
        system=_updated(base.system, step.system),
        variables=_updated(base.variables, step.variables),
        base=step.base or base.base,
        fetch_at_exec=base.fetch_at_exec if step.fetch_at_exec is None else step.fetch_at_exec,
        disabled=disabled,
        places=_updated(base.places, step.places),
    )


def check_fetch_at_exec(layer: SpecLayer, *, owner: str) -> None:
    """Refuse, for a whole step, what cannot go together with being looked up when the task starts."""
    if not layer.fetch_at_exec or layer.disabled:
        return
    if not isinstance(layer.base, NamedBase | PathspecBase):
        raise InvalidSpec(
            f"{owner}: `fetch_at_exec` needs the environment that is to be fetched",
            hint='Name it: @named_env(name="team/env:tag", fetch_at_exec=True), or with `pathspec`',
        )
    others = {
        "python": layer.python,
        "conda packages": layer.conda or layer.conda_only,
        "PyPI packages": layer.pypi,
        "channels": layer.channels,
        "indexes": layer.indexes or layer.default_index,
        "variables": layer.variables,
    }
    if found := [name for name, value in others.items() if value]:
        named = [str(place) for name, place in layer.places if name not in {"base", "fetch_at_exec"}]
        raise InvalidSpec(
            f"{owner}: an environment that is fetched when the task starts is taken as it is, but {', '.join(found)} "
            "are asked for as well" + (f": {'; '.join(named)}" if named else ""),
            hint="Leave those out, or leave `fetch_at_exec` out to build upon the environment when the flow is "
            "launched; a step's @conda_base and @pypi_base count too",
        )


def _agreed(owner: str, key: str, first: T | None, second: T | None) -> T | None:
    if first is not None and second is not None and first != second:
        raise InvalidSpec(
            f"{owner}: `{key}` is said twice and differently: `{first}` and `{second}`",
            hint=f"Say `{key}` once",
        )
    return second if first is None else first


_BASE_KEYS = {NamedBase: "name", PathspecBase: "pathspec", LockFile: "file"}


def _agreed_base(owner: str, first: BaseWish | None, second: BaseWish | None) -> BaseWish | None:
    if first and second and first != second:
        keys = _BASE_KEYS[type(first)], _BASE_KEYS[type(second)]
        if keys[0] == keys[1] != "file":
            _agreed(owner, keys[0], str(first), str(second))
        raise InvalidSpec(
            f"{owner}: an environment can be built upon one other only, but `{keys[0]}` says `{first}` and "
            f"`{keys[1]}` says `{second}`",
            hint="Leave one of them out",
        )
    return first or second


def _union(first: tuple[T, ...], second: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _updated(first: tuple[tuple[str, T], ...], second: tuple[tuple[str, T], ...]) -> tuple[tuple[str, T], ...]:
    return tuple({**dict(first), **dict(second)}.items())


def _both_texts(first: tuple[tuple[str, str], ...], second: tuple[tuple[str, str], ...], owner: str) -> Pairs:
    mine = dict(first)
    for name, text in second:
        _agreed(owner, name, mine.get(name), text)
    return _updated(first, second)


def _both(first: tuple[MatchSpec, ...], second: tuple[MatchSpec, ...], owner: str) -> tuple[MatchSpec, ...]:
    """Return the packages of both; what they say of the same one has to hold together."""
    found = {spec.name: spec for spec in first}
    for spec in second:
        mine = found.get(spec.name)
        found[spec.name] = _both_specs(mine, spec, owner) if mine else spec
    return tuple(found.values())


def _both_specs(first: MatchSpec, second: MatchSpec, owner: str) -> MatchSpec:
    name = first.name
    return MatchSpec(
        name=name,
        version=_both_versions(name, first.version, second.version, owner),
        build=_agreed(owner, f"the build of {name}", first.build, second.build),
        channel=_agreed(owner, f"the channel of {name}", first.channel, second.channel),
        marker=_agreed(owner, f"the marker of {name}", first.marker, second.marker) or "",
    )


def _both_versions(name: str, first: str, second: str, owner: str) -> str:
    if "*" in (first, second) or first == second:
        return second if first == "*" else first
    # A conjunction of alternatives is the alternatives of all conjunctions.
    pairs = [(one.split(","), other.split(",")) for one in first.split("|") for other in second.split("|")]
    wanted = [sorted({*one, *other}) for one, other in pairs]
    possible = [parts for parts in wanted if len([part for part in parts if part.startswith("==")]) < 2]
    if not possible:
        _agreed(owner, name, first, second)
    # An alternative that asks for more than another adds nothing to it.
    least = [parts for parts in possible if not any(set(other) < set(parts) for other in possible)]
    return "|".join(dict.fromkeys(",".join(parts) for parts in least))


def _both_requirements(
    first: tuple[Requirement, ...], second: tuple[Requirement, ...], owner: str
) -> tuple[Requirement, ...]:
    """Return the requirements of both; what they say of the same project under the same marker has to hold together."""
    found = {(wanted.name, wanted.marker): wanted for wanted in first}
    for wanted in second:
        mine = found.get((wanted.name, wanted.marker))
        found[wanted.name, wanted.marker] = _both_wanted(mine, wanted, owner) if mine else wanted
    return tuple(found.values())


def _both_wanted(first: Requirement, second: Requirement, owner: str) -> Requirement:
    name = first.name
    if (first.url and second.specifier) or (second.url and first.specifier):
        _agreed(owner, name, str(first), str(second))
    parts = {part for specifier in (first.specifier, second.specifier) for part in specifier.split(",") if part}
    exact = [part for part in parts if part.startswith("==") and not part.endswith("*")]
    if len(exact) > 1:
        _agreed(owner, name, first.specifier, second.specifier)
    return replace(
        first,
        extras=tuple(sorted({*first.extras, *second.extras})),
        specifier=",".join(sorted(parts)),
        url=_agreed(owner, name, first.url or None, second.url or None) or "",
        is_editable=first.is_editable or second.is_editable,
        hashes=tuple(sorted({*first.hashes, *second.hashes})),
        index=_agreed(owner, f"the index of {name}", first.index or None, second.index or None) or "",
    )


def _over(base: tuple[Requirement, ...], step: tuple[Requirement, ...]) -> tuple[Requirement, ...]:
    """Put the step's requirements over the flow's, by project; one project may be named twice under markers."""
    named = {requirement.name for requirement in step}
    return (*(requirement for requirement in base if requirement.name not in named), *step)


_REPEATED_FLAGS = frozenset({"find-links", "trusted-host"})
_NAMING_FLAGS = frozenset({"no-binary", "only-binary"})


def _both_flags(
    first: tuple[ResolverFlag, ...], second: tuple[ResolverFlag, ...], owner: str
) -> tuple[ResolverFlag, ...]:
    mine = {flag.name: flag for flag in first if flag.name not in _REPEATED_FLAGS | _NAMING_FLAGS}
    for flag in second:
        _agreed(owner, f"extras={flag.name}", mine.get(flag.name), flag if flag.name in mine else None)
    return _union(first, second)


def _flags_over(base: tuple[ResolverFlag, ...], step: tuple[ResolverFlag, ...]) -> tuple[ResolverFlag, ...]:
    named = {flag.name for flag in step} - _REPEATED_FLAGS
    return _union(step, tuple(flag for flag in base if flag.name not in named))


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSpec:
    """What an environment must be, whole: after merging, with the defaults put in here and nowhere later.

    Packages are sorted by name, channels are in the order of their priority.
    """

    python: PythonConstraint | None
    """None: no Python at all, which only questions about conda packages ask for."""
    conda: tuple[MatchSpec, ...]
    channels: tuple[Channel, ...]
    pypi: tuple[Requirement, ...] = ()
    conda_only: tuple[MatchSpec, ...] = ()
    indexes: tuple[PackageIndex, ...] = ()
    """Searched in this order, before the default one."""
    default_index: PackageIndex | None = None
    """None: the one that the PyPI resolver is configured with, or its own."""
    local_content: tuple[tuple[str, str], ...] = ()
    """The digest of each local folder that a package is built from, by project and marker (``name;marker``)."""
    pypi_constraints: tuple[Requirement, ...] = ()
    """What holds for PyPI packages if they are chosen at all."""
    flags: tuple[ResolverFlag, ...] = ()
    """Options of the PyPI resolver, sorted."""
    variables: tuple[tuple[str, str], ...] = ()
    """Environment variables that processes in the environment have, sorted by name."""
    base: LockFile | LockedEnvironment | None = None
    """What is kept exactly as it is; everything else is put on top of it."""
    needs: tuple[MatchSpec, ...] = ()
    """What must be there besides, whichever side has it; only said beside a `base`."""
    options: SolveOptions = field(default_factory=SolveOptions)

    def canonical(self) -> Json:
        """Return the form that the request key is made of; it says nothing of any machine."""
        # What is empty is left out, so that a new kind of wish does not change the ids of those without it.
        others: dict[str, list[Json]] = {
            "pypi": [requirement.identity for requirement in self.pypi],
            "editable": [requirement.name for requirement in self.pypi if requirement.is_editable],
            "conda_only": [spec.identity for spec in self.conda_only],
            "indexes": [index.identity for index in self.indexes if not index.is_of_machine] if self.pypi else [],
            "default_index": [index.identity for index in self._chosen_default_index] if self.pypi else [],
            "local_content": [list(pair) for pair in self.local_content],
            "constraints": [requirement.identity for requirement in self.pypi_constraints],
            "flags": [flag.identity for flag in self.flags],
            "hashes": [
                [requirement.identity, *requirement.hashes]
                for requirement in (*self.pypi, *self.pypi_constraints)
                if requirement.hashes
            ],
            "pinned_indexes": [[requirement.name, requirement.index] for requirement in self.pypi if requirement.index],
            "variables": [list(pair) for pair in self.variables],
            "base": [_identity_of(self.base)] if self.base else [],
            "needs": [str(need) for need in self.needs],
        }
        return {
            "python": self.python.version if self.python else None,
            "conda": [spec.identity for spec in self.conda],
            "channels": [channel.identity for channel in self.channels],
            **{kind: values for kind, values in others.items() if values},
            **self.options.canonical(),
        }

    @property
    def _chosen_default_index(self) -> tuple[PackageIndex, ...]:
        index = self.default_index
        return () if index is None or index.is_of_machine else (index,)

    @property
    def match_specs(self) -> tuple[MatchSpec, ...]:
        """Python and the requested packages, for a conda solver."""
        python = (self.python.match_spec,) if self.python else ()
        return (*python, *self.conda, *self.conda_only)


def complete(
    layer: SpecLayer,
    *,
    default_python: PythonConstraint,
    default_channels: Iterable[Channel],
    default_indexes: Iterable[PackageIndex] = (),
    default_index: PackageIndex | None = None,
    needs: Iterable[MatchSpec],
    local_content: Mapping[str, str] | None = None,
    options: SolveOptions | None = None,
    base: LockFile | LockedEnvironment | None = None,
) -> EnvironmentSpec:
    """Put the defaults into a merged layer.

    `needs` is what Metaflow itself must import in the task. A need is left out when the user names the
    package: the user's word is the only one on it. In an environment of PyPI packages the needs come from PyPI,
    otherwise from conda. A channel that only a package is pinned to (``channel::package``) is searched last, as
    conda does.
    """
    options = options or SolveOptions()
    if layer.exclude_newer:
        options = replace(options, exclude_newer=layer.exclude_newer)
    conda = {spec.name: spec for spec in layer.conda if spec.name != "python"}
    # By location: the order of packages means nothing.
    pinned = sorted((spec.channel for spec in (*layer.conda, *layer.conda_only) if spec.channel), key=str)
    pypi = {requirement.name for requirement in layer.pypi}
    wanted = [need for need in needs if need.name not in conda and need.name not in pypi]
    requirements = layer.pypi
    if base is not None:
        # Which side has them is known when the base has been looked into.
        pass
    elif layer.pypi and not conda:
        requirements = (*layer.pypi, *(Requirement(name=need.name) for need in wanted))
    else:
        conda |= {need.name: need for need in wanted}
    python = layer.python or _python_among(layer.conda)
    if python is None and not _has_python(base):
        python = _default_within(layer.requires_python, default_python)
    elif python and layer.requires_python:
        python = python.within(layer.requires_python)
    return EnvironmentSpec(
        python=python,
        conda=tuple(conda[name] for name in sorted(conda)),
        channels=tuple(dict.fromkeys((*layer.channels, *default_channels, *pinned))),
        pypi=tuple(sorted(requirements, key=str)),
        conda_only=tuple(sorted(layer.conda_only, key=str)),
        indexes=tuple(dict.fromkeys((*layer.indexes, *default_indexes))),
        default_index=layer.default_index or default_index,
        local_content=tuple(sorted((local_content or {}).items())),
        pypi_constraints=tuple(sorted(layer.constraints, key=str)),
        flags=tuple(sorted(layer.flags)),
        variables=tuple(sorted(layer.variables)),
        base=base,
        needs=tuple(wanted) if base else (),
        options=options,
    )


def _bounded(first: PythonConstraint | None, second: PythonConstraint | None) -> PythonConstraint | None:
    return first.within(second) if first and second else first or second


def _default_within(bound: PythonConstraint | None, default: PythonConstraint) -> PythonConstraint:
    """Return the Python of an environment that nobody chose one for: the default, or what the bound leaves."""
    if bound is None:
        return default
    found = re.fullmatch(r"(\d+)\.(\d+)\.\*", default.version)
    return default.within(bound) if found and bound.admits_minor(int(found[1]), int(found[2])) else bound


def _has_python(base: LockFile | LockedEnvironment | None) -> bool:
    """Tell whether the Python is settled by what is built upon; PyPI's lock files leave it open."""
    return base is not None and not (isinstance(base, LockFile) and base.kind in {LockFileKind.PYLOCK, LockFileKind.UV})


def _identity_of(base: LockFile | LockedEnvironment) -> Json:
    return base.canonical() if isinstance(base, LockFile) else ["lock", base.id]


def _python_among(specs: tuple[MatchSpec, ...]) -> PythonConstraint | None:
    """Accept ``libraries={"python": "3.11"}``, as standard Metaflow does."""
    for spec in specs:
        if spec.name == "python" and spec.version != "*":
            return PythonConstraint(version=spec.version)
    return None
