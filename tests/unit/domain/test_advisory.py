"""Which packages a known vulnerability is in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.advisory import Advisory, Affected, Event, Finding, Package, findings, is_affected


def events(*pairs: tuple[str, str]) -> tuple[Event, ...]:
    return tuple(Event(kind=kind, version=version) for kind, version in pairs)


def affected(ecosystem: str, *ranges: tuple[Event, ...], versions: tuple[str, ...] = ()) -> Affected:
    return Affected(ecosystem=ecosystem, name="six", ranges=ranges, versions=frozenset(versions))


TWICE = events(("fixed", "2.4.1"), ("introduced", "2.0"), ("introduced", "0"), ("fixed", "1.8.9"))


@pytest.mark.parametrize(
    ("version", "what", "expected"),
    [
        ("1.0", affected("pypi", events(("introduced", "0"), ("fixed", "1.1"))), True),
        ("1.1", affected("pypi", events(("introduced", "0"), ("fixed", "1.1"))), False),
        ("1.1rc1", affected("pypi", events(("introduced", "0"), ("fixed", "1.1"))), True),
        ("1.1", affected("pypi", events(("introduced", "0"), ("last_affected", "1.1"))), True),
        ("1.1.post1", affected("pypi", events(("introduced", "0"), ("last_affected", "1.1"))), False),
        ("1.0", affected("pypi", events(("introduced", "1.1"))), False),
        ("99", affected("pypi", events(("introduced", "1.1"))), True),
        # Events need not be written in the order of their versions.
        ("1.8.8", affected("pypi", TWICE), True),
        ("1.9", affected("pypi", TWICE), False),
        ("2.4", affected("pypi", TWICE), True),
        ("2.4.1", affected("pypi", TWICE), False),
        # Versions that are listed, whatever their spelling.
        ("1.0", affected("pypi", versions=("1.0.0",)), True),
        ("1.0.1", affected("pypi", versions=("1.0.0",)), False),
        # conda's order of versions: a letter behind digits is older than none.
        ("1.1.1w", affected("conda", events(("introduced", "1.1.0"), ("fixed", "1.1.1x"))), True),
        ("1.1.1x", affected("conda", events(("introduced", "1.1.0"), ("fixed", "1.1.1x"))), False),
        # What cannot be compared is affected by its own spelling only.
        ("nonsense", affected("pypi", events(("introduced", "0"))), False),
        ("nonsense", affected("pypi", versions=("nonsense",)), True),
        ("1.0", affected("pypi", events(("introduced", "nonsense")), versions=("nonsense",)), False),
        ("1.0", affected("pypi"), False),
    ],
)
def test_which_versions_are_affected(version: str, what: Affected, expected: bool) -> None:
    assert is_affected(Package(ecosystem=what.ecosystem, name="six", version=version), what) is expected


def test_advisories_about_the_same_are_one_finding() -> None:
    package = Package(ecosystem="pypi", name="six", version="1.0", brought_by="six")
    one = events(("introduced", "0"), ("fixed", "1.1"))
    known = [
        Advisory(id="PYSEC-1", aliases=("CVE-1",), summary="", affected=(affected("pypi", one),)),
        Advisory(id="CVE-2", summary="Other", affected=(affected("pypi", one),)),
        Advisory(id="GHSA-1", aliases=("CVE-1",), summary="Words", severity="HIGH", affected=(affected("pypi", one),)),
    ]
    assert findings([package], known) == (
        Finding(package=package, ids=("CVE-2",), summary="Other", severity="", fixed_in=("1.1",)),
        Finding(
            package=package, ids=("PYSEC-1", "CVE-1", "GHSA-1"), summary="Words", severity="HIGH", fixed_in=("1.1",)
        ),
    )


def test_an_ecosystem_is_not_another() -> None:
    package = Package(ecosystem="conda", name="six", version="1.0")
    known = [Advisory(id="A", affected=(affected("pypi", events(("introduced", "0"))),))]
    assert findings([package], known) == ()


_VERSIONS = st.integers(0, 30).map(lambda number: f"{number // 10}.{number % 10}")


@given(_VERSIONS, st.lists(st.tuples(_VERSIONS, _VERSIONS), max_size=4))
def test_ranges_that_do_not_meet_are_what_they_say(version: str, pairs: list[tuple[str, str]]) -> None:
    """Each pair taken as a range of its own: a version is affected when it is within one."""

    def number(text: str) -> tuple[int, ...]:
        return tuple(map(int, text.split(".")))

    ranges = [sorted(pair, key=number) for pair in pairs]
    what = affected("pypi", *(events(("introduced", low), ("fixed", high)) for low, high in ranges if low != high))
    expected = any(number(low) <= number(version) < number(high) for low, high in ranges)
    assert is_affected(Package(ecosystem="pypi", name="six", version=version), what) is expected
