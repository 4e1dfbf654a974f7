"""The links to Metaflow's code that runs share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mfenv.metaflow.code_root import _kept_links


@pytest.fixture
def source(tmp_path: Path) -> Path:
    module = tmp_path / "site-packages" / "metaflow" / "cli.py"
    module.parent.mkdir(parents=True)
    module.write_text("code")
    return module


@pytest.fixture
def in_use() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_links_that_somebody_took_are_made_again(source: Path, tmp_path: Path, in_use: ExitStack) -> None:
    names = [(str(source), ".mf_code/metaflow/cli.py")]
    link = _kept_links(names, tmp_path / "code", in_use) / "metaflow" / "cli.py"
    link.unlink()
    link.parent.rmdir()
    assert _kept_links(names, tmp_path / "code", in_use) / "metaflow" / "cli.py" == link
    assert link.read_text() == "code"


def test_a_nested_run_shares_its_outer_runs_links(source: Path, tmp_path: Path, in_use: ExitStack) -> None:
    kept = tmp_path / "code"
    outer = _kept_links([(str(source), ".mf_code/metaflow/cli.py")], kept, in_use)
    of_the_run = tmp_path / "mfenv-code-1"
    of_the_run.mkdir()
    (of_the_run / "metaflow").symlink_to(outer / "metaflow")
    inner = _kept_links([(str(of_the_run / "metaflow" / "cli.py"), ".mf_code/metaflow/cli.py")], kept, in_use)
    assert inner == outer
    assert (inner / "metaflow" / "cli.py").readlink() == source


def test_links_that_cannot_be_made_leave_nothing(source: Path, tmp_path: Path, in_use: ExitStack) -> None:
    names = [(str(source), ".mf_code/metaflow/cli.py"), (str(source), ".mf_code/metaflow/cli.py")]
    with pytest.raises(FileExistsError):
        _kept_links(names, tmp_path / "code", in_use)
    assert [path for path in (tmp_path / "code").iterdir() if path.suffix != ".lock"] == []
