"""What the user wrote: one level of it, the two levels merged, and the whole with its defaults."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from mfenv.domain.channel import Channel
from mfenv.domain.digest import Json
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.python import PythonConstraint


class ChannelPriority(Enum):
    """How the order of channels counts (CEP 24 calls the two ways strict and flexible)."""

    STRICT = "strict"
    """A package comes from the first channel that has its name at all."""
    DISABLED = "disabled"
    """The best version wins, whichever channel has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveOptions:
    """How to choose where the user left a choice."""

    channel_priority: ChannelPriority = ChannelPriority.STRICT


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
    disabled: bool | None = None
    places: tuple[tuple[str, Place], ...] = ()
    """Where each package (and ``python``) was written; for messages only."""

    @property
    def asks_for_something(self) -> bool:
        """Whether this level wants an environment of a certain content."""
        return bool(self.conda or self.channels or self.python)


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
        disabled=disabled,
        places=tuple({**dict(base.places), **dict(step.places)}.items()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSpec:
    """What an environment must be, whole: after merging, with the defaults put in here and nowhere later.

    Packages are sorted by name, channels are in the order of their priority.
    """

    python: PythonConstraint
    conda: tuple[MatchSpec, ...]
    channels: tuple[Channel, ...]
    options: SolveOptions = field(default_factory=SolveOptions)

    def canonical(self) -> Json:
        """Return the form that the request key is made of; it says nothing of any machine."""
        return {
            "python": self.python.version,
            "conda": [str(spec) for spec in self.conda],
            "channels": [str(channel) for channel in self.channels],
            "channel_priority": self.options.channel_priority.value,
        }

    @property
    def match_specs(self) -> tuple[MatchSpec, ...]:
        """Python and the requested packages, for a conda solver."""
        return (self.python.match_spec, *self.conda)


def complete(
    layer: SpecLayer,
    *,
    default_python: PythonConstraint,
    default_channels: Iterable[Channel],
    needs: Iterable[MatchSpec],
    options: SolveOptions | None = None,
) -> EnvironmentSpec:
    """Put the defaults into a merged layer.

    `needs` is what Metaflow itself must import in the task. A need is left out when the user names the
    package: the user's word is the only one on it. A channel that only a package is pinned to
    (``channel::package``) is searched last, as conda does.
    """
    asked = {spec.name: spec for spec in layer.conda if spec.name != "python"}
    packages = {**{spec.name: spec for spec in needs}, **asked}
    # By location: the order of packages means nothing.
    pinned = sorted((spec.channel for spec in layer.conda if spec.channel), key=str)
    return EnvironmentSpec(
        python=layer.python or _python_among(layer.conda) or default_python,
        conda=tuple(packages[name] for name in sorted(packages)),
        channels=tuple(dict.fromkeys((*layer.channels, *default_channels, *pinned))),
        options=options or SolveOptions(),
    )


def _python_among(specs: tuple[MatchSpec, ...]) -> PythonConstraint | None:
    """Accept ``libraries={"python": "3.11"}``, as standard Metaflow does."""
    for spec in specs:
        if spec.name == "python" and spec.version != "*":
            return PythonConstraint(version=spec.version)
    return None
