"""One line on how far a transfer is."""

from __future__ import annotations

import io

import pytest

from mfenv.app.progress import TransferLine


class Stream(io.StringIO):
    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


GROWING = (
    "\rCaching ... 2 files, 3.0 MB\rCaching ... 4 files, 6.0 MB"
    "\rCaching ... done in 1.0 seconds (4 files, 6.0 MB).            \n"
)


@pytest.mark.parametrize(
    ("is_terminal", "times", "expected"),
    [
        (False, (0.0, 1.0), "Caching ... done in 1.0 seconds (4 files, 6.0 MB).\n"),
        (True, (0.0, 0.05, 0.5, 0.5, 0.55, 0.7, 0.7, 1.0), GROWING),
    ],
)
def test_a_terminal_sees_it_grow_and_others_its_end(is_terminal: bool, times: tuple[float, ...], expected: str) -> None:
    stream, clock = Stream(is_terminal=is_terminal), iter(times)
    line = TransferLine("Caching", stream, now=lambda: next(clock))
    for _ in range(4):
        line.passed("key", 1_500_000)
    line.ended()
    assert stream.getvalue() == expected


def test_nothing_passed_is_no_count() -> None:
    stream = Stream(is_terminal=False)
    line = TransferLine("Caching", stream, now=lambda: 0.0)
    line.ended("failed")
    assert stream.getvalue() == "Caching ... failed in 0.0 seconds.\n"
