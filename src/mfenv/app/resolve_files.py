"""Resolving what files ask for, without a flow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mfenv.app.files import FileWish, local_content, read_file
from mfenv.app.settings import Settings
from mfenv.app.wiring import Wiring
from mfenv.domain.base import LockFile
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import SolveOptions, SpecLayer, combine, complete
from mfenv.errors import EnvironmentsError
from mfenv.formats.written import Written, joined


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A request and the lock that answers it."""

    request: ResolutionRequest
    lock: LockedEnvironment
    is_new: bool


def read_files(wishes: Iterable[FileWish], python: str | None, platform: Platform) -> Written:
    """Return what all of `wishes` ask for together, with `python` put beside. Raises `InvalidSpec`."""
    found = Written(layer=SpecLayer())
    for wish in wishes:
        found = joined(found, read_file(wish, platform), where=f"`{wish.shown}`")
    if not python:
        return found
    chosen = SpecLayer(python=PythonConstraint.parse(python, where="--python"))
    return Written(
        layer=combine(found.layer, chosen, owner="--python"),
        channel_credentials=found.channel_credentials,
        index_secrets=found.index_secrets,
    )


def resolve(
    wiring: Wiring,
    layers: Mapping[Platform, SpecLayer],
    *,
    default_python: PythonConstraint,
    needs: Sequence[MatchSpec],
    user: str,
) -> list[Found]:
    """Return a lock for each platform, found or made. Raises the first `EnvironmentsError` that one ends with."""
    locker = wiring.locker(user)
    requests = [_request(wiring.settings, p, layer, default_python, needs) for p, layer in layers.items()]
    known = locker.known(requests)
    outcomes = {**known, **locker.resolve(asked for asked in requests if asked not in known)}
    found = []
    for asked in requests:
        outcome = outcomes[asked]
        if isinstance(outcome, EnvironmentsError):
            raise outcome
        found.append(Found(request=asked, lock=outcome, is_new=asked not in known))
    return found


def _request(
    settings: Settings,
    platform: Platform,
    layer: SpecLayer,
    default_python: PythonConstraint,
    needs: Sequence[MatchSpec],
) -> ResolutionRequest:
    spec = complete(
        layer,
        default_python=default_python,
        default_channels=settings.channels,
        default_indexes=settings.indexes,
        default_index=settings.default_index,
        needs=needs,
        local_content=local_content(layer),
        options=SolveOptions(index_strategy=settings.index_strategy, exclude_newer=settings.exclude_newer),
        base=layer.base if isinstance(layer.base, LockFile) else None,
    )
    return ResolutionRequest(spec=spec, target=settings.target(platform, system=dict(layer.system)))
