from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from conda_package_streaming.package_streaming import stream_conda_component
from hypothesis import given
from hypothesis import strategies as st

from mfenv.testing.channel.package import (
    PLACEHOLDER,
    ArchiveFormat,
    CondaPackage,
    FileMode,
    RegularFile,
    SoftLink,
    paths_json,
    write_package,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def package() -> CondaPackage:
    return CondaPackage(
        name="probe",
        version="1.0",
        build="0",
        subdir="linux-64",
        depends=("zlib", "__glibc >=2.17"),
        time=1_700_000_000,
        files={
            "bin/probe": RegularFile(f"#!{PLACEHOLDER}/bin/sh\n".encode(), 0o755, FileMode.TEXT),
            "bin/alias": SoftLink("probe"),
            "share/data": RegularFile(b"data"),
        },
    )


def read_back(path: Path) -> dict[str, tuple[bytes | str, int]]:
    members: dict[str, tuple[bytes | str, int]] = {}
    components = ("pkg", "info") if path.suffix == ".conda" else ("pkg",)
    for component in components:
        with path.open("rb") as file:
            for tar, member in stream_conda_component(str(path), file, component):
                if member.issym():
                    members[member.name] = (member.linkname, member.mode)
                else:
                    content = tar.extractfile(member)
                    assert content is not None
                    members[member.name] = (content.read(), member.mode)
    return members


@pytest.mark.parametrize("archive_format", list(ArchiveFormat))
def test_a_written_package_is_read_back_by_another_library(
    package: CondaPackage, tmp_path: Path, archive_format: ArchiveFormat
) -> None:
    written = write_package(package, tmp_path, (archive_format,))
    members = read_back(written.paths[0])
    assert written.paths == (tmp_path / "linux-64" / f"probe-1.0-0{archive_format.value}",)
    assert members["bin/probe"] == (f"#!{PLACEHOLDER}/bin/sh\n".encode(), 0o755)
    assert members["bin/alias"][0] == "probe"
    index = json.loads(members["info/index.json"][0])
    assert index["depends"] == ["__glibc >=2.17", "zlib"]
    assert index["timestamp"] == 1_700_000_000_000
    assert members["info/has_prefix"][0] == f'"{PLACEHOLDER}" "text" "bin/probe"\n'.encode()


def test_paths_carry_hash_size_and_placeholder(package: CondaPackage) -> None:
    rows = {row["_path"]: row for row in paths_json(package)["paths"]}
    content = f"#!{PLACEHOLDER}/bin/sh\n".encode()
    assert rows["bin/probe"] == {
        "_path": "bin/probe",
        "path_type": "hardlink",
        "file_mode": "text",
        "prefix_placeholder": PLACEHOLDER,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_in_bytes": len(content),
    }
    assert rows["bin/alias"]["path_type"] == "softlink"
    assert rows["bin/alias"]["sha256"] == rows["bin/probe"]["sha256"]


def test_a_placeholder_is_as_long_as_conda_builds() -> None:
    assert len(PLACEHOLDER) == 255


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8})?", fullmatch=True), st.binary(max_size=50)))
def test_every_file_has_exactly_one_row(contents: dict[str, bytes]) -> None:
    package = CondaPackage(
        name="p",
        version="1",
        build="0",
        subdir="noarch",
        files={path: RegularFile(content) for path, content in contents.items()},
    )
    rows = paths_json(package)["paths"]
    assert [(row["_path"], row["size_in_bytes"]) for row in rows] == [
        (path, len(content)) for path, content in sorted(contents.items())
    ]
