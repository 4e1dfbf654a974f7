"""From the options of `metaflow environment resolve` to locks, and to what is printed of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metaflow._vendor import click
from metaflow.metaflow_config import DEFAULT_DATASTORE
from metaflow.util import get_username

from mfenv.app.files import FileWish
from mfenv.app.resolve_files import Found, read_files, resolve
from mfenv.cli.naming import give_name, read_name, share
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.errors import InvalidSpec
from mfenv.metaflow.config import read_settings
from mfenv.metaflow.needs import metaflow_needs
from mfenv.metaflow.wiring import wire


def resolve_files(
    plain: Sequence[str],
    with_choices: Sequence[str],
    groups: Sequence[str],
    optional: Sequence[str],
    *,
    python: str | None,
    archs: Sequence[str],
    force: bool,
    names: Sequence[str],
    local_only: bool,
) -> list[dict[str, Any]]:
    """Lock what the files ask for, on each platform; return what is to be printed. Raises `EnvironmentsError`."""
    if not plain and not with_choices:
        raise InvalidSpec("there is nothing to resolve", hint="Name a file with -r, -f, -p or --lock")
    refs = [read_name(name, where="--alias") for name in names]
    wishes = [FileWish(path=Path(name), shown=name) for name in plain]
    wishes += [
        FileWish(path=Path(name), shown=name, groups=tuple(groups), optional_dependencies=tuple(optional))
        for name in with_choices
    ]
    platforms = [Platform.parse(text, where="--arch") for text in archs] or [Platform.host()]
    written = {platform: read_files(wishes, python, platform) for platform in dict.fromkeys(platforms)}
    wiring = wire(
        read_settings(),
        DEFAULT_DATASTORE,
        credentials=[found for one in written.values() for found in one.channel_credentials],
        index_secrets=[found for one in written.values() for found in one.index_secrets],
    )
    try:
        found = resolve(
            wiring,
            {platform: one.layer for platform, one in written.items()},
            default_python=PythonConstraint.minor(*sys.version_info[:2]),
            needs=metaflow_needs(DEFAULT_DATASTORE),
            user=get_username() or "unknown",
            force=force,
            tell=lambda line: click.echo(line, err=True),
        )
        if not local_only:
            share(wiring, [one.lock.id for one in found])
        locks = {one.lock.platform: one.lock.id for one in found}
        requests = {one.lock.platform: one.request.key for one in found}
        for ref in refs:
            give_name(wiring, ref, locks, requests=requests, local_only=local_only)
    finally:
        wiring.close()
    return [{**_row(one), "aliases": [str(ref) for ref in refs]} for one in found]


def _row(found: Found) -> dict[str, Any]:
    lock = found.lock
    conda = [f"{package.name} {package.version} ({package.record.build})" for package in lock.packages]
    return {
        "arch": lock.platform.value,
        "req_id": found.request.key,
        "full_id": lock.id,
        "newly_resolved": found.is_new,
        "packages": [*conda, *(f"{package.name} {package.version} (PyPI)" for package in lock.pypi)],
    }
