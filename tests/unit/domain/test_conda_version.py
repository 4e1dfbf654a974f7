"""conda's order of versions; the first table is CEP 33's own."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.conda_version import CondaVersion, admits
from mfenv.domain.matchspec import parse_version_spec
from mfenv.errors import InvalidSpec
from mfenv.testing.strategies import version_constraints, versions

ASCENDING = (
    ("0.4", "0.4.0"),
    ("0.4.1.rc", "0.4.1.RC"),
    ("0.4.1+local",),
    ("0.4.1+0.local",),
    ("0.4.1", "0.4.1+0"),
    ("0.4.1+1.local",),
    ("0.5a1",),
    ("0.5b3",),
    ("0.5C1",),
    ("0.5",),
    ("0.9.6",),
    ("0.960923",),
    ("1.0",),
    ("1.0.1_",),
    ("1.0.1a",),
    ("1.1dev1",),
    ("1.1a1",),
    ("1.1.0dev1", "1.1.dev1"),
    ("1.1.a1",),
    ("1.1.0rc1",),
    ("1.1.0.0", "1.1.0", "1.1"),
    ("1.1.post1", "1.1.0post1"),
    ("1.1post1",),
    ("1996.07.12", "1996-7-12", "1996_07_12"),
    ("1!0.4.1",),
    ("1!3.1.1.6",),
    ("2!0.4.1",),
)


def test_versions_are_in_condas_order() -> None:
    for older, newer in itertools.combinations(ASCENDING, 2):
        for first, second in itertools.product(older, newer):
            assert CondaVersion.parse(first) < CondaVersion.parse(second), (first, second)
            assert CondaVersion.parse(first) != CondaVersion.parse(second)


def test_spellings_of_one_version_are_equal() -> None:
    for same in ASCENDING:
        for first, second in itertools.product(same, same):
            assert CondaVersion.parse(first) == CondaVersion.parse(second)
            assert not CondaVersion.parse(first) < CondaVersion.parse(second)


def test_a_version_is_nothing_but_a_version() -> None:
    assert CondaVersion.parse("1") != "1"
    with pytest.raises(TypeError):
        hash(CondaVersion.parse("1"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "1..2",
        "1.",
        "-1",
        "1+",
        "1+2+3",
        "1!2!3",
        "!1",
        "1 2",
        "1.*",
        "1-2_3",
        "é",
        "\N{ARABIC-INDIC DIGIT ONE}",
        "1" * 300,
    ],
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        CondaVersion.parse(text)
    assert caught.value.message == f"`{text}` is not a version by conda's rules (CEP 33)"


@given(st.text(max_size=12) | st.text("01.+!-_adevpost", max_size=12))
def test_any_text_is_a_version_or_is_refused(text: str) -> None:
    try:
        version = CondaVersion.parse(text)
    except InvalidSpec:
        return
    assert version == CondaVersion.parse(text.upper())


@pytest.mark.parametrize(
    ("constraint", "within", "without"),
    [
        ("*", ("1", "0.1a"), ()),
        ("==1.4", ("1.4", "1.4.0"), ("1.4.1", "1.4+local", "1.4rc1")),
        ("!=1.4", ("1.4.1", "1.3"), ("1.4", "1.4.0")),
        ("1.4.*", ("1.4", "1.4.0", "1.4.12", "1.4rc1", "1.4.0a1"), ("1.40", "1.3.4", "14")),
        ("!=1.4.*", ("1.40", "1.3"), ("1.4", "1.4.12")),
        ("1.0.*", ("1", "1.0.1", "1rc1"), ("1.1", "1a.1", "2")),
        ("1+a.*", ("1+a", "1.0+a.2", "1.5+a"), ("1", "1+b", "2+a")),
        (">=1.26,<3", ("1.26", "2.99"), ("1.25", "3", "3.0")),
        ("<3,>=1.26", ("1.26", "2.99"), ("1.25", "3", "3.0")),
        (">1.4", ("1.4.1", "1.4.post1"), ("1.4", "1.4rc1")),
        ("<=1.4", ("1.4.0", "1.4rc1"), ("1.4.0.1",)),
        ("~=1.4.2", ("1.4.2", "1.4.10"), ("1.4.1", "1.5")),
        ("~=1.4", ("1.4", "1.9"), ("2.0", "1.3")),
        ("1.26.*|>=3", ("1.26.4", "3.1"), ("2.0",)),
        ("==2024a", ("2024a", "2024A"), ("2024b",)),
    ],
)
def test_constraints_take_what_conda_takes(constraint: str, within: tuple[str, ...], without: tuple[str, ...]) -> None:
    found = {version: admits(constraint, version) for version in (*within, *without)}
    assert found == {**dict.fromkeys(within, True), **dict.fromkeys(without, False)}


@given(version_constraints(), versions())
def test_a_constraint_in_normal_form_can_be_read(constraint: str, version: str) -> None:
    assert admits(constraint, version) is admits(parse_version_spec(constraint, where="here"), version)


@given(versions(), versions(), versions())
def test_the_order_is_total(first: str, second: str, third: str) -> None:
    one, two, three = map(CondaVersion.parse, (first, second, third))
    assert (one < two) + (two < one) + (one == two) == 1
    if one <= two <= three:
        assert one <= three
