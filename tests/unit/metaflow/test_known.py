"""Environments that are there already are found by what users call them, or it is said why not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from mfenv.app.known import Found, KnownEnvironments
from mfenv.domain.alias import Alias
from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.group import LockGroup
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.provenance import Provenance
from mfenv.domain.reference import ByLock, ByName, ByPathspec, EnvironmentRef, parse_reference
from mfenv.errors import InvalidSpec, StoreError
from mfenv.metaflow.known import _ids_in, environment_of_step
from mfenv.store.aliases import AliasStore
from mfenv.store.backends.memory import MemoryBlobStore
from mfenv.store.base import BlobInfo
from mfenv.store.locks import LockStore
from mfenv.store.project_index import ProjectIndex
from mfenv.testing.fakes import FakePackage, fake_lock

LINUX = Platform.LINUX_64
LOCK = fake_lock(FakePackage("a"), platform=LINUX)
REQUEST = RequestKey("ab" * 20)


TIME = datetime(2026, 1, 2, tzinfo=timezone.utc)
ON_ARM = fake_lock(FakePackage("a"), platform=Platform.LINUX_AARCH64)


@pytest.fixture
def aliases() -> AliasStore:
    return AliasStore(MemoryBlobStore())


@pytest.fixture
def locks() -> LockStore:
    made = Provenance(request=REQUEST, target=baseline(LINUX), resolver="fake", user="me", time=TIME)
    store = LockStore(MemoryBlobStore())
    store.keep(LOCK, made)
    store.keep(ON_ARM)
    return store


@pytest.fixture
def known(locks: LockStore, aliases: AliasStore, tmp_path: Path) -> KnownEnvironments:
    return KnownEnvironments(
        locks, of_step=environment_of_step, aliases=lambda: aliases, index=ProjectIndex(tmp_path / "conda_v2.cnd")
    )


def alias_of(text: str, *locks: LockedEnvironment) -> Alias:
    ref = parse_reference(text, where="here")
    assert isinstance(ref, ByName)
    return Alias.of(ref, {lock.platform: lock.id for lock in locks}, user="me", time=TIME)


def test_a_name_finds_what_it_stands_for(known: KnownEnvironments, aliases: AliasStore) -> None:
    aliases.point(alias_of("team/env:v1.2", LOCK, ON_ARM))
    ref = ByName(name="team/env", tag="v1.2")
    assert known.find(ref, LINUX, where="here") == LOCK
    assert known.find(ref, Platform.LINUX_AARCH64, where="here") == ON_ARM


def test_a_name_of_this_project_alone_is_found_where_the_store_has_none(
    known: KnownEnvironments, aliases: AliasStore, tmp_path: Path
) -> None:
    ProjectIndex(tmp_path / "conda_v2.cnd").set_alias(alias_of("mine", LOCK))
    assert known.find(ByName(name="mine"), LINUX, where="here") == LOCK


def test_a_name_of_this_project_alone_goes_before_that_of_the_store(
    known: KnownEnvironments, aliases: AliasStore, locks: LockStore, tmp_path: Path
) -> None:
    other = fake_lock(FakePackage("b"), platform=LINUX)
    locks.keep(other)
    for tag in ("latest", "v1"):
        aliases.point(alias_of(f"team/env:{tag}", LOCK))
        ProjectIndex(tmp_path / "conda_v2.cnd").set_alias(alias_of(f"team/env:{tag}", other))
        assert known.find(ByName(name="team/env", tag=tag), LINUX, where="here") == other


def test_a_name_that_is_moved_means_the_same_to_who_looked_it_up_before(
    known: KnownEnvironments, aliases: AliasStore, locks: LockStore, tmp_path: Path
) -> None:
    other = fake_lock(FakePackage("b"), platform=LINUX)
    locks.keep(other)
    ref = ByName(name="team/env")
    aliases.point(alias_of("team/env", LOCK))
    assert known.find(ref, LINUX, where="here") == LOCK
    aliases.point(alias_of("team/env", other))
    assert known.find(ref, LINUX, where="here") == LOCK
    later = KnownEnvironments(
        locks, of_step=environment_of_step, aliases=lambda: aliases, index=ProjectIndex(tmp_path / "conda_v2.cnd")
    )
    assert later.find(ref, LINUX, where="here") == other


def test_all_that_is_named_comes_with_the_requests_that_it_answered(
    known: KnownEnvironments, locks: LockStore, aliases: AliasStore
) -> None:
    arm = Platform.LINUX_AARCH64
    locks.keep_group(LockGroup.of({LINUX: LOCK.id, arm: ON_ARM.id}))
    both, ref = {LINUX: LOCK.id, arm: ON_ARM.id}, ByName(name="team/env")
    aliases.point(Alias.of(ref, both, user="me", time=TIME, requests={arm: REQUEST}))
    assert known.find_all(ref, where="here") == Found(ref=ref, locks=both, requests={arm: REQUEST})
    by_ids, by_lock = ByLock(lock=LOCK.id, request=REQUEST), ByLock(lock=LOCK.id)
    assert known.find_all(by_ids, where="here") == Found(
        ref=by_ids, locks=both, requests={LINUX: REQUEST}, named=LOCK.id
    )
    assert known.find_all(by_lock, where="here") == Found(ref=by_lock, locks=both, named=LOCK.id)


def test_a_name_for_other_platforms_says_which(known: KnownEnvironments, aliases: AliasStore) -> None:
    aliases.point(alias_of("team/env", LOCK, ON_ARM))
    with pytest.raises(InvalidSpec) as caught:
        known.find(ByName(name="team/env"), Platform.OSX_64, where="here")
    assert caught.value.message == (
        "here: `team/env:latest` stands for environments for linux-64, linux-aarch64, and this step runs on osx-64"
    )


def test_an_unknown_name_comes_with_those_like_it(known: KnownEnvironments, aliases: AliasStore) -> None:
    for name in ("team/training", "team/trainer:v1", "other"):
        aliases.point(alias_of(name, LOCK))
    with pytest.raises(InvalidSpec) as caught:
        known.find(ByName(name="team/trainng"), LINUX, where="here")
    assert caught.value.hint == "Names like it are `team/training`, `team/trainer:v1`"


def test_an_unknown_name_is_said_to_who_may_not_list_names(known: KnownEnvironments, aliases: AliasStore) -> None:
    class Unlisted(MemoryBlobStore):
        def list(self, prefix: str) -> Iterator[BlobInfo]:
            raise StoreError(f"`{prefix}` cannot be listed: access is denied")

    refused = KnownEnvironments(
        LockStore(MemoryBlobStore()), of_step=environment_of_step, aliases=lambda: AliasStore(Unlisted())
    )
    with pytest.raises(InvalidSpec) as caught:
        refused.find(ByName(name="team/env"), LINUX, where="here")
    assert caught.value.message == "here: no environment is known by the name `team/env:latest`"


def test_names_of_this_project_alone_are_among_those_like_it(known: KnownEnvironments, tmp_path: Path) -> None:
    ProjectIndex(tmp_path / "conda_v2.cnd").set_alias(alias_of("team/training", LOCK))
    with pytest.raises(InvalidSpec) as caught:
        known.find(ByName(name="team/trainng"), LINUX, where="here")
    assert caught.value.hint == "Names like it are `team/training`"


def test_of_locks_that_were_resolved_together_the_one_for_the_platform_is_found(
    known: KnownEnvironments, locks: LockStore, aliases: AliasStore
) -> None:
    locks.keep_group(LockGroup.of({LINUX: LOCK.id, Platform.LINUX_AARCH64: ON_ARM.id}))
    aliases.point(alias_of("team/env", LOCK))
    for ref in (ByLock(lock=LOCK.id), ByName(name="team/env")):
        assert known.find(ref, Platform.LINUX_AARCH64, where="here") == ON_ARM


@pytest.mark.parametrize("ref", [ByLock(lock=LOCK.id), ByLock(lock=LOCK.id, request=REQUEST)])
def test_an_id_finds_its_lock(known: KnownEnvironments, ref: EnvironmentRef) -> None:
    assert known.find(ref, LINUX, where="here") == LOCK


@pytest.mark.parametrize(
    ("ref", "platform", "message"),
    [
        (ByLock(lock=LockId("cd" * 20)), LINUX, f"here: the environment `{'cd' * 20}` is not in the store"),
        (ByLock(lock=LOCK.id), Platform.OSX_ARM64, f"here: the environment `{LOCK.id}` is for linux-64, and this step runs on osx-arm64"),
        (ByName(name="team/x"), LINUX, "here: no environment is known by the name `team/x:latest`"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said(
    known: KnownEnvironments, ref: EnvironmentRef, platform: Platform, message: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        known.find(ref, platform, where="here")
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (f'["{REQUEST}", "{LOCK.id}", "linux-64"]', ByLock(lock=LOCK.id, request=REQUEST)),
        (f'["", "{LOCK.id}", "linux-64"]', ByLock(lock=LOCK.id)),
        (f'[null, "{LOCK.id}", "linux-64"]', ByLock(lock=LOCK.id)),
    ],
)
def test_metadata_gives_the_ids_that_it_has(text: str, ids: ByLock) -> None:
    assert _ids_in(text, ByPathspec(flow="F", run="1", step="a"), "here") == ids


@pytest.mark.parametrize("text", ["", "x", "[]", '["a", "b", "c"]', "[1, 2, 3]", "{}"])
def test_metadata_that_is_none_of_ours_is_said(text: str) -> None:
    with pytest.raises(InvalidSpec, match="cannot be read"):
        _ids_in(text, ByPathspec(flow="F", run="1", step="a"), "here")
