"""The spellings of Python's version."""

from __future__ import annotations

import pytest

from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.python import PythonConstraint
from mfenv.errors import InvalidSpec


@pytest.mark.parametrize(
    ("written", "version"),
    [
        ("3.11", "3.11.*"),
        (" 3.11 ", "3.11.*"),
        ("==3.11", "3.11.*"),
        ("=3.11", "3.11.*"),
        ("3.11.*", "3.11.*"),
        (3.11, "3.11.*"),
        (3.1, "3.10.*"),
        ("3", "3.*"),
        (3, "3.*"),
        ("3.11.7", "==3.11.7"),
        ("==3.11.7", "==3.11.7"),
        ("3.13.0rc1", "==3.13.0rc1"),
        (">=3.10,<3.12", "<3.12,>=3.10"),
        (">=3.10, <3.12", "<3.12,>=3.10"),
        ("~=3.10", "~=3.10"),
        ("3.10.*|3.11.*", "3.10.*|3.11.*"),
        ("<3.7.5", "<3.7.5"),
        ("<4", "<4"),
        (">3.12", ">3.12"),
        ("!=3.11.*", "!=3.11.*"),
        ("3.7", "3.7.*"),
        ("2.7|3.11.*", "==2.7|3.11.*"),
    ],
)
def test_python_is_any_patch_release_or_what_is_said(written: object, version: str) -> None:
    assert PythonConstraint.parse(written, where="here") == PythonConstraint(version=version)


@pytest.mark.parametrize("written", ["2.7", "==2.7.18", "3.6", "<3.7", "<=3.6", "4", "~=2.7", ">=2,<3", 2.7])
def test_a_python_that_metaflow_does_not_run_on_is_refused(written: object) -> None:
    with pytest.raises(InvalidSpec) as caught:
        PythonConstraint.parse(written, where="step `s`")
    assert caught.value.message == f"step `s`: Metaflow does not run on Python `{written}`"
    assert caught.value.hint == "Ask for Python 3.7 or later, or leave `python` out for the launching one"


@pytest.mark.parametrize("written", ["*", ""])
def test_any_python_is_no_answer(written: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        PythonConstraint.parse(written, where="step `s`")
    assert caught.value.message == f"step `s`: `{written}` is not a version of Python"


@pytest.mark.parametrize("written", ["three", "3.11,", "python3.11", ">="])
def test_what_is_no_version_is_refused_with_its_place(written: str) -> None:
    with pytest.raises(InvalidSpec, match=r"^step `s`: version `"):
        PythonConstraint.parse(written, where="step `s`")


def test_a_minor_version_is_a_requested_package() -> None:
    constraint = PythonConstraint.minor(3, 11)
    assert constraint == PythonConstraint.parse("3.11", where="here")
    assert constraint.match_spec == MatchSpec(name="python", version="3.11.*")
    assert str(constraint) == "3.11.*"
