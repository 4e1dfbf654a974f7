"""Azure Blob Storage, asked with bearer tokens.

Python 3.8 and the standard library only: see `mfenv.bootstrap`. Tokens are looked for in the order of azure-identity's
`DefaultAzureCredential` (1.17), as far as tasks have them: a client's secret, a workload's
identity, a managed identity.
"""

from __future__ import annotations

import html
import json
import re
import threading
import time
import urllib.parse
from email.utils import formatdate
from typing import Dict, List, Mapping, NamedTuple, Optional

from mfenv.bootstrap.http import Answer, Connections
from mfenv.bootstrap.objects import Client, NoCredentials, first_found, place

_SCOPE = "https://storage.azure.com"
_VERSION = "2021-12-02"
_EARLY = 300.0


class Token(NamedTuple):
    """What a request is allowed by."""

    text: str
    expires: float
    """Seconds since 1970."""

    def __repr__(self) -> str:
        return "Token(...)"


class AzureClient(Client):
    """The blobs of a container, below a folder."""

    def __init__(self, root: str, environ: Mapping[str, str]) -> None:
        """Find the account."""
        self.location = root
        self._container, folder = place(root)
        self._folder = folder + "/" if folder else ""
        self.connections = Connections(environ)
        self._endpoint = environ.get("METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT", "").rstrip("/")
        if not self._endpoint:
            raise NoCredentials(
                "nothing on this machine says where Azure's blobs are",
                hint="Set METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT where the flow is launched",
            )
        self._environ = environ
        self._finding = threading.Lock()
        self._found: Optional[Token] = None

    def get(self, key: str, start: int) -> Answer:
        """See `Client.get`."""
        headers = {"x-ms-range": "bytes=%d-" % start} if start else {}
        return self._ask("GET", self._folder + key, "", headers)

    def put(self, key: str, content: bytes) -> None:
        """See `Client.put`."""
        for _ in self._ask("PUT", self._folder + key, "", {"x-ms-blob-type": "BlockBlob"}, content).blocks(1 << 16):
            pass

    def names(self, prefix: str) -> List[str]:
        """See `Client.names`."""
        found: List[str] = []
        marker = ""
        while True:
            query = {"restype": "container", "comp": "list", "prefix": self._folder + prefix}
            query.update({"marker": marker} if marker else {})
            text = b"".join(self._ask("GET", "", urllib.parse.urlencode(query), {}).blocks(1 << 16)).decode("utf-8-sig")
            found += [html.unescape(one)[len(self._folder) :] for one in re.findall(r"<Name>([^<]*)</Name>", text)]
            more = re.search(r"<NextMarker>([^<]+)</NextMarker>", text)
            if not more:
                return sorted(found)
            marker = html.unescape(more.group(1))

    def _ask(
        self, method: str, key: str, query: str, headers: Mapping[str, str], body: Optional[bytes] = None
    ) -> Answer:
        path = urllib.parse.quote("/".join(filter(None, (self._container, key))))
        url = "%s/%s%s" % (self._endpoint, path, "?" + query if query else "")
        asked = {
            "Authorization": "Bearer " + self._token().text,
            "x-ms-version": _VERSION,
            "x-ms-date": formatdate(usegmt=True),
            **headers,
        }
        return self.connections.ask(method, url, asked, body)[1]

    def _token(self) -> Token:
        with self._finding:
            if self._found is None or self._found.expires - _EARLY < time.time():
                self._found = find_token(self._environ, self.connections)
            return self._found


def find_token(environ: Mapping[str, str], connections: Connections) -> Token:
    """Return a token for the task. Raises `NoCredentials` saying where one was looked for."""
    ways = {
        "its client": lambda: _of_client(environ, connections),
        "its managed identity": lambda: _of_app_service(environ, connections),
        "the machine": lambda: _of_machine(environ, connections),
    }
    found: Token = first_found(
        ways,
        _of_azure_identity,
        "nothing on this machine says who the task is to Azure",
        "Give the pod a workload identity or a managed identity, or AZURE_CLIENT_ID, AZURE_TENANT_ID and "
        "AZURE_CLIENT_SECRET",
    )
    return found


def _of_client(environ: Mapping[str, str], connections: Connections) -> Optional[Token]:
    """A client with a secret, or with a token that its cluster gave it (workload identity)."""
    tenant, client = environ.get("AZURE_TENANT_ID"), environ.get("AZURE_CLIENT_ID")
    secret, path = environ.get("AZURE_CLIENT_SECRET"), environ.get("AZURE_FEDERATED_TOKEN_FILE")
    if not tenant or not client or not (secret or path):
        return None
    form = {"client_id": client, "grant_type": "client_credentials", "scope": _SCOPE + "/.default"}
    if secret:
        form["client_secret"] = secret
    else:
        with open(str(path), encoding="utf-8") as file:
            form["client_assertion"] = file.read().strip()
        form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    authority = (environ.get("AZURE_AUTHORITY_HOST") or "https://login.microsoftonline.com").rstrip("/")
    url = "%s/%s/oauth2/v2.0/token" % (authority if "://" in authority else "https://" + authority, tenant)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return _served(connections.read("POST", url, headers, urllib.parse.urlencode(form).encode()))


def _of_app_service(environ: Mapping[str, str], connections: Connections) -> Optional[Token]:
    address, header = environ.get("IDENTITY_ENDPOINT"), environ.get("IDENTITY_HEADER")
    if not address or not header:
        return None
    query = {"api-version": "2019-08-01", "resource": _SCOPE, **_client_id(environ)}
    url = address + "?" + urllib.parse.urlencode(query)
    return _served(connections.read("GET", url, {"X-IDENTITY-HEADER": header}))


def _of_machine(environ: Mapping[str, str], connections: Connections) -> Optional[Token]:
    query = {"api-version": "2018-02-01", "resource": _SCOPE, **_client_id(environ)}
    host = environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST") or "http://169.254.169.254"
    url = host.rstrip("/") + "/metadata/identity/oauth2/token?" + urllib.parse.urlencode(query)
    return _served(connections.read("GET", url, {"Metadata": "true"}, timeout=2.0))


def _client_id(environ: Mapping[str, str]) -> Dict[str, str]:
    return {"client_id": environ["AZURE_CLIENT_ID"]} if environ.get("AZURE_CLIENT_ID") else {}


def _served(content: bytes) -> Token:
    fields = json.loads(content)
    expires = float(fields["expires_on"]) if "expires_on" in fields else time.time() + float(fields["expires_in"])
    return Token(fields["access_token"], expires)


def _of_azure_identity() -> Optional[Token]:
    """Ask the vendor's own library, where the image has it: it knows more ways."""
    from azure.identity import DefaultAzureCredential

    found = DefaultAzureCredential().get_token(_SCOPE + "/.default")
    return Token(found.token, float(found.expires_on))
