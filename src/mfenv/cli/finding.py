"""What commands begin with: the object graph from Metaflow's configuration, and what finds environments in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from metaflow._vendor import click
from metaflow.metaflow_config import DEFAULT_DATASTORE

from mfenv.app.environments import Environments
from mfenv.metaflow.config import read_settings
from mfenv.metaflow.known import known_environments
from mfenv.metaflow.wiring import wire


def tell(line: str) -> None:
    """Print a line that is not part of the answer."""
    click.echo(line, err=True)


@contextlib.contextmanager
def environments(*, local_only: bool = False) -> Iterator[Environments]:
    """Give what finds environments; with `local_only`, this project's alone. Raises `EnvironmentsError`."""
    wiring = wire(read_settings(), None if local_only else DEFAULT_DATASTORE)
    try:
        yield Environments(wiring, known_environments(wiring, tell))
    finally:
        wiring.close()
