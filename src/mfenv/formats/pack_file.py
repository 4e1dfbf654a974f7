"""Packs: one file with locks, all that is known of them, and their package files.

The container is tar (POSIX.1-1988 ``ustar``), not compressed, since package files are compressed already: it is written
and read in one pass, any tar program shows and extracts it, and a file's bytes lie in it as they are. zip has its
directory at the end, which a stream has not reached when the files pass by.

The first member, ``manifest.json``, names all others in their order, each with its size and sha256::

    {"schema": "mfenv/pack/1",
     "members": [{"name": "locks/<lock id>.json", "size": 812, "sha256": "..."}, ...],
     "groups": [{"linux-64": "<lock id>", "osx-arm64": "<lock id>"}],
     "names": [{... see mfenv.formats.alias_json ...}]}

Behind the locks come ``notes/<lock id>/<number>.json`` (see mfenv.formats.provenance_json), then
``packages/<sha256>``. Two packs of the same content are the same bytes: headers hold no time and no user.

A reader knows from the manifest how each header must look, to the byte, and takes no other one: links, devices, paths
that lead elsewhere, members twice or in another order cannot be said. That is why no tar library reads packs, and why
none writes them: those of Python 3.10 and 3.12 write headers that differ.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mfenv.domain.alias import Alias
from mfenv.domain.digest import Json, LockId, canonical_json, is_id, is_sha256
from mfenv.domain.group import LockGroup
from mfenv.errors import LockError, StoreError
from mfenv.formats import alias_json, fields
from mfenv.formats.fields import Fields

SCHEMA = "mfenv/pack/1"
MANIFEST = "manifest.json"
BLOCK = 512
END = bytes(2 * BLOCK)
"""What stands behind the last member."""
LARGEST_DOCUMENT = 64 << 20
"""Bytes; of the manifest, a lock or a note."""

_LOCK = re.compile(r"locks/([0-9a-f]{40})\.json")
_NOTE = re.compile(r"notes/([0-9a-f]{40})/[0-9]{1,9}\.json")
_PACKAGE = re.compile(r"packages/([0-9a-f]{64})")
_LARGEST = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file in a pack."""

    name: str
    size: int
    """Bytes."""
    sha256: str

    @property
    def lock(self) -> LockId | None:
        """The id of the lock that this is, or None."""
        found = _LOCK.fullmatch(self.name)
        return LockId(found[1]) if found else None

    @property
    def note_of(self) -> LockId | None:
        """The id of the lock that this is a note on, or None."""
        found = _NOTE.fullmatch(self.name)
        return LockId(found[1]) if found else None

    @property
    def is_package(self) -> bool:
        """Whether this is a package file."""
        return _PACKAGE.fullmatch(self.name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is in a pack."""

    members: tuple[Member, ...]
    """In their order: locks, notes, packages."""
    groups: tuple[LockGroup, ...] = ()
    names: tuple[Alias, ...] = ()

    @property
    def size(self) -> int:
        """The size of the members with their headers, and of the end, in bytes."""
        return sum(BLOCK + member.size + padding(member.size) for member in self.members) + len(END)


def lock_name(lock_id: LockId) -> str:
    """Return the name of a lock's member."""
    return f"locks/{lock_id}.json"


def note_name(lock_id: LockId, number: int) -> str:
    """Return the name of the member of a note on a lock."""
    return f"notes/{lock_id}/{number}.json"


def package_name(sha256: str) -> str:
    """Return the name of a package file's member."""
    return f"packages/{sha256}"


def padding(size: int) -> int:
    """Return how many zero bytes follow `size` bytes of content."""
    return -size % BLOCK


def header(name: str, size: int) -> bytes:
    """Return the header of a member, 512 bytes: ``ustar`` of POSIX.1-1988, sizes from 8 GiB on as GNU tar has them."""
    octal = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    before = b"".join(
        (name.encode("ascii").ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", octal, b"00000000000\0")
    )
    after = b"".join((b"0", bytes(100), b"ustar\x0000", bytes(64), b"0000000\0", b"0000000\0", bytes(167)))
    checksum = sum(before) + sum(after) + 8 * ord(" ")
    return before + b"%06o\0 " % checksum + after


def manifest_size(block: bytes, *, path: str) -> int:
    """Return the size of the manifest, from the first 512 bytes of the file `path`.

    Raises `LockError` for what is not a pack.
    """
    digits = block[124:135]
    if re.fullmatch(rb"[0-7]{11}", digits) and block == header(MANIFEST, size := int(digits, 8)):
        if size <= LARGEST_DOCUMENT:
            return size
        raise LockError(f"`{path}` is refused: its `{MANIFEST}` has {size} bytes")
    raise LockError(f"`{path}` is not a pack", hint="Packs are what `metaflow environment pack` writes")


def check_header(block: bytes, member: Member, *, path: str) -> None:
    """Refuse, with `StoreError`, any other header than that of `member`."""
    if block == header(member.name, member.size):
        return
    if len(block) < BLOCK:
        raise broken_off(path, member.name)
    found = block[:100].rstrip(b"\0").decode("ascii", errors="replace")
    shown = "".join(letter if letter.isprintable() and letter != "`" else "?" for letter in found)
    raise StoreError(
        f"`{path}` is refused: where its manifest has `{member.name}`, it holds "
        + (f"`{shown}`" if found != member.name and found else "something else"),
        hint="It was changed after it was made: bring it again, or make it again",
    )


def broken_off(path: str, name: str) -> StoreError:
    """Return the error of a pack that ends too early, inside the member called `name`."""
    return StoreError(f"`{path}` ends within `{name}`: it is not whole", hint="Bring it again")


def dump(manifest: Manifest) -> bytes:
    """Return the canonical bytes of a manifest."""
    groups: list[Json] = [{platform.value: lock for platform, lock in group.locks} for group in manifest.groups]
    names: list[Json] = [alias_json.values(alias) for alias in manifest.names]
    members: list[Json] = [{"name": one.name, "size": one.size, "sha256": one.sha256} for one in manifest.members]
    return canonical_json({"schema": SCHEMA, "members": members, "groups": groups, "names": names})


def load(content: bytes, *, path: str) -> Manifest:
    """Read a manifest. Raises `LockError` naming `path` and the field at fault."""
    document = Fields.parse(content, path=path)
    if (schema := document.required("schema", str)) != SCHEMA:
        raise LockError(
            f"{path}: the schema `{schema}` is not known here",
            hint="The pack was made by a later version of metaflow-netflix-extensions: update this one",
        )
    members = tuple(map(_member, document.objects("members")))
    _check_members(members, path)
    locks = {one.lock for one in members} - {None}
    groups = tuple(map(_group, document.objects("groups")))
    names = tuple(map(alias_json.read, document.objects("names")))
    pairs = [*(pair for group in groups for pair in group.locks), *(pair for name in names for pair in name.locks)]
    for _, lock_id in pairs:
        if lock_id not in locks:
            raise LockError(f"{path}: the lock `{lock_id}` is named, and not among the members")
    return Manifest(members=members, groups=groups, names=names)


def _member(document: Fields) -> Member:
    name, size = document.required("name", str), document.required("size", int)
    sha256 = document.required("sha256", str)
    where = document.path
    if not 0 <= size < _LARGEST or not is_sha256(sha256):
        raise LockError(f"{where}: a member has no such size or sha256")
    member = Member(name=name, size=size, sha256=sha256)
    if member.is_package:
        if name != package_name(sha256):
            raise LockError(f"{where}: the member `{name}` has the sha256 {sha256}")
    elif member.lock is None and member.note_of is None:
        raise LockError(f"{where}.name: a pack has no member of that name")
    elif size > LARGEST_DOCUMENT:
        raise LockError(f"{where}: the member `{name}` cannot have {size} bytes")
    return member


def _check_members(members: Sequence[Member], path: str) -> None:
    names = [member.name for member in members]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise LockError(f"{path}: the member `{twice}` is there twice")
    locks = {member.lock for member in members} - {None}
    if not locks:
        raise LockError(f"{path}: no lock is among the members")
    kinds = [0 if member.lock else 1 if member.note_of else 2 for member in members]
    if kinds != sorted(kinds):
        raise LockError(f"{path}: the members are not in the order locks, notes, packages")
    for member in members:
        if member.note_of and member.note_of not in locks:
            raise LockError(f"{path}: `{member.name}` is a note on a lock that is not among the members")


def _group(document: Fields) -> LockGroup:
    whole = Fields(values={"locks": dict(document.values)}, path=document.path)
    locks = {fields.platform(name, path=document.path): lock for name, lock in whole.texts("locks")}
    if bad := [lock for lock in locks.values() if not is_id(lock)]:
        raise LockError(f"{document.path}: `{bad[0][:60]}` is not a lock id")
    return LockGroup.of({platform: LockId(lock) for platform, lock in locks.items()})
