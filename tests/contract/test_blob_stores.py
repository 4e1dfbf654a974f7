"""Every store keeps the store's contract; and a folder has troubles of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mfenv.errors import StoreError
from mfenv.store.backends.local import LocalBlobStore
from mfenv.store.backends.memory import MemoryBlobStore
from mfenv.store.base import BlobStore
from mfenv.testing.contracts import BlobStoreContract
from mfenv.testing.fakes import FailingBlobStore


class TestMemory(BlobStoreContract):
    @pytest.fixture
    def store(self) -> BlobStore:
        return MemoryBlobStore()


class TestLocal(BlobStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        return LocalBlobStore(tmp_path / "store")


class TestFailing(BlobStoreContract):
    @pytest.fixture
    def store(self) -> BlobStore:
        return FailingBlobStore(MemoryBlobStore(), writes=10_000)


_WRITER = """
import sys
from pathlib import Path
from mfenv.store.backends.local import LocalBlobStore
print("started", flush=True)
while True:
    LocalBlobStore(Path(sys.argv[1])).replace("mfenv/v1/a", sys.argv[2].encode() * 500_000)
"""


def test_a_writer_that_is_killed_leaves_what_was_there_or_what_it_wrote(tmp_path: Path) -> None:
    store = LocalBlobStore(tmp_path)
    store.replace("mfenv/v1/a", b"o" * 500_000)
    for letter in "pqr":
        with subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path), letter], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                writer.wait(timeout=0.05)
            writer.kill()
        content = store.get("mfenv/v1/a") or b""
        assert (len(content), len(set(content))) == (500_000, 1)
        assert [info.key for info in store.list("mfenv/v1/")] == ["mfenv/v1/a"]


def test_put_keeps_the_first_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    store = LocalBlobStore(tmp_path)
    store.put("a/b", b"first")
    store.put("a/b", b"second")
    assert store.get("a/b") == b"first"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = LocalBlobStore(tmp_path / "file")
    assert store.get("a/b") is None
    with pytest.raises(StoreError) as caught:
        store.put("a/b", b"")
    assert caught.value.message.startswith(f"`{tmp_path / 'file' / 'a' / 'b'}` cannot be used: ")
    assert caught.value.hint is not None
    assert "METAFLOW_CONDA_LOCALROOT" in caught.value.hint
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="cannot be used: Is a directory"):
        LocalBlobStore(tmp_path).get("folder")


def test_a_failing_store_fails_from_its_write_on() -> None:
    store = FailingBlobStore(MemoryBlobStore(), writes=1)
    store.put("a", b"1")
    with pytest.raises(StoreError):
        store.replace("a", b"2")
    with pytest.raises(StoreError):
        store.put("b", b"2")
    assert store.get("a") == b"1"
