"""Errors of the system reach the user as ours."""

from __future__ import annotations

import pytest

from mfenv.metaflow.boundary import EnvironmentException
from mfenv.metaflow.launch import _spoken


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
