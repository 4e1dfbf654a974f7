"""S3, as moto speaks it, keeps the store's contract; and what a network does to it is endured, or said once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mfenv.errors import StoreError
from mfenv.store.backends.s3 import S3ObjectClient
from mfenv.store.base import BlobStore
from mfenv.store.objects import ObjectBlobStore
from mfenv.testing.contracts import BlobStoreContract
from mfenv.testing.object_stores import Harm, Wire, cut, refused, s3_client, s3_server, slow


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    with s3_server() as port:
        yield port


@pytest.fixture
def bucket(server: int) -> str:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3_client(server).create_bucket(Bucket=name)
    return name


class TestS3(BlobStoreContract):
    @pytest.fixture
    def store(self, server: int, bucket: str) -> BlobStore:
        return ObjectBlobStore(S3ObjectClient(s3_client(server), bucket, "team/conda_env"))


class TestS3WithoutAFolder(BlobStoreContract):
    @pytest.fixture
    def store(self, server: int, bucket: str) -> BlobStore:
        return ObjectBlobStore(S3ObjectClient(s3_client(server), bucket))


@pytest.fixture
def wire(server: int) -> Iterator[Wire]:
    wire = Wire(server)
    yield wire
    wire.close()


@pytest.fixture
def store(wire: Wire, bucket: str) -> ObjectBlobStore:
    return ObjectBlobStore(S3ObjectClient(s3_client(wire.port), bucket, "env"), pauses=(0, 0, 0))


def test_the_folder_and_the_bucket_tell_where_it_is(server: int) -> None:
    assert S3ObjectClient(s3_client(server), "bucket", "a/b").location == "s3://bucket/a/b"
    assert S3ObjectClient(s3_client(server), "bucket").location == "s3://bucket"


@pytest.mark.parametrize(
    "harm",
    [
        refused(503, "SlowDown", times=2),
        refused(500, "InternalError", times=3),
        refused(429, "Throttling", times=1),
        refused(409, "ConditionalRequestConflict", times=1),
        cut(times=2),
        slow(0.2),
    ],
)
def test_what_passes_is_endured(store: ObjectBlobStore, wire: Wire, harm: Harm, tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    store.put("mfenv/v1/a", content)
    wire.harm = harm
    assert store.get("mfenv/v1/a") == content
    assert store.download({"mfenv/v1/a": tmp_path / "a"}) == {"mfenv/v1/a"}
    assert (tmp_path / "a").read_bytes() == content
    assert store.put("mfenv/v1/b", b"b") is True
    assert [info.key for info in store.list("mfenv/")] == ["mfenv/v1/a", "mfenv/v1/b"]


def test_a_put_whose_answer_was_lost_is_still_the_first(store: ObjectBlobStore, wire: Wire) -> None:
    """The second attempt meets what the first one wrote."""
    lost = [True]

    def lose(method: str, _path: str, answer: Any) -> Any:
        if answer is not None and method == "PUT" and lost:
            lost.clear()
            return refused(503, "SlowDown")(method, "", None)
        return None

    wire.harm = lose
    assert store.put("mfenv/v1/a", b"mine") is True
    assert store.put("mfenv/v1/a", b"theirs") is False


@pytest.mark.parametrize(
    ("harm", "reason", "hint"),
    [
        (refused(503, "SlowDown"), "SlowDown", "It was tried several times: try again later"),
        (refused(403, "AccessDenied"), "AccessDenied", "Check that you may read and write there"),
        (refused(404, "NoSuchBucket"), "NoSuchBucket", "Make the bucket or container"),
        (refused(400, "ExpiredToken"), "ExpiredToken", "Set up the credentials"),
        (refused(400, "SomethingElse"), "SomethingElse", "Check the settings"),
    ],
)
def test_what_does_not_pass_is_one_error_that_names_the_key(
    store: ObjectBlobStore, wire: Wire, harm: Harm, reason: str, hint: str, bucket: str, tmp_path: Path
) -> None:
    wire.harm = harm
    (tmp_path / "file").write_bytes(b"x")
    for act in (
        lambda: store.get("mfenv/v1/a"),
        lambda: store.put("mfenv/v1/a", b""),
        lambda: store.replace("mfenv/v1/a", b""),
        lambda: store.upload({"mfenv/v1/a": tmp_path / "file"}),
        lambda: store.download({"mfenv/v1/a": tmp_path / "to"}),
        lambda: store.delete(["mfenv/v1/a"]),
        lambda: store.touch(["mfenv/v1/a"]),
    ):
        with pytest.raises(StoreError) as caught:
            act()
        assert caught.value.message.startswith(f"`s3://{bucket}/env/mfenv/v1/a` cannot be used: ")
        assert reason in caught.value.message
        assert caught.value.hint is not None
        assert caught.value.hint.startswith(hint)


def test_no_password_of_an_endpoint_is_in_a_message(bucket: str) -> None:
    client = s3_client(9, user="ana:s3cret@")
    with pytest.raises(StoreError) as caught:
        ObjectBlobStore(S3ObjectClient(client, bucket), pauses=()).get("a")
    assert "s3cret" not in str(caught.value)
    assert "Could not connect" in str(caught.value)


def test_a_refusal_is_not_tried_again_and_a_busy_server_is_asked_a_few_times(
    store: ObjectBlobStore, wire: Wire
) -> None:
    for harm, requests in ((refused(403, "AccessDenied"), 1), (refused(503, "SlowDown"), 4)):
        wire.passed.clear()
        wire.harm = harm
        with pytest.raises(StoreError):
            store.get("mfenv/v1/a")
        assert len(wire.passed) == requests


def test_a_server_that_is_not_there_is_an_error_of_the_store(bucket: str) -> None:
    store = ObjectBlobStore(S3ObjectClient(s3_client(9), bucket), pauses=(0,))
    with pytest.raises(StoreError, match=f"^`s3://{bucket}/a` cannot be used: Could not connect"):
        store.get("a")


def test_a_bucket_that_is_not_there_is_named(server: int) -> None:
    store = ObjectBlobStore(S3ObjectClient(s3_client(server), "nobody-made-this"))
    with pytest.raises(StoreError, match="NoSuchBucket") as caught:
        store.put("a", b"")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("Make the bucket or container")
    with pytest.raises(StoreError, match="NoSuchBucket"):
        store.get("a")


def test_a_server_that_knows_no_conditions_is_looked_at_first(store: ObjectBlobStore, wire: Wire) -> None:
    def old(method: str, _path: str, answer: Any) -> Any:
        if method == "PUT" and answer is None:
            wire.harm = None
            return refused(501, "NotImplemented")(method, "", None)
        return None

    wire.harm = old
    assert store.put("mfenv/v1/a", b"first") is True
    assert store.put("mfenv/v1/a", b"second") is False
    assert store.get("mfenv/v1/a") == b"first"


def test_a_folder_that_cannot_be_written_to_is_named(store: ObjectBlobStore, tmp_path: Path) -> None:
    store.put("mfenv/v1/a", b"content")
    with pytest.raises(
        StoreError, match=rf"^`{tmp_path}/absent/a` cannot be used while `s3://.*/mfenv/v1/a` is copied"
    ):
        store.download({"mfenv/v1/a": tmp_path / "absent" / "a"})


def test_many_keys_are_found_with_few_requests(store: ObjectBlobStore, wire: Wire, tmp_path: Path) -> None:
    keys = [f"mfenv/v1/packages/sha256/{n % 256:02x}/{n:064x}/p-{n}.conda" for n in range(600)]
    (tmp_path / "file").write_bytes(b"x")
    store.upload(dict.fromkeys(keys[:500], tmp_path / "file"))
    wire.passed.clear()
    assert set(store.find(keys)) == set(keys[:500])
    assert len(wire.passed) == 1


def test_few_keys_among_many_are_asked_for_one_by_one(store: ObjectBlobStore, wire: Wire, tmp_path: Path) -> None:
    keys = [f"mfenv/v1/packages/sha256/{n % 256:02x}/{n:064x}/p-{n}.conda" for n in range(1200)]
    (tmp_path / "file").write_bytes(b"x")
    store.upload(dict.fromkeys(keys, tmp_path / "file"))
    wire.passed.clear()
    assert set(store.find([*keys[:8], "mfenv/v1/packages/sha256/absent"])) == set(keys[:8])
    assert len(wire.passed) <= 11
