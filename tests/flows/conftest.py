"""Fixtures for real flows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows

# Goes before everything else in the launching process, which finds it by PYTHONPATH; tasks and the helper process
# do not have that folder on theirs.
_WATCH = """
import json, os, sys

def _hook(event, arguments):
    if event in ("subprocess.Popen", "socket.connect", "socket.getaddrinfo"):
        what = arguments[1] if event != "socket.getaddrinfo" else arguments[:2]
        with open(os.environ["WATCHED"], "a") as file:
            file.write(json.dumps([event, repr(what)]) + "\\n")

sys.addaudithook(_hook)
"""


@pytest.fixture
def watched(tmp_path: Path) -> Callable[[Flows], tuple[Flows, Callable[[], list[Any]]]]:
    """Have the launching process tell which programs it starts and where it connects to."""

    def watch(flows: Flows) -> tuple[Flows, Callable[[], list[Any]]]:
        log = tmp_path / "watched"
        folder = tmp_path / "watch"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(_WATCH)

        def seen() -> list[Any]:
            return [json.loads(line) for line in log.read_text().splitlines()]

        return flows.using(PYTHONPATH=str(folder), WATCHED=str(log)), seen

    return watch
