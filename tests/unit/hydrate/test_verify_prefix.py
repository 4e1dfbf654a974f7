"""What is read back from files that conda wrote a prefix into, and what counts as a difference in a folder."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.resolved import CondaRecord
from mfenv.hydrate.verify import Deviation, Kind, _restored, verify_archives, verify_prefix

PLACEHOLDER = b"/opt/placehold_placehold_placehold_placehold"
PREFIX = b"/home/ana/env"


def put_in(content: bytes, *, is_text: bool) -> bytes:
    """The placeholder replaced as conda does (conda's binary_replace)."""
    if is_text:
        return content.replace(PLACEHOLDER, PREFIX)
    texts = content.split(b"\0")
    saved = len(PLACEHOLDER) - len(PREFIX)
    # The last text has no end: conda leaves it alone.
    return b"\0".join(
        [
            *(text.replace(PLACEHOLDER, PREFIX) + bytes(saved * text.count(PLACEHOLDER)) for text in texts[:-1]),
            texts[-1],
        ]
    )


PIECES = st.lists(st.sampled_from([PLACEHOLDER, b"\0", b"\0\0\0", b"/lib:", b"x", b"\xff"]), max_size=12).map(b"".join)


@given(PIECES, st.booleans())
def test_a_replaced_file_is_read_back_as_it_was(content: bytes, is_text: bool) -> None:
    original = content + b"\0"
    replaced = put_in(original, is_text=is_text)
    assert _restored(replaced, PLACEHOLDER, PREFIX, is_text=is_text) == original


FILES = {"bin/tool": b"tool", "lib/a.py": b"a = 1\n", "share/text": b"at " + PLACEHOLDER}


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    return tmp_path / "archives"


@pytest.fixture
def lock(archives: Path) -> LockedEnvironment:
    """An environment of one package, whose file is in the cache."""
    entries = [
        {"_path": path, "path_type": "hardlink", "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in FILES.items()
    ]
    entries[-1] |= {"prefix_placeholder": PLACEHOLDER.decode(), "file_mode": "text"}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:bz2") as tar:
        content = json.dumps({"paths_version": 1, "paths": entries}).encode()
        info = tarfile.TarInfo("info/paths.json")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    artifact = LockedArtifact(
        file_name="tool-1-0.tar.bz2",
        url="https://example.org/c/linux-64/tool-1-0.tar.bz2",
        size=len(out.getvalue()),
        sha256=hashlib.sha256(out.getvalue()).hexdigest(),
    )
    path = archives / artifact.sha256 / artifact.file_name
    path.parent.mkdir(parents=True)
    path.write_bytes(out.getvalue())
    record = CondaRecord(
        name="tool", version="1", build="0", build_number=0, subdir="linux-64", channel="https://example.org/c"
    )
    package = LockedCondaPackage(record=record, artifact=artifact)
    return LockedEnvironment(platform=Platform.parse("linux-64", where="here"), packages=(package,))


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    root = tmp_path / "env"
    for path, content in {**FILES, "conda-meta/tool-1-0.json": b"{}", ".mfenv-ready": b"{}"}.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.replace(PLACEHOLDER, str(root).encode()))
    return root


def test_what_is_as_packaged_is_as_locked(lock: LockedEnvironment, prefix: Path, archives: Path) -> None:
    (prefix / "lib" / "__pycache__").mkdir()
    (prefix / "lib" / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"")
    found = verify_prefix(lock, prefix, archives)
    assert (found.files, found.differences, found.by_record, found.generated) == (3, (), (), 3)


def test_compiled_files_of_nobody_are_unexpected(lock: LockedEnvironment, prefix: Path, archives: Path) -> None:
    (prefix / "lib" / "__pycache__").mkdir()
    (prefix / "lib" / "__pycache__" / "b.cpython-311.pyc").write_bytes(b"")
    found = verify_prefix(lock, prefix, archives)
    assert found.differences == (Deviation(kind=Kind.UNEXPECTED, path="lib/__pycache__/b.cpython-311.pyc"),)


@pytest.mark.parametrize("path", FILES)
def test_each_changed_file_is_told(path: str, lock: LockedEnvironment, prefix: Path, archives: Path) -> None:
    (prefix / path).write_bytes((prefix / path).read_bytes() + b"\n")
    assert verify_prefix(lock, prefix, archives).differences == (
        Deviation(kind=Kind.CHANGED, path=path, package="tool"),
    )


@pytest.mark.parametrize("path", FILES)
def test_each_missing_file_is_told(path: str, lock: LockedEnvironment, prefix: Path, archives: Path) -> None:
    (prefix / path).unlink()
    assert verify_prefix(lock, prefix, archives).differences == (
        Deviation(kind=Kind.MISSING, path=path, package="tool"),
    )


def test_a_link_in_place_of_a_file_must_lead_to_the_same(
    lock: LockedEnvironment, prefix: Path, archives: Path, tmp_path: Path
) -> None:
    (tmp_path / "evil").write_bytes(b"evil")
    (prefix / "bin" / "tool").unlink()
    (prefix / "bin" / "tool").symlink_to(tmp_path / "evil")
    assert verify_prefix(lock, prefix, archives).differences == (
        Deviation(kind=Kind.CHANGED, path="bin/tool", package="tool"),
    )


def test_without_the_package_file_the_own_record_is_taken_and_said(
    lock: LockedEnvironment, prefix: Path, archives: Path
) -> None:
    paths = [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256_in_prefix": hashlib.sha256((prefix / path).read_bytes()).hexdigest(),
        }
        for path in FILES
    ]
    (prefix / "conda-meta" / "tool-1-0.json").write_text(json.dumps({"paths_data": {"paths": paths}}))
    (artifact,) = lock.artifacts
    (archives / artifact.sha256 / artifact.file_name).unlink()
    found = verify_prefix(lock, prefix, archives)
    assert (found.differences, found.by_record) == ((), tuple(sorted(FILES)))
    assert verify_archives(lock, archives).absent == 1


def test_a_damaged_package_file_is_told(lock: LockedEnvironment, archives: Path) -> None:
    (artifact,) = lock.artifacts
    path = archives / artifact.sha256 / artifact.file_name
    path.write_bytes(b"damaged")
    assert verify_archives(lock, archives).differences == (
        Deviation(kind=Kind.CHANGED, path=str(path), package="tool-1-0.tar.bz2"),
    )
