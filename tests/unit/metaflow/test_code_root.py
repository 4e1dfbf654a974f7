"""The links to Metaflow's code that runs share."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfenv.metaflow.code_root import _kept_links


@pytest.fixture
def source(tmp_path: Path) -> Path:
    module = tmp_path / "site-packages" / "metaflow" / "cli.py"
    module.parent.mkdir(parents=True)
    module.write_text("code")
    return module


def test_links_that_somebody_took_are_made_again(source: Path, tmp_path: Path) -> None:
    names = [(str(source), ".mf_code/metaflow/cli.py")]
    link = _kept_links(names, tmp_path / "code") / "metaflow" / "cli.py"
    link.unlink()
    link.parent.rmdir()
    assert _kept_links(names, tmp_path / "code") / "metaflow" / "cli.py" == link
    assert link.read_text() == "code"


def test_a_nested_run_shares_its_outer_runs_links(source: Path, tmp_path: Path) -> None:
    kept = tmp_path / "code"
    outer = _kept_links([(str(source), ".mf_code/metaflow/cli.py")], kept)
    of_the_run = tmp_path / "mfenv-code-1"
    of_the_run.mkdir()
    (of_the_run / "metaflow").symlink_to(outer / "metaflow")
    inner = _kept_links([(str(of_the_run / "metaflow" / "cli.py"), ".mf_code/metaflow/cli.py")], kept)
    assert inner == outer
    assert (inner / "metaflow" / "cli.py").readlink() == source


def test_links_that_cannot_be_made_leave_nothing(source: Path, tmp_path: Path) -> None:
    names = [(str(source), ".mf_code/metaflow/cli.py"), (str(source), ".mf_code/metaflow/cli.py")]
    with pytest.raises(FileExistsError):
        _kept_links(names, tmp_path / "code")
    assert list((tmp_path / "code").iterdir()) == []
