"""How a lock came about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mfenv.domain.digest import Json, RequestKey
from mfenv.domain.platform import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How a lock came about; stored beside it, not hashed into it."""

    request: RequestKey
    target: Target
    asked: Json = None
    """What the request asked for, as `mfenv.domain.spec.EnvironmentSpec.canonical` has it; None where only its key is
    known. `mfenv.formats.spec_json` reads it."""
    resolver: str
    user: str
    time: datetime
    policy: Json = None
    """What was checked of it, where a policy was in force: see `mfenv.app.policing`."""
