"""Markers of lock files: questions for groups and extras are answered, those of the machine are for the target."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.platform import Platform, baseline
from mfenv.errors import LockError
from mfenv.formats.lock_markers import holds_for, settled

LINUX, MAC = baseline(Platform.LINUX_64), baseline(Platform.OSX_ARM64)


def of(marker: str, *, groups: tuple[str, ...] = (), extras: tuple[str, ...] = (), mac: bool = False) -> str | None:
    return settled(marker, groups=groups, extras=extras, target=MAC if mac else LINUX, where="W")


@pytest.mark.parametrize(
    ("marker", "on_linux", "on_mac"),
    [
        ("", "", ""),
        ("sys_platform == 'linux'", "", None),
        ("sys_platform == 'darwin' and platform_machine == 'arm64'", None, ""),
        ("sys_platform == 'win32'", None, None),
        ("implementation_name == 'cpython'", "", ""),
        ("python_version < '3.11'", "python_version < '3.11'", "python_version < '3.11'"),
        ("'python_version' == os_name", None, None),
    ],
)
def test_what_does_not_depend_on_the_python_is_settled(marker: str, on_linux: str | None, on_mac: str | None) -> None:
    assert (of(marker), of(marker, mac=True)) == (on_linux, on_mac)


@pytest.mark.parametrize(
    ("marker", "groups", "extras", "holds"),
    [
        ("'dev' in dependency_groups", ("dev",), (), True),
        ("'dev' in dependency_groups", (), ("dev",), False),
        ('"Dev_Tools" in dependency_groups', ("dev-tools",), (), True),
        ("'dev' not in dependency_groups", (), (), True),
        ("'dev'  not   in dependency_groups", ("dev",), (), False),
        ("'x' in extras", (), ("x",), True),
        ("'x' in extras or 'dev' in dependency_groups", ("dev",), (), True),
        ("'x' in extras and 'dev' in dependency_groups", ("dev",), (), False),
        ("('x' in extras) and sys_platform == 'linux'", (), ("x",), True),
        ("('x' in extras) and sys_platform == 'win32'", (), ("x",), False),
        # A question inside a text is none.
        ("os_name != \"'x' in extras\"", (), (), True),
        ("'' in extras", (), (), False),
    ],
)
def test_questions_for_groups_and_extras_are_answered(
    marker: str, groups: tuple[str, ...], extras: tuple[str, ...], holds: bool
) -> None:
    assert of(marker, groups=groups, extras=extras) == ("" if holds else None)


def test_what_depends_on_group_and_python_is_left_for_the_python() -> None:
    rest = of("'dev' in dependency_groups and python_version < '3.11'", groups=("dev",))
    assert rest
    assert holds_for(rest, target=LINUX, python="3.10.4", where="W")
    assert not holds_for(rest, target=LINUX, python="3.11.0", where="W")
    rest = of("'dev' in dependency_groups and python_full_version < '3.11'")
    assert rest
    assert not holds_for(rest, target=LINUX, python="3.10.4", where="W")


@pytest.mark.parametrize(
    "marker",
    [
        "x",
        "'a' == 'b' ==",
        "extras == 'a'",
        "extras in 'a'",
        "nonsense < '3'",
        "'a' in 'b'",
        "'a' in 'b' in extras",
        "(" * 5000,
    ],
)
def test_what_cannot_be_read_is_refused(marker: str) -> None:
    with pytest.raises(LockError) as caught:
        of(marker)
    assert caught.value.message.startswith("W: `")
    assert len(caught.value.message) < 250


_WORDS = st.sampled_from(
    [
        "extras",
        "dependency_groups",
        "'a'",
        '"b',
        " in ",
        " not in ",
        " and ",
        " or ",
        "(",
        ")",
        "python_version",
        "==",
        "~=",
    ]
)


@given(st.one_of(st.text(), st.lists(_WORDS, max_size=9).map(" ".join)))
def test_any_text_is_settled_or_refused(marker: str) -> None:
    try:
        rest = of(marker, groups=("a",), extras=("a",))
    except LockError:
        return
    if rest:
        holds_for(rest, target=LINUX, python="3.12.1", where="W")
