"""Google Cloud Storage on this machine's loopback: gcp-storage-emulator, in a virtual environment of its own.

Its requirements are older than ours. Metaflow's client works unchanged: it finds a service account whose tokens come
from here. Two things that Google Storage does and the emulator does not are added as the JSON API's reference has them
("Request preconditions"; "Objects: patch"): the condition ``ifGenerationMatch=0``, and a time that goes on with an
object's metadata.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfenv.io.filelock import held
from mfenv.testing.azurite import ends_with_this_process, free_port, token_server

VERSION = "2026.7.19"


_SERVE = """
import sys
from datetime import datetime, timezone
from http import HTTPStatus

from gcp_storage_emulator.handlers import objects
from gcp_storage_emulator.storage import Storage

class Taken(Exception):
    pass

insert, patch, create_file = objects.insert, objects.patch, Storage.create_file
is_conditional = [False]

def create_file_if_asked(self, bucket_name, file_name, *arguments, **options):
    if is_conditional[0] and file_name in self.objects.get(bucket_name, {}):
        raise Taken
    return create_file(self, bucket_name, file_name, *arguments, **options)

def insert_if_asked(request, response, storage, *arguments, **options):
    is_conditional[0] = request.query.get("ifGenerationMatch") == ["0"]
    try:
        insert(request, response, storage, *arguments, **options)
    except Taken:
        response.status = HTTPStatus.PRECONDITION_FAILED
        response.json({"error": {"code": 412, "message": "At least one of the pre-conditions did not hold."}})

def patch_and_age(request, response, storage, *arguments, **options):
    patch(request, response, storage, *arguments, **options)
    found = storage.objects.get(request.params["bucket_name"], {}).get(request.params["object_id"])
    if found:
        found["updated"] = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

objects.insert, objects.patch, Storage.create_file = insert_if_asked, patch_and_age, create_file_if_asked

from gcp_storage_emulator.__main__ import main

main(sys.argv[1:])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GsEmulator:
    """A server that runs."""

    port: int
    variables: dict[str, str]
    """What makes Metaflow's Google client use it."""

    def bucket(self, name: str) -> Any:
        """Return google-cloud-storage's bucket of this name, made if need be."""
        from google.api_core.exceptions import Conflict
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        client = storage.Client(
            project="any",
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": f"http://127.0.0.1:{self.port}"},
        )
        with contextlib.suppress(Conflict):
            client.create_bucket(name)
        return client.bucket(name)


def installed() -> Path:
    """Return a Python that has the emulator; pip installs it once into the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mfenv-testing"
    name = f"gs-emulator-{VERSION}-{sys.version_info.major}.{sys.version_info.minor}"
    folder, ready = cache / name, cache / name / ".ready"
    python = folder / "bin" / "python"
    with held(cache / f"{name}.lock", timeout=600):
        if not ready.exists():
            venv.create(folder, with_pip=True, clear=True)
            command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run(
                [*command, f"gcp-storage-emulator=={VERSION}", "setuptools<80"],
                check=True,
                timeout=600,
                stdin=subprocess.DEVNULL,
            )
            ready.touch()
    return python


@contextlib.contextmanager
def gs_emulator() -> Iterator[GsEmulator]:
    """Run the emulator until the end of the block, or of this process."""
    python = installed()
    with tempfile.TemporaryDirectory(prefix="mfenv-gs-") as scratch, token_server() as tokens:
        port = free_port()
        command = [str(python), "-c", _SERVE, "start", "--host", "127.0.0.1", "--port", str(port)]
        with ends_with_this_process([*command, "--in-memory"], port, folder=Path(scratch)):
            yield GsEmulator(
                port=port,
                variables={
                    "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
                    # Rather than GOOGLE_APPLICATION_CREDENTIALS, which other tools look at as well.
                    "CLOUDSDK_CONFIG": str(_account(Path(scratch), tokens)),
                },
            )


def _account(folder: Path, tokens: int) -> Path:
    """Write the default credentials of a service account, and return the folder of them."""
    key = folder / "key.pem"
    command = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    account = {
        "type": "service_account",
        "project_id": "any",
        "private_key_id": "any",
        "private_key": key.read_text(encoding="utf-8"),
        "client_email": "any@any.example.org",
        "client_id": "1",
        "token_uri": f"http://127.0.0.1:{tokens}/token",
    }
    (folder / "application_default_credentials.json").write_text(json.dumps(account), encoding="utf-8")
    return folder
