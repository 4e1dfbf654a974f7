"""What a wheel says of itself: the part of its core metadata that is asked for later."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelMetadata:
    """Parts of a wheel's ``METADATA`` (core metadata, PEP 566 and later)."""

    requires: tuple[str, ...] = ()
    """``Requires-Dist``, as it is written: PEP 508, extras and markers included."""
    requires_python: str = ""
    license: str = ""
    """``License-Expression``, else a short ``License``."""
    summary: str = ""
