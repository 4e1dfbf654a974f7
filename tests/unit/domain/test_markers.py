"""Markers hold, or do not, on the machine of a step."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.markers import applies, marker_environment, normal_marker, pythons_of
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import InvalidSpec

LINUX, MAC = baseline(Platform.LINUX_64), baseline(Platform.OSX_ARM64)


@pytest.mark.parametrize(
    ("marker", "linux", "mac"),
    [
        ("sys_platform == 'linux'", True, False),
        ("platform_machine == 'arm64'", False, True),
        ("platform_system == 'Darwin'", False, True),
        ("python_version >= '3.10'", True, True),
        ("os_name == 'posix' and implementation_name == 'cpython'", True, True),
        ("python_version < '3.11'", None, None),
    ],
)
def test_a_marker_is_evaluated_for_the_target(marker: str, linux: bool | None, mac: bool | None) -> None:
    pythons = ("3.10", "3.11")
    assert (applies(marker, target=LINUX, pythons=pythons), applies(marker, target=MAC, pythons=pythons)) == (
        linux,
        mac,
    )


def test_every_variable_of_the_standard_has_a_value() -> None:
    assert sorted(marker_environment(LINUX, "3.11.7")) == [
        *("extra", "implementation_name", "implementation_version", "os_name", "platform_machine"),
        *("platform_python_implementation", "platform_release", "platform_system", "platform_version"),
        *("python_full_version", "python_version", "sys_platform"),
    ]


@pytest.mark.parametrize(
    ("python", "tried"), [("3.11", ("3.11",)), ("3.11.7", ("3.11.7",)), (">=3.10,<3.12", ("3.10", "3.11"))]
)
def test_a_range_of_pythons_is_tried_by_minor_versions(python: str, tried: tuple[str, ...]) -> None:
    assert pythons_of(PythonConstraint.parse(python, where="here")) == tried


def request(marker: str, python: str, target: object = LINUX) -> ResolutionRequest:
    spec = EnvironmentSpec(
        python=PythonConstraint.parse(python, where="here"),
        conda=(MatchSpec.parse("a", f">=1; {marker}", where="here"), MatchSpec(name="b")),
        channels=(),
    )
    return ResolutionRequest(spec=spec, target=target)  # type: ignore[arg-type]


def test_a_conda_package_is_asked_for_where_its_marker_holds() -> None:
    on_linux, on_mac = (request("sys_platform == 'linux'", "3.11", target) for target in (LINUX, MAC))
    assert [spec.name for spec in on_linux.match_specs] == ["python", "a", "b"]
    assert [spec.name for spec in on_mac.match_specs] == ["python", "b"]
    assert on_linux.key == on_mac.key


def test_a_marker_that_depends_on_which_python_it_is_is_refused() -> None:
    with pytest.raises(InvalidSpec) as caught:
        _ = request("python_version < '3.11'", ">=3.10,<3.12").match_specs
    assert caught.value.message == (
        '`a` from conda: whether `python_version < "3.11"` holds depends on which Python of `<3.12,>=3.10` it is'
    )


@given(st.text(max_size=30))
def test_whatever_the_text_only_our_errors_come(text: str) -> None:
    with contextlib.suppress(InvalidSpec):
        applies(normal_marker(text, where="here"), target=LINUX, pythons=("3.11",))


@pytest.mark.parametrize("marker", ["'a' in 'b'", "'1' == '2'", "python_version ~= 'x'", "extra == 'a'"])
def test_odd_markers_end_in_no_traceback(marker: str) -> None:
    with contextlib.suppress(InvalidSpec):
        applies(normal_marker(marker, where="here"), target=LINUX, pythons=("3.11",))
