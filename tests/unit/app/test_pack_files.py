"""Packs that are not what `pack` writes are refused whole, and say which member it is about."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.app import settings
from mfenv.app.pack import Packed, pack, unpack
from mfenv.app.wiring import Wiring
from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.resolved import CondaRecord
from mfenv.errors import EnvironmentsError, InvalidSpec, LockError, StoreError
from mfenv.formats import lock_json, pack_file
from mfenv.formats.pack_file import END, Manifest, Member, header, padding
from mfenv.hydrate.plan import archive_path

CONTENT = b"what a package holds" * 100


def package(name: str, content: bytes = CONTENT) -> LockedCondaPackage:
    file = f"{name}-1-0.conda"
    return LockedCondaPackage(
        record=CondaRecord(
            name=name, version="1", build="0", build_number=0, subdir="noarch", channel="https://example.org/c"
        ),
        artifact=LockedArtifact(
            file_name=file,
            url=f"https://example.org/c/noarch/{file}",
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        ),
    )


LOCK = LockedEnvironment(platform=Platform.parse("linux-64", where="here"), packages=(package("one"),))


def machine(home: Path) -> Wiring:
    return Wiring(settings.read(lambda _: None, {"HOME": str(home)}), project=home / "project")


@pytest.fixture
def wiring(tmp_path: Path) -> Wiring:
    return machine(tmp_path / "here")


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A pack of one lock with one package, made on another machine."""
    origin = machine(tmp_path / "there")
    for one in LOCK.artifacts:
        path = archive_path(one, origin.folders.archives)
        path.parent.mkdir(parents=True)
        path.write_bytes(CONTENT)
    pack(origin, [LOCK], tmp_path / "a.pack")
    return tmp_path / "a.pack"


def member(name: str, content: bytes) -> Member:
    return Member(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def written(
    *members: tuple[str, bytes], manifest: Callable[[dict[str, Any]], Any] = lambda document: document
) -> bytes:
    """A file in the shape of a pack, whose manifest says what it holds but for what `manifest` changes."""
    document = json.loads(pack_file.dump(Manifest(members=tuple(member(*one) for one in members))))
    content = json.dumps(manifest(document) or document).encode()
    parts = [("manifest.json", content), *members]
    return b"".join(header(name, len(one)) + one + bytes(padding(len(one))) for name, one in parts) + END


LOCK_MEMBER = (f"locks/{LOCK.id}.json", lock_json.dump(LOCK))
PACKAGE = (f"packages/{LOCK.artifacts[0].sha256}", CONTENT)


def nothing_is_there(wiring: Wiring) -> bool:
    root = wiring.folders.root
    left = [path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock" and path.name != ".lock"]
    return not left and wiring.locks.own_ids() == set() and list((root / "staging").glob("*")) == []


def refused(wiring: Wiring, path: Path, content: bytes) -> EnvironmentsError:
    path.write_bytes(content)
    with pytest.raises((LockError, StoreError)) as caught:
        unpack(wiring, path)
    assert nothing_is_there(wiring)
    return caught.value


def test_what_was_packed_is_there_when_it_is_unpacked(wiring: Wiring, packed: Path) -> None:
    assert unpack(wiring, packed) == Packed(path=packed, size=len(CONTENT), locks=(LOCK,), names=(), files=1)
    assert archive_path(LOCK.artifacts[0], wiring.folders.archives).read_bytes() == CONTENT
    assert wiring.locks.get(LOCK.id) == LOCK
    assert list((wiring.folders.root / "staging").glob("*")) == []
    # Once more: all is there.
    assert unpack(wiring, packed).files == 1


def test_a_damaged_file_in_the_cache_is_healed(wiring: Wiring, packed: Path) -> None:
    path = archive_path(LOCK.artifacts[0], wiring.folders.archives)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    unpack(wiring, packed)
    assert path.read_bytes() == CONTENT


def _with_size(document: dict[str, Any]) -> None:
    document["members"][-1]["size"] = 1 << 50


def _with_digest(document: dict[str, Any]) -> None:
    document["members"][0]["sha256"] = "0" * 64


def _doubled(document: dict[str, Any]) -> None:
    document["members"].append(document["members"][-1])


def _renamed(name: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document["members"][-1]["name"] = name

    return change


HOSTILE = {
    "not a pack": (b"PK\3\4" * 400, "is not a pack"),
    "empty": (b"", "is not a pack"),
    "half a header": (header("manifest.json", 4)[:100], "is not a pack"),
    "no manifest": (header("other.json", 0) + END, "is not a pack"),
    "a huge manifest": (header("manifest.json", 8**10), "manifest.json"),
    "a manifest that is not JSON": (header("manifest.json", 512) + bytes(512) + END, "this is not JSON"),
    "a huge size": (written(LOCK_MEMBER, PACKAGE, manifest=_with_size), "is not whole"),
    "another digest": (written(LOCK_MEMBER, PACKAGE, manifest=_with_digest), f"`{LOCK_MEMBER[0]}` has the sha256"),
    "a member twice in the manifest": (written(LOCK_MEMBER, PACKAGE, manifest=_doubled), "is there twice"),
    "a path upwards": (written(LOCK_MEMBER, PACKAGE, manifest=_renamed("../x")), "no member of that name"),
    "an absolute path": (written(LOCK_MEMBER, PACKAGE, manifest=_renamed("/etc/x")), "no member of that name"),
    "a package missing": (written(LOCK_MEMBER), "it lacks `one-1-0.conda`"),
    "a package too many": (
        written(LOCK_MEMBER, PACKAGE, ("packages/" + hashlib.sha256(b"x").hexdigest(), b"x")),
        "no lock in it has `packages/",
    ),
    "another lock": (written((f"locks/{'0' * 40}.json", LOCK_MEMBER[1]), PACKAGE), f"this is the lock `{LOCK.id}`"),
    "something behind the end": (written(LOCK_MEMBER, PACKAGE) + b"x", "has something behind its end"),
    "no end": (written(LOCK_MEMBER, PACKAGE)[: -len(END)], "is not whole"),
    "another end": (written(LOCK_MEMBER, PACKAGE)[:-1] + b"x", "does not end where it should"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_pack_does_not_write_is_refused_and_nothing_of_it_is_taken(
    case: str, wiring: Wiring, tmp_path: Path
) -> None:
    content, message = HOSTILE[case]
    assert message in refused(wiring, tmp_path / "bad.pack", content).message


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_place_of_a_member_are_refused(
    kind: bytes, wiring: Wiring, packed: Path, tmp_path: Path
) -> None:
    before = packed.read_bytes()
    at = before.index(header(*(PACKAGE[0], len(CONTENT))))
    info = tarfile.TarInfo(PACKAGE[0])
    info.type, info.linkname, info.size = kind, "/etc/passwd", len(CONTENT)
    content = before[:at] + info.tobuf(tarfile.USTAR_FORMAT) + before[at + 512 :]
    assert PACKAGE[0] in refused(wiring, tmp_path / "bad.pack", content).message


def test_members_in_another_order_are_refused_by_name(wiring: Wiring, packed: Path, tmp_path: Path) -> None:
    before = packed.read_bytes()
    at = before.index(header(PACKAGE[0], len(CONTENT)))
    content = before[:at] + header("../../evil", len(CONTENT)) + before[at + 512 :]
    assert refused(wiring, tmp_path / "bad.pack", content).message == (
        f"`{tmp_path / 'bad.pack'}` is refused: where its manifest has `{PACKAGE[0]}`, it holds `../../evil`"
    )


def test_any_changed_byte_is_noticed(wiring: Wiring, packed: Path, tmp_path: Path) -> None:
    before = packed.read_bytes()
    for place in range(0, len(before), 37):
        changed = bytearray(before)
        changed[place] ^= 0x41
        refused(wiring, tmp_path / "bad.pack", bytes(changed))


def test_any_truncation_is_noticed(wiring: Wiring, packed: Path, tmp_path: Path) -> None:
    before = packed.read_bytes()
    for length in range(0, len(before), 97):
        refused(wiring, tmp_path / "bad.pack", before[:length])


@given(st.one_of(st.binary(max_size=300), st.text(max_size=200).map(str.encode)))
def test_a_manifest_of_any_bytes_is_read_or_refused(content: bytes) -> None:
    try:
        pack_file.load(content, path="manifest.json")
    except LockError:
        return
    pytest.fail("random bytes are no manifest")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["members", "groups", "names", "schema"]), JSON)
def test_a_manifest_with_any_field_is_read_or_refused(field: str, value: object) -> None:
    document = json.loads(pack_file.dump(Manifest(members=(member(*LOCK_MEMBER), member(*PACKAGE)))))
    document[field] = value
    try:
        pack_file.load(json.dumps(document).encode(), path="manifest.json")
    except LockError as error:
        told = error.message
    else:
        told = "manifest.json"
    assert told.startswith("manifest.json")


@given(st.integers(min_value=0, max_value=1 << 52))
def test_tar_reads_the_size_of_a_header_as_it_was_written(size: int) -> None:
    info = tarfile.TarInfo.frombuf(header("packages/x", size), "ascii", "strict")
    assert (info.name, info.size, info.type) == ("packages/x", size, tarfile.REGTYPE)


def test_what_is_there_is_replaced_only_when_asked(tmp_path: Path, packed: Path, wiring: Wiring) -> None:
    unpack(wiring, packed)
    with pytest.raises(InvalidSpec, match="is there already"):
        pack(wiring, [LOCK], packed)
    before = packed.read_bytes()
    pack(wiring, [LOCK], packed, force=True)
    assert packed.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if "pack" in path.name] == ["a.pack"]


def test_a_disk_that_is_full_leaves_nothing(
    wiring: Wiring, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack(wiring, packed)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        pack(wiring, [LOCK], tmp_path / "b.pack")
    assert [path.name for path in tmp_path.iterdir() if "pack" in path.name] == ["a.pack"]


def test_a_pack_is_read_by_tar(packed: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(packed.read_bytes())) as tar:
        assert tar.getnames() == ["manifest.json", LOCK_MEMBER[0], PACKAGE[0]]
