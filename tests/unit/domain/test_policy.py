"""What a policy allows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment, LockedPypiPackage
from mfenv.domain.platform import Platform
from mfenv.domain.policy import Attestations, Denial, Evidence, Policy, violations
from mfenv.domain.resolved import CondaRecord
from mfenv.testing import strategies

NOW = datetime(2026, 6, 15, tzinfo=timezone.utc)
CHANNEL = "https://channels.example/main"
CONDA_SHA, PYPI_SHA = "a" * 64, "b" * 64
LOCK = LockedEnvironment(
    platform=Platform.LINUX_64,
    packages=(
        LockedCondaPackage(
            record=CondaRecord(
                name="openssl", version="1.1.1w", build="0", build_number=0, subdir="linux-64", channel=CHANNEL
            ),
            artifact=LockedArtifact(
                file_name="openssl-1.1.1w-0.conda",
                url=f"{CHANNEL}/linux-64/openssl-1.1.1w-0.conda",
                size=1,
                sha256=CONDA_SHA,
            ),
        ),
    ),
    pypi=(
        LockedPypiPackage(
            name="requests",
            version="2.31.0",
            artifact=LockedArtifact(
                file_name="requests-2.31.0-py3-none-any.whl",
                url="https://files.example/requests-2.31.0-py3-none-any.whl",
                size=1,
                sha256=PYPI_SHA,
            ),
        ),
    ),
)
KNOWN = Evidence(indexes=("pypi",), known_since=NOW - timedelta(days=30))


def found(policy: Policy, evidence: Evidence = KNOWN) -> list[str]:
    return [str(each) for each in violations(policy, LOCK, evidence, now=NOW)]


@pytest.mark.parametrize(
    ("denial", "hits"),
    [
        (Denial(name="requests"), True),
        (Denial(name="requests", constraint="<2.32"), True),
        (Denial(name="requests", constraint="<2"), False),
        (Denial(name="requests", side="conda"), False),
        (Denial(name="OpenSSL", constraint=">=1,<3"), True),
        (Denial(name="openssl", constraint=">=3"), False),
        (Denial(name="openssl", side="pypi"), False),
        (Denial(name="numpy"), False),
        # What cannot be compared is not let through.
        (Denial(name="requests", constraint="=>2"), True),
    ],
)
def test_denied_packages(denial: Denial, hits: bool) -> None:
    names = {"requests": "requests 2.31.0", "openssl": "openssl 1.1.1w"}
    expected = (
        [f"`{names[denial.name.lower()]}`: `{denial}` is denied (METAFLOW_CONDA_DENIED_PACKAGES)"] if hits else []
    )
    assert found(Policy(denied=(denial,))) == expected


@pytest.mark.parametrize(
    ("allowed", "hits"),
    [
        ((CHANNEL,), False),
        (("https://channels.example",), False),
        (("https://channels.example/mai",), True),
        (("https://other.example/main",), True),
        # A name is where the solver finds it, and not the end of any address.
        (("main",), True),
    ],
)
def test_only_allowed_channels(allowed: tuple[str, ...], hits: bool) -> None:
    expected = (
        f"`openssl 1.1.1w`: it is of the channel `{CHANNEL}`, which is not allowed (METAFLOW_CONDA_ALLOWED_CHANNELS)"
    )
    assert found(Policy(allowed_channels=allowed)) == ([expected] if hits else [])


def test_a_channel_that_is_allowed_by_name_is_where_the_solver_finds_it() -> None:
    assert found(Policy(allowed_channels=("main",)), replace(KNOWN, locations=(("main", CHANNEL),))) == []


def test_a_package_of_an_allowed_channel_from_elsewhere_is_refused() -> None:
    package = LOCK.packages[0]
    elsewhere = replace(package.artifact, url="https://other.example/openssl-1.1.1w-0.conda")
    lock = LockedEnvironment(platform=Platform.LINUX_64, packages=(replace(package, artifact=elsewhere),))
    assert len(violations(Policy(allowed_channels=(CHANNEL,)), lock, KNOWN, now=NOW)) == 1


def test_only_allowed_indexes() -> None:
    policy = Policy(allowed_indexes=("pypi", "https://index.example/simple"))
    assert found(policy) == []
    assert found(policy, replace(KNOWN, indexes=("https://index.example/simple",))) == []
    assert found(policy, replace(KNOWN, indexes=("pypi", "https://other.example/simple"))) == [
        "`https://other.example/simple`: this index is not allowed (METAFLOW_CONDA_ALLOWED_INDEXES)"
    ]


def test_where_nobody_noted_the_index_the_address_of_the_file_decides() -> None:
    unknown = replace(KNOWN, indexes=None)
    assert found(Policy(allowed_indexes=("https://files.example",)), unknown) == []
    assert found(Policy(allowed_indexes=("pypi",)), unknown) == [
        (
            "`requests 2.31.0`: nobody noted which index it is from, and "
            "`https://files.example/requests-2.31.0-py3-none-any.whl` is of none that is allowed "
            "(METAFLOW_CONDA_ALLOWED_INDEXES)"
        )
    ]


def test_packages_must_be_old_enough() -> None:
    policy = Policy(minimum_age="7 days")
    assert found(policy) == []
    assert found(policy, replace(KNOWN, known_since=NOW - timedelta(days=7))) == []
    young = replace(KNOWN, known_since=NOW - timedelta(days=6, hours=23))
    rule = "(METAFLOW_CONDA_MINIMUM_PACKAGE_AGE)"
    assert found(policy, young) == [
        f"`{LOCK.id}`: its packages must be 7 days old, and are known since 2026-06-08 01:00 only {rule}"
    ]
    assert found(policy, replace(KNOWN, known_since=None)) == [
        f"`{LOCK.id}`: its packages must be 7 days old, and nobody knows when they were published {rule}"
    ]


@pytest.mark.parametrize(
    ("needed", "subjects"),
    [
        (Attestations.NONE, []),
        (Attestations.PYPI, ["requests 2.31.0"]),
        (Attestations.CONDA, ["openssl 1.1.1w"]),
        (Attestations.ALL, ["openssl 1.1.1w", "requests 2.31.0"]),
    ],
)
def test_packages_need_attestations(needed: Attestations, subjects: list[str]) -> None:
    policy = Policy(attestations=needed)
    assert [each.subject for each in violations(policy, LOCK, KNOWN, now=NOW)] == subjects
    both = replace(KNOWN, publishers=((CONDA_SHA, "somebody"), (PYPI_SHA, "somebody")))
    assert found(policy, both) == []


def test_why_an_attestation_does_not_count_is_said() -> None:
    evidence = replace(KNOWN, unverified=((PYPI_SHA, "it is of other bytes"),))
    assert found(Policy(attestations=Attestations.PYPI), evidence) == [
        "`requests 2.31.0`: no attestation of it is verified: it is of other bytes (METAFLOW_CONDA_REQUIRE_ATTESTATION)"
    ]


def policies() -> st.SearchStrategy[Policy]:
    denials = st.builds(
        Denial, name=strategies.names(), constraint=st.just(""), side=st.sampled_from(["", "conda", "pypi"])
    )
    return st.builds(
        Policy,
        denied=st.lists(denials, max_size=4).map(tuple),
        minimum_age=st.sampled_from(["", "1 day", "30 days"]),
        attestations=st.sampled_from(Attestations),
    )


_STRICTER = {
    Attestations.NONE: list(Attestations),
    Attestations.PYPI: [Attestations.PYPI, Attestations.ALL],
    Attestations.CONDA: [Attestations.CONDA, Attestations.ALL],
    Attestations.ALL: [Attestations.ALL],
}


@given(policies(), strategies.locks(max_size=4), st.data())
def test_a_stricter_policy_finds_all_that_a_looser_one_finds(
    policy: Policy, lock: LockedEnvironment, data: st.DataObject
) -> None:
    stricter = replace(
        policy,
        denied=(*policy.denied, *data.draw(policies()).denied),
        minimum_age=policy.minimum_age or data.draw(st.sampled_from(["", "1 day"])),
        attestations=data.draw(st.sampled_from(_STRICTER[policy.attestations])),
    )
    evidence = data.draw(st.sampled_from([Evidence(), KNOWN]))
    loose, strict = (violations(each, lock, evidence, now=NOW) for each in (policy, stricter))
    assert {(each.setting, each.subject) for each in loose} <= {(each.setting, each.subject) for each in strict}


@given(strategies.locks())
def test_no_policy_allows_everything(lock: LockedEnvironment) -> None:
    assert Policy().is_off
    assert violations(Policy(), lock, Evidence(), now=NOW) == ()
