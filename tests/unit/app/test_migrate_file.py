"""Files are rewritten whole or not at all, and keep what they are."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.app.migrate import migrate_file, unified_diff
from mfenv.errors import InvalidSpec

OLD = b"from metaflow import FlowSpec, pip\n\n@pip\ndef f(): ...\n"
NEW = OLD.replace(b"pip", b"pypi")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "flow.py"
    path.write_bytes(OLD)
    return path


def test_nothing_is_written_unless_asked_for(path: Path) -> None:
    assert migrate_file(path, write=False).is_changed
    assert path.read_bytes() == OLD


def test_a_file_keeps_its_mode_and_has_no_neighbour_left(path: Path) -> None:
    path.chmod(0o700)
    migrate_file(path, write=True)
    assert (path.read_bytes(), path.stat().st_mode & 0o7777) == (NEW, 0o700)
    assert list(path.parent.iterdir()) == [path]


def test_a_link_stays_a_link(path: Path) -> None:
    link = path.with_name("link.py")
    link.symlink_to(path)
    migrate_file(link, write=True)
    assert link.is_symlink()
    assert path.read_bytes() == NEW


@pytest.mark.parametrize("extra", [b"\xef\xbb\xbf", b"# \xc3\xa9\r\n", b"# -*- coding: utf-8 -*-\r"])
def test_bytes_that_are_nobodys_stay(path: Path, extra: bytes) -> None:
    path.write_bytes(extra + OLD)
    migrate_file(path, write=True)
    assert path.read_bytes() == extra + NEW


def test_a_file_with_nothing_to_change_is_not_touched(path: Path) -> None:
    path.write_bytes(NEW)
    os.utime(path, (1, 1))
    found = migrate_file(path, write=True)
    assert (found.is_changed, found.diff, path.stat().st_mtime) == (False, "", 1)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("none.py", "`{}` cannot be read: No such file or directory", "Name the Python file of a flow"),
        ("folder", "`{}` is not a file", "Name the Python file of a flow"),
        ("pipe", "`{}` is not a file", "Name the Python file of a flow"),
        ("latin.py", "`{}` is not a text in UTF-8", "Save it as UTF-8"),
        ("zero.py", "{}:1:1: this is not Python that can be read (source code string cannot contain null bytes)", "Correct it first, until Python itself can read it"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(tmp_path: Path, name: str, message: str, hint: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\nx = '\xe9'\n")
    (tmp_path / "zero.py").write_bytes(b"x = 1\0\n")
    with pytest.raises(InvalidSpec) as caught:
        migrate_file(tmp_path / name, write=True)
    assert (caught.value.message, caught.value.hint) == (message.format(tmp_path / name), hint)


def test_a_read_only_file_is_refused_and_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As root, every file can be written.
    monkeypatch.setattr(os, "access", lambda _path, mode: mode != os.W_OK)
    with pytest.raises(InvalidSpec, match="cannot be written: it is read-only") as caught:
        migrate_file(path, write=True)
    assert caught.value.hint == "Make it writable, or change a copy"
    assert path.read_bytes() == OLD


def test_a_write_that_fails_leaves_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(InvalidSpec, match="cannot be written: No space left on device"):
        migrate_file(path, write=True)
    assert [one.read_bytes() for one in path.parent.iterdir()] == [OLD]


_TEXTS = st.lists(st.sampled_from(["a\n", "b\n", "\n", "c\x0cd\n", "\u2028\n", "e\r\n", "\r", "f"]), max_size=6).map(
    "".join
)


@given(_TEXTS, _TEXTS)
def test_a_diff_says_every_line_of_both(before: str, after: str) -> None:
    diff = unified_diff(before, after, shown="flow.py")
    assert (diff == "") == (before == after)
    if diff:
        assert diff.startswith("--- flow.py\n+++ flow.py\n@@ ")
        marks = [line[:1] for line in diff.split("\n")[2:-1]]
        assert set(marks) <= {"@", " ", "+", "-", "\\"}


@pytest.mark.parametrize(
    "before",
    [OLD, OLD.rstrip(b"\n"), OLD.replace(b"\n", b"\r\n"), b"x = 1\x0c\n" + OLD + "# \u2028\n".encode()],
    ids=["plain", "open end", "windows", "form feed"],
)
def test_a_diff_can_be_applied(path: Path, before: bytes) -> None:
    path.write_bytes(before)
    diff = migrate_file(path, write=False).diff.replace(str(path), path.name)
    command = ["git", "apply", "-p0", "--whitespace=nowarn", "-"]
    subprocess.run(command, input=diff.encode(), cwd=path.parent, check=True, timeout=60)
    assert path.read_bytes() == before.replace(b"pip", b"pypi")
