"""What a step runs in: the one value that travels from the launch to the task."""

from __future__ import annotations

from dataclasses import dataclass

from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.platform import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Disabled:
    """The step runs in the interpreter that launched the flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """The step runs in the environment that a lock describes."""

    request: RequestKey
    lock: LockId
    platform: Platform


StepAssignment = Disabled | Locked
