"""Who a task is to a store: every way in which a node may know, their order, and what is said when there is none."""

from __future__ import annotations

import base64
import json
import sys
import time
import traceback
import types
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from mfenv.bootstrap import azure, gs, objects, s3
from mfenv.bootstrap.http import Connections
from mfenv.testing.scripted_http import Asked, serving

SECRET = "verysecret"
EXPIRES = "2099-01-01T00:00:00Z"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No library of a vendor is there, and pauses between attempts are not waited for."""
    monkeypatch.setattr(objects, "_FIRST_PAUSE", 0.00001)
    for name in ("boto3", "azure.identity", "google.auth"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def nothing(tmp_path: Path) -> dict[str, str]:
    """The variables of a machine that says nothing about who the task is."""
    return {
        "HOME": str(tmp_path / "home"),
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": NOBODY,
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": NOBODY,
        "GCE_METADATA_HOST": NOBODY.partition("//")[2],
    }


Find = Callable[[Mapping[str, str]], Any]


def aws(environ: Mapping[str, str]) -> s3.Credentials:
    return s3.find_credentials(environ, Connections(environ), "us-east-1")


def azure_token(environ: Mapping[str, str]) -> azure.Token:
    return azure.find_token(environ, Connections(environ))


def google(environ: Mapping[str, str]) -> gs.Token:
    return gs.find_token(environ, Connections(environ))


def refusal(find: Find, environ: Mapping[str, str]) -> str:
    """Return what is said where nothing is found; no word of it holds the secret."""
    with pytest.raises(objects.NoCredentials) as caught:
        find(environ)
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + str(caught.value.hint)
    assert caught.value.hint
    return caught.value.message


# ---------------------------------------------------------------- AWS


def _amazon(asked: Asked, _: int) -> None:
    fields = {"SecretAccessKey": SECRET, "Token": "t", "Expiration": EXPIRES}
    if asked.method == "POST":
        asked.answer(
            "<R><Credentials><AccessKeyId>web</AccessKeyId><SecretAccessKey>a&amp;b</SecretAccessKey><SessionToken>t"
            f"</SessionToken><Expiration>{EXPIRES}</Expiration></Credentials></R>"
        )
    elif asked.path.endswith("/api/token"):
        asked.answer("imds")
    elif asked.path.endswith("/security-credentials/"):
        asked.answer("role\nother role")
    elif asked.path.endswith("/security-credentials/role"):
        asked.answer({**fields, "AccessKeyId": "machine"})
    else:
        asked.answer({**fields, "AccessKeyId": "container"})


def test_credentials_are_looked_for_in_boto3s_order(tmp_path: Path, nothing: dict[str, str]) -> None:
    folder = tmp_path / "home" / ".aws"
    folder.mkdir(parents=True)
    (folder / "credentials").write_text("[work]\naws_access_key_id = file\naws_secret_access_key = s\n")
    (tmp_path / "token").write_text("a web token\n")
    with serving(_amazon) as (url, asked):
        everything = {
            **nothing,
            "AWS_ACCESS_KEY_ID": "variable",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
            "AWS_ROLE_ARN": "arn:role",
            "AWS_ENDPOINT_URL_STS": url,
            "AWS_PROFILE": "work",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/container",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "allowed",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": url,
        }
        found = []
        for taken in ("AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", ""):
            found.append(aws(everything))
            everything.pop(taken, "")
    far = datetime(2099, 1, 1, tzinfo=timezone.utc)
    assert [tuple(one) for one in found] == [
        ("variable", SECRET, None, None),
        ("web", "a&b", "t", far),
        ("file", "s", None, None),
        ("container", SECRET, "t", far),
        ("machine", SECRET, "t", far),
    ]
    assert SECRET not in repr(found)
    assert [(one.method, one.path) for one in asked] == [
        ("POST", "/"),
        ("GET", "/container"),
        ("PUT", "/latest/api/token"),
        ("GET", "/latest/meta-data/iam/security-credentials/"),
        ("GET", "/latest/meta-data/iam/security-credentials/role"),
    ]
    assert parse_qs(asked[0].body) == {
        "Action": ["AssumeRoleWithWebIdentity"],
        "Version": ["2011-06-15"],
        "RoleArn": ["arn:role"],
        "RoleSessionName": ["metaflow-task"],
        "WebIdentityToken": ["a web token"],
    }
    assert asked[1].headers["authorization"] == "allowed"
    assert asked[2].headers["x-aws-ec2-metadata-token-ttl-seconds"] == "21600"
    assert [one.headers["x-aws-ec2-metadata-token"] for one in asked[3:]] == ["imds", "imds"]


@pytest.mark.parametrize(
    ("files", "variables", "expected"),
    [
        ({"credentials": "[default]\nAWS_ACCESS_KEY_ID=a\naws_secret_access_key=b\n"}, {}, ("a", "b", None)),
        ({"config": "[default]\naws_access_key_id=a\naws_secret_access_key=b\n"}, {}, ("a", "b", None)),
        (
            {"config": "[profile w]\naws_access_key_id=a\naws_secret_access_key=b%c\naws_session_token=c=d\n"},
            {"AWS_PROFILE": "w"},
            ("a", "b%c", "c=d"),
        ),
        # The file of credentials is the one that counts.
        (
            {
                "config": "[default]\naws_access_key_id=x\naws_secret_access_key=y\n",
                "credentials": "[default]\naws_access_key_id=a\naws_secret_access_key=b\n",
            },
            {},
            ("a", "b", None),
        ),
        ({"elsewhere": "[w]\naws_access_key_id=a\naws_secret_access_key=b\n"}, {"AWS_DEFAULT_PROFILE": "w"}, ("a", "b", None)),
        # What is no such file is none.
        ({"config": "nonsense", "credentials": "[default]\naws_access_key_id=a\naws_secret_access_key=b\n"}, {}, ("a", "b", None)),
    ],
)  # fmt: skip
def test_files_of_credentials(
    files: dict[str, str],
    variables: dict[str, str],
    expected: tuple[str, str, str | None],
    nothing: dict[str, str],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "home" / ".aws"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    if "elsewhere" in files:
        variables = {**variables, "AWS_SHARED_CREDENTIALS_FILE": str(folder / "elsewhere")}
    assert tuple(aws({**nothing, **variables})[:3]) == expected


def test_a_region_may_stand_in_a_profile(nothing: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "[profile w]\nregion=eu-south-2\naws_access_key_id=a\naws_secret_access_key=b\n", encoding="utf-8"
    )
    with serving(lambda asked, _: asked.answer("")) as (url, asked):
        variables = {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_PROFILE": "w", "AWS_ENDPOINT_URL": url}
        objects.open_objects("s3", "s3://b", {**nothing, **variables}).read("key")
    assert "/eu-south-2/s3/" in asked[0].headers["authorization"]


def test_a_containers_token_may_be_in_a_file_that_changes(nothing: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n")
    with serving(_amazon) as (url, asked):
        variables = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/container",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "old",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token"),
        }
        assert aws({**nothing, **variables}).key == "container"
    assert asked[0].headers["authorization"] == "from a file"


def test_a_container_on_ecs_asks_at_the_address_of_ecs(
    nothing: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def read(self: Connections, _method: str, url: str, *_: Any, **__: Any) -> bytes:
        asked.append(url)
        return json.dumps({"AccessKeyId": "a", "SecretAccessKey": "b"}).encode()

    monkeypatch.setattr(Connections, "read", read)
    assert tuple(aws({**nothing, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x"})) == ("a", "b", None, None)
    assert asked == ["http://169.254.170.2/v2/x"]


@pytest.mark.parametrize("host", ["169.254.169.254", "169.254.170.2", "metadata.google.internal"])
def test_no_proxy_is_asked_who_the_machine_is(host: str) -> None:
    from urllib.parse import urlsplit

    connections = Connections({"HTTP_PROXY": "http://proxy.example.org", "NO_PROXY": ""})
    assert connections._proxy(urlsplit(f"http://{host}/a")) is None
    assert connections._proxy(urlsplit("http://other.example.org/a")) is not None


def test_a_web_identity_may_be_answered_in_json(nothing: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    fields = {"AccessKeyId": "web", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": 4070908800.0}
    answer = {"AssumeRoleWithWebIdentityResponse": {"AssumeRoleWithWebIdentityResult": {"Credentials": fields}}}
    with serving(lambda asked, _: asked.answer(answer)) as (url, _):
        variables = {
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
            "AWS_ROLE_ARN": "r",
            "AWS_ENDPOINT_URL": url,
        }
        found = aws({**nothing, **variables})
    assert tuple(found) == ("web", "s", "t", datetime(2099, 1, 1, tzinfo=timezone.utc))


def test_credentials_are_found_once_and_again_when_they_expire(nothing: dict[str, str]) -> None:
    def say(asked: Asked, _: int) -> None:
        if asked.path != "/container":
            return asked.answer("")
        lives = timedelta(minutes=3 if len(given) == 0 else 60)
        given.append((datetime.now(timezone.utc) + lives).strftime("%Y-%m-%dT%H:%M:%SZ"))
        return asked.answer({"AccessKeyId": f"key{len(given)}", "SecretAccessKey": SECRET, "Expiration": given[-1]})

    given: list[str] = []
    with serving(say) as (url, asked):
        variables = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/container", "AWS_ENDPOINT_URL": url}
        store = objects.open_objects("s3", "s3://b", {**nothing, **variables})
        for _ in range(3):
            store.read("key")
    used = [one.headers["authorization"].split("/")[0].split("=")[1] for one in asked if one.path != "/container"]
    assert used == ["key1", "key2", "key2"]


# ---------------------------------------------------------------- Azure


def _echo(asked: Asked, _: int) -> None:
    asked.answer({"access_token": f"{asked.path} {asked.body}", "expires_in": "3600"})


def test_azures_client_has_a_secret(nothing: dict[str, str]) -> None:
    with serving(_echo) as (url, _):
        client = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client", "AZURE_AUTHORITY_HOST": url}
        token = azure_token({**nothing, **client, "AZURE_CLIENT_SECRET": SECRET})
    path, _, body = token.text.partition(" ")
    assert path == "/tenant/oauth2/v2.0/token"
    assert parse_qs(body) == {
        "client_id": ["client"],
        "grant_type": ["client_credentials"],
        "scope": ["https://storage.azure.com/.default"],
        "client_secret": [SECRET],
    }
    assert 3500 < token.expires - time.time() <= 3600
    assert SECRET not in repr(token)


def test_azures_client_has_a_token_of_its_cluster(nothing: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("federated\n")
    with serving(_echo) as (url, _):
        client = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client", "AZURE_AUTHORITY_HOST": url}
        token = azure_token({**nothing, **client, "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "token")})
    asked = parse_qs(token.text.partition(" ")[2])
    assert asked["client_assertion"] == ["federated"]
    assert asked["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]


def test_azures_managed_identities(nothing: dict[str, str]) -> None:
    def say(asked: Asked, _: int) -> None:
        asked.answer({"access_token": asked.path, "expires_on": "4070908800"})

    with serving(say) as (url, asked):
        service = azure_token({**nothing, "IDENTITY_ENDPOINT": f"{url}/id", "IDENTITY_HEADER": "h"})
        machine = azure_token({**nothing, "AZURE_POD_IDENTITY_AUTHORITY_HOST": url, "AZURE_CLIENT_ID": "mine"})
    resource = "resource=https%3A%2F%2Fstorage.azure.com"
    assert service == azure.Token(f"/id?api-version=2019-08-01&{resource}", 4070908800.0)
    assert machine.text == f"/metadata/identity/oauth2/token?api-version=2018-02-01&{resource}&client_id=mine"
    assert [asked[0].headers["x-identity-header"], asked[1].headers["metadata"]] == ["h", "true"]


def test_azure_has_to_be_somewhere() -> None:
    with pytest.raises(objects.NoCredentials) as caught:
        objects.open_objects("azure", "container/folder", {})
    assert caught.value.message == "nothing on this machine says where Azure's blobs are"


# ---------------------------------------------------------------- Google


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: Any, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8) -> str:
    text: bytes = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return text.decode()


@pytest.fixture
def file(tmp_path: Path, nothing: dict[str, str]) -> Callable[[Any], dict[str, str]]:
    """Writes a file of credentials, and returns the variables that name it."""

    def write(fields: Any) -> dict[str, str]:
        path = tmp_path / "credentials.json"
        path.write_text(fields if isinstance(fields, str) else json.dumps(fields))
        return {**nothing, "GOOGLE_APPLICATION_CREDENTIALS": str(path)}

    return write


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_a_service_account_signs_its_claim(
    form: serialization.PrivateFormat, key: rsa.RSAPrivateKey, file: Callable[[Any], dict[str, str]]
) -> None:
    with serving(_echo) as (url, _):
        account = {"type": "service_account", "client_email": "me", "private_key_id": "7", "token_uri": url}
        token = google(file({**account, "private_key": pem(key, form)})).text
    form_fields = parse_qs(token.partition(" ")[2])
    assert form_fields["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    signed, _, signature = form_fields["assertion"][0].rpartition(".")
    key.public_key().verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    header, claim = (json.loads(_decoded(part)) for part in signed.split("."))
    assert header == {"alg": "RS256", "typ": "JWT", "kid": "7"}
    assert claim.pop("exp") - claim["iat"] == 3600
    assert abs(claim.pop("iat") - time.time()) < 60
    assert claim == {"iss": "me", "scope": "https://www.googleapis.com/auth/devstorage.read_write", "aud": url}


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_user_refreshes_a_token(file: Callable[[Any], dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(_echo) as (url, _):
        monkeypatch.setattr(gs, "_TOKENS", url)
        user = {"client_id": "c", "client_secret": SECRET, "refresh_token": "r"}
        token = google(file({"type": "authorized_user", **user})).text
    assert parse_qs(token.partition(" ")[2]) == {
        "grant_type": ["refresh_token"],
        "client_id": ["c"],
        "client_secret": [SECRET],
        "refresh_token": ["r"],
    }


@pytest.mark.parametrize("is_json", [False, True])
def test_another_clouds_identity_is_exchanged(
    is_json: bool, file: Callable[[Any], dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "subject").write_text('{"t": "theirs"}' if is_json else "theirs\n")
    source: dict[str, Any] = {"file": str(tmp_path / "subject")}
    if is_json:
        source["format"] = {"type": "json", "subject_token_field_name": "t"}
    with serving(_echo) as (url, _):
        account = {"audience": "a", "subject_token_type": "jwt", "token_url": url, "credential_source": source}
        token = google(file({"type": "external_account", **account})).text
    assert parse_qs(token.partition(" ")[2])["subject_token"] == ["theirs"]


def test_another_clouds_identity_stands_for_a_service_account(file: Callable[[Any], dict[str, str]]) -> None:
    def say(asked: Asked, _: int) -> None:
        if asked.path == "/subject":
            return asked.answer("theirs")
        if asked.path == "/exchange":
            return asked.answer({"access_token": "exchanged", "expires_in": 60})
        return asked.answer({"accessToken": "account's", "expireTime": EXPIRES})

    with serving(say) as (url, asked):
        token = google(
            file(
                {
                    "type": "external_account",
                    "audience": "a",
                    "subject_token_type": "jwt",
                    "token_url": f"{url}/exchange",
                    "service_account_impersonation_url": f"{url}/account",
                    "credential_source": {"url": f"{url}/subject", "headers": {"Metadata": "True"}},
                }
            )
        )
    assert token.text == "account's"
    assert [one.path for one in asked] == ["/subject", "/exchange", "/account"]
    assert (asked[0].headers["metadata"], asked[2].headers["authorization"]) == ("True", "Bearer exchanged")


def test_a_machine_at_google_has_a_token(nothing: dict[str, str]) -> None:
    with serving(_echo) as (url, asked):
        token = google({**nothing, "GCE_METADATA_HOST": url.partition("//")[2]})
    assert token.text == "/computeMetadata/v1/instance/service-accounts/default/token "
    assert asked[0].headers["metadata-flavor"] == "Google"


def test_the_file_that_gcloud_keeps_is_looked_at(nothing: dict[str, str], tmp_path: Path, key: Any) -> None:
    with serving(_echo) as (url, _):
        fields = {"type": "service_account", "client_email": "me", "private_key": pem(key), "token_uri": url}
        for folder, variables in (
            (tmp_path / "home" / ".config" / "gcloud", {}),
            (tmp_path / "own", {"CLOUDSDK_CONFIG": str(tmp_path / "own")}),
        ):
            folder.mkdir(parents=True)
            (folder / "application_default_credentials.json").write_text(json.dumps(fields))
            assert "assertion=" in google({**nothing, **variables}).text


# ---------------------------------------------------------------- nobody, and what goes wrong


@pytest.mark.parametrize(
    ("find", "said"),
    [
        (aws, "nothing on this machine says who the task is to Amazon S3: the machine does not answer (ConnectionRefused"),
        (azure_token, "nothing on this machine says who the task is to Azure: the machine does not answer (ConnectionR"),
        (google, "nothing on this machine says who the task is to Google Cloud: the machine does not answer (Connect"),
    ],
)  # fmt: skip
def test_a_machine_that_says_nothing_is_an_error_of_its_own(find: Find, said: str, nothing: dict[str, str]) -> None:
    assert refusal(find, nothing).startswith(said)


def test_a_machine_whose_metadata_are_switched_off_is_not_asked(nothing: dict[str, str]) -> None:
    said = refusal(aws, {**nothing, "AWS_EC2_METADATA_DISABLED": "true"})
    assert said == "nothing on this machine says who the task is to Amazon S3"


def test_a_way_that_fails_is_named_and_no_other_identity_is_taken(
    nothing: dict[str, str], tmp_path: Path, file: Callable[[Any], dict[str, str]]
) -> None:
    (tmp_path / "token").write_text(SECRET)

    def say(asked: Asked, _: int) -> None:
        if asked.method == "POST":
            return asked.answer('{"error": "invalid_grant", "assertion": "' + SECRET + '"}', 400)
        return _amazon(asked, _)

    with serving(say) as (url, asked):
        web = {
            **nothing,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
            "AWS_ROLE_ARN": "r",
            "AWS_ENDPOINT_URL_STS": url,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": url,
        }
        missing = {**web, "AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such"}
        client = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_AUTHORITY_HOST": url, "IDENTITY_ENDPOINT": url}
        found = [
            refusal(aws, web),
            refusal(aws, missing),
            refusal(azure_token, {**nothing, **client, "AZURE_CLIENT_SECRET": SECRET, "IDENTITY_HEADER": "h"}),
        ]
    assert [said.partition(": ")[2] for said in found] == [
        "its web identity answers 400 invalid_grant",
        "its web identity has no `/no/such` (No such file or directory)",
        "its client answers 400 invalid_grant",
    ]
    assert {one.method for one in asked} == {"POST"}


@pytest.mark.parametrize(
    "fields",
    [
        "{",
        "[]",
        "null",
        '"service_account"',
        {"type": "service_account"},
        {"type": "service_account", "client_email": "me", "private_key": SECRET, "token_uri": NOBODY},
        {"type": "service_account", "client_email": "me", "private_key": 7, "token_uri": NOBODY},
        {
            "type": "service_account",
            "client_email": "me",
            "private_key": pem(ec.generate_private_key(ec.SECP256R1())),
            "token_uri": NOBODY,
        },
        {"type": "external_account", "credential_source": {"environment_id": "aws1", "url": NOBODY}},
        {"type": "external_account", "credential_source": {"executable": {"command": "false"}}},
        {"type": "impersonated_service_account"},
        {},
    ],
)
def test_a_file_that_cannot_be_used_is_not_passed_over(fields: Any, file: Callable[[Any], dict[str, str]]) -> None:
    with serving(_echo) as (url, asked):
        said = refusal(google, {**file(fields), "GCE_METADATA_HOST": url.partition("//")[2]})
    assert said.partition(": ")[2] == "what its file of credentials says is malformed"
    assert asked == []


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "<html>",
        "[]",
        "null",
        "7",
        {},
        {"AccessKeyId": "a", "SecretAccessKey": SECRET, "Expiration": SECRET},
        {"access_token": SECRET, "expires_on": SECRET, "expires_in": SECRET},
    ],
)
def test_an_answer_that_is_none_is_told_without_its_words(answer: Any, nothing: dict[str, str]) -> None:
    with serving(lambda asked, _: asked.answer(answer)) as (url, _):
        somewhere = {
            **nothing,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": url,
            "IDENTITY_ENDPOINT": url,
            "IDENTITY_HEADER": "h",
            "GCE_METADATA_HOST": url.partition("//")[2],
        }
        said = [refusal(find, somewhere).partition(": ")[2] for find in (aws, azure_token, google)]
    names = ("the container", "its managed identity", "the machine")
    assert said == [f"what {name} says is malformed" for name in names]


def test_who_knows_the_task_may_be_busy_for_a_moment(nothing: dict[str, str]) -> None:
    def say(asked: Asked, number: int) -> None:
        return asked.answer("", 429) if number < 3 else _amazon(asked, number)

    with serving(say) as (url, asked):
        assert aws({**nothing, "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/c"}).key == "container"
    assert len(asked) == 4


# ---------------------------------------------------------------- the vendors' own libraries


def test_a_library_of_the_vendor_is_asked_last(nothing: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace as Has

    frozen = Has(access_key="theirs", secret_key=SECRET, token=None)
    session = Has(Session=lambda: Has(get_credentials=lambda: Has(get_frozen_credentials=lambda: frozen)))
    _install(monkeypatch, "boto3", session=session)
    token = Has(token="theirs", expires_on=4070908800)
    _install(monkeypatch, "azure.identity", DefaultAzureCredential=lambda: Has(get_token=lambda _scope: token))
    refreshed = Has(refresh=lambda _request: None, token="theirs")
    auth = _install(monkeypatch, "google.auth", default=lambda scopes: (refreshed, "project"))
    _install(monkeypatch, "google", auth=auth)
    _install(monkeypatch, "google.auth.transport.requests", Request=lambda: None)
    assert tuple(aws(nothing)) == ("theirs", SECRET, None, None)
    assert azure_token(nothing) == azure.Token("theirs", 4070908800.0)
    assert google(nothing).text == "theirs"


@pytest.mark.parametrize("wrong", [RuntimeError(SECRET), OSError(SECRET), KeyError(SECRET)])
def test_a_library_that_knows_nothing_either_is_not_quoted(
    wrong: Exception, nothing: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise wrong

    _install(monkeypatch, "boto3", session=types.SimpleNamespace(Session=fail))
    _install(monkeypatch, "azure.identity", DefaultAzureCredential=fail)
    auth = _install(monkeypatch, "google.auth", default=fail)
    _install(monkeypatch, "google", auth=auth)
    _install(monkeypatch, "google.auth.transport.requests", Request=fail)
    for find in (aws, azure_token, google):
        assert refusal(find, nothing).startswith("nothing on this machine says who the task is to ")


def _install(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(members)
    monkeypatch.setitem(sys.modules, name, module)
    return module
