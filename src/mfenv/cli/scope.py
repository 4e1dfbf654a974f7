"""What the options of `metaflow environment` itself say, for whichever command follows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TextIO

from metaflow._vendor import click

if TYPE_CHECKING:
    from mfenv.app.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where environments are looked for, and how much is said."""

    datastore: str | None = None
    """A type of datastore; None: the one that Metaflow is configured with."""
    metadata: str | None = None
    """Whom to ask for runs; None: whom Metaflow is configured to ask."""
    root: str | None = None
    """Where environments are shared; None: where the settings say."""
    is_quiet: bool = False
    """Only answers are printed, each environment on one line."""
    copy_to: TextIO | None = None
    """Takes a copy of those lines."""


def current_scope() -> Scope:
    """Return what was said on this command line; outside of one, nothing was."""
    context = click.get_current_context(silent=True)
    while context is not None:
        if isinstance(context.obj, Scope):
            return context.obj
        context = context.parent
    return Scope()


def within(settings: Settings, scope: Scope, datastore: str) -> Settings:
    """Return the settings with the root that `scope` names put over them. Raises `InvalidSpec`."""
    if not scope.root:
        return settings
    from mfenv.errors import InvalidSpec

    _, is_address, place = scope.root.partition("://")
    if is_address and ":" in place.partition("/")[0].rpartition("@")[0]:
        raise InvalidSpec(
            "--conda-root: there is a password in the address",
            hint="Leave it out, and give it as the vendor's own tools take it",
        )
    if is_address and datastore == "local":
        raise InvalidSpec(
            f"--conda-root: `{scope.root}` is an address, and the datastore `local` takes a folder",
            hint="Name the datastore that it belongs to with --datastore",
        )
    match datastore:
        case "s3":
            return replace(settings, s3_root=scope.root)
        case "azure":
            return replace(settings, azure_root=scope.root)
        case "gs":
            return replace(settings, gs_root=scope.root)
        case "local":
            from pathlib import Path

            return replace(settings, store_root=Path(scope.root).expanduser().absolute())
    raise InvalidSpec(f"--conda-root: environments are not shared through the datastore `{datastore}`")
