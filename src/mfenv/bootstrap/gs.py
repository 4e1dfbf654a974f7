"""Google Cloud Storage, asked through its JSON interface with access tokens.

Python 3.8 and the standard library only: see `mfenv.bootstrap`. Tokens are looked for as google-auth (2.30) does for
application default credentials: a service account's key, a user's, another cloud's identity, the machine's metadata.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
import time
import urllib.parse
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from mfenv.bootstrap.http import Answer, Connections
from mfenv.bootstrap.objects import Client, first_found, place

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_TOKENS = "https://oauth2.googleapis.com/token"
_EARLY = 300.0


class Token(NamedTuple):
    """What a request is allowed by."""

    text: str
    expires: float
    """Seconds since 1970."""

    def __repr__(self) -> str:
        return "Token(...)"


class GsClient(Client):
    """The objects of a bucket, below a folder."""

    def __init__(self, root: str, environ: Mapping[str, str]) -> None:
        """Find the service, or who stands in for it."""
        self.location = root
        self._bucket, folder = place(root)
        self._folder = folder + "/" if folder else ""
        self.connections = Connections(environ)
        host = environ.get("STORAGE_EMULATOR_HOST") or "https://storage.googleapis.com"
        self._endpoint = (host if "://" in host else "http://" + host).rstrip("/")
        self._environ = environ
        self._finding = threading.Lock()
        self._found: Optional[Token] = None

    def get(self, key: str, start: int) -> Answer:
        """See `Client.get`."""
        headers = {"Range": "bytes=%d-" % start} if start else {}
        return self._ask("GET", "/storage/v1/b/%s/o/%s?alt=media" % (self._bucket, self._name(key)), headers)

    def put(self, key: str, content: bytes) -> None:
        """See `Client.put`."""
        path = "/upload/storage/v1/b/%s/o?uploadType=media&name=%s" % (self._bucket, self._name(key))
        headers = {"Content-Type": "application/octet-stream"}
        for _ in self._ask("POST", path, headers, content).blocks(1 << 16):
            pass

    def names(self, prefix: str) -> List[str]:
        """See `Client.names`."""
        found: List[str] = []
        query = {"prefix": self._folder + prefix, "fields": "items(name),nextPageToken"}
        while True:
            path = "/storage/v1/b/%s/o?%s" % (self._bucket, urllib.parse.urlencode(query))
            page = json.loads(b"".join(self._ask("GET", path, {}).blocks(1 << 16)))
            if not isinstance(page, dict):
                raise ValueError("not a page of names")  # noqa: TRY004
            found += [one["name"][len(self._folder) :] for one in page.get("items", [])]
            if not page.get("nextPageToken"):
                return sorted(found)
            query["pageToken"] = page["nextPageToken"]

    def _name(self, key: str) -> str:
        return urllib.parse.quote(self._folder + key, safe="")

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: Optional[bytes] = None) -> Answer:
        asked = {"Authorization": "Bearer " + self._token().text, **headers}
        return self.connections.ask(method, self._endpoint + path, asked, body)[1]

    def _token(self) -> Token:
        with self._finding:
            if self._found is None or self._found.expires - _EARLY < time.time():
                self._found = find_token(self._environ, self.connections)
            return self._found


def find_token(environ: Mapping[str, str], connections: Connections) -> Token:
    """Return a token for the task. Raises `NoCredentials` saying where one was looked for."""
    ways = {
        "its file of credentials": lambda: _of_file(environ, connections),
        "the machine": lambda: _of_machine(environ, connections),
    }
    found: Token = first_found(
        ways,
        _of_google_auth,
        "nothing on this machine says who the task is to Google Cloud",
        "Give the pod's service account a Google service account (workload identity), or a key in "
        "GOOGLE_APPLICATION_CREDENTIALS",
    )
    return found


def _of_file(environ: Mapping[str, str], connections: Connections) -> Optional[Token]:
    home = environ.get("HOME") or os.path.expanduser("~")
    folder = environ.get("CLOUDSDK_CONFIG") or os.path.join(home, ".config", "gcloud")
    path = environ.get("GOOGLE_APPLICATION_CREDENTIALS") or os.path.join(folder, "application_default_credentials.json")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        fields = json.load(file)
    kind = fields.get("type")
    if kind == "service_account":
        return _of_service_account(fields, connections)
    if kind == "authorized_user":
        form = {name: fields[name] for name in ("client_id", "client_secret", "refresh_token")}
        return _exchanged(connections, _TOKENS, {"grant_type": "refresh_token", **form})
    if kind == "external_account":
        return _of_external_account(fields, connections)
    raise ValueError("`%s` is a kind that only google-auth knows" % kind)


def _of_service_account(fields: Mapping[str, str], connections: Connections) -> Token:
    """Exchange a claim that is signed with the account's key (RFC 7523)."""
    url = fields.get("token_uri") or _TOKENS
    now = int(time.time())
    claim = {"iss": fields["client_email"], "scope": _SCOPE, "aud": url, "iat": now, "exp": now + 3600}
    header = {"alg": "RS256", "typ": "JWT", "kid": fields.get("private_key_id", "")}
    text = b".".join(_base64(json.dumps(one).encode()) for one in (header, claim))
    signature = _base64(sign_rs256(text, fields["private_key"]))
    assertion = (text + b"." + signature).decode()
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    return _exchanged(connections, url, form)


def _of_external_account(fields: Mapping[str, Any], connections: Connections) -> Token:
    """Exchange what another identity provider gave this machine (RFC 8693)."""
    source = fields["credential_source"]
    if "environment_id" in source:
        # Its `url` is not where the subject is, but where google-auth begins to ask AWS.
        raise ValueError("only google-auth knows this kind of source")
    if "file" in source:
        with open(source["file"], encoding="utf-8") as file:
            subject = file.read().strip()
    else:
        subject = connections.read("GET", source["url"], source.get("headers", {})).decode().strip()
    if source.get("format", {}).get("type") == "json":
        subject = json.loads(subject)[source["format"]["subject_token_field_name"]]
    form = {
        "audience": fields["audience"],
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "subject_token": subject,
        "subject_token_type": fields["subject_token_type"],
    }
    token = _exchanged(connections, fields["token_url"], form)
    url = fields.get("service_account_impersonation_url")
    if not url:
        return token
    headers = {"Authorization": "Bearer " + token.text, "Content-Type": "application/json"}
    answer = json.loads(connections.read("POST", url, headers, json.dumps({"scope": [_SCOPE]}).encode()))
    return Token(answer["accessToken"], time.time() + 3600)


def _of_machine(environ: Mapping[str, str], connections: Connections) -> Optional[Token]:
    host = environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
    url = "http://%s/computeMetadata/v1/instance/service-accounts/default/token" % host
    return _served(connections.read("GET", url, {"Metadata-Flavor": "Google"}, timeout=2.0))


def _of_google_auth() -> Optional[Token]:
    """Ask the vendor's own library, where the image has it: it knows more ways."""
    import google.auth
    from google.auth.transport.requests import Request

    found, _ = google.auth.default(scopes=[_SCOPE])
    found.refresh(Request())
    return Token(found.token, time.time() + 3000)


def _exchanged(connections: Connections, url: str, form: Dict[str, str]) -> Token:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return _served(connections.read("POST", url, headers, urllib.parse.urlencode(form).encode()))


def _served(content: bytes) -> Token:
    fields = json.loads(content)
    return Token(fields["access_token"], time.time() + float(fields.get("expires_in", 3600)))


def _base64(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


# ---------------------------------------------------------------- signatures

_SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")


def sign_rs256(content: bytes, pem: str) -> bytes:
    """Return the RSASSA-PKCS1-v1_5 signature with SHA-256 (RFC 8017, 8.2.1) by a key in PKCS #8 or #1.

    By hand, since the standard library signs nothing. The key signs once an hour, in a task that has it anyway.
    """
    modulus, exponent = _key(pem)
    length = (modulus.bit_length() + 7) // 8
    digest = _SHA256 + hashlib.sha256(content).digest()
    padded = b"\x00\x01" + b"\xff" * (length - len(digest) - 3) + b"\x00" + digest
    return pow(int.from_bytes(padded, "big"), exponent, modulus).to_bytes(length, "big")


def _key(pem: str) -> "tuple[int, int]":
    """Return modulus and private exponent. Raises `ValueError` or `IndexError` for what is no key."""
    body = "".join(line for line in pem.strip().splitlines() if "-----" not in line)
    fields = _sequence(base64.b64decode(body))
    if not isinstance(fields[1], int):
        # PKCS #8 wraps the key.
        fields = _sequence(fields[2])
    modulus, exponent = fields[1], fields[3]
    if not isinstance(modulus, int) or not isinstance(exponent, int):
        raise ValueError("not an RSA key")  # noqa: TRY004
    return modulus, exponent


def _sequence(content: bytes) -> List[Any]:
    """Return the members of a DER sequence (X.690): integers as such, others as bytes."""
    _, body, _ = _element(content, 0)
    members: List[Any] = []
    position = 0
    while position < len(body):
        tag, value, position = _element(body, position)
        members.append(int.from_bytes(value, "big") if tag == 2 else value)
    return members


def _element(content: bytes, position: int) -> "tuple[int, bytes, int]":
    tag, length, start = content[position], content[position + 1], position + 2
    if length & 0x80:
        count = length & 0x7F
        length = int.from_bytes(content[start : start + count], "big")
        start += count
    return tag, content[start : start + length], start + length
