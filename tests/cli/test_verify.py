"""`metaflow environment verify`: every file on disk is held against the lock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran


def call(flows: Flows, *arguments: str) -> Ran:
    return flows.call(flows.python, "-m", "mfenv.cli", "environment", *arguments)


@pytest.fixture
def made(flows: Flows) -> Path:
    """An environment of one's own, of both sides, with a package that has the prefix in its files."""
    packages = ("--conda-pkg", "six=1.16", "--conda-pkg", "prefixprobe", "--pypi-pkg", "attrs")
    call(flows, "resolve", *packages, "--alias", "team/verified").succeeded()
    call(flows, "create", "team/verified", "--into-dir", "own").succeeded()
    return flows.folder / "own" / "__conda_python"


def verified(flows: Flows, *arguments: str) -> tuple[int, dict[str, Any]]:
    ran = call(flows, "verify", *arguments, "--json")
    return ran.code, json.loads(ran.stdout)


def replaced(path: Path, content: bytes) -> None:
    """Change a file as tools do: under a new inode, since the cache has the old one as well."""
    path.unlink()
    path.write_bytes(content)


def test_an_environment_is_as_locked_when_it_was_made(made: Path, flows: Flows) -> None:
    code, said = verified(flows, "--prefix", "own")
    assert (code, said["ok"], said["differences"]) == (0, True, [])
    assert said["prefix"]["path"] == str(made)
    assert said["prefix"]["compared"] > 100
    assert said["package_files"]["not_cached"] == 0
    # Also those that the prefix's path was written into.
    assert said["prefix"]["by_own_records"] == []


def test_each_kind_of_difference_is_told(made: Path, flows: Flows) -> None:
    (six,) = made.glob("lib/python3*/site-packages/six.py")
    (attrs,) = made.glob("lib/python3*/site-packages/attrs/__init__.py")
    (converters,) = made.glob("lib/python3*/site-packages/attrs/converters.py")
    replaced(six, six.read_bytes() + b"#")
    replaced(attrs, b"")
    converters.unlink()
    (made / "lib" / "stranger.txt").write_text("")
    code, said = verified(flows, "--prefix", "own")

    def row(kind: str, path: Path, package: str | None) -> dict[str, Any]:
        return {"kind": kind, "path": str(path.relative_to(made)), "package": package}

    assert code == 5
    assert said["differences"] == [
        row("changed", attrs, "attrs"),
        row("changed", six, "six"),
        row("missing", converters, "attrs"),
        row("unexpected", made / "lib" / "stranger.txt", None),
    ]
    shown = call(flows, "verify", "--prefix", "own")
    assert shown.code == 5
    assert f"changed    {six.relative_to(made)}  (six)" in shown.stdout
    assert "--repair" in shown.stderr


def test_a_record_that_was_changed_together_with_its_file_hides_nothing(made: Path, flows: Flows) -> None:
    import hashlib

    (six,) = made.glob("lib/python3*/site-packages/six.py")
    (meta,) = (made / "conda-meta").glob("six-*.json")
    before = hashlib.sha256(six.read_bytes()).hexdigest()
    replaced(six, b"evil = True\n")
    after = hashlib.sha256(six.read_bytes()).hexdigest()
    replaced(meta, meta.read_bytes().replace(before.encode(), after.encode()))
    code, said = verified(flows, "--prefix", "own")
    assert code == 5
    assert [(one["kind"], one["package"]) for one in said["differences"]] == [("changed", "six")]


def test_what_differs_is_removed_and_made_again(flows: Flows, tmp_path: Path) -> None:
    flows = flows.using(local_path=tmp_path / "local")
    call(flows, "resolve", "--conda-pkg", "six=1.16", "--alias", "team/broken").succeeded()
    made = json.loads(call(flows, "create", "team/broken", "--json").succeeded().stdout)
    prefix = Path(made["path"])
    (six,) = prefix.glob("lib/python3*/site-packages/six.py")
    replaced(six, b"")
    (archive,) = (tmp_path / "local" / "archives").glob("*/six-*")
    archive.write_bytes(b"damaged")
    code, said = verified(flows, "team/broken")
    assert (code, said["package_files"]["changed"]) == (5, 1)
    code, said = verified(flows, "team/broken", "--repair")
    assert (code, said["removed"]) == (0, [str(archive), str(prefix)])
    assert not prefix.exists()
    assert verified(flows, "team/broken")[1]["prefix"] is None
    call(flows, "create", "team/broken").succeeded()
    code, said = verified(flows, "team/broken")
    assert (code, said["differences"]) == (0, [])


def test_a_folder_that_is_not_ours_is_refused(flows: Flows) -> None:
    (flows.folder / "mine").mkdir()
    ran = call(flows, "verify", "--prefix", "mine")
    assert ran.code == 2
    assert "is not an environment that was made here" in ran.stderr


def test_an_environment_in_use_is_not_removed(made: Path, flows: Flows) -> None:
    (made / "lib" / "stranger.txt").write_text("")
    running = flows.start(made / "bin" / "python", "-c", "print('here', flush=True); import time; time.sleep(60)")
    try:
        assert running.stdout
        assert running.stdout.readline() == "here\n"
        ran = call(flows, "verify", "--prefix", "own", "--repair")
    finally:
        running.kill()
        running.communicate()
    assert ran.code == 5
    assert "is in use, and stays as it is" in ran.stderr
    assert (made / "bin" / "python").exists()
