"""Signatures: against what Amazon published, what botocore makes, and what `cryptography` verifies."""

from __future__ import annotations

import base64
import hashlib
import urllib.parse
from datetime import datetime, timezone

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from mfenv.bootstrap import gs, s3

NOTHING = hashlib.sha256(b"").hexdigest()

# ---------------------------------------------------------------- AWS Signature Version 4

S3_EXAMPLE = s3.Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


@pytest.mark.parametrize(
    ("method", "url", "headers", "payload", "names", "signature"),
    [
        (
            "GET",
            "https://examplebucket.s3.amazonaws.com/test.txt",
            {"Range": "bytes=0-9"},
            b"",
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "https://examplebucket.s3.amazonaws.com/test%24file.text",
            {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            b"Welcome to Amazon S3.",
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "https://examplebucket.s3.amazonaws.com/?lifecycle",
            {},
            b"",
            "host;x-amz-content-sha256;x-amz-date",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J",
            {},
            b"",
            "host;x-amz-content-sha256;x-amz-date",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
    ids=["get", "put", "lifecycle", "list"],
)
def test_requests_are_signed_as_in_amazons_own_examples(
    method: str, url: str, headers: dict[str, str], payload: bytes, names: str, signature: str
) -> None:
    """The examples of "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)"."""
    signed = s3.sign(
        method,
        url,
        headers,
        hashlib.sha256(payload).hexdigest(),
        S3_EXAMPLE,
        "us-east-1",
        datetime(2013, 5, 24, tzinfo=timezone.utc),
    )
    assert signed == {
        **headers,
        "Host": "examplebucket.s3.amazonaws.com",
        "X-Amz-Date": "20130524T000000Z",
        "X-Amz-Content-Sha256": hashlib.sha256(payload).hexdigest(),
        "Authorization": "AWS4-HMAC-SHA256 "
        "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}",
    }


@pytest.mark.parametrize(
    ("method", "query", "signature"),
    [
        ("GET", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("GET", "?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    ],
    ids=["get-vanilla", "post-vanilla", "get-vanilla-query-order-key-case"],
)
def test_requests_are_signed_as_in_amazons_test_suite(method: str, query: str, signature: str) -> None:
    """Cases of Amazon's "Signature Version 4 test suite", by their names there."""
    who = s3.Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    now = datetime(2015, 8, 30, 12, 36, tzinfo=timezone.utc)
    url = f"https://example.amazonaws.com/{query}"
    signed = s3.sign(method, url, {}, NOTHING, who, "us-east-1", now, service="service")
    assert signed["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}"
    )


PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    key=ANY,
    query=st.dictionaries(st.sampled_from(["prefix", "list-type", "continuation-token", "a"]), ANY),
    range_=st.none() | st.text(PRINTABLE, min_size=1, max_size=20).filter(str.strip),
    token=st.none() | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1),
    region=st.sampled_from(["us-east-1", "eu-north-1"]),
)
def test_every_request_is_signed_as_botocore_does_it(
    key: str, query: dict[str, str], range_: str | None, token: str | None, region: str
) -> None:
    encoded = "&".join(f"{name}={urllib.parse.quote(value, safe='-_.~')}" for name, value in query.items())
    url = f"https://bucket.example.org/{urllib.parse.quote(key, safe='/-_.~')}" + (f"?{encoded}" if encoded else "")
    headers = {} if range_ is None else {"Range": range_}
    request = AWSRequest("GET", url, headers, b"")
    S3SigV4Auth(Credentials("me", "secret", token), "s3", region).add_auth(request)
    # botocore signs at its own time.
    now = datetime.strptime(request.context["timestamp"], "%Y%m%dT%H%M%S%z")
    ours = s3.sign("GET", url, headers, NOTHING, s3.Credentials("me", "secret", token), region, now)
    assert ours["Authorization"] == request.headers["Authorization"]


# ---------------------------------------------------------------- RS256


@pytest.fixture(scope="module", params=[2048, 2051])
def key(request: pytest.FixtureRequest) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=request.param)


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_claims_are_signed_with_keys_of_every_form(key: rsa.RSAPrivateKey, form: serialization.PrivateFormat) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    for content in (b"", b"claim", bytes(range(256)) * 100):
        signature = gs.sign_rs256(content, pem)
        assert signature == key.sign(content, padding.PKCS1v15(), hashes.SHA256())
        # As a file of JSON has it on other systems.
        assert gs.sign_rs256(content, "\n" + pem.replace("\n", "\r\n")) == signature


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_what_is_no_key_is_an_error_of_few_kinds(content: bytes) -> None:
    with pytest.raises((ValueError, LookupError, TypeError)):
        gs.sign_rs256(b"claim", base64.b64encode(content).decode())
