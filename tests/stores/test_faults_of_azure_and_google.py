"""What a network and a busy, closed or missing server do to stores on Azure Blob and Google Storage."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from mfenv.errors import StoreError
from mfenv.store.backends.azure import AzureObjectClient
from mfenv.store.backends.gs import GsObjectClient
from mfenv.store.objects import ObjectBlobStore
from mfenv.testing.azurite import ACCOUNT, KEY, Azurite, azurite, free_port
from mfenv.testing.object_stores import Answer, Harm, Wire, cut, refused

KINDS = ("azure", "gs")
CONTENT = bytes(range(256)) * 1000
NO_PLACE = {"azure": "ContainerNotFound", "gs": "The specified bucket does not exist."}


@pytest.fixture(scope="session")
def plain_azure_server() -> Iterator[Azurite]:
    with azurite(is_encrypted=False) as server:
        yield server


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def wire(kind: str, request: pytest.FixtureRequest) -> Iterator[Wire]:
    wire = Wire(request.getfixturevalue("plain_azure_server" if kind == "azure" else "gs_server").port)
    yield wire
    wire.close()


@pytest.fixture
def store(kind: str, wire: Wire, place: str, request: pytest.FixtureRequest) -> ObjectBlobStore:
    """A store whose requests go over the wire."""
    server = request.getfixturevalue("plain_azure_server" if kind == "azure" else "gs_server")
    at_wire = replace(server, port=wire.port)
    if kind == "azure":
        container = at_wire.container(place)
        return ObjectBlobStore(AzureObjectClient(lambda: container, place), pauses=(0, 0, 0))
    bucket = at_wire.bucket(place)
    return ObjectBlobStore(GsObjectClient(lambda: bucket, place), pauses=(0, 0, 0))


@pytest.mark.parametrize(
    "harm",
    [
        lambda: refused(503, "ServerBusy", times=2),
        lambda: refused(500, "InternalError", times=3),
        lambda: refused(429, "TooManyRequests", times=1),
        lambda: cut(times=2),
    ],
    ids=["busy", "broken", "throttled", "cut"],
)
def test_what_passes_is_endured(store: ObjectBlobStore, wire: Wire, harm: Callable[[], Harm], tmp_path: Path) -> None:
    store.put("mfenv/v1/a", CONTENT)
    wire.harm = harm()
    assert store.get("mfenv/v1/a") == CONTENT
    wire.harm = harm()
    assert store.download({"mfenv/v1/a": tmp_path / "a"}) == {"mfenv/v1/a"}
    assert (tmp_path / "a").read_bytes() == CONTENT
    wire.harm = harm()
    assert store.put("mfenv/v1/b", b"b") is True
    wire.harm = harm()
    assert sorted(info.key for info in store.list("mfenv/")) == ["mfenv/v1/a", "mfenv/v1/b"]


def test_a_put_whose_answer_was_lost_is_still_the_first(store: ObjectBlobStore, wire: Wire) -> None:
    """The second attempt meets what the first one wrote."""
    lost = [True]

    def lose(method: str, _path: str, answer: Answer | None) -> Answer | None:
        if answer is not None and method in {"PUT", "POST"} and lost:
            lost.clear()
            return refused(503, "ServerBusy")(method, "", None)
        return None

    wire.harm = lose
    assert store.put("mfenv/v1/a", b"mine") is True
    assert not lost
    assert store.put("mfenv/v1/a", b"theirs") is False


def _everything(store: ObjectBlobStore, folder: Path) -> list[Callable[[], object]]:
    (folder / "file").write_bytes(b"x")
    return [
        lambda: store.get("mfenv/v1/a"),
        lambda: store.put("mfenv/v1/a", b""),
        lambda: store.replace("mfenv/v1/a", b""),
        lambda: store.find(["mfenv/v1/a"]),
        lambda: list(store.list("mfenv/v1/a/")),
        lambda: store.upload({"mfenv/v1/a": folder / "file"}),
        lambda: store.download({"mfenv/v1/a": folder / "to"}),
        lambda: store.touch(["mfenv/v1/a"]),
        lambda: store.delete(["mfenv/v1/a"]),
    ]


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (401, "NoAuthenticationInformation", "Set up the credentials"),
        (403, "AuthorizationPermissionMismatch", "Check that you may read and write there"),
        (404, NO_PLACE, "Make the bucket or container"),
        (400, "SomethingElse", "Check the settings"),
    ],
)
def test_a_refusal_is_one_error_that_names_the_key_and_is_not_tried_again(
    store: ObjectBlobStore,
    kind: str,
    wire: Wire,
    status: int,
    code: str | dict[str, str],
    hint: str,
    tmp_path: Path,
) -> None:
    words = code if isinstance(code, str) else code[kind]

    def refuse(method: str, path: str, answer: Answer | None) -> Answer | None:
        refusal = refused(status, words)(method, path, answer)
        # Azure tells it in a header as well, as answers to HEAD have nothing else.
        return refusal and replace(refusal, headers=(*refusal.headers, ("x-ms-error-code", words)))

    wire.harm = refuse
    for act in _everything(store, tmp_path):
        wire.passed.clear()
        with pytest.raises(StoreError) as caught:
            act()
        assert caught.value.message.startswith(f"`{store.location}/mfenv/v1/a")
        assert " cannot be used: " in caught.value.message
        assert caught.value.hint is not None
        assert caught.value.hint.startswith(hint), (caught.value.hint, caught.value.message)
        # Google's client asks for the bucket as well when a write finds nothing.
        asked = [(passed.method, passed.path) for passed in wire.passed]
        assert len(asked) == len(set(asked)) >= 1


@pytest.mark.parametrize(
    "harm",
    [refused(503, "ServerBusy"), cut(times=1_000_000)],
    ids=["busy", "cut"],
)
def test_what_does_not_pass_is_told_as_such(store: ObjectBlobStore, wire: Wire, harm: Harm, tmp_path: Path) -> None:
    store = ObjectBlobStore(store._client, pauses=(0,))
    store.put("mfenv/v1/a", CONTENT)
    wire.harm = harm
    for act in (lambda: store.get("mfenv/v1/a"), lambda: store.download({"mfenv/v1/a": tmp_path / "a"})):
        with pytest.raises(StoreError) as caught:
            act()
        assert caught.value.message.startswith(f"`{store.location}/mfenv/v1/a` cannot be used: ")
        assert caught.value.hint is not None
        assert caught.value.hint.startswith("It was tried several times: try again later")


def _nobody(kind: str) -> ObjectBlobStore:
    """A store at a port where nobody listens, through a client with all of its own attempts."""
    if kind == "azure":
        from azure.storage.blob import ContainerClient

        container = ContainerClient(f"http://127.0.0.1:{free_port()}/{ACCOUNT}", "place", credential=KEY)
        return ObjectBlobStore(AzureObjectClient(lambda: container, "place"), pauses=())
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    address = f"http://127.0.0.1:{free_port()}"
    client = storage.Client(project="any", credentials=AnonymousCredentials(), client_options={"api_endpoint": address})
    bucket = client.bucket("place")
    return ObjectBlobStore(GsObjectClient(lambda: bucket, "place"), pauses=())


def test_a_server_that_is_not_there_is_told_soon(kind: str) -> None:
    """The vendors' own attempts take more than a minute, and each of ours would take as long."""
    store = _nobody(kind)
    for act in (lambda: store.get("a"), lambda: store.put("a", b"")):
        began = time.monotonic()
        with pytest.raises(StoreError) as caught:
            act()
        assert time.monotonic() - began < 15
        assert caught.value.message.startswith(f"`{store.location}/a` cannot be used: ")
        assert caught.value.hint is not None
        assert caught.value.hint.startswith("It was tried several times: try again later")


@pytest.fixture
def refusing(plain_azure_server: Azurite, place: str) -> Iterator[Callable[[int, str], ObjectBlobStore]]:
    """Gives a store on Azure that answers everything with an error."""
    wire = Wire(plain_azure_server.port)
    container = replace(plain_azure_server, port=wire.port).container(place)

    def make(status: int, code: str) -> ObjectBlobStore:
        wire.harm = refused(status, code)
        return ObjectBlobStore(AzureObjectClient(lambda: container, place), pauses=())

    yield make
    wire.close()


@pytest.mark.parametrize("code", ["ContainerBeingDeleted", "ContainerDisabled"])
def test_a_conflict_about_the_container_does_not_count_as_a_key_that_is_there(
    refusing: Callable[[int, str], ObjectBlobStore], code: str
) -> None:
    with pytest.raises(StoreError, match=code) as caught:
        refusing(409, code).put("mfenv/v1/a", b"")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("Make the bucket or container")


def test_who_may_create_but_not_overwrite_is_second_where_a_key_is_there(
    refusing: Callable[[int, str], ObjectBlobStore],
) -> None:
    """Azurite itself refuses all writing to what is there with the code that means no rights at all."""
    store = refusing(403, "UnauthorizedBlobOverwrite")
    assert store.put("mfenv/v1/a", b"") is False
    with pytest.raises(StoreError, match="UnauthorizedBlobOverwrite"):
        store.replace("mfenv/v1/a", b"")


def test_who_may_only_read_is_told_so(azure_server: Azurite, place: str) -> None:
    from azure.storage.blob import ContainerClient, ContainerSasPermissions, generate_container_sas

    azure_server.container(place).upload_blob("env/a", b"a")
    signature = generate_container_sas(
        ACCOUNT,
        place,
        account_key=KEY,
        permission=ContainerSasPermissions(read=True, list=True),
        expiry=datetime.now(timezone.utc) + timedelta(hours=1),
    )
    container = ContainerClient(
        azure_server.endpoint, place, credential=signature, connection_verify=str(azure_server.certificate)
    )
    store = ObjectBlobStore(AzureObjectClient(lambda: container, place, "env"), pauses=())
    assert store.get("a") == b"a"
    for act in (lambda: store.put("b", b""), lambda: store.put("a", b""), lambda: store.replace("a", b"")):
        with pytest.raises(StoreError) as caught:
            act()
        assert caught.value.hint is not None
        assert caught.value.hint.startswith("Check that you may read and write there")
        assert signature not in str(caught.value)


@contextlib.contextmanager
def cutting(upstream: int, *, after: int, times: int) -> Iterator[int]:
    """Carry bytes to a port; end the first `times` connections when they brought `after` bytes back."""
    server = socket.create_server(("127.0.0.1", 0))
    left = [times]

    def pump(source: socket.socket, target: socket.socket, limit: float) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while carried < limit and (chunk := source.recv(16_384)):
                target.sendall(chunk)
                carried += len(chunk)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, far = server.accept()[0], socket.create_connection(("127.0.0.1", upstream))
                limit = after if left[0] > 0 else float("inf")
                left[0] -= 1
                for arguments in ((near, far, float("inf")), (far, near, limit)):
                    threading.Thread(target=pump, args=arguments, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize("times", [2, 1_000])
def test_an_encrypted_connection_that_is_cut_is_like_any_other(
    azure_server: Azurite, place: str, times: int, tmp_path: Path
) -> None:
    azure_server.container(place).upload_blob("a", CONTENT)
    with cutting(azure_server.port, after=len(CONTENT) // 2, times=times) as port:
        container: Any = replace(azure_server, port=port).container(place)
        store = ObjectBlobStore(AzureObjectClient(lambda: container, place), pauses=(0, 0, 0))
        if times == 2:
            assert store.get("a") == CONTENT
            return
        store = ObjectBlobStore(AzureObjectClient(lambda: container, place), pauses=())
        for act in (lambda: store.get("a"), lambda: store.download({"a": tmp_path / "a"})):
            with pytest.raises(StoreError) as caught:
                act()
            assert caught.value.hint is not None
            assert caught.value.hint.startswith("It was tried several times: try again later")


def test_a_file_goes_in_parts_and_a_part_that_is_refused_goes_again(
    kind: str, store: ObjectBlobStore, wire: Wire, place: str, tmp_path: Path, plain_azure_server: Azurite
) -> None:
    if kind == "azure":
        container = _small_parts(replace(plain_azure_server, port=wire.port), place)
        store = ObjectBlobStore(AzureObjectClient(lambda: container, place), pauses=())
    content = CONTENT * 40
    (tmp_path / "from").write_bytes(content)
    wire.harm = refused(503, "ServerBusy", times=1)
    wire.passed.clear()
    store.upload({"a": tmp_path / "from"})
    assert len(wire.passed) > 2
    wire.harm = cut(times=1)
    assert store.download({"a": tmp_path / "to"}) == {"a"}
    assert (tmp_path / "to").read_bytes() == content


def _small_parts(server: Azurite, place: str) -> Any:
    from azure.storage.blob import ContainerClient, LinearRetry

    sizes = ("max_single_put_size", "max_block_size", "max_single_get_size", "max_chunk_get_size")
    return ContainerClient(
        server.endpoint,
        place,
        credential=KEY,
        retry_policy=LinearRetry(backoff=0, random_jitter_range=0),
        **dict.fromkeys(sizes, 1 << 20),
    )
