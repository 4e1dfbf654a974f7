"""A wheel that is not what a wheel must be is refused before anything of it is installed."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mfenv.errors import HydrationFailed
from mfenv.hydrate.wheels import WheelFiles, changed_files, read_wheel
from mfenv.testing.wheels import MadeWheel, record_of, write_zip

SITE = "lib/python3.11/site-packages"
RECORD = "tiny-1.0.dist-info/RECORD"
MEMBERS = MadeWheel(name="tiny").members()

Members = list[tuple[str, bytes]]


def holding(*more: tuple[str, str], scripts: dict[str, str] | None = None) -> Members:
    """The members of a wheel that has `more`, with a RECORD that is right."""
    members = MadeWheel(name="tiny", console_scripts=scripts).members() | {name: text.encode() for name, text in more}
    return [*members.items(), (RECORD, record_of(members, RECORD))]


def recorded(record: str) -> Members:
    return [*MEMBERS.items(), (RECORD, record.encode())]


RIGHT = record_of(MEMBERS, RECORD)

HOSTILE: dict[str, tuple[Members, str]] = {
    "upwards": (holding(("../evil.py", "")), "its path `../evil.py` leads out of the environment"),
    "upwards inside": (holding(("a/../../b", "")), "its path `a/../../b` leads out of the environment"),
    "a whole path": (holding(("/etc/evil", "")), "its path `/etc/evil` leads out of the environment"),
    "backslashes": (holding(("a\\..\\b", "")), "its path `a\\..\\b` leads out of the environment"),
    "twice": ([*holding(), ("tiny.py", b"other")], "it holds `tiny.py` twice"),
    "no RECORD": (list(MEMBERS.items()), "it has no RECORD, or several"),
    "two RECORDs": ([*holding(), ("other-1.dist-info/RECORD", b"")], "it has no RECORD, or several"),
    "not in RECORD": ([*holding(), ("sneaked.py", b"")], "its RECORD does not name `sneaked.py`"),
    "scripts upwards": (
        holding(("tiny-1.0.data/scripts/../../evil", "")),
        "its path `tiny-1.0.data/scripts/../../evil` leads out of the environment",
    ),
    "data upwards": (
        holding(("tiny-1.0.data/data/../../../evil", "")),
        "its path `tiny-1.0.data/data/../../../evil` leads out of the environment",
    ),
    "data over the marker": (
        holding(("tiny-1.0.data/data/.mfenv-ready", "")),
        "its path `.mfenv-ready` belongs to the description of the environment",
    ),
    "data over the records": (
        holding(("tiny-1.0.data/data/conda-meta/a.json", "")),
        "its path `conda-meta/a.json` belongs to the description of the environment",
    ),
    "another distribution": (
        holding(("other-1.0.dist-info/METADATA", "")),
        "it brings another distribution, `other-1.0.dist-info`",
    ),
    "another distribution by way of data": (
        holding(("tiny-1.0.data/purelib/other-1.0.dist-info/METADATA", "")),
        "it brings another distribution, `other-1.0.dist-info`",
    ),
    "entry point upwards": (
        holding(scripts={"../../evil": "tiny:main"}),
        "its entry point `../../evil` has a path for a name",
    ),
    "entry point in a folder": (holding(scripts={"a/b": "tiny:main"}), "its entry point `a/b` has a path for a name"),
    "whole path as entry point": (
        holding(scripts={"/bin/sh": "tiny:main"}),
        "its entry point `/bin/sh` has a path for a name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_wheel_is_refused_by_name_and_reason(case: tuple[Members, str], tmp_path: Path) -> None:
    members, reason = case
    path = write_zip(tmp_path / "tiny-1.0-py3-none-any.whl", members)
    with pytest.raises(HydrationFailed) as caught:
        read_wheel("tiny", path, SITE)
    whole = caught.value.message
    assert whole.endswith(f"`tiny-1.0-py3-none-any.whl` is refused: {reason}")


def spoil_record(path: Path) -> None:
    with zipfile.ZipFile(path) as wheel:
        offset = wheel.getinfo(RECORD).header_offset
    content = bytearray(path.read_bytes())
    content[offset + 60 : offset + 70] = b"\xff" * 10
    path.write_bytes(content)


def encrypt(path: Path) -> None:
    # Bit 0 of the flags in the central directory and in the local headers.
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.find(signature)
        while place >= 0:
            content[place + flags] |= 1
            place = content.find(signature, place + 4)
    path.write_bytes(content)


def claim_size(path: Path) -> None:
    """Claim a negative size (or 4 GiB, as it is read) for RECORD."""
    content = bytearray(path.read_bytes())
    place = content.rfind(b"PK\x01\x02")
    content[place + 20 : place + 28] = b"\xff" * 8
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def no_zip(path: Path) -> None:
    path.write_text("<html>")


def unlink(path: Path) -> None:
    path.unlink()


def compressed_badly(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in [*MEMBERS.items(), (RECORD, RIGHT * 50)]:
            wheel.writestr(name, content)
    with zipfile.ZipFile(path) as wheel:
        offset = wheel.getinfo(RECORD).header_offset + 30 + len(RECORD)
    content = bytearray(path.read_bytes())
    content[offset : offset + 20] = b"\xff" * 20
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [spoil_record, encrypt, claim_size, truncate, no_zip, unlink, compressed_badly])
def test_a_file_that_is_no_whole_wheel_is_one_error(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    path = write_zip(tmp_path / "tiny-1.0-py3-none-any.whl", holding())
    spoil(path)
    with pytest.raises(HydrationFailed, match=r"the wheel `tiny-1\.0-py3-none-any\.whl` cannot be read"):
        read_wheel("tiny", path, SITE)


def test_tells_where_each_file_goes_and_its_digest(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "tiny-1.0-py3-none-any.whl",
        holding(
            ("pkg/a.py", ""),
            ("tiny-1.0.data/purelib/b.py", ""),
            ("tiny-1.0.data/platlib/c.so", ""),
            ("tiny-1.0.data/scripts/run", "#!python"),
            ("tiny-1.0.data/headers/h.h", ""),
            ("tiny-1.0.data/data/share/d", ""),
            scripts={"Tiny": "tiny:main"},
        ),
    )
    read = read_wheel("tiny", path, SITE)
    empty = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    info = f"{SITE}/tiny-1.0.dist-info"
    rest = {place: digest for place, digest in read.digests.items() if not place.startswith(info)}
    tiny = rest.pop(f"{SITE}/tiny.py")
    assert tiny
    assert rest == {
        f"{SITE}/pkg/a.py": empty,
        f"{SITE}/b.py": empty,
        f"{SITE}/c.so": empty,
        "bin/run": None,
        "include/python3.11/tiny/h.h": empty,
        "share/d": empty,
        "bin/Tiny": None,
    }
    assert sorted(place for place in read.digests if place.startswith(info)) == [
        f"{info}/METADATA",
        f"{info}/WHEEL",
        f"{info}/entry_points.txt",
    ]


@pytest.mark.parametrize("digest", ["", "sha512=AAAA", "md5=AAAA"])
def test_content_is_checked_also_where_record_has_no_sha256_of_it(digest: str, tmp_path: Path) -> None:
    lines = [f"{name},{digest}," for name in MEMBERS]
    path = write_zip(tmp_path / "tiny-1.0-py3-none-any.whl", recorded("\n".join([*lines, f"{RECORD},,"])))
    right = write_zip(tmp_path / "right" / path.name, holding())
    assert read_wheel("tiny", path, SITE) == read_wheel("tiny", right, SITE)


def test_a_wheel_of_another_project_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "tiny-1.0-py3-none-any.whl", holding())
    with pytest.raises(HydrationFailed) as caught:
        read_wheel("other", path, SITE)
    assert caught.value.message.endswith("is refused: it holds `tiny-1.0.dist-info` and not `other`")


def test_signatures_need_not_be_in_record(tmp_path: Path) -> None:
    members = [*holding(), ("tiny-1.0.dist-info/RECORD.jws", b"{}")]
    assert read_wheel("tiny", write_zip(tmp_path / "tiny-1.0-py3-none-any.whl", members), SITE)


def test_finds_files_that_are_not_as_their_wheel_has_them(tmp_path: Path) -> None:
    empty = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    names = ("same.py", "changed.py", "missing.py", "rewritten")
    wheel = WheelFiles(name="tiny", digests={name: None if name == "rewritten" else empty for name in names})
    (tmp_path / "same.py").touch()
    (tmp_path / "changed.py").write_text("import evil")
    (tmp_path / "rewritten").write_text("#!/prefix/bin/python")
    assert changed_files([wheel], tmp_path) == ["tiny: changed.py", "tiny: missing.py"]
