"""The clients of a node, which has nothing but a Python, against moto's S3 and the emulators of Azure and Google."""

from __future__ import annotations

import hashlib
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mfenv.bootstrap.http import Connections
from mfenv.bootstrap.objects import Denied, Missing, ObjectError, Objects, open_objects
from mfenv.testing.azurite import Azurite
from mfenv.testing.gs_emulator import GsEmulator
from mfenv.testing.object_stores import s3_client, s3_server
from mfenv.testing.remote.stores import Access, azure_access, gs_access

CONTENT = bytes(range(256)) * 8192


@dataclass(frozen=True)
class Node:
    """What a container with an identity of its own has of a store."""

    kind: str
    root: str
    variables: Mapping[str, str]

    def open(self, root: str | None = None, **variables: str) -> Objects:
        return open_objects(self.kind, root or self.root, {**self.variables, **variables})


@pytest.fixture(scope="module")
def s3_port() -> Iterator[int]:
    with s3_server() as port:
        yield port


@pytest.fixture(params=["s3", "azure", "gs"])
def node(request: pytest.FixtureRequest, place: str) -> Node:
    if request.param == "s3":
        port: int = request.getfixturevalue("s3_port")
        s3_client(port).create_bucket(Bucket=place)
        # As Metaflow's users set it, and an AWS_ pair as the container's.
        variables = {"METAFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        variables |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
        return Node("s3", f"s3://{place}/metaflow", variables)
    if request.param == "azure":
        server: Azurite = request.getfixturevalue("azure_server")
        return Node("azure", f"{place}/metaflow", _variables(azure_access(server, place)))
    emulator: GsEmulator = request.getfixturevalue("gs_server")
    return Node("gs", f"gs://{place}/metaflow", _variables(gs_access(emulator, place)))


def _variables(access: Access) -> Mapping[str, str]:
    names = ("METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT",)
    # Metaflow hands these on to its containers.
    return {**{name: access.launcher[name] for name in names if name in access.launcher}, **access.container}


def test_what_was_put_is_there_for_many_at_once(node: Node, tmp_path: Path) -> None:
    store = node.open()
    store.put("a/b c+d%é.bin", CONTENT)
    together = threading.Barrier(16)

    def fetch(number: int) -> str:
        if number < 16:
            together.wait(30)
        return store.fetch("a/b c+d%é.bin", str(tmp_path / str(number)), size=len(CONTENT))

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(fetch, range(32))) == {hashlib.sha256(CONTENT).hexdigest()}
    assert {path.read_bytes() == CONTENT for path in tmp_path.iterdir()} == {True}
    assert len(list(tmp_path.iterdir())) == 32


def test_an_object_may_be_empty_and_may_be_replaced(node: Node) -> None:
    store = node.open()
    # Google's emulator hangs up when it gets an empty object, other than Google.
    empty = () if node.kind == "gs" else (b"",)
    for content in (b"first", *empty, b"second", b"third"):
        store.put("x", content)
        assert store.read("x") == content


def test_a_rest_of_an_object_is_its_rest(node: Node) -> None:
    store = node.open()
    store.put("x", CONTENT)
    for start in (1, 300_000, len(CONTENT) - 1):
        answer = store._client.get("x", start)
        assert (answer.start, answer.length) == (start, len(CONTENT) - start)
        assert b"".join(answer.blocks(1 << 16)) == CONTENT[start:]


def test_names_are_listed_below_a_prefix(node: Node) -> None:
    store = node.open()
    for name in ("x/1", "x/y/2", "x&y <z>'/3", "z/3"):
        store.put(name, name.encode())
    assert store.names("x/") == ["x/1", "x/y/2"]
    assert store.names("x&") == ["x&y <z>'/3"]
    assert store.names("nothing/") == []
    assert store.read("x/1") == b"x/1"


def test_names_are_listed_over_several_pages(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of the real stores has a thousand names; here they are asked for two."""
    limit = {"s3": "max-keys=2", "azure": "maxresults=2", "gs": "maxResults=2"}[node.kind]
    asked: list[str] = []
    ask = Connections.ask

    def ask_for_two(self: Connections, method: str, url: str, *rest: Any) -> Any:
        if "prefix=" in url:
            asked.append(url)
        return ask(self, method, url, *rest)

    store = node.open()
    names = [f"x/{number}" for number in range(5)]
    for name in names:
        store.put(name, b"x")
    monkeypatch.setattr(Connections, "ask", ask_for_two)
    client: Any = store._client
    original = client._ask

    def limited(method: str, *arguments: Any) -> Any:
        parts = list(arguments)
        where = 0 if node.kind == "gs" else 1
        parts[where] += f"&{limit}"
        return original(method, *parts)

    client._ask = limited
    assert store.names("x/") == names
    # Google's emulator has one page for everything.
    assert len(asked) == (1 if node.kind == "gs" else 3)


def test_what_is_not_there_is_missing(node: Node, tmp_path: Path) -> None:
    store = node.open()
    with pytest.raises(Missing) as caught:
        store.fetch("no/such", str(tmp_path / "file"))
    assert caught.value.message.startswith(f"`no/such` is not in {node.root} (404 ")
    with pytest.raises(Missing):
        node.open(node.root.replace("place-", "other-")).read("x")
    assert list(tmp_path.iterdir()) == []


def test_what_is_damaged_in_the_store_is_refused(node: Node, tmp_path: Path) -> None:
    store = node.open()
    store.put("x", CONTENT[:-1] + b"?")
    with pytest.raises(ObjectError) as caught:
        store.fetch("x", str(tmp_path / "file"), sha256=hashlib.sha256(CONTENT).hexdigest(), size=len(CONTENT))
    assert caught.value.message == f"`x` in {node.root} is damaged: it is not what was locked"
    assert list(tmp_path.iterdir()) == []


def test_a_token_that_azure_does_not_take_is_denied(azure_server: Azurite, place: str) -> None:
    from mfenv.testing.scripted_http import serving

    access = azure_access(azure_server, place)
    with serving(lambda asked, _: asked.answer({"access_token": "verysecret", "expires_in": "3600"})) as (url, _):
        variables = {**_variables(access), "IDENTITY_ENDPOINT": url}
        with pytest.raises(Denied) as caught:
            open_objects("azure", f"{place}/metaflow", variables).read("x")
    assert caught.value.message.startswith(f"the task may not have `x` in {place}/metaflow (40")
    assert "verysecret" not in caught.value.message


def test_a_user_that_s3_does_not_know_is_denied(s3_port: int, place: str) -> None:
    """moto looks at signatures when it is told to, and knows nobody then; that holds for all of its requests."""
    s3_client(s3_port).create_bucket(Bucket=place)
    _enforce_after(s3_port, 0)
    try:
        environ = {
            "METAFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{s3_port}",
            "AWS_ACCESS_KEY_ID": "unknown",
            "AWS_SECRET_ACCESS_KEY": "verysecret",
        }
        with pytest.raises(Denied) as caught:
            open_objects("s3", f"s3://{place}/metaflow", environ).read("x")
    finally:
        _enforce_after(s3_port, 10**9)
    assert caught.value.message == f"the task may not have `x` in s3://{place}/metaflow (403 InvalidAccessKeyId)"


def _enforce_after(port: int, count: int) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/moto-api/reset-auth",
        data=str(count).encode(),
        headers={"Content-Type": "text/plain"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200
