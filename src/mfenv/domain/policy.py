"""What an organisation allows in its environments, and what of an environment goes against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from mfenv.domain import conda_version
from mfenv.domain.cutoff import parse_cutoff
from mfenv.domain.digest import Json
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment, LockedPackage
from mfenv.errors import InvalidSpec

DEFAULT_INDEX = "pypi"
"""How the index that the PyPI resolver takes by default is called in a list of allowed ones."""


class Attestations(Enum):
    """Which packages must have an attestation that can be verified."""

    NONE = "none"
    PYPI = "pypi"
    """PyPI packages (PEP 740)."""
    CONDA = "conda"
    """conda packages (CEP 27)."""
    ALL = "all"

    @property
    def for_pypi(self) -> bool:
        """Whether PyPI packages need one."""
        return self in {Attestations.PYPI, Attestations.ALL}

    @property
    def for_conda(self) -> bool:
        """Whether conda packages need one."""
        return self in {Attestations.CONDA, Attestations.ALL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """A package, or some versions of it, that no environment may hold."""

    name: str
    """In the normal form of PEP 503, which conda's names have too, but for `_` and `.`."""
    constraint: str = ""
    """The versions, as PEP 440 or CEP 29 have them; empty for all."""
    side: str = ""
    """``conda``, ``pypi``, or empty for both."""

    def hits(self, package: LockedPackage) -> bool:
        """Tell whether a package is one of these; a version that cannot be compared is."""
        is_conda = isinstance(package, LockedCondaPackage)
        if self.side and (self.side == "conda") is not is_conda:
            return False
        if _plain(package.name) != _plain(self.name):
            return False
        return not self.constraint or _admits(self.constraint, package.version, is_conda=is_conda)

    def __str__(self) -> str:
        return f"{self.side}:{self.name}{self.constraint}" if self.side else f"{self.name}{self.constraint}"


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _admits(constraint: str, version: str, *, is_conda: bool) -> bool:
    # Loaded here: few have a policy.
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion

    try:
        if is_conda:
            return conda_version.admits(constraint, version)
        return SpecifierSet(constraint).contains(version, prereleases=True)
    except (InvalidSpec, InvalidSpecifier, InvalidVersion):
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is allowed. By default everything is."""

    allowed_channels: tuple[str, ...] = ()
    """Names or addresses of channels, without credentials; empty: all."""
    allowed_indexes: tuple[str, ...] = ()
    """Addresses of package indexes, without credentials, or `DEFAULT_INDEX`; empty: all."""
    denied: tuple[Denial, ...] = ()
    minimum_age: str = ""
    """How long packages must have been published, such as ``7 days``; empty: any time."""
    attestations: Attestations = Attestations.NONE
    publishers: tuple[str, ...] = ()
    """Who may have signed, with ``*`` for any text; empty: anybody."""

    @property
    def is_off(self) -> bool:
        """Whether everything is allowed."""
        return self == Policy()

    def youngest(self, now: datetime) -> datetime | None:
        """Return the moment after which nothing counts, or None."""
        return parse_cutoff(self.minimum_age, now=now) if self.minimum_age else None

    def canonical(self) -> Json:
        """Return what is written down of it beside what was checked against it."""
        rows: dict[str, Json] = {
            "allowed_channels": list(self.allowed_channels),
            "allowed_indexes": list(self.allowed_indexes),
            "denied": [str(denial) for denial in self.denied],
            "minimum_age": self.minimum_age,
            "attestations": "" if self.attestations is Attestations.NONE else self.attestations.value,
            "publishers": list(self.publishers),
        }
        return {name: value for name, value in rows.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """Something that a rule does not allow."""

    setting: str
    """The setting that the rule is in."""
    subject: str
    """A package with its version, or an index."""
    reason: str

    def __str__(self) -> str:
        return f"`{self.subject}`: {self.reason} ({self.setting})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of an environment besides its packages."""

    locations: tuple[tuple[str, str], ...] = ()
    """Where the channels are that are allowed by name."""
    indexes: tuple[str, ...] | None = None
    """The indexes that its PyPI packages may have come from; None: nobody knows."""
    known_since: datetime | None = None
    """Since when all its packages are known to have been published; None: not known."""
    publishers: tuple[tuple[str, str], ...] = ()
    """Who signed a file, by its sha256, as far as that was verified."""
    unverified: tuple[tuple[str, str], ...] = ()
    """Why a file's attestation does not count, by its sha256."""


def violations(policy: Policy, lock: LockedEnvironment, evidence: Evidence, *, now: datetime) -> tuple[Violation, ...]:
    """Return all that goes against `policy`; what is not known goes against a rule that needs it."""
    return (
        *_denied(policy, lock),
        *_of_channels(policy, lock, dict(evidence.locations)),
        *_of_indexes(policy, lock, evidence.indexes),
        *_too_young(policy, lock, evidence.known_since, now),
        *_unattested(policy, lock, dict(evidence.publishers), dict(evidence.unverified)),
    )


def _denied(policy: Policy, lock: LockedEnvironment) -> Iterator[Violation]:
    packages: tuple[LockedPackage, ...] = (*lock.packages, *lock.pypi)
    for package in packages:
        for denial in policy.denied:
            if denial.hits(package):
                yield Violation(
                    setting="METAFLOW_CONDA_DENIED_PACKAGES", subject=_shown(package), reason=f"`{denial}` is denied"
                )
                break


def _of_channels(policy: Policy, lock: LockedEnvironment, locations: dict[str, str]) -> Iterator[Violation]:
    if not policy.allowed_channels:
        return
    allowed = [locations.get(written, written) for written in policy.allowed_channels]
    for package in lock.packages:
        if not is_below(package.record.channel, allowed) or not is_below(package.artifact.url, allowed):
            yield Violation(
                setting="METAFLOW_CONDA_ALLOWED_CHANNELS",
                subject=_shown(package),
                reason=f"it is of the channel `{package.record.channel}`, which is not allowed",
            )


def _of_indexes(policy: Policy, lock: LockedEnvironment, indexes: tuple[str, ...] | None) -> Iterator[Violation]:
    setting = "METAFLOW_CONDA_ALLOWED_INDEXES"
    if not policy.allowed_indexes or not lock.pypi:
        return
    if indexes is not None:
        for index in indexes:
            if not is_below(index, policy.allowed_indexes):
                yield Violation(setting=setting, subject=index, reason="this index is not allowed")
        return
    for package in lock.pypi:
        if not is_below(package.artifact.url, policy.allowed_indexes):
            yield Violation(
                setting=setting,
                subject=_shown(package),
                reason=f"nobody noted which index it is from, and `{package.artifact.url}` is of none that is allowed",
            )


def _too_young(
    policy: Policy, lock: LockedEnvironment, known_since: datetime | None, now: datetime
) -> Iterator[Violation]:
    youngest = policy.youngest(now)
    if youngest is None or (known_since is not None and known_since <= youngest):
        return
    when = (
        f"are known since {known_since:%Y-%m-%d %H:%M} only" if known_since else "nobody knows when they were published"
    )
    yield Violation(
        setting="METAFLOW_CONDA_MINIMUM_PACKAGE_AGE",
        subject=lock.id,
        reason=f"its packages must be {policy.minimum_age} old, and {when}",
    )


def _unattested(
    policy: Policy, lock: LockedEnvironment, publishers: dict[str, str], unverified: dict[str, str]
) -> Iterator[Violation]:
    for package in must_be_attested(policy, lock):
        sha256 = package.artifact.sha256
        if sha256 not in publishers:
            yield Violation(
                setting="METAFLOW_CONDA_REQUIRE_ATTESTATION",
                subject=_shown(package),
                reason=f"no attestation of it is verified: {unverified.get(sha256) or 'none was looked for'}",
            )


def must_be_attested(policy: Policy, lock: LockedEnvironment) -> list[LockedPackage]:
    """Return the packages of `lock` that need an attestation."""
    conda = lock.packages if policy.attestations.for_conda else ()
    return [*conda, *(lock.pypi if policy.attestations.for_pypi else ())]


def is_below(address: str, places: Iterable[str]) -> bool:
    """Tell whether an address is one of `places`, or lies below one.

    >>> [is_below(f"https://a.example/{path}", ["https://a.example/b"]) for path in ("b/c", "bc")]
    [True, False]
    """
    if ".." in address.split("/"):
        return False
    return any(f"{address.rstrip('/')}/".startswith(f"{place.rstrip('/')}/") for place in places)


def _shown(package: LockedPackage) -> str:
    return f"{package.name} {package.version}"
