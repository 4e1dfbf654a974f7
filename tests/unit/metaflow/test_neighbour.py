"""The one line about another extension in our place."""

import pytest
from metaflow import extension_support

from mfenv.metaflow.neighbour import OTHER, tell


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METAFLOW_MFENV_NEIGHBOUR_TOLD", raising=False)


def test_the_other_extension_is_named_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(extension_support, "_all_packages", {OTHER: {}, "metaflow-netflix-extensions": {}})
    # So that what `tell` leaves in the environment goes with the test.
    monkeypatch.setenv("METAFLOW_MFENV_NEIGHBOUR_TOLD", "")
    monkeypatch.delenv("METAFLOW_MFENV_NEIGHBOUR_TOLD")
    tell()
    tell()
    assert capsys.readouterr().err == (
        f"metaflow-netflix-extensions: {OTHER} is installed as well, and is the one that --environment=conda uses; "
        "uninstall one of the two.\n"
    )


def test_alone_nothing_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(extension_support, "_all_packages", {"metaflow-netflix-extensions": {}})
    tell()
    assert capsys.readouterr().err == ""
