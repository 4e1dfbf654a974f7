"""Hypothesis strategies for the values of `mfenv.domain`.

They make what the parsers would: values in normal form. Texts are short and from small alphabets, so that the
cases that matter (equal names, equal channels) do come up.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timezone

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from mfenv.domain.artifact import Artifact, LockedArtifact
from mfenv.domain.assignment import Disabled, Locked, StepAssignment
from mfenv.domain.channel import Channel
from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, Target, baseline
from mfenv.domain.provenance import Provenance
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import CondaRecord, ResolvedEnvironment, ResolvedPackage
from mfenv.domain.spec import ChannelPriority, EnvironmentSpec, SolveOptions, SpecLayer
from mfenv.formats.metadata_file import FlowMetadata

_NAMES = ("numpy", "pandas", "openssl", "ca-certificates", "zlib", "ruamel.yaml", "_libgcc_mutex", "r-base", "six")
_COMMENTS = st.text(st.characters(codec="utf-8"), max_size=8)


def names() -> SearchStrategy[str]:
    """Names of conda packages; never ``python``."""
    return st.sampled_from(_NAMES) | st.from_regex(r"[a-z][a-z0-9]{0,2}(-[a-z0-9]{1,2})?", fullmatch=True)


def versions() -> SearchStrategy[str]:
    """Versions of conda packages."""
    parts = st.lists(st.integers(0, 30).map(str), min_size=1, max_size=4).map(".".join)
    return st.builds("".join, st.tuples(parts, st.sampled_from(("", "", "rc1", ".post1", "+cuda"))))


def comparisons() -> SearchStrategy[str]:
    """One comparison with a version, in normal form."""
    operator = st.sampled_from(("==", "!=", ">=", "<=", ">", "<", "~="))
    return st.builds("".join, st.tuples(operator, versions())) | versions().map("{}.*".format)


def version_constraints() -> SearchStrategy[str]:
    """Version constraints in normal form: sorted comparisons, alternatives in any order."""
    conjunction = st.lists(comparisons(), min_size=1, max_size=3, unique=True).map(sorted).map(",".join)
    return st.just("*") | st.lists(conjunction, min_size=1, max_size=2, unique=True).map("|".join)


def builds() -> SearchStrategy[str]:
    """Build strings."""
    return st.sampled_from(("0", "1", "py311_0", "py312h64a7726_0", "h4ab18f5_1", "cpu_generic_0"))


def channels() -> SearchStrategy[Channel]:
    """Channels by name, by URL and by path."""
    locations = (
        "conda-forge",
        "bioconda",
        "nvidia/label/cuda-12",
        "https://conda.example.org/team",
        "https://conda.example.org/other",
        "file:///srv/channel",
    )
    return st.sampled_from(locations).map(lambda location: Channel(location=location))


def match_specs() -> SearchStrategy[MatchSpec]:
    """Requested packages, other than Python."""
    return st.builds(
        MatchSpec,
        name=names(),
        version=version_constraints(),
        build=st.none() | builds(),
        channel=st.none() | channels(),
    )


def python_constraints() -> SearchStrategy[PythonConstraint]:
    """Constraints on Python."""
    return st.integers(7, 14).map(lambda minor: PythonConstraint.minor(3, minor)) | st.sampled_from(
        ("==3.11.7", "<3.12,>=3.9", ">=3.10")
    ).map(lambda version: PythonConstraint(version=version))


def solve_options() -> SearchStrategy[SolveOptions]:
    """Ways to choose."""
    return st.builds(SolveOptions, channel_priority=st.sampled_from(ChannelPriority))


def spec_layers() -> SearchStrategy[SpecLayer]:
    """What one level asks for, each package once."""
    return st.builds(
        SpecLayer,
        python=st.none() | python_constraints(),
        conda=st.lists(match_specs(), max_size=4, unique_by=lambda spec: spec.name).map(tuple),
        channels=st.lists(channels(), max_size=3, unique=True).map(tuple),
        disabled=st.none() | st.booleans(),
    )


@st.composite
def environment_specs(draw: DrawFn) -> EnvironmentSpec:
    """Whole specs: packages sorted by name, each once."""
    wanted = draw(st.lists(match_specs(), max_size=5, unique_by=lambda spec: spec.name))
    return EnvironmentSpec(
        python=draw(python_constraints()),
        conda=tuple(sorted(wanted, key=lambda spec: spec.name)),
        channels=tuple(draw(st.lists(channels(), min_size=1, max_size=3, unique=True))),
        options=draw(solve_options()),
    )


def platforms() -> SearchStrategy[Platform]:
    """All platforms."""
    return st.sampled_from(Platform)


@st.composite
def targets(draw: DrawFn) -> Target:
    """Baselines, some with facts put over them."""
    facts = draw(
        st.fixed_dictionaries(
            {}, optional={"__cuda": st.sampled_from(("12.4", "11.8")), "__archspec": st.just("1=zen4")}
        )
    )
    return baseline(draw(platforms()), facts)


def requests() -> SearchStrategy[ResolutionRequest]:
    """Specs with targets."""
    return st.builds(ResolutionRequest, spec=environment_specs(), target=targets())


def sha256s() -> SearchStrategy[str]:
    """Digests of few different contents."""
    return st.integers(0, 200).map(lambda number: hashlib.sha256(str(number).encode()).hexdigest())


def ids() -> SearchStrategy[str]:
    """Ids: 40 hex digits."""
    return sha256s().map(lambda digest: digest[:40])


@st.composite
def records(draw: DrawFn, *, platform: Platform | None = None, name: str | None = None) -> CondaRecord:
    """Records of conda packages, for `platform` or noarch."""
    platform = platform or draw(platforms())
    noarch = draw(st.sampled_from((None, None, "python", "generic")))
    return CondaRecord(
        name=name or draw(names()),
        version=draw(versions()),
        build=draw(builds()),
        build_number=draw(st.integers(0, 3)),
        subdir="noarch" if noarch else platform.value,
        channel=draw(channels()).location,
        depends=tuple(draw(st.lists(st.sampled_from(("python >=3.9", "libgcc >=13", "__glibc >=2.17,<3.0.a0"))))),
        constrains=tuple(draw(st.lists(st.sampled_from(("pytables >=3.8", "lxml >=4.9"))))),
        noarch=noarch,
        python_site_packages_path=draw(st.none() | st.just("lib/python3.11/site-packages")),
        license=draw(st.none() | _COMMENTS),
    )


def _file_name(record: CondaRecord, ending: str) -> str:
    return f"{record.name}-{record.version}-{record.build}{ending}"


@st.composite
def locked_packages(draw: DrawFn, *, platform: Platform | None = None, name: str | None = None) -> LockedCondaPackage:
    """Locked conda packages, some of them converted to the other format."""
    record = draw(records(platform=platform, name=name))
    ending, other = draw(st.permutations((".conda", ".tar.bz2")))
    file_name = _file_name(record, ending)
    artifact = LockedArtifact(
        file_name=file_name,
        url=f"https://conda.example.org/team/{record.subdir}/{file_name}",
        size=draw(st.integers(0, 10**9)),
        sha256=draw(sha256s()),
    )
    converted = replace(
        artifact, file_name=_file_name(record, other), size=draw(st.integers(0, 10**9)), sha256=draw(sha256s())
    )
    return LockedCondaPackage(record=record, artifact=artifact, converted=draw(st.none() | st.just(converted)))


@st.composite
def locks(draw: DrawFn, *, min_size: int = 0, max_size: int = 5) -> LockedEnvironment:
    """Locks: any number of packages for one platform, no name twice."""
    platform = draw(platforms())
    chosen = draw(st.lists(names(), min_size=min_size, max_size=max_size, unique=True))
    return LockedEnvironment(
        platform=platform,
        packages=tuple(draw(locked_packages(platform=platform, name=name)) for name in chosen),
    )


@st.composite
def resolved_environments(draw: DrawFn) -> ResolvedEnvironment:
    """Answers of a resolver; some files lack digest or size."""
    lock = draw(locks())

    def vague(package: LockedCondaPackage) -> ResolvedPackage:
        artifact = package.artifact
        return ResolvedPackage(
            record=package.record,
            artifact=Artifact(
                file_name=artifact.file_name,
                url=artifact.url,
                size=draw(st.sampled_from((artifact.size, None))),
                sha256=draw(st.sampled_from((artifact.sha256, None))),
            ),
        )

    return ResolvedEnvironment(platform=lock.platform, packages=tuple(map(vague, lock.packages)), resolver="fake 1.0")


def provenances() -> SearchStrategy[Provenance]:
    """Notes on how a lock came about."""
    return st.builds(
        Provenance,
        request=ids().map(RequestKey),
        target=targets(),
        resolver=st.just("fake 1.0"),
        user=st.sampled_from(("ana", "svc/build bot", "")),
        time=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(timezone.utc)),  # noqa: DTZ001
    )


@st.composite
def flow_metadata(draw: DrawFn) -> FlowMetadata:
    """The metadata of flows: steps that are disabled, or run in one of the locks."""
    found = draw(st.lists(locks(), max_size=3))
    by_id: dict[LockId, LockedEnvironment] = {lock.id: lock for lock in found}
    assigned = [
        Locked(request=RequestKey(draw(ids())), lock=lock.id, platform=lock.platform) for lock in by_id.values()
    ]
    choices: list[StepAssignment] = [Disabled(), *assigned]
    step_names = draw(st.lists(st.sampled_from(("start", "train", "end", "join")), unique=True))
    return FlowMetadata(steps={step: draw(st.sampled_from(choices)) for step in step_names}, locks=by_id)
