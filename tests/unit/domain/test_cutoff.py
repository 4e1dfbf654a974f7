"""Dates and durations after which nothing counts."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from mfenv.domain.cutoff import check_cutoff, parse_cutoff
from mfenv.errors import InvalidSpec

NOW = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-01-31", "2025-02-01T00:00:00+00:00"),
        ("2024-02-28", "2024-02-29T00:00:00+00:00"),
        ("2025-01-31T12:00:00Z", "2025-01-31T12:00:00+00:00"),
        ("2025-01-31T12:00:00+02:00", "2025-01-31T12:00:00+02:00"),
        ("2025-01-31T12:00:00", "2025-01-31T12:00:00+00:00"),
        ("30 days", "2025-01-30T12:00:00+00:00"),
        ("1 week ago", "2025-02-22T12:00:00+00:00"),
        ("12HOURS", "2025-03-01T00:00:00+00:00"),
        (" 1 day ", "2025-02-28T12:00:00+00:00"),
    ],
)
def test_reads_dates_and_durations(text: str, moment: str) -> None:
    assert parse_cutoff(text, now=NOW).isoformat() == moment
    assert check_cutoff(text, where="there") == text.strip()


@pytest.mark.parametrize(
    "text", ["", "soon", "2025-13-01", "30", "30 months", "-1 days", "31.01.2025", "9999999999 weeks"]
)
def test_refuses_anything_else(text: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        check_cutoff(text, where="METAFLOW_CONDA_EXCLUDE_NEWER")
    assert caught.value.message == f"METAFLOW_CONDA_EXCLUDE_NEWER: `{text}` is neither a date nor a time ago"
