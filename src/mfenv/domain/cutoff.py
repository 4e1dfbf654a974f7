"""Dates after which nothing counts."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from mfenv.errors import InvalidSpec

_AGO = re.compile(r"(?P<count>\d+)\s*(?P<unit>hour|day|week)s?(\s+ago)?")
_UNITS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}


def check_cutoff(text: str, *, where: str) -> str:
    """Return a date or duration in the form that all tools read; raise `InvalidSpec` naming `where`."""
    text = text.strip()
    try:
        parse_cutoff(text, now=datetime.now(timezone.utc))
    except ValueError:
        raise InvalidSpec(
            f"{where}: `{text}` is neither a date nor a time ago",
            hint="Write `2025-01-31`, `2025-01-31T12:00:00Z` or `30 days`",
        ) from None
    return text


def parse_cutoff(text: str, *, now: datetime) -> datetime:
    """Return the moment that `text` means; a date alone means its end (UTC), as for uv. Raises `ValueError`.

    >>> parse_cutoff("2 days", now=datetime(2025, 1, 31, tzinfo=timezone.utc)).isoformat()
    '2025-01-29T00:00:00+00:00'
    """
    if found := _AGO.fullmatch(text.strip().lower()):
        try:
            return now - int(found["count"]) * _UNITS[found["unit"]]
        except OverflowError as error:
            raise ValueError(f"`{text}` is before all dates") from error
    moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    if len(text.strip()) == len("2025-01-31"):
        moment += timedelta(days=1)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
