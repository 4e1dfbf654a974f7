"""What the default resolver asks its helper process, and how it words a failure."""

from __future__ import annotations

from typing import Any

import pytest

from mfenv.domain.channel import Channel
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import ResolutionFailed
from mfenv.resolve.backends.rattler import RattlerResolver, failure, payload
from mfenv.testing.fakes import ScriptedCalls

TEAM = Channel(location="https://host/team")
REQUEST = ResolutionRequest(
    spec=EnvironmentSpec(
        python=PythonConstraint.minor(3, 11),
        conda=(MatchSpec(name="numpy", version=">=1", build="py_0", channel=TEAM), MatchSpec(name="six")),
        channels=(TEAM, Channel(location="conda-forge")),
    ),
    target=baseline(Platform.OSX_ARM64),
)
PAYLOAD = {
    "cache": "/cache",
    "platform": "osx-arm64",
    "channels": ["https://host/team", "conda-forge"],
    "specs": [
        {"name": "python", "version": "3.11.*", "build": None, "channel": None},
        {"name": "numpy", "version": ">=1", "build": "py_0", "channel": "https://host/team"},
        {"name": "six", "version": "*", "build": None, "channel": None},
    ],
    "virtual_packages": [["__archspec", "1", "m1"], ["__osx", "13.0", "0"], ["__unix", "0", "0"]],
    "constraints": [],
    "kept": [],
    "preferred": [],
    "channel_priority": "strict",
    "exclude_newer": "",
    "secret_urls": {"https://host/team": "https://me:pw@host/team"},
}
SECRETS = {"https://host/team": "https://me:pw@host/team"}


def test_the_request_travels_whole_with_credentials_beside_it() -> None:
    assert payload(REQUEST, cache="/cache", secret_urls=SECRETS) == PAYLOAD
    calls = ScriptedCalls(solve={"version": "0.28.0", "packages": []})
    answer = RattlerResolver(calls, cache="/cache", secret_urls=SECRETS).resolve(REQUEST)
    assert calls.calls == [("solve", PAYLOAD)]
    assert (answer.platform, answer.packages, answer.resolver) == (Platform.OSX_ARM64, (), "rattler 0.28.0")


def _missing(**row: Any) -> dict[str, Any]:
    return {"text": "T", "unmatched": [], "missing": [{"name": "numpy", "similar": [], "elsewhere": [], **row}]}


_NONE = "there is no package `numpy` for osx-arm64 on `https://host/team`, `conda-forge`"
_TOGETHER = "what is asked for cannot be had together for osx-arm64"


@pytest.mark.parametrize(
    ("reason", "message", "hint", "output", "packages"),
    [
        (_missing(similar=["numba", "nump"]), _NONE, "Did you mean `numba` or `nump`?", "", ("numpy",)),
        (_missing(elsewhere=["linux-64"]), _NONE, "`numpy` is there for linux-64 only", "", ("numpy",)),
        (
            _missing(),
            _NONE,
            "Check the spelling, or add the channel that has it to `channels`",
            "",
            ("numpy",),
        ),
        (
            {"text": "T", "missing": [], "unmatched": [{"name": "numpy", "versions": [str(n) for n in range(10)]}]},
            "no version of `numpy` for osx-arm64 is `>=1`",
            "There is `numpy` 0, 1, 2, 3, 4, 5, 6, 7 and 2 older",
            "",
            ("numpy",),
        ),
        (
            {"text": "a quarrel", "missing": [], "unmatched": []},
            _TOGETHER,
            "Loosen one of the versions named above",
            "a quarrel",
            (),
        ),
        (
            {"text": "needs __osx >=14", "missing": [], "unmatched": []},
            _TOGETHER,
            (
                "A package needs a newer macOS (this target has __osx 13.0): ask for an older version of it, "
                "or set CONDA_OVERRIDE_OSX"
            ),
            "needs __osx >=14",
            (),
        ),
    ],
)
def test_a_failure_says_what_is_wrong_and_what_to_do(
    reason: dict[str, Any], message: str, hint: str, output: str, packages: tuple[str, ...]
) -> None:
    error = failure(REQUEST, reason)
    assert (error.message, error.hint, error.output, error.packages) == (message, hint, output, packages)
    with pytest.raises(ResolutionFailed):
        RattlerResolver(ScriptedCalls(solve={"unsolvable": reason}), cache="/c").resolve(REQUEST)
