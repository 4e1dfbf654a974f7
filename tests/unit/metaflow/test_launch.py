"""Errors of the system reach the user as ours."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from mfenv.app.wiring import Wiring
from mfenv.domain.assignment import Disabled
from mfenv.hydrate.folders import LocalFolders
from mfenv.metaflow.boundary import EnvironmentException
from mfenv.metaflow.launch import Launch, _spoken


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied", "/locked"), "`/locked` cannot be used: Permission denied"),
        (OSError(28, "No space left on device"), "a file cannot be written: No space left on device"),
    ],
    ids=["with its file", "without"],
)
def test_an_error_of_the_system_is_told_without_a_traceback(error: OSError, message: str) -> None:
    with pytest.raises(EnvironmentException) as caught, _spoken():
        raise error
    assert caught.value.message.partition("\n")[0] == message


def test_a_damaged_metadata_file_is_written_again(tmp_path: Path) -> None:
    launch = Launch(None, None, "local", print, force=False)
    wiring = cast("Wiring", SimpleNamespace(folders=LocalFolders(tmp_path)))
    path = launch._write_metadata(wiring, {"start": Disabled()})
    content = path.read_bytes()
    path.write_bytes(content[:10])
    assert launch._write_metadata(wiring, {"start": Disabled()}) == path
    assert path.read_bytes() == content
