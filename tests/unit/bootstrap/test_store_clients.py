"""The store clients of a node against servers that say what a test wants: signatures, credentials, faults."""

from __future__ import annotations

import ast
import base64
import json
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from mfenv.bootstrap import azure, gs, http, objects, s3
from mfenv.bootstrap.http import Connections
from mfenv.metaflow.remote import program

SOURCE = Path(__file__).parents[3] / "src"
CONTENT = bytes(range(256)) * 4096
SECRET = "verysecret"


class Asked:
    """A request that a server got."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self.method = handler.command
        self.path = handler.path
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0)).decode()
        self.handler = handler

    def answer(self, body: bytes | str | Any, status: int = 200, cut: int | None = None, **headers: str) -> None:
        """Answer; with `cut`, only so many bytes of the body come before the connection ends."""
        content = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.send_header("Content-Length", str(len(content)))
        self.handler.end_headers()
        self.handler.wfile.write(content[:cut])
        if cut is not None:
            self.handler.wfile.flush()
            self.handler.close_connection = True
            self.handler.connection.shutdown(2)


@contextmanager
def server(say: Callable[[Asked, int], None]) -> Iterator[tuple[str, list[Asked]]]:
    """Serve what `say` answers to each request, which it gets with its number."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def say(self) -> None:
            one = Asked(self)
            asked.append(one)
            say(one, len(asked) - 1)

        do_GET = do_PUT = do_POST = say  # noqa: N815

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_port}", asked
    finally:
        running.shutdown()
        running.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts are not waited for, and silence counts sooner."""
    monkeypatch.setattr(objects, "_FIRST_PAUSE", 0.001)


def bucket(url: str, **variables: str) -> objects.Objects:
    environ = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": SECRET, "METAFLOW_S3_ENDPOINT_URL": url, **variables}
    return objects.open_objects("s3", "s3://bucket/some/folder", environ)


# ---------------------------------------------------------------- signatures


def test_a_request_is_signed_as_in_amazons_own_example() -> None:
    """ "GET Object" in "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)"."""
    signed = s3.sign(
        "GET",
        "https://examplebucket.s3.amazonaws.com/test.txt",
        {"Range": "bytes=0-9"},
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        s3.Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        "us-east-1",
        datetime(2013, 5, 24, tzinfo=timezone.utc),
    )
    assert signed["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


def test_a_listing_is_signed_as_in_amazons_own_example() -> None:
    signed = s3.sign(
        "GET",
        "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J",
        {},
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        s3.Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        "us-east-1",
        datetime(2013, 5, 24, tzinfo=timezone.utc),
    )
    assert signed["Authorization"].endswith("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_a_service_accounts_claim_is_signed(form: serialization.PrivateFormat) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    key.public_key().verify(gs.sign_rs256(b"claim", pem), b"claim", padding.PKCS1v15(), hashes.SHA256())


# ---------------------------------------------------------------- what is fetched


def test_an_object_is_fetched_and_appears_whole(tmp_path: Path) -> None:
    with server(lambda asked, _: asked.answer(CONTENT)) as (url, asked):
        bucket(url).fetch("a b/c+d", str(tmp_path / "file"), size=len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert [one.path for one in asked] == ["/bucket/some/folder/a%20b/c%2Bd"]


def test_what_is_cut_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def say(asked: Asked, number: int) -> None:
        start = int(asked.headers.get("range", "bytes=0-")[6:-1])
        asked.answer(CONTENT[start:], 206 if start else 200, cut=300_000 if number < 3 else None)

    with server(say) as (url, asked):
        bucket(url).fetch("key", str(tmp_path / "file"), size=len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [one.headers.get("range") for one in asked] == [None, *(f"bytes={n * 300_000}-" for n in (1, 2, 3))]


def test_what_is_cut_off_again_and_again_is_one_error(tmp_path: Path) -> None:
    said = "`key` cannot be fetched from s3://bucket/some/folder: "
    with (
        server(lambda asked, _: asked.answer(CONTENT, cut=0)) as (url, asked),
        pytest.raises(objects.Unreachable, match=said),
    ):
        bucket(url).fetch("key", str(tmp_path / "file"))
    assert len(asked) <= 6
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    def say(asked: Asked, number: int) -> None:
        asked.answer(*(("<Error><Code>SlowDown</Code></Error>", 503) if number < 3 else (CONTENT, 200)))

    with server(say) as (url, asked):
        bucket(url).fetch("key", str(tmp_path / "file"))
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("status", "code", "kind", "said"),
    [
        (404, "NoSuchKey", objects.Missing, "`key` is not in s3://bucket/some/folder (404 NoSuchKey)"),
        (
            403,
            "AccessDenied",
            objects.Denied,
            "the task may not read `key` in s3://bucket/some/folder (403 AccessDenied)",
        ),
        (
            503,
            "SlowDown",
            objects.Unreachable,
            "`key` cannot be had from s3://bucket/some/folder: it answers 503 SlowDown",
        ),
        (418, "", objects.Unreachable, "`key` cannot be had from s3://bucket/some/folder: it answers 418 I'm a Teapot"),
    ],
)
def test_what_cannot_be_had_is_said_with_the_stores_own_word(
    tmp_path: Path, status: int, code: str, kind: type[objects.ObjectError], said: str
) -> None:
    with (
        server(lambda asked, _: asked.answer(f"<Error><Code>{code}</Code></Error>" if code else "", status)) as (
            url,
            _,
        ),
        pytest.raises(kind) as caught,
    ):
        bucket(url).fetch("key", str(tmp_path / "file"))
    assert caught.value.message == said
    assert caught.value.hint


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size": 3}])
def test_what_is_not_what_was_locked_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    said = "`key` in s3://bucket/some/folder is damaged"
    with server(lambda asked, _: asked.answer(CONTENT)) as (url, _), pytest.raises(objects.ObjectError, match=said):
        bucket(url).fetch("key", str(tmp_path / "file"), **wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_says_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http.Connections.ask, "__defaults__", (None, 0.1))
    with (
        server(lambda _asked, _: time.sleep(0.5)) as (url, asked),
        pytest.raises(objects.Unreachable, match="timed out"),
    ):
        bucket(url).fetch("key", str(tmp_path / "file"))
    assert len(asked) == 5


def test_nobody_there_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(objects.Unreachable, match="Connection refused"):
        bucket("http://127.0.0.1:9").fetch("key", str(tmp_path / "file"))


def test_a_bucket_of_another_region_says_so(tmp_path: Path) -> None:
    def say(asked: Asked, number: int) -> None:
        asked.answer(*((b"", 301) if number == 0 else (CONTENT, 200)), x_amz_bucket_region="eu-north-1")

    with server(say) as (url, asked):
        bucket(url, AWS_REGION="us-west-2").fetch("key", str(tmp_path / "file"))
    assert ["us-west-2" in asked[0].headers["authorization"], "eu-north-1" in asked[1].headers["authorization"]] == [
        True,
        True,
    ]


def test_names_come_page_by_page() -> None:
    def say(asked: Asked, number: int) -> None:
        more = "<NextContinuationToken>a&amp;b</NextContinuationToken>" if number == 0 else ""
        asked.answer(f"<R><Key>some/folder/x/{number}&lt;</Key>{more}</R>")

    with server(say) as (url, asked):
        assert bucket(url).names("x/") == ["x/0<", "x/1<"]
    assert "continuation-token=a%26b" in asked[1].path


# ---------------------------------------------------------------- who asks


def test_credentials_are_looked_for_in_boto3s_order(tmp_path: Path) -> None:
    expires = "2099-01-01T00:00:00Z"
    fields = {"AccessKeyId": "served", "SecretAccessKey": SECRET, "Token": "t", "Expiration": expires}

    def say(asked: Asked, _: int) -> None:
        if asked.method == "POST":
            asked.answer(
                "<R><Credentials><AccessKeyId>web</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t"
                f"</SessionToken><Expiration>{expires}</Expiration></Credentials></R>"
            )
        elif asked.path.endswith("/api/token"):
            asked.answer("imds")
        elif asked.path.endswith("/security-credentials/"):
            asked.answer("role\n")
        else:
            asked.answer({**fields, "AccessKeyId": "machine" if "meta-data" in asked.path else "container"})

    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    (home / ".aws" / "credentials").write_text("[work]\naws_access_key_id = file\naws_secret_access_key = s\n")
    (tmp_path / "token").write_text("a web token")
    with server(say) as (url, asked):
        everything = {
            "AWS_ACCESS_KEY_ID": "variable",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
            "AWS_ROLE_ARN": "arn:role",
            "AWS_ENDPOINT_URL_STS": url,
            "AWS_PROFILE": "work",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/container",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "allowed",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": url,
            "HOME": str(home),
        }
        found = []
        for taken in ("AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", ""):
            found.append(s3.find_credentials(everything, Connections(everything), "us-east-1"))
            everything.pop(taken, "")
        everything["AWS_EC2_METADATA_DISABLED"] = "true"
    assert [one.key for one in found] == ["variable", "web", "file", "container", "machine"]
    assert found[3].expires == datetime(2099, 1, 1, tzinfo=timezone.utc)
    assert SECRET not in repr(found)
    assert [one.headers["x-aws-ec2-metadata-token"] for one in asked if "meta-data" in one.path] == ["imds", "imds"]
    assert [one.headers["authorization"] for one in asked if one.path == "/container"] == ["allowed"]


def test_nobody_who_says_who_the_task_is_is_an_error_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("boto3", "azure.identity", "google.auth"):
        monkeypatch.setitem(sys.modules, name, None)
    nothing = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "GCE_METADATA_HOST": "127.0.0.1:9"}
    nothing["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = "http://127.0.0.1:9"
    connections = Connections(nothing)
    for find in (
        lambda: s3.find_credentials(nothing, connections, "us-east-1"),
        lambda: azure.find_token(nothing, connections),
        lambda: gs.find_token(nothing, connections),
    ):
        with pytest.raises(objects.NoCredentials) as caught:
            find()
        assert caught.value.hint


def test_azures_tokens(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("federated")
    with server(lambda asked, _: asked.answer({"access_token": asked.path + asked.body, "expires_in": "60"})) as (
        url,
        _,
    ):
        client = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client", "AZURE_AUTHORITY_HOST": url}
        secret = azure.find_token({**client, "AZURE_CLIENT_SECRET": SECRET}, Connections({})).text
        federated = azure.find_token(
            {**client, "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "token")}, Connections({})
        ).text
        managed = azure.find_token({"IDENTITY_ENDPOINT": f"{url}/id", "IDENTITY_HEADER": "h"}, Connections({})).text
        machine = azure.find_token({"AZURE_POD_IDENTITY_AUTHORITY_HOST": url}, Connections({})).text
    assert secret.startswith("/tenant/oauth2/v2.0/token")
    assert f"client_secret={SECRET}" in secret
    assert "client_assertion=federated" in federated
    assert managed.startswith("/id?api-version=2019-08-01&resource=https%3A%2F%2Fstorage.azure.com")
    assert machine.startswith("/metadata/identity/oauth2/token?")


def test_googles_tokens(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    (tmp_path / "subject").write_text("another cloud's")
    path = tmp_path / "adc.json"
    environ = {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}
    with server(lambda asked, _: asked.answer({"access_token": asked.body or asked.path, "expires_in": 60})) as (
        url,
        _,
    ):

        def token(fields: dict[str, Any]) -> str:
            path.write_text(json.dumps(fields))
            return gs.find_token(environ, Connections({})).text

        account = token({"type": "service_account", "client_email": "me", "private_key": pem, "token_uri": url})
        external = token(
            {
                "type": "external_account",
                "audience": "a",
                "subject_token_type": "jwt",
                "token_url": url,
                "credential_source": {"file": str(tmp_path / "subject")},
            }
        )
        machine = gs.find_token(
            {"GCE_METADATA_HOST": url.partition("//")[2], "HOME": str(tmp_path)}, Connections({})
        ).text
    claim = account.partition("assertion=")[2].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(claim + "=" * (-len(claim) % 4)))["iss"] == "me"
    assert "subject_token=another+cloud%27s" in external
    assert machine == "/computeMetadata/v1/instance/service-accounts/default/token"


# ---------------------------------------------------------------- any Python


@pytest.mark.parametrize("path", sorted((SOURCE / "mfenv" / "bootstrap").glob("*.py")), ids=lambda path: path.name)
def test_every_module_is_python_3_8_and_needs_nothing_that_is_not_there(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    assert _imported(tree) <= {*sys.stdlib_module_names, "mfenv"} | {"boto3", "azure", "google"}
    ours = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    assert all(name.startswith("mfenv.bootstrap") for name in ours if name.startswith("mfenv"))


def _imported(tree: ast.AST) -> set[str]:
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_the_program_that_travels_fetches_an_object_with_any_python(tmp_path: Path) -> None:
    text = zlib.decompress(base64.b64decode(program("s3"))).decode()
    ast.parse(text, feature_version=(3, 8))
    assert len(program("s3")) < 10_000
    run = "import base64,sys,zlib;exec(zlib.decompress(base64.b64decode(sys.argv.pop(1))))"
    with server(lambda asked, _: asked.answer(CONTENT)) as (url, _):
        done = subprocess.run(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                run,
                program("s3"),
                "s3",
                "s3://bucket/a/key",
                str(tmp_path / "job.tar"),
            ],
            env={"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": SECRET, "METAFLOW_S3_ENDPOINT_URL": url},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "job.tar").read_bytes() == CONTENT
