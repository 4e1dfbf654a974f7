"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from mfenv.io.files import copy_hashing, remove_tree, sha256_of, write_atomically


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_written_with_its_folders_and_without_neighbours(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, b"old", durable=durable)
    write_atomically(path, b"new", durable=durable)
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_no_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def test_an_interrupted_write_leaves_no_neighbour_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"new", durable=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_hashing_and_copying_see_every_byte(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    assert sha256_of(source) == digest
    assert copy_hashing(source, copy) == (digest, size)
    assert copy.read_bytes() == content


def test_a_tree_is_removed_but_not_what_its_links_lead_to(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "link").symlink_to(kept)
    remove_tree(tree)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["kept", "kept/file"]


def test_nobody_sees_half_of_a_tree_that_is_being_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    seen: list[bool] = []
    original = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", lambda path: (seen.append(tree.exists()), original(path)))
    remove_tree(tree)
    assert seen == [False]


def test_removing_what_is_not_there_does_nothing(tmp_path: Path) -> None:
    remove_tree(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_stands_in_place_of_a_tree_is_removed_too(tmp_path: Path, kind: str) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    path = tmp_path / "tree"
    if kind == "file":
        path.write_text("x")
    else:
        path.symlink_to(kept)
    remove_tree(path)
    assert list(tmp_path.iterdir()) == [kept]


def test_a_folder_that_somebody_still_writes_into_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The helper of a killed process lives for a moment longer than its lock."""
    (tmp_path / "staging").mkdir()
    late = iter(("one", "two"))
    real = os.rmdir

    def rmdir(path: str, **options: int) -> None:
        if name := next(late, None):
            Path(tmp_path, next(tmp_path.glob(".staging.*.doomed")), name).touch()
        real(path, **options)

    monkeypatch.setattr(os, "rmdir", rmdir)
    remove_tree(tmp_path / "staging")
    assert list(tmp_path.iterdir()) == []


def test_a_file_has_its_mode_before_anything_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    chmod = Path.chmod

    def noting(self: Path, mode: int) -> None:
        seen.append((self.read_bytes(), mode))
        chmod(self, mode)

    monkeypatch.setattr(Path, "chmod", noting)
    write_atomically(tmp_path / "file", b"secret", mode=0o600)
    assert seen == [(b"", 0o600)]
    assert ((tmp_path / "file").read_bytes(), (tmp_path / "file").stat().st_mode & 0o777) == (b"secret", 0o600)
