"""Lines that move: what is left on the screen, and what is seen meanwhile."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mfenv.app.reporting import Live, aside, is_terminal
from mfenv.cli import reporting
from mfenv.domain.platform import Platform
from mfenv.domain.resolved import ResolvedEnvironment
from mfenv.errors import ResolutionFailed

_PIECE = re.compile(r"\x1b\[(\?25[hl])|\x1b\[(\d*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


class Terminal(io.StringIO):
    """A stream that is a terminal, and what is to be seen on its screen."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        """Return the lines on the screen: of control sequences, those that rich uses here."""
        lines, row, column = [""], 0, 0
        for cursor, number, letter, back, newline, text in _PIECE.findall(self.getvalue()):
            if back:
                column = 0
            elif newline:
                row, column = row + 1, 0
                lines += [""] * (row == len(lines))
            elif text:
                lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
                column += len(text)
            elif letter == "A":
                row -= int(number or 1)
            elif letter == "K":
                assert number == "2"
                lines[row] = ""
            else:
                assert cursor or letter == "m"
        return [line.rstrip() for line in lines if line.strip()]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    for name in ("CI", "NO_COLOR", "METAFLOW_DEBUG_CONDA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    yield stream
    stream.close()


def shown(terminal: Terminal) -> str:
    """Return all that was ever drawn, without what moves the cursor and colours."""
    return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", terminal.getvalue())


@pytest.mark.parametrize(
    ("variables", "is_one"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "CI": "true"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_only_able_terminals_get_lines_that_move(variables: dict[str, str], *, is_one: bool) -> None:
    assert is_terminal(Terminal(), variables) is is_one


def test_lines_printed_in_between_stay_whole_and_what_moves_is_gone(terminal: Terminal) -> None:
    with Live(stream=terminal) as live:
        live.row("a", "Creating a", total=2)
        live.row("b", "Creating b", total=3)
        live.fetched({"environment": "a", "bytes": 1000})
        with aside():
            terminal.write("first line\n")
        live.fetched({"environment": "b", "linking": 3})
        with aside():
            terminal.write("second line\n")
    assert terminal.screen() == ["first line", "second line"]
    assert "Creating a" in shown(terminal)
    assert "1/2 packages, 1.0 kB" in shown(terminal)
    assert "Creating b: linking 3 packages" in shown(terminal)


def test_environments_are_seen_from_their_first_event_to_their_end(terminal: Terminal) -> None:
    live = Live(stream=terminal)
    for name in ("a", "b", "c"):
        live.row(name, f"Creating {name}", total=2, is_shown=False)
    # Before anybody waits, too.
    live.fetched({"environment": "a", "bytes": 5})
    live.fetched({"environment": "c", "bytes": 5})
    live.fetched({"environment": "c", "ended": True})
    with live:
        live.row("b", "Creating b")
    assert "1/2 packages, 5 B" in shown(terminal)
    assert "Creating b" in shown(terminal)
    assert "Creating c" not in shown(terminal)
    assert terminal.screen() == []


def test_more_environments_than_a_terminal_has_lines_for(terminal: Terminal) -> None:
    with Live(stream=terminal) as live:
        for number in range(100):
            live.row(str(number), f"Creating {number:03}")
        with aside():
            terminal.write("a line\n")
    assert terminal.screen() == ["a line"]
    assert "Creating 007" in shown(terminal)
    assert "Creating 008" not in shown(terminal)


def test_what_is_over_at_once_is_not_seen_and_what_is_not_is(terminal: Terminal) -> None:
    with Live("Looking", stream=terminal, after=60):
        pass
    assert terminal.getvalue() == ""
    drawn = threading.Event()
    with Live("Looking", stream=terminal, after=0.01) as live:
        while not live._progress:
            drawn.wait(0.01)
    assert "Looking" in shown(terminal)
    assert terminal.screen() == []


def test_the_inner_of_two_is_silent(terminal: Terminal) -> None:
    with Live("Outer", stream=terminal), Live("Inner", stream=terminal) as inner:
        inner.passed("a", 1)
    assert ("Outer" in shown(terminal), "Inner" in shown(terminal)) == (True, False)
    # The next one is an outer one again.
    with Live("Inner", stream=terminal):
        pass
    assert "Inner" in shown(terminal)


def test_answers_are_counted_with_what_they_have(terminal: Terminal) -> None:
    with Live("Resolving 2 environments", total=2, stream=terminal) as live:
        package: Any = None
        live.answered(ResolvedEnvironment(platform=Platform.host(), packages=(package,) * 3, resolver="fake 1"))
        live.answered(ResolutionFailed("nothing fits"))
    assert "1/2 solved, 3 packages" in shown(terminal)
    assert "2/2" not in shown(terminal)


def test_nothing_moves_between_lines_of_a_debug_log(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAFLOW_DEBUG_CONDA", "1")
    with Live("Working", stream=terminal):
        pass
    assert terminal.getvalue() == ""


def test_many_threads_tell_and_print_at_once(terminal: Terminal) -> None:
    def work(name: str) -> None:
        for number in range(20):
            live.fetched({"environment": name, "bytes": 1})
            with aside():
                terminal.write(f"{name}{number}\n")
        live.fetched({"environment": name, "ended": True})

    names = ["a", "b", "c", "d"]
    with Live("All", stream=terminal) as live:
        for name in names:
            live.row(name, f"Creating {name}")
        threads = [threading.Thread(target=work, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(terminal.screen()) == sorted(f"{name}{number}" for name in names for number in range(20))


def test_plain_lines_told_in_between_do_not_tear_the_one_that_is_begun(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting.working("Creating a"):
        pass
    with reporting.working("Creating b"):
        reporting.tell("Waiting for c ...")
        reporting.tell("Still")
    reporting.tell("Over")
    assert re.sub(r"\d+\.\d", "0.0", capsys.readouterr().err).splitlines() == [
        "Creating a ... done in 0.0 seconds.",
        "Creating b ...",
        "Waiting for c ...",
        "Still",
        "Creating b ... done in 0.0 seconds.",
        "Over",
    ]


def test_counts_are_in_the_last_line_where_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting.working("Packing", noun="files", with_counts=True) as live:
        live.passed("a", 2000)
    assert re.sub(r"\d+\.\d seconds", "0.0 seconds", capsys.readouterr().err) == (
        "Packing ... done in 0.0 seconds (1 files, 2.0 kB).\n"
    )
