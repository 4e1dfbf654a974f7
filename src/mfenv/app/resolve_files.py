"""Resolving what files ask for, without a flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mfenv.app.files import FileWish, read_file
from mfenv.app.request import request_of
from mfenv.app.wiring import Wiring
from mfenv.domain.base import LockFile
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import SpecLayer, combine
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
    force: bool = False,
    tell: Callable[[str], None] = lambda _line: None,
) -> list[Found]:
    """Return a lock for each platform, found or made; with `force`, made. Raises the first `EnvironmentsError`.

    Those of several platforms belong together: when one has to be made, all are.
    """
    locker = wiring.locker(user, tell=tell)
    requests = [
        request_of(
            layer,
            wiring.settings,
            platform,
            default_python=default_python,
            needs=needs,
            base=layer.base if isinstance(layer.base, LockFile) else None,
        )
        for platform, layer in layers.items()
    ]
    known = {} if force else locker.known(requests)
    if len(requests) > 1 and not (len(known) == len(requests) and locker.are_together(known)):
        known = {}
    outcomes = {**known, **locker.resolve((asked for asked in requests if asked not in known), together=True)}
    found = []
    for asked in requests:
        outcome = outcomes[asked]
        if isinstance(outcome, EnvironmentsError):
            raise outcome
        found.append(Found(request=asked, lock=outcome, is_new=asked not in known))
    return found
