"""Whether exact packages hold what is asked for, and if not, why: looked up, never solved.

A yes is a promise. Where packages do not tell (what an extra of a wheel needs, what a folder was built from), the
answer is no, with that as its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mfenv.domain import conda_version
from mfenv.domain.base import LockFile
from mfenv.domain.channel import Channel
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.markers import applies
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Target, baseline
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import CondaRecord
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import InvalidSpec
from mfenv.resolve.versions import admits, normal_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A Python distribution that is there, whichever side it is from."""

    name: str
    """In the normal form of PEP 503."""
    version: str
    """Empty when only a build will tell."""
    sha256: str | None = None
    """Of its wheel; None when it has none, or nobody tells."""
    addresses: tuple[str, ...] = ()
    """Where it came from: the wheel's, and that of what it was built from."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


def satisfies(lock: LockedEnvironment, spec: EnvironmentSpec) -> str | None:
    """Return why `lock` does not hold what `spec` asks for; None when it does.

    What is in a lock besides is of no account, and neither are channels, indexes and dates that nothing in a lock
    tells of. Markers are evaluated for the lock's platform and Python.

    >>> from mfenv.domain.platform import Platform
    >>> from mfenv.domain.python import PythonConstraint
    >>> spec = EnvironmentSpec(python=PythonConstraint.minor(3, 11), conda=(), channels=())
    >>> satisfies(LockedEnvironment(platform=Platform.LINUX_64, packages=()), spec)
    'there is no `python`'
    """
    return next(_reasons(lock, spec), None)


def _reasons(lock: LockedEnvironment, spec: EnvironmentSpec) -> Iterator[str]:
    records = {package.name: package.record for package in lock.packages}
    target, python = baseline(lock.platform), records.get("python")
    pythons = (python.version,) if python else ()
    for wish in spec.match_specs:
        if not is_wanted(wish.marker, target, pythons):
            continue
        record = records.get(wish.name)
        if record is None:
            yield f"there is no `{wish.name}`"
        elif found := other_package(wish, record):
            yield f"`{wish}` is asked for, and there is {found}"
    there = {held.name: held for held in _distributions(lock)}
    for wanted in spec.pypi:
        if is_wanted(wanted.marker, target, pythons):
            yield from _missing(wanted, there.get(wanted.name))
    for need in spec.needs:
        if need.name not in records and normal_name(need.name) not in there:
            yield f"there is no `{need.name}`"
    for wanted in spec.pypi_constraints:
        held = there.get(wanted.name)
        if held and is_wanted(wanted.marker, target, pythons) and (found := other_distribution(wanted, held)):
            yield f"`{shown(wanted)}` has to hold, and there is {found}"
    yield from _of_the_base(lock, spec)
    variables = dict(lock.variables)
    yield from (f"the variable `{name}` is another" for name, text in spec.variables if variables.get(name) != text)


def _missing(wanted: Requirement, held: Distribution | None) -> Iterator[str]:
    if held is None:
        yield f"there is no `{wanted.name}`"
    elif found := other_distribution(wanted, held):
        yield f"`{shown(wanted)}` is asked for, and there is {found}"
    elif wanted.extras:
        yield f"whether what `{shown(wanted)}` needs is there is not known"


def _of_the_base(lock: LockedEnvironment, spec: EnvironmentSpec) -> Iterator[str]:
    if isinstance(spec.base, LockFile):
        yield f"whether what `{spec.base}` has is there is not known"
    elif spec.base:
        there = {artifact.sha256 for artifact in lock.artifacts}
        for artifact in spec.base.artifacts:
            if artifact.sha256 not in there:
                yield f"`{artifact.file_name}` of what is built upon is not there"
        asked = dict(spec.variables)
        for name, text in spec.base.variables:
            if name not in asked and (name, text) not in lock.variables:
                yield f"the variable `{name}` is another"


def _distributions(lock: LockedEnvironment) -> Iterator[Distribution]:
    """Yield what there is for Python, wheels last: of conda packages, only what bears the project's own name."""
    for package in lock.packages:
        if may_hold_python(package.record):
            yield Distribution(name=normal_name(package.name), version=package.version)
    for wheel in lock.pypi:
        yield Distribution(
            name=wheel.name,
            version=wheel.version,
            sha256=wheel.artifact.sha256,
            addresses=(wheel.artifact.url, wheel.built_from),
        )


def is_wanted(marker: str, target: Target, pythons: Iterable[str]) -> bool:
    """Tell whether something with that marker is asked for; without a Python to tell by, it is."""
    return not marker or applies(marker, target=target, pythons=pythons) is not False


def normal_name(name: str) -> str:
    """Return a name in the normal form of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def missing_needs(records: Iterable[CondaRecord]) -> list[str]:
    """Return the names of what conda packages need and is not among them; what is the machine's aside.

    >>> missing_needs([CondaRecord(name="a", version="1", build="0", build_number=0, subdir="noarch", channel="x",
    ...                            depends=("b >=1", "__glibc", "a"))])
    ['b']
    """
    records = list(records)
    there = {record.name for record in records}
    needed = {text.split()[0].split("[")[0].lower() for record in records for text in record.depends if text.strip()}
    return sorted(name for name in needed - there if not name.startswith("__"))


def may_hold_python(record: CondaRecord) -> bool:
    """Tell whether a package can have anything in site-packages: one that has, needs Python to be of use."""
    return record.noarch == "python" or any(depend.split()[0] in {"python", "python_abi"} for depend in record.depends)


def other_package(wish: MatchSpec, record: CondaRecord) -> str | None:
    """Return what `record` is instead of what `wish` asks for, in words; None when it is that.

    >>> record = CondaRecord(name="six", version="1.16", build="0", build_number=0, subdir="noarch", channel="x")
    >>> other_package(MatchSpec(name="six", version=">=1.17"), record)
    'six 1.16'
    """
    try:
        fits = conda_version.admits(wish.version, record.version)
    except InvalidSpec:
        # What cannot be read can still be named.
        fits = wish.version in {"*", f"=={record.version}"}
    if not fits:
        return f"{record.name} {record.version}"
    if wish.build and not _matches(wish.build, record.build):
        return f"{record.name} {record.version} {record.build}"
    if wish.channel and not _is_of(wish.channel, record.channel):
        return f"{record.name} {record.version} of `{record.channel}`"
    return None


def _matches(pattern: str, text: str) -> bool:
    """Compare as CEP 29 has it for texts: a regular expression between `^` and `$`, a glob, or the text itself."""
    if not (pattern.startswith("^") and pattern.endswith("$")):
        pattern = f"^{re.escape(pattern)}$".replace(r"\*", ".*")
    try:
        return re.search(pattern, text, re.IGNORECASE) is not None
    except re.error:
        return False


def _is_of(channel: Channel, location: str) -> bool:
    """Tell whether a package's channel is the one that is asked for, by its name or by its address."""
    wanted, found = str(channel).rstrip("/"), location.rstrip("/")
    return wanted == found or ("://" not in wanted and "://" in found and found.endswith(f"/{wanted}"))


def other_distribution(wanted: Requirement, held: Distribution) -> str | None:
    """Return what `held` is instead of what `wanted` asks for, in words; None when it is that, extras aside.

    An index that it must come from says where to look for what is not there yet; conda's packages are from none.
    """
    if wanted.index and not held.addresses:
        return f"{held} from conda"
    if wanted.is_local and held.addresses:
        return f"{held}, of what was there at the time"
    if wanted.url and not _is_at(wanted.url, held):
        return f"{held} from another place"
    if wanted.specifier and (normal_version(held.version) is None or not admits(wanted.specifier, held.version)):
        return f"{held}" if held.version else f"a build of {held.name}, whose version is not known yet"
    if wanted.hashes and f"sha256:{held.sha256}" not in wanted.hashes:
        return f"{held} with the sha256 {held.sha256}" if held.sha256 else f"{held}, whose sha256 is not known"
    return None


def _is_at(url: str, held: Distribution) -> bool:
    """Tell whether `held` is from that address; a branch or a tag may have moved since, a commit cannot have."""
    plain, digests = _DIGEST.sub("", url), set(_DIGEST.findall(url))
    return any(
        plain == _DIGEST.sub("", address) and digests <= {*_DIGEST.findall(address), held.sha256}
        for address in held.addresses
        if address
    )


_DIGEST = re.compile(r"#sha256=([0-9a-f]+)")


def shown(wanted: Requirement) -> str:
    """Return a requirement without its marker, for messages."""
    extras = f"[{','.join(wanted.extras)}]" if wanted.extras else ""
    return f"{wanted.name}{extras} @ {wanted.url}" if wanted.url else f"{wanted.name}{extras}{wanted.specifier}"
