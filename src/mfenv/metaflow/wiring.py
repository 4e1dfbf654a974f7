"""The object graph from Metaflow's configuration: the same for flows and for the command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from metaflow.metaflow_config import DATASTORE_LOCAL_DIR
from metaflow.plugins.datastores.local_storage import LocalStorage

from mfenv.app.settings import Settings
from mfenv.app.wiring import Wiring
from mfenv.domain.channel import ChannelCredentials
from mfenv.domain.index import IndexSecret
from mfenv.metaflow.datastore import shared_store


def wire(
    settings: Settings,
    datastore_type: str | None,
    *,
    keeps_found: bool = True,
    credentials: Iterable[ChannelCredentials] = (),
    index_secrets: Iterable[IndexSecret] = (),
) -> Wiring:
    """Return the object graph of the project at hand, which shares through the datastore of type `datastore_type`.

    Without one, nothing is shared. With `keeps_found`, locks that are found there are kept in the project.
    """
    project = local_datastore()
    return Wiring(
        settings,
        project=project,
        open_store=lambda: shared_store(datastore_type, settings, project / "conda_env") if datastore_type else None,
        keeps_found=keeps_found,
        credentials=credentials,
        index_secrets=index_secrets,
    )


def local_datastore() -> Path:
    """Return the folder of the local datastore: the nearest upwards, or where the first run will make it."""
    sysroot = LocalStorage.get_datastore_root_from_config(lambda *_args, **_kwargs: None, create_on_absent=False)
    return Path(sysroot or Path.cwd() / DATASTORE_LOCAL_DIR)
