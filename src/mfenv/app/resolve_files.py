"""Resolving what files and options ask for, without a flow."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mfenv.app.files import FileWish, local_content, read_file
from mfenv.app.lock import Locker
from mfenv.app.settings import Settings
from mfenv.domain.artifact import Artifact, LockedArtifact
from mfenv.domain.base import LockFile
from mfenv.domain.channel import ChannelCredentials
from mfenv.domain.difference import held_in
from mfenv.domain.index import IndexSecret
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform, Target
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedEnvironment, ResolvedPackage
from mfenv.domain.spec import EnvironmentSpec, SpecLayer, combine
from mfenv.errors import EnvironmentsError, InvalidSpec
from mfenv.formats.written import Written, joined
from mfenv.resolve.satisfies import normal_name
from mfenv.resolve.service import resolve_all


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


def plus(
    found: Written,
    layer: SpecLayer,
    credentials: Iterable[ChannelCredentials] = (),
    secrets: Iterable[IndexSecret] = (),
) -> Written:
    """Return what files ask for, and options besides. Raises `InvalidSpec` when they do not agree."""
    return Written(
        layer=combine(found.layer, layer, owner="the command line"),
        channel_credentials=(*found.channel_credentials, *credentials),
        index_secrets=(*found.index_secrets, *secrets),
    )


def asked_again(
    spec: EnvironmentSpec, noted: Target, settings: Settings, platform: Platform, *, exclude_newer: str = ""
) -> ResolutionRequest:
    """Return the request that once was asked for `noted`, for `platform`: local folders as they are by now.

    Where the machine itself says where packages are, that counts as it does in any request.
    """
    layer = SpecLayer(pypi=spec.pypi, base=spec.base if isinstance(spec.base, LockFile) else None)
    of_machine = [index for index in settings.indexes if index.is_of_machine]
    spec = replace(
        spec,
        indexes=tuple(dict.fromkeys((*spec.indexes, *of_machine))),
        default_index=spec.default_index or settings.default_index,
        local_content=tuple(sorted(local_content(layer).items())),
        options=replace(spec.options, exclude_newer=exclude_newer or spec.options.exclude_newer),
    )
    if platform is noted.platform:
        return ResolutionRequest(spec=spec, target=noted)
    # Where it is to run is another machine: only that it has a GPU is the same.
    cuda = noted.version_of("__cuda")
    return ResolutionRequest(
        spec=spec,
        target=settings.target(platform, has_gpu=cuda is not None, system={"__cuda": cuda} if cuda else {}),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """Which packages may be others than they are now: those named, or all."""

    names: tuple[str, ...] = ()
    is_all: bool = False

    def __bool__(self) -> bool:
        return bool(self.names) or self.is_all


def resolve(
    locker: Locker,
    requests: Sequence[ResolutionRequest],
    *,
    force: bool = False,
    upgrade: Upgrade | None = None,
    set_default: bool = True,
) -> list[Found]:
    """Return a lock for each request, of one platform each, found or made. Raises the first `EnvironmentsError`.

    With `force` they are made anew, with `upgrade` as close to those there are as it lets them be. Those of several
    platforms belong together: when one has to be made, all are.
    """
    finder = locker if set_default else replace(locker, is_dry=True)
    known, missing = _known(finder, requests, force=force, upgrade=upgrade)
    outcomes = locker.resolve(missing.values(), together=True, set_default=set_default)
    found = []
    for asked in requests:
        outcome = known.get(asked) or outcomes[missing[asked]]
        if isinstance(outcome, EnvironmentsError):
            raise outcome
        found.append(Found(request=asked, lock=outcome, is_new=asked not in known))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a request would be answered with."""

    request: ResolutionRequest
    before: LockedEnvironment | None
    """What it is answered with today."""
    after: LockedEnvironment | ResolvedEnvironment
    """The same, when nothing would be solved."""

    @property
    def is_new(self) -> bool:
        """Whether it was solved for the plan."""
        return isinstance(self.after, ResolvedEnvironment)


def plan(
    locker: Locker, requests: Sequence[ResolutionRequest], *, force: bool = False, upgrade: Upgrade | None = None
) -> list[Planned]:
    """Return what `resolve` would come to, and keep nothing of it: no lock, no default, no wheel is built.

    Raises the first `EnvironmentsError`.
    """
    before = locker.known(requests)
    known, missing = _known(locker, requests, force=force, upgrade=upgrade)
    answers = resolve_all(missing.values(), locker.resolver, locker.on_answer)
    found = []
    for asked in requests:
        answer = known.get(asked) or answers[missing[asked]]
        if isinstance(answer, EnvironmentsError):
            raise answer
        found.append(Planned(request=asked, before=before.get(asked), after=answer))
    return found


def _known(
    locker: Locker, requests: Sequence[ResolutionRequest], *, force: bool, upgrade: Upgrade | None
) -> tuple[Mapping[ResolutionRequest, LockedEnvironment], Mapping[ResolutionRequest, ResolutionRequest]]:
    """Return the locks that are used as they are, and the others' requests, with what they should stay close to."""
    there = {} if force else locker.known(requests)
    if len(requests) > 1 and not (len(there) == len(requests) and locker.are_together(there)):
        there = {}
    if not upgrade:
        return there, {asked: asked for asked in requests if asked not in there}
    current = locker.known(requests)
    if upgrade.names:
        _refuse_unknown(upgrade.names, current.values())
    return {}, {asked: staying_close(asked, current.get(asked), upgrade) for asked in requests}


def staying_close(asked: ResolutionRequest, lock: LockedEnvironment | None, upgrade: Upgrade) -> ResolutionRequest:
    """Return a request that prefers what `lock` has, but for what is to be upgraded."""
    if lock is None or upgrade.is_all:
        return asked
    names = {normal_name(name) for name in upgrade.names}
    return replace(
        asked,
        preferred=tuple(
            ResolvedPackage(record=package.record, artifact=_as_resolved(package.artifact))
            for package in lock.packages
            if normal_name(package.name) not in names
        ),
        preferred_pypi=tuple((package.name, package.version) for package in lock.pypi if package.name not in names),
    )


def _as_resolved(artifact: LockedArtifact) -> Artifact:
    return Artifact(file_name=artifact.file_name, url=artifact.url, size=artifact.size, sha256=artifact.sha256)


def _refuse_unknown(names: Iterable[str], locks: Iterable[LockedEnvironment]) -> None:
    there = {held.project for lock in locks for held in held_in(lock)}
    for name in names:
        if there and normal_name(name) not in there:
            close = difflib.get_close_matches(normal_name(name), sorted(there), n=3)
            raise InvalidSpec(
                f"--upgrade: there is no `{name}` in what is locked now",
                hint=f"There is {', '.join(f'`{one}`' for one in close)}" if close else "Check the spelling",
            )
