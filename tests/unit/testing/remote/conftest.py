"""A sandbox that runs nothing: what its containers do is told by the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from mfenv.testing.remote.sandbox import Container, Record, Sandbox

Does = Callable[[str, Mapping[str, str]], "dict[str, str] | int"]
"""Given the name and the variables of a container: the files that it leaves, by path, or its exit code."""


class PretendedContainer(Container):
    """One that has ended."""

    def __init__(self, folder: Path, record: Record, files: Mapping[str, str]) -> None:
        self.folder, self.root, self.record = folder, folder / "root", record
        for path, text in files.items():
            (self.root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path.lstrip("/")).write_text(text)

    def wait(self, *, is_stopped: Callable[[], bool] = lambda: False) -> Record:
        return self.record

    def clean(self) -> None:
        pass


class PretendedSandbox(Sandbox):
    """Takes note of what is asked of it."""

    def __init__(self, folder: Path, does: Does) -> None:
        super().__init__(folder)
        self.does = does
        self.began: list[tuple[str, dict[str, str]]] = []
        self.turn = threading.Lock()

    def start(
        self, name: str, command: Iterable[str], variables: Mapping[str, str], *, image: str, seconds: float = 600
    ) -> Container:
        with self.turn:
            self.began.append((name, dict(variables)))
            number = len(self.began)
        did = self.does(name, variables)
        record = Record(
            node=str(number),
            name=name,
            image=image,
            command=tuple(command),
            variables=dict(variables),
            code=did if isinstance(did, int) else 0,
            seconds=0,
            reason="",
            stdout="what it said\n",
            stderr="",
            root=self.folder,
        )
        return PretendedContainer(self.folder / str(number), record, did if isinstance(did, dict) else {})

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.began]


@pytest.fixture
def pretended(tmp_path: Path) -> Callable[[Does], PretendedSandbox]:
    return lambda does: PretendedSandbox(tmp_path, does)
