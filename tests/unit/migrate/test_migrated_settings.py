"""Settings that have changed are told of, when they are set."""

from __future__ import annotations

import pytest

from mfenv.app import settings
from mfenv.errors import InvalidSpec
from mfenv.migrate.settings import CHANGED, RENAMED, VALUES, changed_settings


def test_settings_that_changed_are_listed_when_they_are_set_and_without_their_values() -> None:
    values = {
        "CONDA_DEPENDENCY_RESOLVER": "mamba",
        "CONDA_LOCAL_PATH": "/opt/conda",
        "CONDA_MIXED_DEPENDENCY_RESOLVER": "conda-lock",
        "CONDA_PYPI_DEPENDENCY_RESOLVER": "UV",
        "CONDA_TEST": "",
        "CONDA_LOCK_TIMEOUT": "60",
    }
    assert changed_settings(values.get, {"CONDA_CHANNELS": "https://user:secret@h.example.org"}) == [
        "METAFLOW_CONDA_LOCAL_PATH: changed: the folder of environments and caches, not that of a conda installation",
        "CONDA_CHANNELS: renamed: set METAFLOW_CONDA_CHANNELS",
    ]


def test_nothing_is_said_of_what_is_not_set() -> None:
    assert changed_settings(lambda _name: None, {}) == []


def test_a_renamed_variable_needs_no_word_when_the_new_one_is_set() -> None:
    values = {"CONDA_CHANNELS": "conda-forge"}
    assert changed_settings(values.get, {"CONDA_CHANNELS": "x"}) == []


def test_no_setting_that_is_read_is_called_unused() -> None:
    """Ask for every setting as a launch does."""
    asked = list[str]()
    settings.read(lambda name: asked.append(name), {"HOME": "/home/me"})
    unused = {name for name, what in CHANGED.items() if not what.startswith("changed")}
    assert unused & set(asked) == set()
    assert set(VALUES) | {"CONDA_LOCAL_PATH"} <= set(asked)
    assert {name.removeprefix("METAFLOW_") for name in RENAMED.values()} <= set(asked)


def test_values_that_are_no_longer_needed_are_read_and_those_that_changed_are_refused() -> None:
    for name, (values, words) in VALUES.items():
        for value in values:
            if words.startswith("no longer needed"):
                assert settings.read({name: value}.get, {"HOME": "/home/me"}).conda_resolver == "rattler"
            else:
                with pytest.raises(InvalidSpec, match="is not known"):
                    settings.read({name: value}.get, {"HOME": "/home/me"})
