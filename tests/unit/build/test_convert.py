"""Converting conda packages: all of the content or nothing of it."""

from __future__ import annotations

import bz2
import hashlib
import io
import random
import sys
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conda_package_streaming.package_streaming import stream_conda_component
from hypothesis import given
from hypothesis import strategies as st

from mfenv.build.convert import converted
from mfenv.domain.artifact import LockedArtifact
from mfenv.hydrate.plan import archive_path
from mfenv.testing.fakes import FakePackage, fake_lock

Members = tuple[tuple[str, bytes, str], ...]
"""Name, kind, and what is in it or where it leads."""

INDEX = ("info/index.json", tarfile.REGTYPE, "{}")
NOISE = random.Random(1).randbytes(15_000).hex()


def tar_of(members: Members) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, kind, text in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(text.encode())
            else:
                member.linkname = text
            tar.addfile(member, io.BytesIO(text.encode()))
    return made.getvalue()


WHOLE: Members = (INDEX, *((f"lib/{name}", tarfile.REGTYPE, NOISE + name) for name in "abc"))
OLD = bz2.compress(tar_of(WHOLE))


def convert(content: bytes, file_name: str, preferred: str, archives: Path) -> tuple[LockedArtifact | None, list[str]]:
    package = FakePackage("a")
    file = replace(package.artifact, file_name=file_name, sha256=hashlib.sha256(content).hexdigest())
    lock = replace(fake_lock(package), packages=(replace(package.locked, artifact=file),))
    path = archive_path(file, archives)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    told: list[str] = []
    (made,) = converted(lock, preferred, archives, fetch=lambda _: None, tell=told.append).packages
    return made.converted, told


def members_of(path: Path) -> Members:
    found = []
    for part in ("info", "pkg") if path.name.endswith(".conda") else ("pkg",):
        for tar, member in stream_conda_component(str(path), None, part):
            file = tar.extractfile(member) if member.isreg() else None
            found.append((member.name, member.type, file.read().decode() if file else member.linkname))
    return tuple(found)


def new_package(folder: Path) -> bytes:
    made, told = convert(OLD, "a-1.0-0.tar.bz2", ".conda", folder)
    assert made, told
    return archive_path(made, folder).read_bytes()


@pytest.mark.parametrize(
    "more",
    [
        (("bin/a", tarfile.REGTYPE, "x"), ("bin/b", tarfile.LNKTYPE, "bin/a")),
        (("info/a", tarfile.REGTYPE, "x"), ("info/b", tarfile.LNKTYPE, "info/a")),
        (("bin/a", tarfile.SYMTYPE, "../lib/a"), ("empty", tarfile.DIRTYPE, "")),
        (("d" * 120 + "/é", tarfile.REGTYPE, "é"),),
        # An archive with nothing but `info/` is one, too.
        (),
    ],
)
def test_links_folders_and_long_names_come_through_there_and_back(more: Members, tmp_path: Path) -> None:
    made, told = convert(bz2.compress(tar_of((INDEX, *more))), "a-1.0-0.tar.bz2", ".conda", tmp_path / "1")
    assert made, told
    path = archive_path(made, tmp_path / "1")
    assert members_of(path) == (INDEX, *more)
    back, told = convert(path.read_bytes(), "a-1.0-0.conda", ".tar.bz2", tmp_path / "2")
    assert back, told
    assert members_of(archive_path(back, tmp_path / "2")) == (INDEX, *more)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ((("a", tarfile.REGTYPE, "x"), INDEX, ("info/b", tarfile.LNKTYPE, "a")), "info/b is a hard link to a"),
        ((INDEX, ("b", tarfile.LNKTYPE, "info/index.json")), "b is a hard link to info/index.json"),
        ((("./info/index.json", tarfile.REGTYPE, "{}"),), "it has no info/index.json"),
    ],
)
def test_what_the_newer_format_cannot_hold_stays_in_the_older_one(
    members: Members, reason: str, tmp_path: Path
) -> None:
    assert convert(bz2.compress(tar_of(members)), "a-1.0-0.tar.bz2", ".conda", tmp_path) == (
        None,
        [f"a-1.0-0.tar.bz2 stays in its format: it cannot be converted ({reason})."],
    )


@pytest.mark.parametrize(("name", "preferred"), [("a-1.0-0.tar.bz2", ".conda"), ("a-1.0-0.conda", ".tar.bz2")])
def test_what_is_made_depends_neither_on_the_time_nor_on_the_machine(
    name: str, preferred: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = OLD if name.endswith(".tar.bz2") else new_package(tmp_path / "0")
    made = []
    for year, system in ((2024, "linux"), (2031, "win32")):
        monkeypatch.setattr(time, "time", lambda year=year: (year - 1970) * 31_557_600.0)
        monkeypatch.setattr(sys, "platform", system)
        made.append(convert(content, name, preferred, tmp_path / str(year)))
        monkeypatch.undo()
    assert made[0] == made[1]
    assert made[0][0]


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    tar = tar_of(WHOLE)
    at = tar.index(b"lib/b")
    damaged = bytearray(bz2.compress(tar[:at] + b"x" * 512 + tar[at + 512 :]))
    # The sum of the whole stream, at its end: as when the header was damaged in the compressed file.
    damaged[-3] ^= 0xFF
    made, told = convert(bytes(damaged), "a-1.0-0.tar.bz2", ".conda", tmp_path)
    assert (made, len(told)) == (None, 1)


def test_a_damaged_part_of_the_newer_format_is_named(tmp_path: Path) -> None:
    content = bytearray(new_package(tmp_path / "1"))
    content[content.index(b"pkg-a-1.0-0.tar.zst") + 1000] ^= 0xFF
    assert convert(bytes(content), "a-1.0-0.conda", ".tar.bz2", tmp_path / "2") == (
        None,
        ["a-1.0-0.conda stays in its format: it cannot be converted (pkg-a-1.0-0.tar.zst in it is damaged)."],
    )


@given(st.data())
def test_of_a_damaged_package_all_is_converted_or_nothing(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        is_old = data.draw(st.booleans())
        content = bytearray(OLD if is_old else new_package(Path(folder) / "0"))
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            del content[at:]
        else:
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        name, preferred = ("a-1.0-0.tar.bz2", ".conda") if is_old else ("a-1.0-0.conda", ".tar.bz2")
        made, told = convert(bytes(content), name, preferred, Path(folder) / "1")
        assert bool(made) is not bool(told)
        if made:
            assert members_of(archive_path(made, Path(folder) / "1")) == WHOLE
