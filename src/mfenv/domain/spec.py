"""What the user wrote: one level of it, the two levels merged, and the whole with its defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeVar

from mfenv.domain.base import BaseWish
from mfenv.domain.channel import Channel
from mfenv.domain.digest import Json
from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import PackageIndex
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.python import PythonConstraint
from mfenv.domain.requirement import Requirement
from mfenv.errors import InvalidSpec

T = TypeVar("T")


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
        return bool(self.conda or self.channels or self.python or self.pypi or self.conda_only or self.indexes)


def combine(first: SpecLayer, second: SpecLayer, *, owner: str) -> SpecLayer:
    """Put two decorators of one level together: their wishes add up, and their single answers must agree.

    Raises `InvalidSpec` naming `owner` and both answers when they do not.
    """
    places = {**dict(first.places), **dict(second.places)}
    return SpecLayer(
        python=_agreed(owner, "python", first.python, second.python),
        conda=tuple({spec.name: spec for spec in (*first.conda, *second.conda)}.values()),
        channels=tuple(dict.fromkeys((*first.channels, *second.channels))),
        pypi=_over(first.pypi, second.pypi),
        conda_only=tuple({spec.name: spec for spec in (*first.conda_only, *second.conda_only)}.values()),
        indexes=tuple(dict.fromkeys((*first.indexes, *second.indexes))),
        system=tuple({**dict(first.system), **dict(second.system)}.items()),
        exclude_newer=_agreed(owner, "exclude_newer", first.exclude_newer or None, second.exclude_newer or None) or "",
        disabled=_agreed(owner, "disabled", first.disabled, second.disabled),
        places=tuple(places.items()),
    )


def _agreed(owner: str, key: str, first: T | None, second: T | None) -> T | None:
    if first is not None and second is not None and first != second:
        raise InvalidSpec(
            f"{owner}: its decorators do not agree on `{key}`: one says `{first}`, another `{second}`",
            hint=f"Say `{key}` in one of them",
        )
    return second if first is None else first


def override(flow: SpecLayer, step: SpecLayer) -> SpecLayer:
    """Put a step's layer over its flow's.

    The step's word replaces the flow's: for `python` and `disabled` where the step says one, for packages
    one by one. The step's channels come before the flow's. A step that asks for packages is enabled
    even where the flow is disabled, and then gets nothing from the flow's level.
    """
    disabled = step.disabled
    if disabled is None:
        disabled = False if step.asks_for_something else flow.disabled
    base = SpecLayer() if flow.disabled else flow
    return SpecLayer(
        python=step.python or base.python,
        conda=tuple({spec.name: spec for spec in (*base.conda, *step.conda)}.values()),
        channels=tuple(dict.fromkeys((*step.channels, *base.channels))),
        pypi=_over(base.pypi, step.pypi),
        conda_only=tuple({spec.name: spec for spec in (*base.conda_only, *step.conda_only)}.values()),
        indexes=tuple(dict.fromkeys((*step.indexes, *base.indexes))),
        exclude_newer=step.exclude_newer or base.exclude_newer,
        system=tuple({**dict(base.system), **dict(step.system)}.items()),
        disabled=disabled,
        places=tuple({**dict(base.places), **dict(step.places)}.items()),
    )


def _over(base: tuple[Requirement, ...], step: tuple[Requirement, ...]) -> tuple[Requirement, ...]:
    """Put the step's requirements over the flow's, by project; one project may be named twice under markers."""
    named = {requirement.name for requirement in step}
    return (*(requirement for requirement in base if requirement.name not in named), *step)


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
    options: SolveOptions = field(default_factory=SolveOptions)

    def canonical(self) -> Json:
        """Return the form that the request key is made of; it says nothing of any machine."""
        # What is empty is left out, so that a new kind of wish does not change the ids of those without it.
        others: dict[str, list[Json]] = {
            "pypi": [str(requirement) for requirement in self.pypi],
            "editable": [requirement.name for requirement in self.pypi if requirement.is_editable],
            "conda_only": [str(spec) for spec in self.conda_only],
            "indexes": [str(index) for index in self.indexes] if self.pypi else [],
            "default_index": [str(self.default_index)] if self.pypi and self.default_index else [],
            "local_content": [list(pair) for pair in self.local_content],
        }
        return {
            "python": self.python.version if self.python else None,
            "conda": [str(spec) for spec in self.conda],
            "channels": [str(channel) for channel in self.channels],
            **{kind: values for kind, values in others.items() if values},
            **self.options.canonical(),
        }

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
    if layer.pypi and not conda:
        requirements = (*layer.pypi, *(Requirement(name=need.name) for need in wanted))
    else:
        requirements = layer.pypi
        conda |= {need.name: need for need in wanted}
    return EnvironmentSpec(
        python=layer.python or _python_among(layer.conda) or default_python,
        conda=tuple(conda[name] for name in sorted(conda)),
        channels=tuple(dict.fromkeys((*layer.channels, *default_channels, *pinned))),
        pypi=tuple(sorted(requirements, key=str)),
        conda_only=tuple(sorted(layer.conda_only, key=str)),
        indexes=tuple(dict.fromkeys((*layer.indexes, *default_indexes))),
        default_index=default_index,
        local_content=tuple(sorted((local_content or {}).items())),
        options=options,
    )


def _python_among(specs: tuple[MatchSpec, ...]) -> PythonConstraint | None:
    """Accept ``libraries={"python": "3.11"}``, as standard Metaflow does."""
    for spec in specs:
        if spec.name == "python" and spec.version != "*":
            return PythonConstraint(version=spec.version)
    return None
