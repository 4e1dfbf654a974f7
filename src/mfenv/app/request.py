"""From what was written to what is asked of a resolver: defaults are added here, for flows and commands alike."""

from __future__ import annotations

from collections.abc import Sequence

from mfenv.app.files import local_content
from mfenv.app.settings import Settings
from mfenv.domain.base import LockFile
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import SolveOptions, SpecLayer, complete


def request_of(
    layer: SpecLayer,
    settings: Settings,
    platform: Platform,
    *,
    default_python: PythonConstraint,
    needs: Sequence[MatchSpec],
    base: LockedEnvironment | LockFile | None,
    has_gpu: bool = False,
) -> ResolutionRequest:
    """Return the request for what `layer` asks for on `platform`, upon `base`.

    `needs` are the packages that Metaflow imports in a task. Raises `InvalidSpec`.
    """
    spec = complete(
        layer,
        default_python=default_python,
        default_channels=settings.channels,
        default_indexes=settings.indexes,
        default_index=settings.default_index,
        needs=needs,
        local_content=local_content(layer),
        options=SolveOptions(index_strategy=settings.index_strategy, exclude_newer=settings.exclude_newer),
        base=base,
    )
    return ResolutionRequest(spec=spec, target=settings.target(platform, has_gpu=has_gpu, system=dict(layer.system)))
