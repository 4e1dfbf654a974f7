"""Stores in the places that Metaflow's datastores are in, through the clients that Metaflow makes for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metaflow import metaflow_config
from metaflow.exception import MetaflowException

from mfenv.app.settings import Settings
from mfenv.errors import StoreError
from mfenv.store.backends.local import LocalBlobStore
from mfenv.store.base import BlobStore
from mfenv.store.objects import ObjectBlobStore, ObjectClient

_FOLDER = "conda_env"


def shared_store(datastore_type: str, settings: Settings, local_root: Path) -> BlobStore | None:
    """Return the store that goes with a datastore: where the settings say, else in its folder ``conda_env``.

    For the datastore ``local`` that is `local_root`. None for a datastore that nothing is to be shared through. Raises
    `StoreError` when it is not said where it is, or its client is not installed.
    """
    if datastore_type in settings.ignore_caching_datastores:
        return None
    match datastore_type:
        case "local" | "spin":
            return LocalBlobStore(settings.store_root or local_root)
        case "s3" | "azure" | "gs":
            return store_at(datastore_type, root_of(datastore_type, settings))
    raise StoreError(
        f"environments cannot be shared through the datastore `{datastore_type}`",
        hint=f'Set METAFLOW_CONDA_IGNORE_CACHING_DATASTORES to `["{datastore_type}"]` to do without',
    )


def root_of(datastore_type: str, settings: Settings) -> str:
    """Return where the environments of a datastore in the cloud are. Raises `StoreError`."""
    chosen = {"s3": settings.s3_root, "azure": settings.azure_root, "gs": settings.gs_root}[datastore_type]
    if chosen:
        return chosen
    name = datastore_type.upper()
    sysroot = getattr(metaflow_config, f"DATASTORE_SYSROOT_{name}", None)
    if not sysroot:
        raise StoreError(
            f"it is not said where environments are shared with the datastore `{datastore_type}`",
            hint=f"Set METAFLOW_DATASTORE_SYSROOT_{name}, or METAFLOW_CONDA_{name}ROOT",
        )
    return f"{str(sysroot).rstrip('/')}/{_FOLDER}"


def store_at(kind: str, root: str) -> BlobStore:
    """Return the store of a kind (``local``, ``s3``, ``azure``, ``gs``) at `root`, such as ``s3://bucket/folder``.

    Raises `StoreError`.
    """
    if kind == "local":
        return LocalBlobStore(Path(root).expanduser().absolute())
    _, _, place = root.rpartition("://")
    name, _, prefix = place.strip("/").partition("/")
    if not name:
        raise StoreError(f"`{root}` is not a place for environments", hint=f"Write for example `{_EXAMPLES[kind]}`")
    make = {"s3": _s3, "azure": _azure, "gs": _gs}[kind]
    try:
        return ObjectBlobStore(make(name, prefix))
    except (MetaflowException, ImportError, ValueError) as error:
        raise StoreError(
            f"the datastore `{kind}` cannot be used from here: {' '.join(str(error).split())}",
            hint=f"Install what Metaflow needs for it: {_PACKAGES[kind]}",
        ) from error


_EXAMPLES = {"s3": "s3://bucket/folder", "azure": "container/folder", "gs": "gs://bucket/folder"}
_PACKAGES = {
    "s3": "boto3",
    "azure": "azure-identity and azure-storage-blob",
    "gs": "google-cloud-storage and google-auth",
}


def _s3(bucket: str, prefix: str) -> ObjectClient:
    from metaflow.plugins.datatools.s3.s3util import get_s3_client

    from mfenv.store.backends.s3 import S3ObjectClient

    client, _ = get_s3_client()
    return S3ObjectClient(client, bucket, prefix)


def _azure(container: str, prefix: str) -> ObjectClient:
    import azure.storage.blob  # noqa: F401
    from metaflow.plugins.azure.blob_service_client_factory import get_azure_blob_service_client

    from mfenv.store.backends.azure import AzureObjectClient

    # Metaflow keeps a client for each thread.
    def client() -> Any:
        return get_azure_blob_service_client().get_container_client(container)

    # What is not configured is told here, and not in the middle of something.
    client()
    return AzureObjectClient(client, container, prefix)


def _gs(bucket: str, prefix: str) -> ObjectClient:
    import google.cloud.storage  # noqa: F401
    from metaflow.plugins.gcp.gs_storage_client_factory import get_gs_storage_client

    from mfenv.store.backends.gs import GsObjectClient

    # Metaflow keeps a client for each thread.
    def client() -> Any:
        return get_gs_storage_client().bucket(bucket)

    return GsObjectClient(client, bucket, prefix)
