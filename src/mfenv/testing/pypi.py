"""Stand-ins for what is behind the PyPI seams; see `mfenv.testing.fakes`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mfenv.domain.locked import LockedEnvironment, LockedPypiPackage
from mfenv.domain.resolved import ResolvedPypiPackage
from mfenv.hydrate.wheels import WheelFiles
from mfenv.io.process import Completed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A program that somebody wanted to run."""

    command: list[str]
    environment: Mapping[str, str | None]
    folder: Path
    timeout: float


Answer = Completed | Exception | Callable[[Ran], Completed]


class ScriptedProcessRunner:
    """A runner (`mfenv.io.process.ProcessRunner`) that runs nothing, gives answers in order and remembers."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        """Give each run the next of `answers`: an exception is raised, a function is called."""
        self._answers = list(answers)
        self.runs: list[Ran] = []

    def run(
        self, command: Sequence[str], *, environment: Mapping[str, str | None], folder: Path, timeout: float
    ) -> Completed:
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


class FakePypiInstaller:
    """A PyPI installer (`mfenv.hydrate.pypi.PypiInstaller`) that remembers what it was asked to put where."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.installed: list[tuple[LockedEnvironment, Path]] = []

    def read(self, lock: LockedEnvironment) -> list[WheelFiles]:
        """Say that each wheel holds one file, called like its project."""
        return [WheelFiles(name=package.name, digests={f"lib/{package.name}.py": None}) for package in lock.pypi]

    def install(self, lock: LockedEnvironment, prefix: Path, wheels: list[WheelFiles]) -> None:
        """Write an empty file for each of the wheels' files."""
        self.installed.append((lock, prefix))
        for wheel in wheels:
            for place in wheel.digests:
                (prefix / place).parent.mkdir(parents=True, exist_ok=True)
                (prefix / place).touch()


def build_nothing(package: ResolvedPypiPackage) -> LockedPypiPackage:
    """Stand in for a builder where nothing has to be built."""
    raise AssertionError(f"nobody expected a build of {package.name}")
