"""The channel of this machine, and a way to use py-rattler from a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from mfenv.testing.channel import ChannelServer, LocalChannel, built_channel

if TYPE_CHECKING:
    from pathlib import Path

# Solves, and installs when a prefix is given. Ends without cleaning up, since py-rattler 0.28 crashes in
# some of the runs when the interpreter shuts down.
_PROGRAM = """
import asyncio, json, os, sys
import rattler
async def main(job):
    records = await rattler.solve(
        job["channels"], [rattler.MatchSpec(spec) for spec in job["specs"]],
        gateway=rattler.Gateway(cache_dir=job["cache"] + "/repodata"),
        platforms=[job["platform"], "noarch"], virtual_packages=[
            rattler.GenericVirtualPackage(
                rattler.PackageName(name), rattler.Version(version), rattler.BuildString("0"))
            for name, version in job["virtual"].items()])
    if job["prefix"]:
        await rattler.install(
            records, job["prefix"], cache_dir=job["cache"], show_progress=False, execute_link_scripts=True)
    return {record.name.normalized: str(record.version) for record in records}
try:
    answer = {"installed": asyncio.run(main(json.load(sys.stdin)))}
except Exception as error:
    answer = {"error": str(error)}
print(json.dumps(answer), flush=True)
os._exit(0)
"""

LINUX = {"__unix": "0", "__linux": "5.10", "__glibc": "2.28"}
MACOS = {"__unix": "0", "__osx": "13.0"}

Rattler = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def channel() -> LocalChannel:
    return built_channel()


@pytest.fixture
def rattler(tmp_path: Path, channel: LocalChannel) -> Rattler:
    """Solve and install with py-rattler: gives either ``installed`` or ``error``."""

    def run(
        *specs: str, channels: tuple[str, ...], platform: str | None = None, prefix: Path | None = None
    ) -> dict[str, Any]:
        subdir = platform or channel.subdir
        job = {
            "channels": channels,
            "specs": specs,
            "platform": subdir,
            "virtual": MACOS if subdir.startswith("osx") else LINUX,
            "prefix": str(prefix) if prefix else None,
            "cache": str(tmp_path / "cache"),
        }
        answer = subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            check=True,
        )
        found: dict[str, Any] = json.loads(answer.stdout)
        return found

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one file of a thousand bytes."""
    root = tmp_path / "root"
    (root / "noarch").mkdir(parents=True)
    (root / "noarch" / "file.conda").write_bytes(bytes(range(250)) * 4)
    return root


@pytest.fixture
def server(folder: Path) -> Iterator[ChannelServer]:
    with ChannelServer(folder) as running:
        yield running
