"""One line on how far a transfer is."""

from __future__ import annotations

import io

from mfenv.app.progress import TransferLine


def test_a_transfer_is_told_of_at_its_end() -> None:
    stream, clock = io.StringIO(), iter((0.0, 1.0))
    line = TransferLine("Caching", stream, now=lambda: next(clock))
    for _ in range(4):
        line.passed("key", 1_500_000)
    line.ended()
    assert stream.getvalue() == "Caching ... done in 1.0 seconds (4 files, 6.0 MB).\n"


def test_nothing_passed_is_no_count() -> None:
    stream = io.StringIO()
    line = TransferLine("Caching", stream, now=lambda: 0.0)
    line.ended("failed")
    assert stream.getvalue() == "Caching ... failed in 0.0 seconds.\n"
