"""What comes of conda and PyPI packages together: each case is a file with what is asked for and what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.conflicts.conftest import DATA

from mfenv.errors import EnvironmentsError, ResolutionFailed
from mfenv.formats.pylock_toml import tomllib

if TYPE_CHECKING:
    from tests.conflicts.conftest import World

CASES = {path.stem: tomllib.loads(path.read_text()) for path in sorted((DATA / "cases").glob("*.toml"))}
SOLVABLE = [name for name, case in CASES.items() if "error" not in case]
HOPELESS = [name for name, case in CASES.items() if "error" in case]


def test_there_are_enough_cases() -> None:
    assert len(SOLVABLE) >= 30
    assert len(HOPELESS) >= 12


@pytest.mark.parametrize("name", SOLVABLE)
def test_the_two_sides_agree(world: World, name: str) -> None:
    case = CASES[name]
    answer = world.resolve(case)
    conda = {p.record.name: p.record.version for p in answer.packages if p.record.name not in {"python", "python_abi"}}
    python = next((p.record.version for p in answer.packages if p.record.name == "python"), None)
    found: dict[str, Any] = {
        "conda": conda,
        "pypi": {package.name: package.version for package in answer.pypi},
        "python": python,
    }
    assert found == {"python": "3.11.7", "conda": {}, "pypi": {}, **case["answer"]}


@pytest.mark.parametrize("name", HOPELESS)
def test_the_error_names_both_sides(world: World, name: str) -> None:
    with pytest.raises(EnvironmentsError) as caught:
        world.resolve(CASES[name])
    error = caught.value
    found = {"message": error.message.replace(world.index.as_uri(), "{index}"), "hint": error.hint}
    if isinstance(error, ResolutionFailed) and error.packages:
        found["packages"] = sorted(error.packages)
    assert found == CASES[name]["error"], error.explain()


def test_the_tools_own_words_are_kept(world: World) -> None:
    """Where no single constraint is at fault, both tools' explanations are there to be read."""
    with pytest.raises(ResolutionFailed) as caught:
        world.resolve(CASES["torn-between-two"])
    assert "torn depend on couple-left" in caught.value.output
    assert "couple-left 1.0 would require" in caught.value.output
