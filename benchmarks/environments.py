"""Solve and make environments without a flow, through the parts that a flow uses."""

from __future__ import annotations

import os
from pathlib import Path

from mfenv.app import settings
from mfenv.app.wiring import Wiring
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import SpecLayer, complete
from mfenv.testing.channel import built_channel
from mfenv.testing.channel.build import FOLDER_VARIABLE


def settle_channel() -> None:
    """Find the local channel once, for this process and those that it starts: looking for it costs a second."""
    os.environ[FOLDER_VARIABLE] = str(built_channel().root)


def wiring_in(local: Path, store: Path) -> Wiring:
    values = {"CONDA_CHANNELS": built_channel().url(), "CONDA_LOCAL_PATH": str(local)}
    return Wiring(settings.read(values.get), project=store)


def request_for(wiring: Wiring, *names: str, **exact: str) -> ResolutionRequest:
    versions = dict.fromkeys(names, "") | exact
    specs = tuple(MatchSpec.parse(name, version, where="benchmark") for name, version in versions.items())
    channel = built_channel()
    major, minor = map(int, channel.running.split("."))
    spec = complete(
        SpecLayer(conda=specs),
        default_python=PythonConstraint.minor(major, minor),
        default_channels=wiring.settings.channels,
        needs=(),
    )
    return ResolutionRequest(spec=spec, target=wiring.settings.target(Platform.host()))
