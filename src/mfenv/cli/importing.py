"""`metaflow environment import`: environments from lock files, and from the store of the existing product."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaflow._vendor import click

from mfenv.app.files import FileWish
from mfenv.app.resolve_files import read_files
from mfenv.cli import showing
from mfenv.cli.finding import wired
from mfenv.cli.naming import give_name, read_name, share
from mfenv.cli.resolving import Options, resolve_environments
from mfenv.domain.base import LockFile
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.reference import ByName, parse_reference
from mfenv.errors import InvalidSpec
from mfenv.formats import lock_json
from mfenv.formats.fields import Fields
from mfenv.metaflow.legacy import legacy_import, parse_platforms

_MOST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What `metaflow environment import` was told."""

    names: Sequence[str] = ()
    archs: Sequence[str] = ()
    python: str | None = None
    groups: Sequence[str] = ()
    optional: Sequence[str] = ()
    local_only: bool = False
    is_legacy: bool = False
    root: str | None = None
    as_json: bool = False


def import_environments(sources: Sequence[str], options: ImportOptions) -> None:
    """Take environments over, and print what they are here. Raises `EnvironmentsError`."""
    if options.is_legacy:
        if options.names or options.python or options.groups or options.optional:
            raise InvalidSpec("--legacy takes environments over as they are, by the names that they have")
        rows = import_legacy(sources, options.archs, options.root)
    else:
        if len(sources) > 1 and options.names:
            raise InvalidSpec(f"--alias: {len(sources)} files cannot have one name", hint="Import them one by one")
        rows = [_import_file(source, options) for source in sources]
    if options.as_json:
        showing.document({"imported": rows})
        return
    for row in rows:
        showing.say(row["name"])
        for arch, lock in row["environments"].items():
            showing.say(f"  {arch:<14} {lock}")


def _import_file(source: str, options: ImportOptions) -> dict[str, Any]:
    """Lock what a lock file has, and nothing besides."""
    if not Path(source).exists():
        raise InvalidSpec(
            f"there is no file `{source}`",
            hint="Name a lock file by its path; for a name in the store of the earlier extension, add --legacy",
        )
    if Path(source).suffix == ".json":
        lock_ids = _import_own(source, options)
    else:
        platforms = [Platform.parse(text, where="--arch") for text in options.archs] or [Platform.host()]
        wish = FileWish(
            path=Path(source),
            shown=source,
            groups=tuple(options.groups),
            optional_dependencies=tuple(options.optional),
        )
        if not isinstance(read_files([wish], None, platforms[0]).layer.base, LockFile):
            raise _not_a_lock_file(source)
        found = resolve_environments(
            Options(
                lock_files=[source],
                groups=options.groups,
                optional=options.optional,
                python=options.python,
                archs=options.archs,
                names=options.names,
                local_only=options.local_only,
                with_needs=False,
            )
        )
        lock_ids = {row["arch"]: row["full_id"] for row in found}
    return {"name": source, "aliases": list(options.names), "environments": lock_ids}


def _not_a_lock_file(source: str) -> InvalidSpec:
    return InvalidSpec(
        f"`{source}` is not a lock file",
        hint="Lock what it asks for with `metaflow environment resolve`; taken as they are: pylock.toml, "
        "uv.lock, pixi.lock, conda-lock.yml, @EXPLICIT lists, and locks of this package",
    )


def _import_own(source: str, options: ImportOptions) -> dict[str, str]:
    """Keep a lock of this package."""
    refs = [read_name(name, where="--alias") for name in options.names]
    lock = _read_own(source, options)
    wiring = wired(local_only=options.local_only)
    try:
        wiring.locks.keep(lock)
        if not options.local_only:
            share(wiring, [lock.id])
        for ref in refs:
            give_name(wiring, ref, {lock.platform: lock.id}, local_only=options.local_only)
    finally:
        wiring.close()
    return {lock.platform.value: lock.id}


def _read_own(source: str, options: ImportOptions) -> LockedEnvironment:
    try:
        document = Fields.parse(Path(source).read_bytes(), path=source)
    except OSError as error:
        raise InvalidSpec(f"`{source}` cannot be read: {error.strerror or error}") from error
    if "schema" not in document.values:
        raise _not_a_lock_file(source)
    if options.python or options.groups or options.optional:
        raise InvalidSpec(
            f"`{source}` is a lock of this package, which leaves nothing open",
            hint="Leave --python, --group and --optional out",
        )
    lock = lock_json.read(document)
    wanted = {Platform.parse(text, where="--arch") for text in options.archs}
    if wanted - {lock.platform}:
        raise InvalidSpec(
            f"`{source}` is a lock for {lock.platform.value}, and for no other platform", hint="Leave --arch out"
        )
    return lock


def import_legacy(names: Sequence[str], archs: Sequence[str], root: str | None) -> list[dict[str, Any]]:
    """Take environments over by name, share them, and name them the same; return what is to be printed.

    Raises `EnvironmentsError`.
    """
    platforms = parse_platforms(archs)
    wiring = wired()
    try:
        taking, rows = legacy_import(wiring, root, tell=lambda line: click.echo(line, err=True)), []
        for name in names:
            locks = taking.take(name, platforms)
            if locks is None:
                close = difflib.get_close_matches(name, sorted(taking.legacy.names()), n=_MOST)
                raise InvalidSpec(
                    f"the existing product has no environment by the name `{name}`",
                    hint=f"Names like it are {', '.join(f'`{one}`' for one in close)}" if close else None,
                )
            ids = {platform: lock.id for platform, lock in locks.items()}
            ref = parse_reference(name, where="NAME")
            if isinstance(ref, ByName):
                give_name(wiring, ref, ids, local_only=False)
            else:
                share(wiring, ids.values())
            rows.append({"name": name, "environments": {platform.value: lock_id for platform, lock_id in ids.items()}})
        return rows
    finally:
        wiring.close()
