"""Amazon S3, and what speaks its language: requests signed with Signature Version 4.

Python 3.8 and the standard library only: see `mfenv.bootstrap`. Credentials are looked for in the order of boto3 1.34:
variables, web identity, files, the container's and the machine's metadata services.
"""

from __future__ import annotations

import configparser
import hashlib
import hmac
import html
import json
import os
import re
import threading
import urllib.parse
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from mfenv.bootstrap.http import Answer, Connections, Refused
from mfenv.bootstrap.objects import Client, first_found, place

_UNSIGNED = "UNSIGNED-PAYLOAD"
_EARLY = timedelta(minutes=5)


class Credentials(NamedTuple):
    """Who asks."""

    key: str
    secret: str
    token: Optional[str] = None
    expires: Optional[datetime] = None

    def __repr__(self) -> str:
        return "Credentials(...)"


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    payload_hash: str,
    credentials: Credentials,
    region: str,
    now: datetime,
    service: str = "s3",
) -> Dict[str, str]:
    """Return `headers` with a signature (AWS Signature Version 4, in the Authorization header)."""
    parts = urllib.parse.urlsplit(url)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    signed = {**headers, "Host": parts.netloc, "X-Amz-Date": stamp}
    if service == "s3":
        signed["X-Amz-Content-Sha256"] = payload_hash
    if credentials.token:
        signed["X-Amz-Security-Token"] = credentials.token
    names = sorted(name.lower() for name in signed)
    values = {name.lower(): " ".join(value.split()) for name, value in signed.items()}
    pairs = sorted(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    query = "&".join("%s=%s" % (_quoted(name), _quoted(value)) for name, value in pairs)
    canonical = "\n".join(
        [
            method,
            parts.path or "/",
            query,
            *("%s:%s" % (name, values[name]) for name in names),
            "",
            ";".join(names),
            payload_hash,
        ]
    )
    scope = "%s/%s/%s/aws4_request" % (day, region, service)
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + credentials.secret).encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    signed["Authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
        credentials.key,
        scope,
        ";".join(names),
        signature,
    )
    return signed


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="-_.~")


class S3Client(Client):
    """The objects of a bucket, below a folder."""

    def __init__(self, root: str, environ: Mapping[str, str]) -> None:
        """Find out who asks. Raises `NoCredentials`."""
        self.location = root
        self._bucket, folder = place(root)
        self._folder = folder + "/" if folder else ""
        verify = environ.get("METAFLOW_S3_VERIFY_CERTIFICATE", "")
        self.connections = Connections({**environ, "AWS_CA_BUNDLE": verify} if os.path.isfile(verify) else environ)
        self.connections.verifies = verify.lower() not in ("0", "false")
        self._profile = _profile(environ)
        self._region = (
            environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or self._profile.get("region") or "us-east-1"
        )
        self._endpoint = (
            environ.get("METAFLOW_S3_ENDPOINT_URL")
            or environ.get("AWS_ENDPOINT_URL_S3")
            or environ.get("AWS_ENDPOINT_URL")
            or ""
        ).rstrip("/")
        self._finding = threading.Lock()
        # Whom the bucket does not have to prove itself to is not whom tokens are sent to.
        self._asking = Connections(environ)
        self._environ = environ
        self._found: Optional[Credentials] = None

    def get(self, key: str, start: int) -> Answer:
        """See `Client.get`."""
        headers = {"Range": "bytes=%d-" % start} if start else {}
        return self._ask("GET", self._folder + key, "", headers)

    def put(self, key: str, content: bytes) -> None:
        """See `Client.put`."""
        encryption = self._environ.get("METAFLOW_S3_SERVER_SIDE_ENCRYPTION")
        headers = {"x-amz-server-side-encryption": encryption} if encryption else {}
        for _ in self._ask("PUT", self._folder + key, "", headers, content).blocks(1 << 16):
            pass

    def names(self, prefix: str) -> List[str]:
        """See `Client.names`."""
        found: List[str] = []
        token = ""
        while True:
            query = "list-type=2&prefix=%s" % _quoted(self._folder + prefix)
            query += "&continuation-token=%s" % _quoted(token) if token else ""
            text = b"".join(self._ask("GET", "", query, {}).blocks(1 << 16)).decode()
            keys = re.findall(r"<Key>([^<]*)</Key>", text)
            found += [html.unescape(one)[len(self._folder) :] for one in keys]
            more = re.search(r"<NextContinuationToken>([^<]*)</NextContinuationToken>", text)
            if not more:
                return sorted(found)
            token = html.unescape(more.group(1))

    def _ask(
        self, method: str, key: str, query: str, headers: Mapping[str, str], body: Optional[bytes] = None
    ) -> Answer:
        for last in (False, True):
            url = self._url(key, query)
            payload = _UNSIGNED if url.startswith("https") else hashlib.sha256(body or b"").hexdigest()
            now = datetime.now(timezone.utc)
            signed = sign(method, url, headers, payload, self._credentials(now), self._region, now)
            try:
                return self.connections.ask(method, url, signed, body)[1]
            except Refused as refused:
                # Another region's bucket says so itself, once.
                if last or refused.region in ("", self._region):
                    raise
                self._region = refused.region
        raise AssertionError

    def _url(self, key: str, query: str) -> str:
        path = urllib.parse.quote(key, safe="/-_.~")
        tail = "?" + query if query else ""
        if self._endpoint:
            return "%s/%s/%s%s" % (self._endpoint, self._bucket, path, tail)
        if "." in self._bucket:
            return "https://s3.%s.%s/%s/%s%s" % (self._region, _domain(self._region), self._bucket, path, tail)
        return "https://%s.s3.%s.%s/%s%s" % (self._bucket, self._region, _domain(self._region), path, tail)

    def _credentials(self, now: datetime) -> Credentials:
        with self._finding:
            if self._found is None or (self._found.expires and self._found.expires - _EARLY < now):
                self._found = find_credentials(self._environ, self._asking, self._region)
            return self._found


def _domain(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


# ---------------------------------------------------------------- credentials


def find_credentials(environ: Mapping[str, str], connections: Connections, region: str) -> Credentials:
    """Return who the task is. Raises `NoCredentials` saying where it was looked for."""
    ways = {
        "the task": lambda: _of_variables(environ),
        "its web identity": lambda: _of_web_identity(environ, connections, region),
        "its profile": lambda: _of_profile(_profile(environ)),
        "the container": lambda: _of_container(environ, connections),
        "the machine": lambda: _of_machine(environ, connections),
    }
    found: Credentials = first_found(
        ways,
        _of_boto3,
        "nothing on this machine says who the task is to Amazon S3",
        "Give the job a role (METAFLOW_ECS_S3_ACCESS_IAM_ROLE, or the pod's service account), or AWS_ variables; "
        "looked for were variables, a web identity, files, and the metadata of container and machine",
    )
    return found


def _of_variables(environ: Mapping[str, str]) -> Optional[Credentials]:
    key, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    return Credentials(key, secret, environ.get("AWS_SESSION_TOKEN") or None) if key and secret else None


def _of_web_identity(environ: Mapping[str, str], connections: Connections, region: str) -> Optional[Credentials]:
    path, role = environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"), environ.get("AWS_ROLE_ARN")
    if not path or not role:
        return None
    with open(path, encoding="utf-8") as file:
        token = file.read().strip()
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": environ.get("AWS_ROLE_SESSION_NAME") or "metaflow-task",
        "WebIdentityToken": token,
    }
    host = environ.get("AWS_ENDPOINT_URL_STS") or environ.get("AWS_ENDPOINT_URL")
    url = host or "https://sts.%s.%s" % (region, _domain(region))
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    text = connections.read("POST", url.rstrip("/") + "/", headers, urllib.parse.urlencode(form).encode()).decode()
    if text.lstrip().startswith("{"):
        fields = json.loads(text)["AssumeRoleWithWebIdentityResponse"]["AssumeRoleWithWebIdentityResult"]["Credentials"]
        expires: Optional[datetime] = datetime.fromtimestamp(float(fields["Expiration"]), timezone.utc)
    else:
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
        found = {name: re.search("<%s>([^<]+)</%s>" % (name, name), text) for name in names}
        fields = {name: html.unescape(match.group(1)) for name, match in found.items() if match}
        expires = _time(fields.get("Expiration"))
    return Credentials(fields["AccessKeyId"], fields["SecretAccessKey"], fields["SessionToken"], expires)


def _profile(environ: Mapping[str, str]) -> Dict[str, str]:
    """Return what the user's files say of a profile."""
    home = environ.get("HOME") or os.path.expanduser("~")
    name = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default"
    found: Dict[str, str] = {}
    for variable, default, section in (
        ("AWS_CONFIG_FILE", "config", name if name == "default" else "profile %s" % name),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    ):
        parser = configparser.RawConfigParser()
        try:
            parser.read(environ.get(variable) or os.path.join(home, ".aws", default), encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue
        if parser.has_section(section):
            found.update(parser.items(section))
    return found


def _of_profile(profile: Mapping[str, str]) -> Optional[Credentials]:
    key, secret = profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")
    return Credentials(key, secret, profile.get("aws_session_token")) if key and secret else None


def _of_container(environ: Mapping[str, str], connections: Connections) -> Optional[Credentials]:
    """ECS, Batch and EKS Pod Identity give credentials at an address of their own."""
    relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    url = "http://169.254.170.2" + relative if relative else environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if not url:
        return None
    token = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    if environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        with open(environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"], encoding="utf-8") as file:
            token = file.read().strip()
    return _served(connections.read("GET", url, {"Authorization": token} if token else {}, timeout=5.0))


def _of_machine(environ: Mapping[str, str], connections: Connections) -> Optional[Credentials]:
    """EC2's metadata service, version 2: first a token, then the role, then its credentials."""
    if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    base = (environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or "http://169.254.169.254").rstrip("/")
    asked = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
    token = connections.read("PUT", base + "/latest/api/token", asked, timeout=2.0).decode()
    headers = {"X-aws-ec2-metadata-token": token}
    roles = base + "/latest/meta-data/iam/security-credentials/"
    role = connections.read("GET", roles, headers, timeout=2.0).decode().split("\n")[0]
    return _served(connections.read("GET", roles + role, headers, timeout=2.0))


def _served(content: bytes) -> Credentials:
    fields: Dict[str, Any] = json.loads(content)
    return Credentials(
        fields["AccessKeyId"], fields["SecretAccessKey"], fields.get("Token"), _time(fields.get("Expiration"))
    )


def _time(text: Optional[str]) -> Optional[datetime]:
    if not text:
        return None
    return datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)


def _of_boto3() -> Optional[Credentials]:
    """Ask the vendor's own library, where the image has it: it knows more ways."""
    import boto3  # type: ignore[import-untyped, unused-ignore]

    found = boto3.session.Session().get_credentials()
    frozen = found.get_frozen_credentials() if found else None
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token) if frozen else None
