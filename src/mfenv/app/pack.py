"""Environments in one file, for machines with no network: written from here, and taken in there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mfenv.app.wiring import Wiring
from mfenv.domain.alias import Alias
from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.digest import LockId
from mfenv.domain.group import LockGroup
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.provenance import Provenance
from mfenv.errors import InvalidSpec, LockError, StoreError
from mfenv.formats import lock_json, pack_file, provenance_json
from mfenv.formats.pack_file import BLOCK, END, Manifest, Member
from mfenv.hydrate.archives import USED
from mfenv.hydrate.plan import archive_path
from mfenv.io.filelock import held, used
from mfenv.io.files import remove_tree, sha256_of
from mfenv.store.project_index import Default

_AT_ONCE = 4
_CHUNK = 1 << 20

OnFile = Callable[[str, int], None]
"""Hears of each file that passed, and its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What a pack holds."""

    path: Path
    size: int
    """Bytes of the file; of what it holds in packages, when it was read."""
    locks: tuple[LockedEnvironment, ...]
    names: tuple[Alias, ...]
    files: int
    """How many package files."""


def pack(
    wiring: Wiring,
    locks: Iterable[LockedEnvironment],
    path: Path,
    *,
    names: Iterable[Alias] = (),
    force: bool = False,
    on_file: OnFile = lambda _name, _size: None,
) -> Packed:
    """Write `locks`, what is known of them, and all their package files to `path`; the same content is the same bytes.

    `names` are those that they were asked for by. Raises `InvalidSpec` when `path` is there, unless with `force`,
    `HydrationFailed` when a package file cannot be had, and `StoreError` when `path` cannot be written: then nothing is
    left of it.
    """
    _check_free(path, force=force)
    # A link to a file stays one.
    target = path.resolve() if path.is_file() else path
    chosen = sorted({lock.id: lock for lock in locks}.values(), key=lambda lock: (lock.platform.value, lock.id))
    with used(wiring.folders.files_lock):
        files = _have_files(wiring, chosen)
        documents = dict(_documents(wiring, chosen))
        packages = {one.sha256: archive_path(one, wiring.folders.archives) for one in files}
        manifest = Manifest(
            members=(
                *(_member(name, content) for name, content in documents.items()),
                *(
                    Member(name=pack_file.package_name(sha256), size=file.stat().st_size, sha256=sha256)
                    for sha256, file in sorted(packages.items())
                ),
            ),
            groups=_groups(wiring, chosen),
            names=tuple(sorted({str(alias.ref): alias for alias in names}.values(), key=lambda alias: str(alias.ref))),
        )
        _write(target, manifest, documents, packages, on_file, force=force)
    return Packed(path=path, size=path.stat().st_size, locks=tuple(chosen), names=manifest.names, files=len(packages))


def _check_free(path: Path, *, force: bool) -> None:
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InvalidSpec(f"`{path}` is not a file, and stays as it is", hint="Choose another name")
    if path.is_dir() or (os.path.lexists(path) and not force):
        raise InvalidSpec(
            f"`{path}` is there already",
            hint="Choose another name" if path.is_dir() else "Choose another name, or replace it with --force",
        )
    if not path.parent.is_dir():
        raise InvalidSpec(f"`{path}` cannot be written: there is no folder `{path.parent}`")


def _have_files(wiring: Wiring, locks: Sequence[LockedEnvironment]) -> list[LockedArtifact]:
    """Have all package files in the cache, whole; return them, a package's converted one where it can be had."""
    archives = wiring.folders.archives
    wiring.supplier.supply([artifact for lock in locks for artifact in lock.stored_artifacts])
    wanted: dict[str, LockedArtifact] = {}
    converted = [one.converted for lock in locks for one in lock.packages if one.converted]
    whole = _whole(converted, archives)
    for lock in locks:
        for package in lock.packages:
            # No origin has what was converted.
            is_there = package.converted and package.converted.sha256 in whole
            artifact = package.converted if package.converted and is_there else package.artifact
            wanted[artifact.sha256] = artifact
        wanted.update((package.artifact.sha256, package.artifact) for package in lock.pypi)
    there = whole | _whole([one for one in wanted.values() if one.sha256 not in whole], archives)
    if missing := [artifact for sha256, artifact in wanted.items() if sha256 not in there]:
        wiring.supplier.supply(missing, again=True)
        wiring.installer.fetch(missing)
    return list(wanted.values())


def _whole(artifacts: Sequence[LockedArtifact], archives: Path) -> set[str]:
    """Return the digests of those of `artifacts` that are in the cache, as they should be."""

    def is_whole(artifact: LockedArtifact) -> bool:
        try:
            return sha256_of(archive_path(artifact, archives)) == artifact.sha256
        except OSError:
            return False

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="mfenv-pack") as pool:
        found = pool.map(is_whole, artifacts)
        return {artifact.sha256 for artifact, is_so in zip(artifacts, found, strict=True) if is_so}


def _documents(wiring: Wiring, locks: Sequence[LockedEnvironment]) -> Iterator[tuple[str, bytes]]:
    """Yield the members that are no packages: locks, then notes on them."""
    for lock in locks:
        yield pack_file.lock_name(lock.id), lock_json.dump(lock)
    for lock in locks:
        notes = sorted({provenance_json.dump(note) for note in wiring.locks.notes(lock.id)})
        for number, content in enumerate(notes):
            yield pack_file.note_name(lock.id, number), content


def _groups(wiring: Wiring, locks: Sequence[LockedEnvironment]) -> tuple[LockGroup, ...]:
    """Return which of `locks` were resolved together."""
    packed = {lock.id for lock in locks}
    found = {}
    for lock in locks:
        for group in wiring.locks.groups(lock.id):
            within = LockGroup.of({platform: one for platform, one in group.locks if one in packed})
            if len(within.locks) > 1:
                found[within.id] = within
    return tuple(found[one] for one in sorted(found))


def _member(name: str, content: bytes) -> Member:
    return Member(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def _write(
    path: Path,
    manifest: Manifest,
    documents: Mapping[str, bytes],
    packages: Mapping[str, Path],
    on_file: OnFile,
    *,
    force: bool,
) -> None:
    neighbour = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        with neighbour.open("xb") as out:
            content = pack_file.dump(manifest)
            _copy(io.BytesIO(content), out, _member(pack_file.MANIFEST, content))
            for member in manifest.members:
                if member.is_package:
                    with packages[member.sha256].open("rb") as source:
                        _copy(source, out, member)
                    on_file(member.name, member.size)
                else:
                    _copy(io.BytesIO(documents[member.name]), out, member)
            out.write(END)
            out.flush()
            os.fsync(out.fileno())
        _check_free(path, force=force)
        neighbour.replace(path)
    except OSError as error:
        raise StoreError(
            f"`{path}` cannot be written: {error.strerror or error}",
            hint="Free some space, or write it elsewhere" if error.errno == errno.ENOSPC else None,
        ) from error
    finally:
        with contextlib.suppress(OSError):
            neighbour.unlink(missing_ok=True)


def _copy(source: BinaryIO, out: BinaryIO, member: Member) -> None:
    """Write a member, hashing exactly what is written."""
    out.write(pack_file.header(member.name, member.size))
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
        out.write(chunk)
    if (size, digest.hexdigest()) != (member.size, member.sha256):
        raise StoreError(f"the cached file `{member.name}` was changed while it was packed", hint="Run again")
    out.write(bytes(pack_file.padding(size)))


# -------------------------------------------------------------------- taking in


def unpack(wiring: Wiring, path: Path, *, on_file: OnFile = lambda _name, _size: None) -> Packed:
    """Take in what `path` holds: package files into the cache, then locks, groups and notes; names are the caller's.

    All of it is read and checked before anything is taken. Raises `LockError` and `StoreError` naming what is refused.
    """
    shown = str(path)
    incoming = wiring.folders.root / "staging" / f"unpack.{secrets.token_hex(4)}"
    try:
        with path.open("rb") as file, used(wiring.folders.files_lock):
            manifest = _read_manifest(file, shown)
            incoming.mkdir(parents=True)
            locks, notes = _read_documents(file, manifest, shown)
            wanted = _wanted(locks, manifest, shown)
            _read_packages(file, manifest, wanted, incoming, wiring.folders.archives, shown, on_file)
            if file.read(len(END) + 1) != END:
                raise StoreError(f"`{shown}` is refused: it does not end where it should", hint="Bring it again")
            _accept(wiring, incoming, wanted)
    except OSError as error:
        at = f" (`{error.filename}`)" if error.filename and str(error.filename) != shown else ""
        raise StoreError(f"`{shown}` cannot be unpacked: {error.strerror or error}{at}") from error
    finally:
        with contextlib.suppress(OSError):
            remove_tree(incoming)
    for lock in locks:
        wiring.locks.keep(lock)
        for note in notes.get(lock.id, ()):
            wiring.locks.keep(lock, note)
    for group in manifest.groups:
        wiring.locks.keep_group(group)
    wiring.index.set_defaults(_defaults(wiring, manifest, notes))
    packages = [member for member in manifest.members if member.is_package]
    return Packed(
        path=path,
        size=sum(member.size for member in packages),
        locks=tuple(locks),
        names=manifest.names,
        files=len(packages),
    )


def _defaults(wiring: Wiring, manifest: Manifest, notes: Mapping[LockId, Sequence[Provenance]]) -> Iterator[Default]:
    """Yield the locks that requests had, for those that have none here: flows that ask the same need no resolution."""
    groups = {lock_id: group.id for group in manifest.groups for _, lock_id in group.locks}
    found: dict[tuple[str, str], Default] = {}
    for lock_id, of_lock in notes.items():
        for note in of_lock:
            known = found.get((note.request, note.target.key))
            if wiring.index.default(note.request, note.target) or (known and known.time >= note.time):
                continue
            found[note.request, note.target.key] = Default(
                request=note.request,
                target=note.target.key,
                platform=note.target.platform,
                lock=lock_id,
                group=groups.get(lock_id, ""),
                user=note.user,
                time=note.time,
            )
    yield from found.values()


def _read_manifest(file: BinaryIO, path: str) -> Manifest:
    size = pack_file.manifest_size(file.read(BLOCK), path=path)
    content = file.read(size + pack_file.padding(size))
    if len(content) < size + pack_file.padding(size):
        raise pack_file.broken_off(path, pack_file.MANIFEST)
    if any(content[size:]):
        raise StoreError(f"`{path}` is refused: something stands behind its `{pack_file.MANIFEST}`")
    manifest = pack_file.load(content[:size], path=f"{path}:{pack_file.MANIFEST}")
    there, expected = os.fstat(file.fileno()).st_size, BLOCK + len(content) + manifest.size
    if there != expected:
        # Before any byte is written: sizes that are claimed cost nothing.
        how = "is not whole" if there < expected else "has something behind its end"
        raise StoreError(
            f"`{path}` {how}: it has {there} bytes where its manifest tells of {expected}", hint="Bring it again"
        )
    return manifest


def _content(file: BinaryIO, member: Member, path: str) -> Iterator[bytes]:
    """Yield the bytes of the next member, which must be `member`; refuse it at its end when they are others."""
    pack_file.check_header(file.read(BLOCK), member, path=path)
    digest, left = hashlib.sha256(), member.size
    while left:
        chunk = file.read(min(_CHUNK, left))
        if not chunk:
            raise pack_file.broken_off(path, member.name)
        digest.update(chunk)
        left -= len(chunk)
        yield chunk
    if digest.hexdigest() != member.sha256:
        raise StoreError(
            f"`{path}` is refused: its `{member.name}` has the sha256 {digest.hexdigest()} "
            f"where the manifest has {member.sha256}",
            hint="It was damaged or changed after it was made: bring it again, or make it again",
        )
    if file.read(pack_file.padding(member.size)) != bytes(pack_file.padding(member.size)):
        raise StoreError(f"`{path}` is refused: something stands behind its `{member.name}`")


def _read_documents(
    file: BinaryIO, manifest: Manifest, path: str
) -> tuple[list[LockedEnvironment], dict[LockId, list[Provenance]]]:
    locks, notes = list[LockedEnvironment](), dict[LockId, list[Provenance]]()
    for member in manifest.members:
        if member.is_package:
            break
        content, where = b"".join(_content(file, member, path)), f"{path}:{member.name}"
        if lock_id := member.lock:
            locks.append(lock_json.load(content, expected=lock_id, path=where))
        elif lock_id := member.note_of:
            notes.setdefault(lock_id, []).append(provenance_json.load(content, path=where))
    by_id = {lock.id: lock.platform for lock in locks}
    for pairs in (*(group.locks for group in manifest.groups), *(alias.locks for alias in manifest.names)):
        for platform, lock_id in pairs:
            if by_id[lock_id] is not platform:
                raise LockError(f"{path}: the lock `{lock_id}` is for {by_id[lock_id].value}, not {platform.value}")
    return locks, notes


def _wanted(locks: Sequence[LockedEnvironment], manifest: Manifest, path: str) -> dict[str, set[LockedArtifact]]:
    """Return the files that the members are, by their digest; refuse a pack that has too few, or others."""
    sizes = {member.sha256: member.size for member in manifest.members if member.is_package}
    wanted: dict[str, set[LockedArtifact]] = {}
    for lock in locks:
        choices = [[one for one in (package.converted, package.artifact) if one] for package in lock.packages]
        for artifacts in (*choices, *([package.artifact] for package in lock.pypi)):
            found = [artifact for artifact in artifacts if artifact.sha256 in sizes]
            if not found:
                raise StoreError(
                    f"`{path}` is refused: it lacks `{artifacts[0].file_name}` of the lock `{lock.id}`",
                    hint="Make it again",
                )
            for artifact in found:
                if artifact.size not in {None, sizes[artifact.sha256]}:
                    raise StoreError(f"`{path}` is refused: `{artifact.file_name}` has another size than is locked")
                wanted.setdefault(artifact.sha256, set()).add(artifact)
    if strangers := sorted(sizes.keys() - wanted.keys()):
        raise StoreError(f"`{path}` is refused: no lock in it has `{pack_file.package_name(strangers[0])}`")
    return wanted


def _read_packages(
    file: BinaryIO,
    manifest: Manifest,
    wanted: Mapping[str, set[LockedArtifact]],
    incoming: Path,
    archives: Path,
    path: str,
    on_file: OnFile,
) -> None:
    """Write to `incoming`, by their digests, the package files that are not in the cache; read all of them."""
    for member in manifest.members:
        if member.is_package:
            # Under each of its names, where it has several.
            there = all(_whole([artifact], archives) for artifact in wanted[member.sha256])
            destination = Path(os.devnull) if there else incoming / member.sha256
            with destination.open("wb") as out:
                for chunk in _content(file, member, path):
                    out.write(chunk)
            on_file(member.name, member.size)


def _accept(wiring: Wiring, incoming: Path, wanted: Mapping[str, set[LockedArtifact]]) -> None:
    """Give checked files their places in the cache."""
    for sha256, artifacts in wanted.items():
        for artifact in sorted(artifacts, key=lambda one: one.file_name):
            place = archive_path(artifact, wiring.folders.archives)
            # The same lock that those take who fetch the file.
            with held(place.parent / ".lock", timeout=wiring.settings.lock_timeout):
                source = incoming / sha256
                if source.exists():
                    neighbour = place.with_name(f".{place.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
                    try:
                        # The same bytes can have several names.
                        (os.rename if len(artifacts) == 1 else shutil.copyfile)(source, neighbour)
                        neighbour.replace(place)
                    finally:
                        neighbour.unlink(missing_ok=True)
                (place.parent / USED).touch()
