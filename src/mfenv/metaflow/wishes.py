"""What a flow asks for: its decorators read and merged, and the requests that follow for a platform."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from metaflow.decorators import flow_decorators

from mfenv.app.files import read_file
from mfenv.app.known import KnownEnvironments
from mfenv.app.needs import metaflow_needs
from mfenv.app.request import request_of
from mfenv.app.settings import Settings
from mfenv.app.wiring import Wiring
from mfenv.domain.base import NamedBase, PathspecBase
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.reference import (
    EnvironmentRef,
    is_late,
    parse_pathspec,
    parse_reference,
    substitute,
    variables_in,
)
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import SpecLayer, check_fetch_at_exec, override
from mfenv.errors import InvalidSpec
from mfenv.metaflow.config import read_settings
from mfenv.metaflow.known import known_environments
from mfenv.metaflow.requirements import Reader, Reading, forget_credentials, wants_gpu
from mfenv.metaflow.wiring import wire


class FlowWishes:
    """What the flow and each of its steps say, put together."""

    def __init__(self, flow: Any, datastore_type: str, tell: Callable[..., None], *, keeps_found: bool = True) -> None:
        """Read the flow's decorators; `tell` hears of names that are restored or taken over.

        With `keeps_found`, locks that are found in the shared store are kept in the project. Credentials are taken out
        of the decorators, which travel. Raises `InvalidSpec` and `LockError`.
        """
        self._flow = flow
        self._datastore_type = datastore_type
        self._tell = tell
        self._keeps_found = keeps_found
        self._known_at_launch: KnownEnvironments | None = None
        self._settings = read_settings()
        readings = self._readings(Platform.host())
        self.layers = self._layers(*readings)
        """What each step asks for: its own word over its flow's."""
        everything = [readings[0], *readings[1].values()]
        self.deprecations = list(dict.fromkeys(line for found in everything for line in found.deprecations))
        """Old spellings, each with what to write today."""
        self.wiring = self._wire(everything)
        self.gpu = {step.__name__ for step in self._flow if wants_gpu(step.decorators)}
        """The steps that ask for a GPU."""
        self._written = {Platform.host(): self.layers}

    def requests_of(self, platforms: Mapping[str, Platform]) -> dict[str, ResolutionRequest]:
        """Return what is asked of a resolver for each of these steps that has an environment when the flow is launched.

        `platforms` are those of the machines that the steps run on. Raises `InvalidSpec`.
        """
        return {
            step: self.request(step, platform)
            for step, platform in platforms.items()
            if _is_asked(self._layers_for(platform)[step])
        }

    def request(self, step: str, platform: Platform) -> ResolutionRequest:
        """Return what is asked of a resolver for a step. Raises `InvalidSpec`."""
        layer = self._layers_for(platform)[step]
        _refuse_what_is_off(step, layer, self._settings)
        base = layer.base
        return request_of(
            layer,
            self._settings,
            platform,
            default_python=PythonConstraint.minor(*sys.version_info[:2]),
            needs=metaflow_needs(self._datastore_type),
            base=self._base_at_launch(step, layer, platform) if isinstance(base, NamedBase | PathspecBase) else base,
            has_gpu=step in self.gpu,
        )

    def bare(self, platform: Platform) -> ResolutionRequest:
        """Return what is asked for what belongs to no step: what Metaflow imports in a task, and nothing else."""
        return request_of(
            SpecLayer(),
            self._settings,
            platform,
            default_python=PythonConstraint.minor(*sys.version_info[:2]),
            needs=metaflow_needs(self._datastore_type),
            base=None,
        )

    def known(self) -> KnownEnvironments:
        """Return what finds environments by name; one that is moved meanwhile is found as it is by now."""
        return known_environments(self.wiring, self._tell)

    def _layers_for(self, platform: Platform) -> Mapping[str, SpecLayer]:
        """Return the layers for a platform: files may say something else on each."""
        if platform not in self._written:
            self._written[platform] = self._layers(*self._readings(platform))
        return self._written[platform]

    def _readings(self, platform: Platform) -> tuple[Reading, dict[str, Reading]]:
        """Read what the flow and each of its steps say."""
        flow = self._reader(platform).read(flow_decorators(type(self._flow)))
        return flow, {step.__name__: self._reader(platform, step).read(step.decorators) for step in self._flow}

    def _layers(self, flow: Reading, steps: Mapping[str, Reading]) -> dict[str, SpecLayer]:
        layers = {}
        for step in self._flow:
            layer = override(flow.layer, steps[step.__name__].layer)
            check_fetch_at_exec(layer, owner=f"step `{step.__name__}`")
            layers[step.__name__] = layer
        return layers

    def _reader(self, platform: Platform, step: Any = None) -> Reader:
        owner = f"step `{step.__name__}`" if step else f"flow `{self._flow.name}`"
        folder = Path(sys.argv[0]).absolute().parent
        return Reader(owner=owner, folder=folder, read_file=lambda wish: read_file(wish, platform))

    def _wire(self, readings: Iterable[Reading]) -> Wiring:
        readings = list(readings)
        wiring = wire(
            self._settings,
            self._datastore_type,
            keeps_found=self._keeps_found,
            credentials=[found for reading in readings for found in reading.channel_credentials],
            index_secrets=[found for reading in readings for found in reading.index_secrets],
        )
        for written in (flow_decorators(type(self._flow)), *(step.decorators for step in self._flow)):
            forget_credentials(written)
        return wiring

    def _base_at_launch(self, step: str, layer: SpecLayer, platform: Platform) -> LockedEnvironment:
        """Return the environment that a step builds upon; the variables in its name are those known by now."""
        where, text = str(dict(layer.places)["base"]), str(layer.base)
        values = {"METAFLOW_STEP_NAME": step}
        late = [name for name in variables_in(text, where=where) if is_late(name) and name not in os.environ]
        if late:
            named = ", ".join(f"`{name}`" for name in late)
            raise InvalidSpec(
                f"{where}: {named} {'is' if len(late) == 1 else 'are'} only known when the task starts",
                hint="Add `fetch_at_exec=True`: the environment is then looked up at that moment",
            )
        text = substitute(text, lambda name: values.get(name, os.environ.get(name)), where=where)
        if self._known_at_launch is None:
            # One for all steps: a name that is moved meanwhile means the same for each.
            self._known_at_launch = self.known()
        return self._known_at_launch.find(reference(layer.base, text, where), platform, where=where)


def reference(base: object, text: str, where: str) -> EnvironmentRef:
    """Read the name or pathspec in `text`, whichever kind `base` is. Raises `InvalidSpec`."""
    if isinstance(base, PathspecBase):
        return parse_pathspec(text, where=where)
    return parse_reference(text, where=where)


def _is_asked(layer: SpecLayer) -> bool:
    """Tell whether a step has an environment that is known when the flow is launched."""
    return not layer.disabled and not layer.fetch_at_exec


def _refuse_what_is_off(step: str, layer: SpecLayer, settings: Settings) -> None:
    """Refuse what an organisation has switched off."""
    if not layer.pypi:
        return
    mixed = any(spec.name != "python" for spec in layer.conda)
    for name, value in (
        ("PYPI", settings.pypi_resolver),
        ("MIXED", settings.mixed_resolver if mixed else ""),
    ):
        if value == "none":
            kind = "conda and PyPI packages together" if name == "MIXED" else "PyPI packages"
            raise InvalidSpec(
                f"step `{step}`: {kind} are switched off here by METAFLOW_CONDA_{name}_DEPENDENCY_RESOLVER",
                hint="Ask for conda packages, or whoever set that to set it otherwise",
            )
