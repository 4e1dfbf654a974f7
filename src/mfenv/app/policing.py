"""Holding environments against the policy: when they are resolved, and before anything of them is installed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from mfenv.domain.cutoff import parse_cutoff
from mfenv.domain.digest import Json, LockId
from mfenv.domain.locked import LockedEnvironment, LockedPackage
from mfenv.domain.policy import (
    DEFAULT_INDEX,
    Evidence,
    Policy,
    Violation,
    is_below,
    must_be_attested,
    violations,
)
from mfenv.domain.provenance import Provenance
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedEnvironment
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import PolicyViolation
from mfenv.resolve.base import Resolver

OPERATIONS = {
    "attested": "mfenv.resolve.backends.attestation_worker:attested",
    "locate": "mfenv.resolve.backends.attestation_worker:locate",
}
"""What the helper process must offer."""

_MOST_SHOWN = 12
_HINT = "Resolve anew (`--force`), ask for other packages or versions, or have the rule changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What came of looking for a package's attestation."""

    sha256: str
    publisher: str = ""
    """Who signed it; empty where nothing could be verified."""
    why: str = ""
    """Why not."""


class Verifier(Protocol):
    """Who looks for attestations: see `mfenv.app.attestations.AttestationVerifier`."""

    def check(self, packages: Sequence[LockedPackage], indexes: Sequence[str]) -> list[Checked]:
        """Return what came of it, for each package."""
        ...

    def locations(self, names: Iterable[str]) -> dict[str, str]:
        """Return where the channels of these names are."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What is known of packages that were chosen here, under the policy."""

    indexes: tuple[str, ...]
    known_since: datetime | None


@dataclass(frozen=True, kw_only=True)
class Policing:
    """Holds everything against one policy. Called from any thread; costs nothing where everything is allowed."""

    policy: Policy
    verifier: Callable[[], Verifier]
    notes: Callable[[LockId], Sequence[Provenance]]
    """Gives what is known of how a lock came about."""
    machine_indexes: tuple[str, ...]
    """The indexes that this machine's configuration adds to those of a request."""
    default_index: Callable[[], str]
    """Gives the address of the index that the PyPI resolver takes by default."""
    now: Callable[[], datetime]
    _answers: dict[str, _Answer] = field(default_factory=dict)
    _allowed: dict[LockId, Evidence] = field(default_factory=dict)
    _located: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def over(self, resolver: Resolver) -> Resolver:
        """Return a resolver that answers as `resolver` does, as far as the policy lets it."""
        return resolver if self.policy.is_off else _Policed(inner=resolver, policing=self)

    def check(self, lock: LockedEnvironment) -> None:
        """Refuse a lock that the policy does not allow. Raises `PolicyViolation` with all that goes against it."""
        if not self.policy.is_off:
            self._evidence(lock)

    def note(self, lock: LockedEnvironment) -> Json:
        """Return what is written down of a lock that is allowed; None where there is no policy. Raises as `check`."""
        if self.policy.is_off:
            return None
        evidence = self._evidence(lock)
        return {
            "rules": self.policy.canonical(),
            "indexes": list(evidence.indexes) if evidence.indexes is not None else None,
            "known_since": evidence.known_since.isoformat() if evidence.known_since else None,
            "publishers": dict(evidence.publishers),
        }

    # ------------------------------------------------------------------ requests

    def asked(self, request: ResolutionRequest) -> ResolutionRequest:
        """Return a request as it may be answered. Raises `PolicyViolation` for one that names what is not allowed."""
        found = list(self._of_request(request.spec))
        if found:
            raise _error(found, "Name channels and indexes that are allowed")
        youngest = self.policy.youngest(self.now())
        options = request.spec.options
        if youngest is None or (
            options.exclude_newer and parse_cutoff(options.exclude_newer, now=self.now()) <= youngest
        ):
            return request
        cut = replace(options, exclude_newer=youngest.isoformat(timespec="seconds"))
        return replace(request, spec=replace(request.spec, options=cut))

    def _of_request(self, spec: EnvironmentSpec) -> Iterator[Violation]:
        channels = [*spec.channels, *(wish.channel for wish in spec.match_specs if wish.channel)]
        allowed = [self._place(written) for written in self.policy.allowed_channels]
        for channel in dict.fromkeys(map(str, channels)) if allowed else ():
            if not is_below(self._place(channel), allowed):
                yield Violation(
                    setting="METAFLOW_CONDA_ALLOWED_CHANNELS", subject=channel, reason="this channel is not allowed"
                )
        for index in self._indexes(spec) if self.policy.allowed_indexes and spec.pypi else ():
            if not is_below(index, self.policy.allowed_indexes):
                yield Violation(
                    setting="METAFLOW_CONDA_ALLOWED_INDEXES", subject=index, reason="this index is not allowed"
                )

    def _place(self, channel: str) -> str:
        """Return a channel's address; a name is looked up, once."""
        if "://" in channel:
            return channel
        if channel not in self._located:
            self._located.update(self.verifier().locations([channel]))
        return self._located[channel]

    def _indexes(self, spec: EnvironmentSpec) -> tuple[str, ...]:
        """Return all places that PyPI packages of a request may come from, in the order in which they are asked."""
        default = str(spec.default_index) if spec.default_index else DEFAULT_INDEX
        named = [str(index) for index in spec.indexes]
        pinned = [wish.index for wish in spec.pypi if wish.index]
        addresses = [wish.url.removeprefix("git+") for wish in spec.pypi if wish.url and not wish.is_local]
        return tuple(dict.fromkeys([*named, *pinned, *self.machine_indexes, default, *addresses]))

    def answered(self, request: ResolutionRequest, answer: ResolvedEnvironment) -> None:
        """Remember what is known of an answer's files because they were chosen under the policy."""
        spec = request.spec
        # What is built upon, or named by its address, is there whatever its age.
        is_cut = spec.base is None and not any(wish.url and not wish.is_local for wish in spec.pypi)
        since = parse_cutoff(spec.options.exclude_newer, now=self.now()) if spec.options.exclude_newer else None
        known = _Answer(indexes=self._indexes(spec), known_since=since if is_cut else None)
        names = [package.artifact.file_name for package in answer.packages]
        names += [package.wheel.file_name for package in answer.pypi if package.wheel]
        with self._lock:
            self._answers.update(dict.fromkeys(names, known))

    # --------------------------------------------------------------------- locks

    def _evidence(self, lock: LockedEnvironment) -> Evidence:
        """Return what is known of a lock that is allowed; raise `PolicyViolation` for another."""
        with self._lock:
            if lock.id in self._allowed:
                return self._allowed[lock.id]
        evidence = self._of_answers(lock) or self._of_notes(lock)
        evidence = replace(evidence, locations=self._named_locations(lock))
        found = violations(replace(self.policy, attestations=Policy().attestations), lock, evidence, now=self.now())
        if not found:
            evidence = self._attested(lock, evidence)
            found = violations(self.policy, lock, evidence, now=self.now())
        if found:
            raise _error(found, _HINT)
        with self._lock:
            self._allowed[lock.id] = evidence
        return evidence

    def _of_answers(self, lock: LockedEnvironment) -> Evidence | None:
        """Return what is known of a lock from answers to requests of this process; None when not all is from there."""
        with self._lock:
            rows = [self._answers.get(artifact.file_name) for artifact in lock.artifacts]
        known = [row for row in rows if row is not None]
        # A wheel that was built here is of no index, and as old as what it was built from.
        built = sum(1 for package in lock.pypi if package.built_from)
        if not known or len(known) + built < len(rows):
            return None
        times = [row.known_since for row in known]
        return Evidence(
            indexes=tuple(dict.fromkeys(index for row in known for index in row.indexes)),
            known_since=None if None in times else max(time for time in times if time is not None),
        )

    def _of_notes(self, lock: LockedEnvironment) -> Evidence:
        """Return what is known of a lock from those who made it."""
        notes = self.notes(lock.id)
        checked: list[Mapping[str, Any]] = [note.policy for note in notes if isinstance(note.policy, dict)]
        since = [note.time for note in notes]
        since += [datetime.fromisoformat(row["known_since"]) for row in checked if row.get("known_since")]
        indexes = [tuple(row["indexes"]) for row in checked if row.get("indexes") is not None]
        publishers = {sha256: who for row in checked for sha256, who in (row.get("publishers") or {}).items()}
        return Evidence(
            indexes=indexes[0] if indexes else None,
            known_since=min(since) if since else None,
            publishers=tuple(sorted(publishers.items())),
        )

    def _named_locations(self, lock: LockedEnvironment) -> tuple[tuple[str, str], ...]:
        """Return where the channels are that are allowed by name, as far as some package may be of one."""
        allowed = self.policy.allowed_channels
        if all(is_below(package.record.channel, allowed) for package in lock.packages):
            return ()
        return tuple((name, self._place(name)) for name in allowed if "://" not in name)

    def _attested(self, lock: LockedEnvironment, evidence: Evidence) -> Evidence:
        known = dict(evidence.publishers)
        missing = [each for each in must_be_attested(self.policy, lock) if each.artifact.sha256 not in known]
        if not missing:
            return evidence
        indexes = [self.default_index() if index == DEFAULT_INDEX else index for index in evidence.indexes or ()]
        checked = self.verifier().check(missing, indexes or [self.default_index()])
        known |= {each.sha256: each.publisher for each in checked if not each.why}
        return replace(
            evidence,
            publishers=tuple(sorted(known.items())),
            unverified=tuple((each.sha256, each.why) for each in checked if each.why),
        )


@dataclass(frozen=True, kw_only=True)
class _Policed:
    """A resolver whose answers keep to the policy."""

    inner: Resolver
    policing: Policing

    @property
    def name(self) -> str:
        return self.inner.name

    def resolve(self, request: ResolutionRequest) -> ResolvedEnvironment:
        """See `mfenv.resolve.base.Resolver`. Raises `PolicyViolation` too."""
        asked = self.policing.asked(request)
        answer = self.inner.resolve(asked)
        self.policing.answered(asked, answer)
        return answer


def _error(found: Sequence[Violation], hint: str) -> PolicyViolation:
    lines = [str(each) for each in found[:_MOST_SHOWN]]
    more = f" (and {len(found) - _MOST_SHOWN} more)" if len(found) > _MOST_SHOWN else ""
    return PolicyViolation(f"the policy does not allow {'; '.join(lines)}{more}", hint=hint)
