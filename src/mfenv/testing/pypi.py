"""Stand-ins for what is behind the PyPI seams; see `mfenv.testing.fakes`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mfenv.io.process import Completed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A program that somebody wanted to run."""

    command: list[str]
    environment: Mapping[str, str]
    folder: Path
    timeout: float


Answer = Completed | Exception | Callable[[Ran], Completed]


class ScriptedProcessRunner:
    """A runner (`mfenv.io.process.ProcessRunner`) that runs nothing, gives answers in order and remembers."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        """Give each run the next of `answers`: an exception is raised, a function is called."""
        self._answers = list(answers)
        self.runs: list[Ran] = []

    def run(self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path, timeout: float) -> Completed:
        """See `ProcessRunner.run`."""
        ran = Ran(command=list(command), environment=dict(environment), folder=folder, timeout=timeout)
        self.runs.append(ran)
        assert self._answers, f"nobody expected {ran.command}"
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer(ran) if callable(answer) else answer


def ended(code: int = 0, *, output: str = "", errors: str = "", timed_out: bool = False) -> Completed:
    """Return how a program ended."""
    return Completed(code=code, output=output, errors=errors, timed_out=timed_out)
