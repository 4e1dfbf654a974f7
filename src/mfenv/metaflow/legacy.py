"""Environments that the existing product stored, found by the names that they have there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

from mfenv.app.legacy import LegacyImport
from mfenv.app.wiring import Wiring
from mfenv.domain.alias import Alias
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.reference import ByLock, ByName
from mfenv.errors import InvalidSpec, LockError, StoreError
from mfenv.formats.legacy_json import LegacyManifest, load_manifest
from mfenv.metaflow.datastore import store_at
from mfenv.metaflow.wiring import local_datastore
from mfenv.store.base import BlobStore
from mfenv.store.legacy import LegacyStore

_KINDS = {"s3": "s3", "gs": "gs", "azure": "azure", "az": "azure"}


def legacy_import(
    wiring: Wiring, root: str | None = None, *, tell: Callable[[str], None] = lambda _line: None
) -> LegacyImport:
    """Return what takes environments over from `root`, by default from where the settings say.

    Raises `InvalidSpec` when nobody says where, and `StoreError`.
    """
    place = root or wiring.settings.legacy_root
    if not place:
        raise InvalidSpec(
            "it is not said where the existing product shared environments",
            hint="Set METAFLOW_CONDA_LEGACY_ROOT, for example to `s3://bucket/metaflow/conda_env`",
        )
    # Their names of folders could be set by the same settings.
    legacy = LegacyStore(
        _store_of(place),
        packages=wiring.settings.packages_dirname,
        envs=wiring.settings.envs_dirname or "envs",
        manifest=_Manifest(wiring),
    )
    return LegacyImport(
        legacy=legacy,
        archives=wiring.folders.archives,
        measure=wiring.installer.measure,
        records=wiring.lock_files.records.of,
        locks=wiring.locks,
        target=wiring.settings.target,
        now=lambda: datetime.now(timezone.utc),
        tell=tell,
    )


def _store_of(place: str) -> BlobStore:
    scheme = place.partition("://")[0] if "://" in place else ""
    if scheme and scheme not in _KINDS:
        raise InvalidSpec(
            f"METAFLOW_CONDA_LEGACY_ROOT: `{scheme}` is not a kind of store",
            hint="Write a folder, or an address that begins with s3://, gs:// or azure://",
        )
    if not scheme and not Path(place).expanduser().is_dir():
        raise StoreError(
            f"METAFLOW_CONDA_LEGACY_ROOT: there is no folder `{place}`",
            hint="Name the folder that has `envs` and `packages` in it, usually `conda_env`",
        )
    return store_at(_KINDS[scheme] if scheme else "local", place)


class _Manifest:
    """What the project's own file of the existing product holds, read when it is first asked for."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    def __call__(self) -> LegacyManifest | None:
        return self._read

    @cached_property
    def _read(self) -> LegacyManifest | None:
        if not self._wiring.index.is_beside_legacy:
            return None
        path = local_datastore() / self._wiring.settings.magic_file
        try:
            return load_manifest(path.read_bytes(), path=str(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LockError(f"`{path}` cannot be read: {error.strerror or error}") from error


def read_through(wiring: Wiring, tell: Callable[[str], None]) -> Callable[[ByName | ByLock], Alias | None] | None:
    """Return what finds a name or ids in the store of the existing product; None when it is not said where that is.

    What was taken over once is known by its ids there: a name that is moved there is followed.
    """
    if not wiring.settings.legacy_root:
        return None

    def find(ref: ByName | ByLock) -> Alias | None:
        taking = legacy_import(wiring, tell=tell)
        try:
            theirs = taking.legacy.find(str(ref))
        except InvalidSpec:
            # Such as a tag with a dot, which they have not.
            return None
        host = Platform.host()
        if theirs is None or (isinstance(ref, ByLock) and host not in taking.legacy.platforms(theirs)):
            return None
        known_as = ByName(name=f"legacy/{theirs.request}/{theirs.full}")
        known = wiring.index.alias(known_as)
        if known and (lock_id := known.lock_for(host)) and wiring.locks.get(lock_id):
            return known
        tell(f"Taking over {ref} from the store of the existing product ...")
        return _remembered(wiring, known_as, taking.take(str(ref), [host]) or {})

    return find


def _remembered(wiring: Wiring, ref: ByName, locks: dict[Platform, LockedEnvironment]) -> Alias:
    now = datetime.now(timezone.utc)
    alias = Alias.of(ref, {platform: lock.id for platform, lock in locks.items()}, user="legacy", time=now)
    wiring.index.set_alias(alias)
    return alias


def parse_platforms(archs: Sequence[str]) -> list[Platform]:
    """Read the values of ``--arch``. Raises `InvalidSpec`."""
    return [Platform.parse(text, where="--arch") for text in archs]
