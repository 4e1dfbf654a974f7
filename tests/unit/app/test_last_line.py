"""What a line says of a transfer when it is over."""

from __future__ import annotations

import io

import pytest

from mfenv.app.reporting import Live


@pytest.mark.parametrize(
    ("sizes", "how", "said"),
    [
        ([1_500_000] * 4, "done", "Caching ... done in 1.0 seconds (4 files, 6.0 MB).\n"),
        ([10], "stopped", "Caching ... stopped in 1.0 seconds (1 file, 10 B).\n"),
        ([], "failed", "Caching ... failed in 1.0 seconds.\n"),
    ],
)
def test_a_transfer_is_told_of_at_its_end(sizes: list[int], how: str, said: str) -> None:
    stream, clock = io.StringIO(), iter((0.0, 1.0))
    with Live("Caching", noun="files", stream=stream, now=lambda: next(clock)) as live:
        for size in sizes:
            live.passed("key", size)
    live.ended(how)
    assert stream.getvalue() == said
