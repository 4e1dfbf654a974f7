"""What Metaflow itself imports in a task, by type of datastore: loose, so that it never fights the user's own pins."""

from __future__ import annotations

from collections.abc import Mapping

from mfenv.domain.matchspec import MatchSpec
from mfenv.errors import InvalidSpec

# Metaflow 2.16 to 2.19: `requests` is imported with metaflow itself; the clients of the clouds when their
# datastore is used. Names are conda's. No versions: any that the user's packages leave room for will do.
_ALWAYS = ("requests",)
_FOR: Mapping[str, tuple[str, ...]] = {
    "local": (),
    "spin": (),
    "s3": ("boto3",),
    "azure": ("azure-identity", "azure-storage-blob"),
    "gs": ("google-cloud-storage", "google-auth"),
}

ANY_NEED = frozenset(MatchSpec(name=name) for names in (_ALWAYS, *_FOR.values()) for name in names)
"""All that may be needed besides what is asked for, whatever the datastore."""


def metaflow_needs(datastore_type: str) -> tuple[MatchSpec, ...]:
    """Return the packages a task needs besides the user's. Raises `InvalidSpec` for an unknown datastore."""
    if datastore_type not in _FOR:
        known = ", ".join(f"`{name}`" for name in _FOR)
        raise InvalidSpec(
            f"environments do not know the datastore `{datastore_type}`", hint=f"Known datastores are {known}"
        )
    return tuple(MatchSpec(name=name) for name in (*_ALWAYS, *_FOR[datastore_type]))
