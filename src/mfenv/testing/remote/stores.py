"""How launching programs and containers reach the emulators of Azure's and Google's stores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mfenv.testing.azurite import Azurite
from mfenv.testing.gs_emulator import GsEmulator


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What it takes to use a store."""

    launcher: Mapping[str, str]
    """Variables of the launching program: the store's own, and Metaflow's that make it the datastore."""
    container: Mapping[str, str]
    """Variables of containers, as a node's identity gives them."""
    volumes: Mapping[str, str]
    """What containers must see, at its own path."""
    ports: tuple[int, ...]
    """What must be open in the containers' network."""


def azure_access(server: Azurite, place: str) -> Access:
    """Return the access to an encrypted Azurite; its container `place` is made, and is Metaflow's."""
    server.container(place)
    names = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "REQUESTS_CA_BUNDLE")
    return Access(
        launcher={**server.variables, **_metaflow("azure", f"{place}/metaflow")},
        container={name: server.variables[name] for name in names},
        volumes=_shown(str(server.certificate)),
        ports=(server.port, _port(server.variables["IDENTITY_ENDPOINT"])),
    )


def gs_access(server: GsEmulator, place: str) -> Access:
    """Return the access to the emulator; its bucket `place` is made, and is Metaflow's."""
    server.bucket(place)
    folder = Path(server.variables["CLOUDSDK_CONFIG"])
    account = json.loads((folder / "application_default_credentials.json").read_text(encoding="utf-8"))
    return Access(
        launcher={**server.variables, **_metaflow("gs", f"gs://{place}/metaflow")},
        container=server.variables,
        volumes=_shown(str(folder)),
        ports=(server.port, _port(account["token_uri"])),
    )


def _metaflow(kind: str, root: str) -> dict[str, str]:
    return {"METAFLOW_DEFAULT_DATASTORE": kind, f"METAFLOW_DATASTORE_SYSROOT_{kind.upper()}": root}


def _shown(path: str) -> dict[str, str]:
    return {path: path}


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None, url
    return port
