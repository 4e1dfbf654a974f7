"""What the demo asks a channel, inside the helper process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from rattler import Channel, Client, Gateway, MatchSpec, Subdir

from mfenv.domain.digest import Json
from mfenv.domain.platform import Platform
from mfenv.errors import EnvironmentsError
from mfenv.io.worker_main import Emit


async def versions(payload: Mapping[str, Any], emit: Emit) -> Json:  # noqa: ARG001
    """List the versions of a package for the running Python on a channel.

    Raises `EnvironmentsError` when the channel does not answer within the given seconds.
    """
    gateway = Gateway(cache_dir=payload["cache"], client=Client.default_client())
    subdirs = [Subdir(Platform.host().value), Subdir("noarch")]
    query = gateway.query([Channel(payload["channel"])], subdirs, [MatchSpec(payload["name"])], recursive=False)
    try:
        found = await asyncio.wait_for(query, payload["seconds"])
    except Exception as error:
        raise EnvironmentsError(f"the channel `{payload['channel']}` does not answer", output=str(error)) from error
    records = [record for records in found for record in records]
    return list({str(record.version) for record in records if _is_for_this_python(record.depends)})


def _is_for_this_python(depends: list[str]) -> bool:
    """Tell whether a compiled package is for the running minor version: it depends on ``python >=3.11,<3.12…``."""
    major, minor = sys.version_info[:2]
    wanted = f"python >={major}.{minor},<{major}.{minor + 1}"
    return any(depend.startswith(wanted) for depend in depends)
