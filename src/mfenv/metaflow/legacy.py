"""Environments that the existing product stored, found by the names that they have there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone

from mfenv.app.legacy import LegacyImport
from mfenv.app.wiring import Wiring
from mfenv.domain.alias import Alias
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.reference import ByName
from mfenv.errors import InvalidSpec
from mfenv.metaflow.datastore import store_at
from mfenv.store.legacy import LegacyStore

_KINDS = {"s3": "s3", "gs": "gs", "azure": "azure", "az": "azure"}


def legacy_import(wiring: Wiring, root: str | None = None) -> LegacyImport:
    """Return what takes environments over from `root`, by default from where the settings say.

    Raises `InvalidSpec` when nobody says where, and `StoreError`.
    """
    place = root or wiring.settings.legacy_root
    if not place:
        raise InvalidSpec(
            "it is not said where the existing product shared environments",
            hint="Set METAFLOW_CONDA_LEGACY_ROOT, for example to `s3://bucket/metaflow/conda_env`",
        )
    scheme = place.partition("://")[0] if "://" in place else ""
    if scheme and scheme not in _KINDS:
        raise InvalidSpec(
            f"METAFLOW_CONDA_LEGACY_ROOT: `{scheme}` is not a kind of store",
            hint="Write a folder, or an address that begins with s3://, gs:// or azure://",
        )
    return LegacyImport(
        # Their names of folders could be set by the same settings.
        legacy=LegacyStore(
            store_at(_KINDS[scheme] if scheme else "local", place), envs=wiring.settings.envs_dirname or "envs"
        ),
        archives=wiring.folders.archives,
        measure=wiring.installer.measure,
        records=wiring.lock_files.records.of,
        locks=wiring.locks,
        target=wiring.settings.target,
        now=lambda: datetime.now(timezone.utc),
    )


def read_through(wiring: Wiring, tell: Callable[[str], None]) -> Callable[[ByName], Alias | None] | None:
    """Return what finds a name in the store of the existing product; None when it is not said where that is.

    What was taken over once is known by its id there: a name that is moved there is followed.
    """
    if not wiring.settings.legacy_root:
        return None

    def find(ref: ByName) -> Alias | None:
        taking = legacy_import(wiring)
        try:
            theirs = taking.legacy.find(str(ref))
        except InvalidSpec:
            # Such as a tag with a dot, which they have not.
            return None
        if theirs is None:
            return None
        known_as = ByName(name=f"legacy/{theirs.request}/{theirs.full}")
        known, host = wiring.index.alias(known_as), Platform.host()
        if known and known.lock_for(host):
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
