"""What every implementation of a seam must do, as test classes to inherit from.

Each names the fixtures that the inheriting class provides; nothing here needs more than plain pytest::

    class TestMyStore(BlobStoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            return MyStore(tmp_path)
"""

# The tests' names are sentences already.
# ruff: noqa: D102

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedEnvironment
from mfenv.errors import EnvironmentsError, HydrationFailed, ResolutionFailed
from mfenv.hydrate.conda import CondaInstaller
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.plan import archive_path
from mfenv.io.files import sha256_of
from mfenv.resolve.base import Resolver
from mfenv.store.base import BlobStore

E = TypeVar("E", bound=EnvironmentsError)


def raised(kind: type[E], call: Callable[[], object]) -> E:
    """Return the `kind` of error that `call` raises; fail when it raises none."""
    try:
        result = call()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}, got {result!r}")


class BlobStoreContract:
    """For `mfenv.store.base.BlobStore`. Fixture: ``store``, empty."""

    def test_a_key_that_was_never_written_holds_nothing(self, store: BlobStore) -> None:
        assert store.get("mfenv/v1/locks/absent.json") is None
        assert list(store.list("mfenv/v1/locks/")) == []

    def test_bytes_come_back_as_they_were_put(self, store: BlobStore) -> None:
        every_byte = bytes(range(256)) * 300
        store.put("mfenv/v1/a", every_byte)
        store.put("mfenv/v1/empty", b"")
        assert store.get("mfenv/v1/a") == every_byte
        assert store.get("mfenv/v1/empty") == b""

    def test_the_first_put_stays_and_tells_so(self, store: BlobStore) -> None:
        assert store.put("mfenv/v1/a", b"first") is True
        assert store.put("mfenv/v1/a", b"second") is False
        assert store.get("mfenv/v1/a") == b"first"

    def test_replace_replaces_and_creates(self, store: BlobStore) -> None:
        store.replace("mfenv/v1/a", b"first")
        store.replace("mfenv/v1/a", b"second")
        assert store.get("mfenv/v1/a") == b"second"

    def test_list_yields_whole_keys_below_the_prefix_and_no_neighbours(self, store: BlobStore) -> None:
        for key in ("m/a/1", "m/a/deep/2", "m/ab/3", "m/b/4"):
            store.put(key, b"content"[: len(key) - 3])
        assert sorted((info.key, info.size) for info in store.list("m/a/")) == [("m/a/1", 2), ("m/a/deep/2", 7)]

    def test_list_yields_more_than_a_page(self, store: BlobStore) -> None:
        keys = {f"mfenv/v1/many/{number:04}" for number in range(1_100)}
        for key in keys:
            store.put(key, b"")
        assert {info.key for info in store.list("mfenv/v1/many/")} == keys

    def test_keys_with_unusual_characters_are_kept_apart(self, store: BlobStore) -> None:
        keys = ["m/a b", "m/a%20b", "m/a+b", "m/a@b", "m/é", "m/a=b&c?d#e", "m/a!b-1.0-py3.tar.bz2"]
        for key in keys:
            store.put(key, key.encode())
        assert {info.key: store.get(info.key) for info in store.list("m/")} == {key: key.encode() for key in keys}
        assert set(store.find([*keys, "m/a"])) == set(keys)

    def test_find_tells_size_and_time_of_what_is_there(self, store: BlobStore) -> None:
        before = datetime.now(timezone.utc) - timedelta(minutes=5)
        store.put("mfenv/v1/a", b"12345")
        found = store.find(["mfenv/v1/a", "mfenv/v1/absent"])
        assert list(found) == ["mfenv/v1/a"]
        assert found["mfenv/v1/a"].size == 5
        assert before < found["mfenv/v1/a"].modified < datetime.now(timezone.utc) + timedelta(minutes=5)
        assert list(store.list("mfenv/v1/")) == [found["mfenv/v1/a"]]

    def test_files_go_there_and_come_back_and_each_is_told(self, store: BlobStore, tmp_path: Path) -> None:
        contents = {f"mfenv/v1/f{number}": bytes([number]) * (number * 70_000) for number in range(6)}
        sent, brought = list[tuple[str, int]](), list[tuple[str, int]]()
        files = {key: tmp_path / key.rpartition("/")[2] for key in contents}
        for key, path in files.items():
            path.write_bytes(contents[key])
        store.upload(files, lambda key, size: sent.append((key, size)))
        back = {key: tmp_path / f"back-{path.name}" for key, path in files.items()}
        found = store.download(
            {**back, "mfenv/v1/absent": tmp_path / "absent"}, lambda key, size: brought.append((key, size))
        )
        assert found == set(contents)
        assert {key: path.read_bytes() for key, path in back.items()} == contents
        assert sorted(sent) == sorted(brought) == sorted((key, len(content)) for key, content in contents.items())

    def test_an_upload_replaces_what_is_there(self, store: BlobStore, tmp_path: Path) -> None:
        store.put("mfenv/v1/a", b"damaged")
        (tmp_path / "whole").write_bytes(b"whole")
        store.upload({"mfenv/v1/a": tmp_path / "whole"})
        assert store.get("mfenv/v1/a") == b"whole"

    def test_a_touch_makes_young_and_changes_nothing_else(self, store: BlobStore) -> None:
        store.put("mfenv/v1/a", b"content")
        before = store.find(["mfenv/v1/a"])["mfenv/v1/a"]
        # Some stores tell full seconds.
        time.sleep(1.1)
        store.touch(["mfenv/v1/a", "mfenv/v1/absent"])
        after = store.find(["mfenv/v1/a", "mfenv/v1/absent"])
        assert list(after) == ["mfenv/v1/a"]
        assert after["mfenv/v1/a"].modified > before.modified
        assert store.get("mfenv/v1/a") == b"content"

    def test_what_is_deleted_is_gone_and_can_be_put_again(self, store: BlobStore) -> None:
        keys = [f"mfenv/v1/d/{number}" for number in range(5)]
        for key in keys:
            store.put(key, b"1")
        store.delete([*keys[:4], "mfenv/v1/absent"])
        assert [info.key for info in store.list("mfenv/v1/d/")] == keys[4:]
        assert store.put(keys[0], b"2") is True
        assert store.get(keys[0]) == b"2"

    def test_of_many_that_put_at_once_one_wins_and_all_see_it(self, store: BlobStore) -> None:
        together = threading.Barrier(8)

        def put(key: str, number: int) -> tuple[bool, bytes | None]:
            together.wait(timeout=30)
            return store.put(key, str(number).encode() * 1000), store.get(key)

        for attempt in range(5):
            key = f"mfenv/v1/contended{attempt}"
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(put, [key] * 8, range(8)))
            assert [won for won, _ in answers].count(True) == 1
            assert {seen for _, seen in answers} == {store.get(key)}

    def test_readers_never_see_half_of_a_blob(self, store: BlobStore) -> None:
        whole = [bytes([65 + number]) * 200_000 for number in range(4)]
        store.replace("mfenv/v1/a", whole[0])
        done = threading.Event()

        def write() -> None:
            for _ in range(15):
                for content in whole:
                    store.replace("mfenv/v1/a", content)
            done.set()

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            while not done.is_set() and not writing.done():
                assert store.get("mfenv/v1/a") in whole
                assert {info.key for info in store.list("mfenv/v1/")} == {"mfenv/v1/a"}
            writing.result()


class ResolverContract:
    """For `mfenv.resolve.base.Resolver`.

    Fixtures: ``resolver``; ``solvable``, a request with an answer of several packages; ``unsolvable``, one for a
    package that does not exist, the last of its packages by name.
    """

    def test_the_answer_is_for_the_target_and_says_who_gave_it(
        self, resolver: Resolver, solvable: ResolutionRequest
    ) -> None:
        answer = resolver.resolve(solvable)
        assert answer.platform is solvable.target.platform
        assert answer.resolver.split()[0] == resolver.name
        assert {p.record.subdir for p in answer.packages} <= {answer.platform.value, "noarch"}

    def test_the_answer_has_every_requested_package_once(self, resolver: Resolver, solvable: ResolutionRequest) -> None:
        chosen = [package.record.name for package in resolver.resolve(solvable).packages]
        assert len(chosen) == len(set(chosen))
        assert {spec.name for spec in solvable.match_specs} <= set(chosen)

    def test_the_answer_is_complete_and_in_install_order(self, resolver: Resolver, solvable: ResolutionRequest) -> None:
        there: set[str] = set()
        for package in resolver.resolve(solvable).packages:
            needed = {depend.split()[0] for depend in package.record.depends if not depend.startswith("__")}
            assert needed <= there, f"{package.record.name} comes before {sorted(needed - there)}"
            there.add(package.record.name)

    def test_the_same_request_has_the_same_answer(self, resolver: Resolver, solvable: ResolutionRequest) -> None:
        assert resolver.resolve(solvable) == resolver.resolve(solvable)

    def test_requests_can_be_resolved_at_the_same_time(self, resolver: Resolver, solvable: ResolutionRequest) -> None:
        with ThreadPoolExecutor(4) as pool:
            answers: list[ResolvedEnvironment] = list(pool.map(resolver.resolve, [solvable] * 4))
        assert answers == [answers[0]] * 4

    def test_no_solution_is_an_error_that_names_the_package(
        self, resolver: Resolver, unsolvable: ResolutionRequest
    ) -> None:
        name = unsolvable.spec.conda[-1].name
        error = raised(ResolutionFailed, lambda: resolver.resolve(unsolvable))
        assert f"`{name}`" in error.message
        assert error.packages == (name,)


class CondaInstallerContract:
    """For `mfenv.hydrate.conda.CondaInstaller`.

    Fixtures: ``folders``, empty; ``installer``, which uses them; ``lock``, of at least two packages, whose files
    ``expected`` gives by path with the prefix in place of ``{prefix}``; ``tampered``, a lock whose last file has
    other bytes where it comes from; ``hostile``, a lock whose only package has a path that leads outside.
    """

    def _fetch(self, installer: CondaInstaller, lock: LockedEnvironment) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        installer.fetch([package.artifact for package in lock.packages], events.append)
        return events

    def _install(self, installer: CondaInstaller, lock: LockedEnvironment, folders: LocalFolders) -> tuple[Path, Path]:
        staging, prefix = folders.staging(lock.id), folders.prefix(lock.id)
        self._fetch(installer, lock)
        installer.link(lock, staging, prefix)
        return staging, prefix

    def test_fetch_brings_every_file_whole_and_tells_of_each(
        self, installer: CondaInstaller, lock: LockedEnvironment, folders: LocalFolders
    ) -> None:
        events = self._fetch(installer, lock)
        assert sorted(events, key=str) == sorted(
            ({"fetched": p.artifact.file_name, "bytes": p.artifact.size} for p in lock.packages), key=str
        )
        for package in lock.packages:
            path = archive_path(package.artifact, folders.archives)
            assert sha256_of(path) == package.artifact.sha256

    def test_fetch_again_finds_all_in_the_cache(self, installer: CondaInstaller, lock: LockedEnvironment) -> None:
        self._fetch(installer, lock)
        assert {next(iter(event)) for event in self._fetch(installer, lock)} == {"cached"}

    def test_a_damaged_file_in_the_cache_is_healed(
        self, installer: CondaInstaller, lock: LockedEnvironment, folders: LocalFolders
    ) -> None:
        self._fetch(installer, lock)
        damaged = lock.packages[0].artifact
        path = archive_path(damaged, folders.archives)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        events = self._fetch(installer, lock)
        assert [event for event in events if "healed" in event] == [
            {"healed": damaged.file_name, "bytes": damaged.size}
        ]
        assert sha256_of(path) == damaged.sha256

    def test_link_makes_the_files_as_they_are_used_under_the_final_name(
        self, installer: CondaInstaller, lock: LockedEnvironment, folders: LocalFolders, expected: dict[str, str]
    ) -> None:
        staging, prefix = self._install(installer, lock, folders)
        found = {path: (staging / path).read_text(encoding="utf-8") for path in expected}
        assert found == {path: text.replace("{prefix}", str(prefix)) for path, text in expected.items()}
        assert not prefix.exists()

    def test_many_environments_can_be_made_at_the_same_time(
        self, installer: CondaInstaller, lock: LockedEnvironment, folders: LocalFolders, expected: dict[str, str]
    ) -> None:
        def install(_: int) -> Path:
            return self._install(installer, lock, folders)[0]

        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(install, range(4)))
        for staging in made:
            assert [path for path in expected if not (staging / path).is_file()] == []

    def test_a_file_with_other_bytes_is_refused_by_name(
        self, installer: CondaInstaller, tampered: LockedEnvironment, folders: LocalFolders
    ) -> None:
        artifact = tampered.packages[-1].artifact
        error = raised(HydrationFailed, lambda: self._fetch(installer, tampered))
        assert f"`{artifact.file_name}`" in error.message
        assert "sha256" in error.message
        assert not archive_path(artifact, folders.archives).exists()

    def test_a_package_that_leads_outside_is_refused_before_anything_is_written(
        self, installer: CondaInstaller, hostile: LockedEnvironment, folders: LocalFolders
    ) -> None:
        staging, prefix = folders.staging(hostile.id), folders.prefix(hostile.id)
        self._fetch(installer, hostile)
        before = _everything_below(folders.root.parent)
        error = raised(HydrationFailed, lambda: installer.link(hostile, staging, prefix))
        assert f"`{hostile.packages[0].artifact.file_name}` is refused" in error.message
        folder = folders.root / "staging"
        assert {path for path in _everything_below(folders.root.parent) - before if path != folder} == set()


def _everything_below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))
