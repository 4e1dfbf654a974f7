from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet

from mfenv.testing.channel.requirements import conda_name, conda_version, match_specs


@pytest.mark.parametrize(
    ("specifiers", "expected"),
    [
        ("", ""),
        (">=1.2", ">=1.2"),
        ("==1.2", "==1.2"),
        ("===1.2", "==1.2"),
        ("==1.2.*", "1.2.*"),
        ("!=1.2.*", "!=1.2.*"),
        ("~=1.4", ">=1.4,<2.0a0"),
        ("~=1.4.2", ">=1.4.2,<1.5.0a0"),
        ("~=1.4.2, !=1.4.5", "!=1.4.5,>=1.4.2,<1.5.0a0"),
        ("<2.0a.0", "<2.0a0"),
    ],
)
def test_specifiers_are_written_as_conda_reads_them(specifiers: str, expected: str) -> None:
    assert conda_version(SpecifierSet(specifiers)) == expected


@pytest.mark.parametrize(
    ("project", "expected"),
    [
        ("tzdata", "python-tzdata"),
        ("Typing_Extensions", "typing_extensions"),
        ("msgpack", "msgpack-python"),
        ("importlib-metadata", "importlib_metadata"),
        ("PyYAML", "pyyaml"),
    ],
)
def test_names_are_those_of_conda_forge(project: str, expected: str) -> None:
    assert conda_name(project) == expected


def test_markers_are_decided_for_the_target_python() -> None:
    lines = ['tomli>=2; python_version < "3.11"', "six", 'pytest; extra == "test"']
    assert match_specs(lines, "3.10.1") == ("six", "tomli >=2")
    assert match_specs(lines, "3.12.1") == ("six",)


def test_requirements_on_one_name_are_joined() -> None:
    lines = ['numpy>=1.21; python_version>="3.10"', 'numpy>=1.23.2; python_version>="3.11"', "numpy<2"]
    assert match_specs(lines, "3.11.7") == ("numpy <2,>=1.21,>=1.23.2",)
