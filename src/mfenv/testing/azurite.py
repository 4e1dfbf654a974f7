"""Azure Blob Storage on this machine's loopback: Azurite, from npm. Needs Node.

Over TLS and with tokens, as Azure itself: Metaflow's client then works unchanged, and believes that it is on an App
Service, whose token endpoint is here too.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfenv.errors import ToolNotFound
from mfenv.io.filelock import held

VERSION = "3.37.0"
ACCOUNT = "devstoreaccount1"
"""Azurite's own, as is the key."""
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True, slots=True, kw_only=True)
class Azurite:
    """A server that runs."""

    port: int
    certificate: Path | None
    """None where it speaks plain HTTP, which a `Wire` can carry."""
    variables: dict[str, str]
    """What makes Metaflow's Azure client use it."""

    @property
    def endpoint(self) -> str:
        """The address of the blob service."""
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}/{ACCOUNT}"

    def container(self, name: str) -> Any:
        """Return azure-storage-blob's client for a container, which is made if need be. It does not pause."""
        from azure.core.exceptions import ResourceExistsError
        from azure.storage.blob import ContainerClient, LinearRetry

        verify = str(self.certificate) if self.certificate else True
        again = LinearRetry(backoff=0, random_jitter_range=0)
        client = ContainerClient(self.endpoint, name, credential=KEY, connection_verify=verify, retry_policy=again)
        with contextlib.suppress(ResourceExistsError):
            client.create_container()
        return client


def installed() -> Path:
    """Return Azurite's program, which npm installs once into the user's cache. Raises `ToolNotFound` without npm."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mfenv-testing" / f"azurite-{VERSION}"
    program = folder / "node_modules" / ".bin" / "azurite-blob"
    with held(folder / ".lock", timeout=600):
        if not program.exists():
            npm = shutil.which("npm")
            if npm is None:
                raise ToolNotFound("`npm` is not there, which brings Azurite", hint="Install Node with npm")
            command = [npm, "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(folder)]
            subprocess.run([*command, f"azurite@{VERSION}"], check=True, timeout=600, stdin=subprocess.DEVNULL)
    return program


@contextlib.contextmanager
def azurite(*, is_encrypted: bool = True) -> Iterator[Azurite]:
    """Run Azurite until the end of the block, or of this process. It takes tokens only where it `is_encrypted`."""
    program = installed()
    with tempfile.TemporaryDirectory(prefix="mfenv-azurite-") as scratch, token_server() as tokens:
        port = free_port()
        command = [str(program), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", scratch, "--silent"]
        command += ["--skipApiVersionCheck", "--disableTelemetry"]
        if not is_encrypted:
            with ends_with_this_process(command, port):
                yield Azurite(port=port, certificate=None, variables={})
            return
        certificate, key = _certificate(Path(scratch))
        command += ["--oauth", "basic", "--cert", str(certificate), "--key", str(key)]
        with ends_with_this_process(command, port):
            yield Azurite(
                port=port,
                certificate=certificate,
                variables={
                    "IDENTITY_ENDPOINT": f"http://127.0.0.1:{tokens}/msi",
                    "IDENTITY_HEADER": "any",
                    "REQUESTS_CA_BUNDLE": str(certificate),
                    "METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT": f"https://127.0.0.1:{port}/{ACCOUNT}",
                },
            )


# Ends its child when the other end of its standard input is gone: whoever is killed closes that, too.
_GUARD = """
import os, signal, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
sys.stdin.read()
child.kill()
child.wait()
"""


@contextlib.contextmanager
def ends_with_this_process(command: list[str], port: int, *, folder: Path | None = None) -> Iterator[None]:
    """Run a server until the end of the block, or of this process; wait until it listens at `port`."""
    with tempfile.TemporaryFile("w+") as log:
        guard = subprocess.Popen(
            [sys.executable, "-c", _GUARD, *command], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder
        )
        assert guard.stdin is not None
        try:
            _wait_for(port, guard, log)
            yield
        finally:
            guard.stdin.close()
            guard.wait(timeout=30)


def _wait_for(port: int, guard: subprocess.Popen[bytes], log: Any) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and guard.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    log.seek(0)
    raise RuntimeError(f"nothing listens at {port}: {log.read()[-2000:]}")


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


class _Tokens(http.server.BaseHTTPRequestHandler):
    """Gives tokens that the emulators take: as an App Service does (GET), and as OAuth does (POST)."""

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer({"access_token": _token(), "expires_on": str(int(time.time()) + 86400), "token_type": "Bearer"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer({"access_token": "any", "expires_in": 3600, "token_type": "Bearer"})

    def _answer(self, answer: dict[str, object]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _token() -> str:
    """Return a token without a signature, with the claims that Azurite looks at (its `--oauth basic`)."""
    now = int(time.time())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 86400,
    }
    parts = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims)]
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), "x"])


@contextlib.contextmanager
def token_server() -> Iterator[int]:
    """Serve tokens on loopback, and give the port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Tokens)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
