"""What a step runs in: the one value that travels from the launch to the task."""

from __future__ import annotations

from dataclasses import dataclass

from mfenv.domain.base import NamedBase, PathspecBase
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """The step runs in an environment that is looked up when its task starts."""

    base: NamedBase | PathspecBase
    """As the user wrote it, variables and all."""
    platform: Platform


StepAssignment = Disabled | Locked | Deferred
