"""How a lock came about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mfenv.domain.digest import RequestKey
from mfenv.domain.platform import Target
from mfenv.domain.spec import EnvironmentSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How a lock came about; stored beside it, not hashed into it."""

    request: RequestKey
    target: Target
    asked: EnvironmentSpec | None = None
    """What the request asked for, dates included; None where only its key is known."""
    resolver: str
    user: str
    time: datetime
