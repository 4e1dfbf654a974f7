"""Environments into one file and out of it, from the command line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from mfenv.app.environments import Environments
from mfenv.app.pack import OnFile, Packed, pack, unpack
from mfenv.app.progress import in_words
from mfenv.app.wiring import Wiring
from mfenv.cli import naming, showing
from mfenv.cli.finding import environments, tell, wired
from mfenv.cli.reporting import working
from mfenv.domain.alias import Alias
from mfenv.domain.digest import LockId
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.reference import ByName
from mfenv.errors import InvalidSpec
from mfenv.store.aliases import AliasExistsError


def pack_environments(
    texts: Sequence[str],
    output: str,
    archs: Sequence[str],
    *,
    force: bool,
    is_pathspec: bool,
    local_only: bool,
    as_json: bool,
) -> None:
    """Write environments to a file, and print what is in it. Raises `EnvironmentsError`."""
    platforms = [Platform.parse(text, where="--arch") for text in archs]
    with environments(local_only=local_only) as found:
        chosen = [_chosen(found, text, platforms, is_pathspec=is_pathspec) for text in texts]
        names = [alias for _, alias in chosen if alias]
        locks = list({lock.id: lock for of_text, _ in chosen for lock in of_text}.values())
        with _told(f"Packing {len(locks)} environment{'' if len(locks) == 1 else 's'}") as on_file:
            packed = pack(found.wiring, locks, Path(output), names=names, force=force, on_file=on_file)
    if as_json:
        showing.document({"file": output, "size": packed.size, **_contents(packed)})
        return
    showing.say(f"{output}: {in_words(packed.size)}, {packed.files} package files")
    _say_locks(packed)
    tell(f"On a machine with no network: metaflow environment unpack {output}")


def _chosen(
    found: Environments, text: str, platforms: Sequence[Platform], *, is_pathspec: bool
) -> tuple[list[LockedEnvironment], Alias | None]:
    """Return the locks that `text` stands for, and the name that it is, for them."""
    known = found.look_up(text, where="ENV", is_pathspec=is_pathspec)
    locks = [
        found.find(text, where="ENV", platform=platform, is_pathspec=is_pathspec) for platform in platforms or (None,)
    ]
    if not isinstance(known.ref, ByName):
        return locks, None
    own = found.wiring.index.alias(known.ref)
    said = own or found.known.alias(known.ref, where="ENV")
    ids = {lock.platform: lock.id for lock in locks}
    requests = {platform: key for platform, key in known.requests.items() if platform in ids}
    return locks, Alias.of(known.ref, ids, user=said.user, time=said.time, requests=requests)


def unpack_environments(file: str, names: Sequence[str], *, share: bool, as_json: bool) -> None:
    """Take in what a file holds, name it, and print what it was. Raises `EnvironmentsError`."""
    refs = [naming.read_name(name, where="--alias") for name in names]
    wiring = wired(local_only=not share)
    try:
        with _told(f"Unpacking {file}") as on_file:
            packed = unpack(wiring, Path(file), on_file=on_file)
        if share:
            naming.share(wiring, [lock.id for lock in packed.locks])
        given, taken = _named(wiring, packed, refs, share=share)
    finally:
        wiring.close()
    if as_json:
        contents = {**_contents(packed), "aliases": [str(ref) for ref in given], "taken": [str(ref) for ref in taken]}
        showing.document({"file": file, "size": packed.size, **contents})
        return
    _say_locks(packed)
    for ref in given:
        showing.say(f"{ref}{'' if share else '  (in this project alone)'}")
    for ref in taken:
        tell(f"`{ref}` is the name of something else here: give it another one with --alias")
    if all(lock.platform is not Platform.host() for lock in packed.locks):
        tell(f"None of it is for this machine, which is {Platform.host().value}.")


def _named(wiring: Wiring, packed: Packed, refs: Sequence[ByName], *, share: bool) -> tuple[list[ByName], list[ByName]]:
    """Name what was unpacked: as the user said, else as it was; return the names that it has, and those taken."""
    if refs:
        locks = _by_platform(packed)
        for ref in refs:
            naming.give_name(wiring, ref, locks, local_only=not share)
        return list(refs), []
    given, taken = list[ByName](), list[ByName]()
    for alias in packed.names:
        # A name that can be moved is not: somebody here knows why it stands where it does.
        before = wiring.index.alias(alias.ref)
        if before and before.locks != alias.locks:
            taken.append(alias.ref)
            continue
        try:
            naming.give_name(wiring, alias.ref, dict(alias.locks), requests=dict(alias.requests), local_only=not share)
            given.append(alias.ref)
        except AliasExistsError:
            taken.append(alias.ref)
    return given, taken


def _by_platform(packed: Packed) -> dict[Platform, LockId]:
    locks = {lock.platform: lock.id for lock in packed.locks}
    if len(locks) < len(packed.locks):
        raise InvalidSpec(
            "--alias: several environments were packed together, and cannot have one name",
            hint="They are unpacked: name them one by one with `metaflow environment alias`",
        )
    return locks


@contextlib.contextmanager
def _told(title: str) -> Iterator[OnFile]:
    """Tell how far it is, and how it ended, for the duration of the block."""
    with working(title, noun="files", with_counts=True) as live:
        yield live.passed


def _contents(packed: Packed) -> dict[str, object]:
    return {
        "environments": [
            {"full_id": lock.id, "arch": lock.platform.value, "packages": len(lock.packages) + len(lock.pypi)}
            for lock in packed.locks
        ],
        "aliases": [str(alias.ref) for alias in packed.names],
        "files": packed.files,
    }


def _say_locks(packed: Packed) -> None:
    for lock in packed.locks:
        named = [str(alias.ref) for alias in packed.names if lock.id in dict(alias.locks).values()]
        showing.say(f"  {lock.platform.value:<14} {lock.id}  {', '.join(named)}".rstrip())
