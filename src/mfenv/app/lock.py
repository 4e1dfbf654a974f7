"""From requests to locks: those that are known at once, the others by solving."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from mfenv.app.policing import Policing
from mfenv.domain.artifact import Artifact, LockedArtifact
from mfenv.domain.base import LockFile
from mfenv.domain.digest import LockId
from mfenv.domain.group import LockGroup
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment, LockedPypiPackage
from mfenv.domain.others import Others
from mfenv.domain.provenance import Provenance
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedEnvironment, ResolvedPypiPackage
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import EnvironmentsError, LockError, StoreError
from mfenv.io.debug_log import say, timed
from mfenv.resolve.base import Resolver
from mfenv.resolve.foreign import ForeignBuildError, joined
from mfenv.resolve.satisfies import satisfies
from mfenv.resolve.service import resolve_all
from mfenv.store.locks import LockStore
from mfenv.store.project_index import Default, ProjectIndex

Measure = Callable[[Sequence[Artifact]], Sequence[LockedArtifact]]
"""Brings files whose index tells no digest, and tells it."""

Build = Callable[[ResolvedPypiPackage], LockedPypiPackage]
"""Builds the wheel of a package that has none."""

Convert = Callable[[LockedEnvironment], LockedEnvironment]
"""Has conda packages in the format that is preferred, and adds those files to the lock."""

Outcome = LockedEnvironment | EnvironmentsError


@dataclass(frozen=True, kw_only=True)
class Locker:
    """Finds and makes locks."""

    locks: LockStore
    index: ProjectIndex
    resolver: Resolver
    measure: Measure
    builds: Callable[[ResolutionRequest, ResolvedEnvironment], Build]
    convert: Convert = lambda lock: lock
    has: Callable[[LockedArtifact], bool]
    """Tells whether a wheel that was built is still here."""
    is_shared: Callable[[LockId], bool] = lambda _lock: False
    """Tells whether a store is known to have all files of a lock; asks nobody."""
    user: str
    now: Callable[[], datetime]
    others: Others = field(default_factory=Others)
    """Whose locks in the shared store count as known, too."""
    policing: Policing | None = None
    """What holds locks against the policy; None where everything is allowed."""
    is_dry: bool = False
    """Whether nothing that is found out is remembered."""
    tell: Callable[[str], None] = lambda _line: None
    """Told why a lock that somebody has is not used."""
    on_answer: Callable[[ResolvedEnvironment | EnvironmentsError], None] = lambda _answer: None
    """Told of each answer to a request when it is there, from any thread."""

    def known(self, requests: Iterable[ResolutionRequest]) -> dict[ResolutionRequest, LockedEnvironment]:
        """Return the locks there are for `requests`; solves nothing, and asks the shared store only where it has to.

        First those that this project used last; then, where the settings say so, the latest that others got. A lock
        with a wheel that was built, and that is nowhere any more, cannot be used: nobody serves that wheel. Raises
        `PolicyViolation` for one that is not allowed any more.
        """
        requests = list(dict.fromkeys(requests))
        found = {request: lock for request in requests if (lock := self._default(request))}
        if not self.others.is_nobody:
            for request in requests:
                if request not in found and (latest := self._latest(request, found)):
                    found[request] = latest
        if self.policing:
            for lock in found.values():
                self.policing.check(lock)
        return found

    def _default(self, request: ResolutionRequest) -> LockedEnvironment | None:
        default = self.index.default(request.key, request.target)
        try:
            lock = self.locks.get(default.lock) if default else None
        except LockError:
            return None
        if default is None or lock is None or lock.platform is not request.target.platform:
            why = "this project has resolved nothing for it" if default is None else "its lock is not here"
            say("decision", f"request {request.key} for {request.target.platform.value} is not known: {why}")
            return None
        if default.is_chosen and (reason := satisfies(lock, request.spec)):
            self.tell(f"Environment {lock.id} was chosen for this request and does not fit it any more: {reason}.")
            return None
        if not self._is_whole(lock):
            say("decision", f"lock {lock.id} of request {request.key} is not used: a wheel that was built is nowhere")
            return None
        how = "was chosen for" if default.is_chosen else "is what this project used last for"
        say("decision", f"lock {lock.id} {how} request {request.key}")
        return lock

    def _latest(
        self, request: ResolutionRequest, found: Mapping[ResolutionRequest, LockedEnvironment]
    ) -> LockedEnvironment | None:
        """Return the latest lock that others got; first of all one that was resolved together with what is used."""
        try:
            answers = self.locks.answers(request.key, request.target)
        except StoreError as error:
            self.tell(f"What others resolved cannot be looked at: {error.message}.")
            return None
        answers = [answer for answer in answers if self.others.count(answer.user, me=self.user)]
        used = [lock.id for asked, lock in found.items() if asked.key == request.key]
        together = {self.locks.sibling(lock_id, request.target.platform) for lock_id in used}
        for answer in sorted(answers, key=lambda answer: answer.lock not in together):
            try:
                lock = self.locks.get(answer.lock)
            except LockError as error:
                self.tell(f"Environment {answer.lock} of {answer.user} cannot be read: {error.message}.")
                continue
            if lock is None or lock.platform is not request.target.platform:
                continue
            if reason := satisfies(lock, _what_locks_tell(request.spec)):
                self.tell(f"Environment {lock.id} of {answer.user} does not fit: {reason}.")
                continue
            say("decision", f"lock {lock.id}, which {answer.user} got for request {request.key}, is used")
            if self.is_dry:
                return lock
            group = next(iter(self.locks.groups(lock.id)), None)
            self.index.set_defaults([self._as_default(request, lock.id, group.id if group else "")])
            return lock
        return None

    def _is_whole(self, lock: LockedEnvironment) -> bool:
        return all(self.has(package.artifact) for package in lock.pypi if package.built_from) or self.is_shared(lock.id)

    def resolve(
        self, requests: Iterable[ResolutionRequest], *, together: bool = False, set_default: bool = True
    ) -> Mapping[ResolutionRequest, Outcome]:
        """Solve `requests`, keep the locks, and return them or the errors that came instead.

        With `together`, the locks, of several platforms, are a group from then on, if all came to be.
        """
        requests = list(dict.fromkeys(requests))
        for request in requests:
            sides = " and ".join(["conda", "PyPI"] if request.spec.pypi else ["conda"])
            say("decision", f"request {request.key} for {request.target.platform.value} is solved anew: {sides}")
        with timed("solve", f"{len(requests)} requests"):
            answers = resolve_all(requests, self.resolver, self.on_answer)
        outcomes = {request: self._keep(request, answer) for request, answer in answers.items()}
        locks = {request: one for request, one in outcomes.items() if isinstance(one, LockedEnvironment)}
        group = LockGroup.of({lock.platform: lock.id for lock in locks.values()})
        is_group = together and len(locks) == len(outcomes) and len(group.locks) > 1
        if is_group:
            self.locks.keep_group(group)
        if set_default:
            self.use(locks, group=group.id if is_group else "")
        return outcomes

    def are_together(self, locks: Mapping[ResolutionRequest, LockedEnvironment]) -> bool:
        """Tell whether these locks, of several platforms, were resolved together."""
        group = LockGroup.of({lock.platform: lock.id for lock in locks.values()})
        return all(
            any(set(group.locks) <= set(known.locks) for known in self.locks.groups(lock.id)) for lock in locks.values()
        )

    def use(
        self, locks: Mapping[ResolutionRequest, LockedEnvironment], *, group: str = "", is_chosen: bool = False
    ) -> None:
        """Have this project use these locks for these requests from now on."""
        self.index.set_defaults(
            self._as_default(request, lock.id, group, is_chosen=is_chosen) for request, lock in locks.items()
        )

    def _as_default(self, request: ResolutionRequest, lock: LockId, group: str, *, is_chosen: bool = False) -> Default:
        return Default(
            request=request.key,
            target=request.target.key,
            platform=request.target.platform,
            lock=lock,
            group=group,
            user=self.user,
            time=self.now(),
            is_chosen=is_chosen,
        )

    def _keep(self, request: ResolutionRequest, answer: ResolvedEnvironment | EnvironmentsError) -> Outcome:
        if isinstance(answer, EnvironmentsError):
            return answer
        try:
            found = lock_of(answer, self.measure, self.builds(request, answer), variables=request.spec.variables)
            lock = self.convert(found)
            self.locks.keep(
                lock,
                Provenance(
                    request=request.key,
                    target=request.target,
                    asked=request.spec.canonical(),
                    resolver=answer.resolver,
                    user=self.user,
                    time=self.now(),
                    policy=self.policing.note(lock) if self.policing else None,
                ),
            )
        except EnvironmentsError as error:
            return error
        return lock


def _what_locks_tell(spec: EnvironmentSpec) -> EnvironmentSpec:
    """Return the part of a spec that a lock can contradict; what locks do not tell of, the request's key settles."""
    pypi = tuple(one for one in spec.pypi if not (one.extras or one.url or one.is_local))
    return replace(spec, pypi=pypi, base=None if isinstance(spec.base, LockFile) else spec.base)


def lock_of(
    answer: ResolvedEnvironment, measure: Measure, build: Build, *, variables: Iterable[tuple[str, str]] = ()
) -> LockedEnvironment:
    """Turn a resolver's answer into a promise: every file by its sha256, every source as the wheel built from it.

    What the index does not tell is found out by `measure`, all at once. `variables` are put over the answer's.
    """
    built = _all_built((package for package in answer.pypi if package.wheel is None), build)
    conda = [package.artifact for package in answer.packages]
    # conda's indexes tell sizes; PyPI's may not, and need not.
    vague = [artifact for artifact in conda if _locked(artifact) is None or artifact.size is None]
    vague += [package.wheel for package in answer.pypi if package.wheel and _locked(package.wheel) is None]
    measured = dict(zip(vague, measure(vague), strict=True)) if vague else {}

    def locked(artifact: Artifact) -> LockedArtifact:
        return measured.get(artifact) or _locked(artifact) or measured[artifact]

    return LockedEnvironment(
        platform=answer.platform,
        packages=tuple(
            LockedCondaPackage(record=package.record, artifact=locked(package.artifact)) for package in answer.packages
        ),
        pypi=tuple(
            LockedPypiPackage(
                name=package.name,
                version=package.version,
                artifact=locked(package.wheel),
                built_from=package.built_from,
            )
            if package.wheel
            else built[package]
            for package in answer.pypi
        ),
        variables=tuple(sorted({**dict(answer.variables), **dict(variables)}.items())),
    )


def _all_built(packages: Iterable[ResolvedPypiPackage], build: Build) -> dict[ResolvedPypiPackage, LockedPypiPackage]:
    """Build what has no wheel; what cannot be built for another platform is refused in one error."""
    built, refused = {}, list[ForeignBuildError]()
    for package in packages:
        try:
            built[package] = build(package)
        except ForeignBuildError as error:
            refused.append(error)
    if refused:
        raise joined(refused)
    return built


def _locked(artifact: Artifact) -> LockedArtifact | None:
    if artifact.sha256 is None:
        return None
    return LockedArtifact(file_name=artifact.file_name, url=artifact.url, size=artifact.size, sha256=artifact.sha256)
