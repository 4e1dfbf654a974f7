"""Which kind a file is that a user names, and what is said of files that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfenv.app.files import FileWish, RequirementsKind, local_projects, read_file, recognise
from mfenv.domain.base import LockFile, LockFileKind
from mfenv.domain.platform import Platform
from mfenv.errors import InvalidSpec

EXPLICIT = "@EXPLICIT\nhttps://me:s3cret@c.example.org/team/noarch/a-1-0.conda#0123456789abcdef0123456789abcdef\n"


def wish(folder: Path, name: str, content: str | bytes, **take: tuple[str, ...]) -> FileWish:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return FileWish(path=folder / name, shown=name, **take)


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("requirements.txt", "a", RequirementsKind.REQUIREMENTS),
        ("requirements.in", "a", RequirementsKind.REQUIREMENTS),
        ("environment.yml", "name: a", RequirementsKind.ENVIRONMENT),
        ("env.yaml", "name: a", RequirementsKind.ENVIRONMENT),
        ("pyproject.toml", "[project]", RequirementsKind.PYPROJECT),
        ("pixi.toml", "[workspace]", RequirementsKind.PIXI),
        ("uv.lock", "version = 1", LockFileKind.UV),
        ("pylock.toml", "", LockFileKind.PYLOCK),
        ("pylock.test.toml", "", LockFileKind.PYLOCK),
        ("pixi.lock", "", LockFileKind.PIXI),
        ("conda-lock.yml", "", LockFileKind.CONDA_LOCK),
        ("packages.txt", EXPLICIT, LockFileKind.EXPLICIT),
    ],
)
def test_a_kind_is_known_by_name_or_content(name: str, text: str, kind: object) -> None:
    assert recognise(name, text, shown=name) is kind


@pytest.mark.parametrize(
    ("name", "content", "take", "message"),
    [
        ("setup.cfg", "", {}, "`setup.cfg`: this kind of file is not known"),
        ("requirements.txt", b"\xff\xfe", {}, "`requirements.txt` is not a text in UTF-8"),
        ("requirements.txt", "a", {"groups": ("x",)}, "`requirements.txt`: a file of the kind `requirements.txt` has no groups"),
        ("pixi.lock", "", {"optional_dependencies": ("x",)}, "`pixi.lock`: a file of the kind `pixi.lock` has no optional dependencies"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said(
    tmp_path: Path, name: str, content: str | bytes, take: dict[str, tuple[str, ...]], message: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        read_file(wish(tmp_path, name, content, **take), Platform.LINUX_64)
    assert caught.value.message == message


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec) as caught:
        read_file(FileWish(path=tmp_path / "gone.txt", shown="gone.txt"), Platform.LINUX_64)
    assert caught.value.message == "`gone.txt` cannot be read: No such file or directory"


def test_a_lock_file_is_known_by_its_content_and_its_credentials_are_told_apart(tmp_path: Path) -> None:
    found = read_file(wish(tmp_path, "packages.txt", EXPLICIT), Platform.LINUX_64)
    crlf = read_file(wish(tmp_path, "other.txt", EXPLICIT.replace("\n", "\r\n")), Platform.LINUX_64)
    assert isinstance(found.layer.base, LockFile)
    assert (found.layer.base.kind, found.layer.base.path) == (LockFileKind.EXPLICIT, tmp_path / "packages.txt")
    assert found.layer.base == crlf.layer.base
    assert "s3cret" not in repr(found)
    assert [one.secret_url for one in found.channel_credentials] == ["https://me:s3cret@c.example.org/team"]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (LockFileKind.UV, '[[package]]\nname = "lib"\nsource = { editable = "lib" }\n[[package]]\nname = "x"\nsource = { registry = "r" }\n'),
        (LockFileKind.PYLOCK, '[[packages]]\nname = "lib"\ndirectory = { path = "./lib" }\n[[packages]]\nname = "x"\n'),
        (LockFileKind.PIXI, "packages:\n- pypi: ./lib\n  name: lib\n- pypi: https://h.example.org/x.whl\n  name: x\n"),
        (LockFileKind.CONDA_LOCK, ""),
    ],
)  # fmt: skip
def test_folders_that_are_built_are_found_in_the_text(tmp_path: Path, kind: LockFileKind, text: str) -> None:
    (tmp_path / "lib").mkdir()
    asked = wish(tmp_path, "lock", text)
    lock = LockFile(kind=kind, digest="", path=asked.path)
    assert local_projects(lock) == ({} if kind is LockFileKind.CONDA_LOCK else {"lib": tmp_path / "lib"})
