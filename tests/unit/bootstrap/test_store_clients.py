"""What a node does when a store is slow, busy, cut off, elsewhere, or gives what was not asked for."""

from __future__ import annotations

import hashlib
import re
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mfenv.bootstrap import http, objects
from mfenv.testing.scripted_http import Asked, serving

CONTENT = bytes(range(256)) * 4096
SECRET = "verysecret"
PLACE = "s3://bucket/some/folder"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts are not waited for."""
    monkeypatch.setattr(objects, "_FIRST_PAUSE", 0.00001)


def bucket(url: str, **variables: str) -> objects.Objects:
    environ = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": SECRET, "METAFLOW_S3_ENDPOINT_URL": url, **variables}
    return objects.open_objects("s3", PLACE, environ)


def failure(url: str, **variables: str) -> objects.ObjectError:
    """Fetch what cannot be had; nothing stays behind, and no word of it holds the secret."""
    with pytest.raises(objects.ObjectError) as caught:
        bucket(url, **variables).read("key")
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return caught.value


# ---------------------------------------------------------------- what is fetched


def test_an_object_is_fetched_and_appears_whole(tmp_path: Path) -> None:
    counted: list[int] = []
    with serving(lambda asked, _: asked.answer(CONTENT)) as (url, asked):
        found = bucket(url).fetch("a b/c+d", str(tmp_path / "file"), size=len(CONTENT), on_bytes=counted.append)
    assert found == hashlib.sha256(CONTENT).hexdigest()
    assert sum(counted) == len(CONTENT)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": CONTENT}
    assert [one.path for one in asked] == ["/bucket/some/folder/a%20b/c%2Bd"]


def test_an_empty_object_is_one(tmp_path: Path) -> None:
    with serving(lambda asked, _: asked.answer(b"")) as (url, asked):
        bucket(url).fetch("key", str(tmp_path / "file"), size=0)
    assert (tmp_path / "file").read_bytes() == b""
    assert len(asked) == 1


def test_what_is_cut_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with serving(lambda asked, number: asked.answer_part(CONTENT, cut=300_000 if number < 3 else None)) as (url, asked):
        bucket(url).fetch("key", str(tmp_path / "file"), size=len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [one.headers.get("range") for one in asked] == [None, *(f"bytes={n * 300_000}-" for n in (1, 2, 3))]


def test_a_proxy_that_does_not_know_parts_begins_at_the_beginning(tmp_path: Path) -> None:
    with serving(lambda asked, number: asked.answer(CONTENT, cut=None if number else 600_001)) as (url, asked):
        bucket(url).fetch("key", str(tmp_path / "file"), size=len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [one.start for one in asked] == [0, 600_001]


def _leaves_out(asked: Asked, number: int) -> None:
    if not number:
        return asked.answer(CONTENT, cut=10)
    return asked.answer(CONTENT[20:], 206, Content_Range=f"bytes 20-{len(CONTENT) - 1}/{len(CONTENT)}")


def _shrinks(asked: Asked, number: int) -> None:
    asked.answer(*((CONTENT, 200) if not number else (b"short", 200)), cut=None if number else 10)


@pytest.mark.parametrize("say", [_leaves_out, _shrinks])
def test_another_part_than_was_asked_for_is_never_taken(say: Callable[[Asked, int], None]) -> None:
    with serving(say) as (url, asked):
        error = failure(url)
    assert error.message == f"`key` cannot be fetched from {PLACE}: it answers with another part than was asked for"
    assert len(asked) == 6


def test_an_answer_that_does_not_tell_its_length_is_read_to_the_end() -> None:
    def say(asked: Asked, _: int) -> None:
        asked._handler.send_response(200)
        asked._handler.send_header("Transfer-Encoding", "chunked")
        asked._handler.end_headers()
        asked._handler.wfile.write(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")

    with serving(say) as (url, _):
        assert bucket(url).read("key") == b"hello world"


@pytest.mark.parametrize("cut", [0, 1])
def test_what_is_cut_off_again_and_again_is_one_error(tmp_path: Path, cut: int) -> None:
    with (
        serving(lambda asked, _: asked.answer(CONTENT, cut=cut)) as (url, asked),
        pytest.raises(objects.Unreachable) as caught,
    ):
        bucket(url).fetch("key", str(tmp_path / "file"))
    assert re.fullmatch(f"`key` cannot be fetched from {PLACE}: .*", caught.value.message)
    assert caught.value.hint == "Check that the machine of the task reaches the datastore, and run it again"
    assert len(asked) == 5 + cut
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (429, ""), (408, "")])
def test_a_store_that_is_busy_is_asked_again(tmp_path: Path, status: int, code: str) -> None:
    def say(asked: Asked, number: int) -> None:
        asked.answer(*((f"<Error><Code>{code}</Code></Error>", status) if number < 6 else (CONTENT, 200)))

    with serving(say) as (url, asked):
        bucket(url).fetch("key", str(tmp_path / "file"), size=len(CONTENT))
    assert len(asked) == 7


@pytest.mark.parametrize(
    ("status", "body", "kind", "said", "times"),
    [
        (404, "<Code>NoSuchKey</Code>", objects.Missing, f"`key` is not in {PLACE} (404 NoSuchKey)", 1),
        (
            403,
            "<Code>AccessDenied</Code>",
            objects.Denied,
            f"the task may not have `key` in {PLACE} (403 AccessDenied)",
            1,
        ),
        (401, "", objects.Denied, f"the task may not have `key` in {PLACE} (401 Unauthorized)", 1),
        (
            403,
            '{"error": {"errors": [{"reason": "forbidden"}]}}',
            objects.Denied,
            f"the task may not have `key` in {PLACE} (403 forbidden)",
            1,
        ),
        (
            503,
            "<Code>SlowDown</Code>",
            objects.Unreachable,
            f"`key` cannot be had from {PLACE}: it answers 503 SlowDown",
            8,
        ),
        (418, "", objects.Unreachable, f"`key` cannot be had from {PLACE}: it answers 418 I'm a Teapot", 1),
        (302, "", objects.Unreachable, f"`key` cannot be had from {PLACE}: it answers 302 Found", 1),
    ],
)
def test_what_cannot_be_had_is_said_with_the_stores_own_word(
    status: int, body: str, kind: type[objects.ObjectError], said: str, times: int
) -> None:
    with serving(lambda asked, _: asked.answer(body, status)) as (url, asked):
        error = failure(url)
    assert (type(error), error.message, len(asked)) == (kind, said, times)
    assert error.hint


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size": 3}, {"size": len(CONTENT) + 1}])
def test_what_is_not_what_was_locked_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    said = f"`key` in {PLACE} is damaged: it is not what was locked"
    with serving(lambda asked, _: asked.answer(CONTENT)) as (url, asked), pytest.raises(objects.ObjectError) as caught:
        bucket(url).fetch("key", str(tmp_path / "file"), **wrong)
    assert (caught.value.message, len(asked)) == (said, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http.Connections.ask, "__defaults__", (None, 0.05))
    over = threading.Event()
    with serving(lambda _asked, _: over.wait(30) and None) as (url, asked):
        error = failure(url)
        over.set()
    assert re.fullmatch(f"`key` cannot be fetched from {PLACE}: .*timed out", error.message)
    assert len(asked) == 5


def test_a_server_that_falls_silent_half_way_is_asked_for_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http.Connections.ask, "__defaults__", (None, 0.1))
    over = threading.Event()

    def say(asked: Asked, number: int) -> None:
        if number:
            return asked.answer_part(CONTENT)
        asked._handler.send_response(200)
        asked._handler.send_header("Content-Length", str(len(CONTENT)))
        asked._handler.end_headers()
        asked._handler.wfile.write(CONTENT[:300_000])
        over.wait(30)
        return None

    with serving(say) as (url, asked):
        bucket(url).fetch("key", str(tmp_path / "file"), size=len(CONTENT))
        over.set()
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [one.start for one in asked] == [0, objects._BLOCK]


def test_a_connection_that_the_server_ended_meanwhile_is_opened_again() -> None:
    def say(asked: Asked, _: int) -> None:
        asked.answer(asked.path)
        # Without a word of it in the answer.
        asked.hang_up()

    with serving(say) as (url, asked):
        store = bucket(url)
        assert [store.read("a"), store.read("b")] == [b"/bucket/some/folder/a", b"/bucket/some/folder/b"]
    assert len(asked) == 2


def test_a_rest_that_nobody_read_is_not_the_next_answer() -> None:
    forged = b"x" * 100_000 + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
    with serving(lambda asked, number: asked.answer(*((forged, 403) if number == 0 else (b"true", 200)))) as (url, _):
        store = bucket(url)
        with pytest.raises(objects.Denied):
            store.read("a")
        assert store.read("b") == b"true"


def test_nobody_there_is_one_error() -> None:
    error = failure("http://127.0.0.1:9")
    assert re.fullmatch(f"`key` cannot be fetched from {PLACE}: ConnectionRefusedError: .*", error.message)


def test_a_store_is_reached_through_the_proxy_that_the_variables_name() -> None:
    with serving(lambda asked, _: asked.answer(asked.path + asked.headers.get("proxy-authorization", ""))) as (url, _):
        proxy = url.replace("//", f"//me:{SECRET}@")
        store = bucket("http://store.example.org", HTTP_PROXY=proxy, no_proxy="other.example.org")
        assert store.read("key") == b"http://store.example.org/bucket/some/folder/keyBasic bWU6dmVyeXNlY3JldA=="
        assert bucket(url, HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="127.0.0.1")._client.get("key", 0)
    error = failure("https://store.example.org", HTTPS_PROXY="http://me:" + SECRET + "@127.0.0.1:9")
    assert "ConnectionRefusedError" in error.message


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"METAFLOW_S3_ENDPOINT_URL": "http://example.org:port"}, "its address, its answer or the credentials"),
        ({"METAFLOW_S3_ENDPOINT_URL": "http://[example"}, "its address, its answer or the credentials"),
        # As it comes out of a secret that was made with `echo`.
        ({"AWS_SESSION_TOKEN": f"{SECRET}\nX-Other: 1"}, "its address, its answer or the credentials"),
        ({"AWS_SESSION_TOKEN": f"{SECRET}\N{SNOWMAN}"}, "its address, its answer or the credentials"),
        (
            {"METAFLOW_S3_ENDPOINT_URL": "https://127.0.0.1:9", "AWS_CA_BUNDLE": "/no/such.pem"},
            "the certificates in `/no/such.pem` cannot be read: ",
        ),
    ],
)
def test_settings_that_are_none_are_told_without_credentials(variables: dict[str, str], said: str) -> None:
    error = failure("http://127.0.0.1:9", **variables)
    assert said in error.message
    assert error.hint


# ---------------------------------------------------------------- what only S3 does


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (301, "<Code>PermanentRedirect</Code>", {"x_amz_bucket_region": "eu-north-1"}),
        (400, "<Code>AuthorizationHeaderMalformed</Code><Region>eu-north-1</Region>", {}),
    ],
)
def test_a_bucket_of_another_region_says_so(status: int, body: str, headers: dict[str, str]) -> None:
    def say(asked: Asked, number: int) -> None:
        asked.answer(CONTENT) if number else asked.answer(body, status, **headers)

    with serving(say) as (url, asked):
        store = bucket(url, AWS_REGION="us-west-2")
        assert (store.read("key"), store.read("key")) == (CONTENT, CONTENT)
    regions = [one.headers["authorization"].split("/")[2] for one in asked]
    assert regions == ["us-west-2", "eu-north-1", "eu-north-1"]


def test_regions_that_send_round_and_round_are_one_error() -> None:
    def say(asked: Asked, number: int) -> None:
        asked.answer("", 301, x_amz_bucket_region=f"eu-north-{number}")

    with serving(say) as (url, asked):
        assert "it answers 301 Moved Permanently" in failure(url).message
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("root", "variables", "url"),
    [
        ("s3://bucket/a", {}, "https://bucket.s3.us-east-1.amazonaws.com/a/key"),
        ("s3://bucket", {"AWS_DEFAULT_REGION": "eu-west-1"}, "https://bucket.s3.eu-west-1.amazonaws.com/key"),
        ("s3://bucket/", {"AWS_REGION": "cn-north-1"}, "https://bucket.s3.cn-north-1.amazonaws.com.cn/key"),
        # A certificate for all buckets of a region does not hold for names with dots.
        ("s3://my.bucket/a/b", {}, "https://s3.us-east-1.amazonaws.com/my.bucket/a/b/key"),
        ("s3://bucket/a", {"AWS_ENDPOINT_URL": "http://example.org/"}, "http://example.org/bucket/a/key"),
        (
            "s3://bucket/a",
            {"AWS_ENDPOINT_URL_S3": "http://two.example.org", "AWS_ENDPOINT_URL": "http://example.org"},
            "http://two.example.org/bucket/a/key",
        ),
    ],
)
def test_a_bucket_is_where_boto3_looks_for_it(
    root: str, variables: dict[str, str], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask(_self: Any, _method: str, url: str, *_: Any) -> Any:
        asked.append(url)
        raise http.Refused(404, "NoSuchKey")

    monkeypatch.setattr(http.Connections, "ask", ask)
    who = {"HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": SECRET}
    with pytest.raises(objects.Missing):
        objects.open_objects("s3", root, {**who, **variables}).read("key")
    assert asked == [url]


def test_what_is_written_is_encrypted_as_metaflow_is_told_to() -> None:
    with serving(lambda asked, _: asked.answer("")) as (url, asked):
        bucket(url).put("key", b"content")
        bucket(url, METAFLOW_S3_SERVER_SIDE_ENCRYPTION="aws:kms").put("key", b"content")
    assert [one.headers.get("x-amz-server-side-encryption") for one in asked] == [None, "aws:kms"]
    assert {(one.method, one.path, one.body) for one in asked} == {("PUT", "/bucket/some/folder/key", "content")}


def test_certificates_of_a_store_are_checked_as_metaflow_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "own.pem").touch()

    def client(**variables: str) -> Any:
        return bucket("https://127.0.0.1:9", **variables)._client

    assert client().connections.verifies
    assert not client(METAFLOW_S3_VERIFY_CERTIFICATE="False").connections.verifies
    own = client(METAFLOW_S3_VERIFY_CERTIFICATE=str(tmp_path / "own.pem"), AWS_CA_BUNDLE="other.pem")
    assert (own.connections.verifies, own.connections._bundle) == (True, str(tmp_path / "own.pem"))
    # Who gives credentials has to prove itself all the same.
    assert client(METAFLOW_S3_VERIFY_CERTIFICATE="0")._asking.verifies


def test_names_come_page_by_page() -> None:
    def say(asked: Asked, number: int) -> None:
        more = "<NextContinuationToken>a&amp;b</NextContinuationToken>" if number == 0 else ""
        asked.answer(f"<R><Key>some/folder/x/{number}&lt;&apos;&amp;lt;</Key>{more}</R>")

    with serving(say) as (url, asked):
        assert bucket(url).names("x/") == ["x/0<'&lt;", "x/1<'&lt;"]
    assert [one.path.partition("?")[2] for one in asked] == [
        "list-type=2&prefix=some%2Ffolder%2Fx%2F",
        "list-type=2&prefix=some%2Ffolder%2Fx%2F&continuation-token=a%26b",
    ]


# ---------------------------------------------------------------- what only Azure and Google do


def test_names_come_page_by_page_from_the_others_too() -> None:
    def azure(asked: Asked, number: int) -> None:
        marker = "<NextMarker>a&amp;b</NextMarker>" if number == 1 else "<NextMarker />"
        asked.answer(
            {"access_token": SECRET, "expires_in": "3600"}
            if number == 0
            else f'\ufeff<R ContainerName="c"><Blobs><Blob><Name>f/x/{number}&amp;</Name></Blob></Blobs>{marker}</R>'
        )

    with serving(azure) as (url, asked):
        environ = {"IDENTITY_ENDPOINT": f"{url}/id", "IDENTITY_HEADER": "h"}
        environ["METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT"] = f"{url}/"
        assert objects.open_objects("azure", "c/f", environ).names("x/") == ["x/1&", "x/2&"]
    assert [one.path for one in asked[1:]] == [
        "/c?restype=container&comp=list&prefix=f%2Fx%2F",
        "/c?restype=container&comp=list&prefix=f%2Fx%2F&marker=a%26b",
    ]
    assert {one.headers["authorization"] for one in asked[1:]} == {f"Bearer {SECRET}"}

    def google(asked: Asked, number: int) -> None:
        more = {"nextPageToken": "a&b"} if number == 1 else {}
        asked.answer({"access_token": SECRET} if number == 0 else {"items": [{"name": f"f/x/{number}"}], **more})

    with serving(google) as (url, asked):
        environ = {"GCE_METADATA_HOST": url.partition("//")[2], "STORAGE_EMULATOR_HOST": url, "HOME": "/nowhere"}
        assert objects.open_objects("gs", "gs://b/f", environ).names("x/") == ["x/1", "x/2"]
    fields = "prefix=f%2Fx%2F&fields=items%28name%29%2CnextPageToken"
    assert [one.path for one in asked[1:]] == [
        f"/storage/v1/b/b/o?{fields}",
        f"/storage/v1/b/b/o?{fields}&pageToken=a%26b",
    ]


@pytest.mark.parametrize("page", ["[]", "<html>", "7", b"\xff"])
def test_a_page_of_names_that_is_none_is_one_error(page: Any) -> None:
    with serving(lambda asked, number: asked.answer(page if number else {"access_token": SECRET})) as (url, _):
        environ = {"GCE_METADATA_HOST": url.partition("//")[2], "STORAGE_EMULATOR_HOST": url, "HOME": "/nowhere"}
        with pytest.raises(objects.ObjectError) as caught:
            objects.open_objects("gs", "gs://b/f", environ).names("x/")
    assert caught.value.message.startswith("`x/` cannot be had from gs://b/f: its address, its answer or")


# ---------------------------------------------------------------- folders


def test_a_folder_is_a_store_too(tmp_path: Path) -> None:
    store = objects.open_objects("local", str(tmp_path / "store"), {})
    store.put("x/a", CONTENT)
    store.put("x/b/c", b"c")
    assert store.names("x/") == ["x/a", "x/b/c"]
    assert store.read("x/a") == CONTENT
    store.fetch("x/b/c", str(tmp_path / "file"), sha256=hashlib.sha256(b"c").hexdigest(), size=1)
    assert (tmp_path / "file").read_bytes() == b"c"
    with pytest.raises(objects.Missing):
        store.read("x/z")


def test_a_kind_of_store_that_is_not_known_is_refused() -> None:
    with pytest.raises(objects.ObjectError) as caught:
        objects.open_objects("tape", "tape://a", {})
    assert caught.value.message == "environments cannot be fetched from the datastore `tape`"
    assert caught.value.hint
