"""What commands begin with: the object graph from Metaflow's configuration, and what finds environments in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from metaflow.metaflow_config import DEFAULT_DATASTORE

from mfenv.app.environments import Environments
from mfenv.app.known import Found
from mfenv.app.wiring import Wiring
from mfenv.cli.reporting import looking, tell
from mfenv.cli.scope import current_scope, within
from mfenv.domain.channel import ChannelCredentials
from mfenv.domain.digest import LockId
from mfenv.domain.index import IndexSecret
from mfenv.domain.locked import LockedEnvironment
from mfenv.errors import InvalidSpec
from mfenv.io.secrets import without_secrets
from mfenv.metaflow.config import read_settings
from mfenv.metaflow.known import known_environments
from mfenv.metaflow.wiring import wire

__all__ = ["datastore", "environments", "tell", "wired"]


class _Shown(Environments):
    """Shows, on a terminal, that it is looked for what is far away."""

    def look_up(self, text: str, *, where: str, is_pathspec: bool = False) -> Found:
        with looking(f"Looking for {text}"):
            return super().look_up(text, where=where, is_pathspec=is_pathspec)

    def lock(self, lock_id: LockId, *, where: str) -> LockedEnvironment:
        with looking(f"Looking for {lock_id}"):
            return super().lock(lock_id, where=where)


def datastore() -> str:
    """Return the type of datastore that this command line is about."""
    return current_scope().datastore or str(DEFAULT_DATASTORE)


def wired(
    *,
    local_only: bool = False,
    keeps_found: bool = True,
    credentials: Iterable[ChannelCredentials] = (),
    index_secrets: Iterable[IndexSecret] = (),
) -> Wiring:
    """Return the object graph for this command line; with `local_only`, nothing is shared.

    With `keeps_found`, locks that are found in the shared store are kept in the project. Raises `InvalidSpec`.
    """
    scope = current_scope()
    if scope.metadata:
        _ask(scope.metadata)
    return wire(
        within(read_settings(), scope, datastore()),
        None if local_only else datastore(),
        keeps_found=keeps_found,
        credentials=credentials,
        index_secrets=index_secrets,
    )


def _ask(provider: str) -> None:
    """Have Metaflow's client ask another provider of metadata."""
    from metaflow import metadata
    from metaflow.exception import MetaflowException
    from metaflow.plugins import METADATA_PROVIDERS

    kind = provider.partition("@")[0]
    if kind not in {known.TYPE for known in METADATA_PROVIDERS}:
        names = ", ".join(f"`{known.TYPE}`" for known in METADATA_PROVIDERS)
        raise InvalidSpec(f"--metadata: `{kind}` keeps no metadata", hint=f"Known are {names}")
    try:
        metadata(provider)
    except (MetaflowException, ValueError) as error:
        shown, reason = (without_secrets(text, {}) for text in (provider, str(error)))
        raise InvalidSpec(f"--metadata: `{shown}` cannot be asked", output=reason) from error


@contextlib.contextmanager
def environments(*, local_only: bool = False, keeps_found: bool = False) -> Iterator[Environments]:
    """Give what finds environments; with `local_only`, this project's alone.

    It changes nothing, unless locks that are found in the shared store are to be kept in the project (`keeps_found`).
    Raises `EnvironmentsError`.
    """
    wiring = wired(local_only=local_only, keeps_found=keeps_found)
    try:
        yield _Shown(wiring, known_environments(wiring, tell))
    finally:
        wiring.close()
