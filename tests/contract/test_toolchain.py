"""The toolchain of any platform gets into the store, from the real index and a real channel, once."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from mfenv.app import settings
from mfenv.app.wiring import Wiring
from mfenv.domain.platform import Platform
from mfenv.errors import StoreError
from mfenv.hydrate.plan import archive_path
from mfenv.io.files import sha256_of
from mfenv.store.backends.local import LocalBlobStore
from mfenv.testing.channel import LocalChannel

HOST = Platform.host()


@pytest.fixture
def wiring(tmp_path: Path, channel: LocalChannel, shared_local_path: Path) -> Iterator[Wiring]:
    values = {"CONDA_LOCAL_PATH": str(shared_local_path), "CONDA_CHANNELS": str(channel.path())}
    here = settings.read(values.get, {"HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull})
    made = Wiring(here, project=tmp_path, open_store=lambda: LocalBlobStore(tmp_path / "store"))
    yield made
    made.close()


def test_a_machine_that_has_nothing_finds_the_tools_that_this_one_locks_with(wiring: Wiring, tmp_path: Path) -> None:
    found = wiring.toolchains.find(HOST)
    wheels = {wheel.file_name.split("-")[0]: wheel for wheel in found.wheels}
    for tool in ("py_rattler", "uv"):
        assert wheels[tool].file_name.split("-")[1] == metadata.version(tool.replace("_", "-"))
    wiring.toolchains.publish(found)
    stored = {info.key: info for info in LocalBlobStore(tmp_path / "store").list(f"mfenv/v1/toolchain/{HOST.value}/")}
    assert {key.split("/")[-1] for key in stored} == {file.file_name for file in found.files}
    for key in stored:
        assert sha256_of(tmp_path / "store" / key) == key.split("/")[-2]
    before = {key: info.modified for key, info in stored.items()}
    wiring.toolchains.publish(found)
    again = LocalBlobStore(tmp_path / "store").list(f"mfenv/v1/toolchain/{HOST.value}/")
    assert {info.key: info.modified for info in again} == before


def test_the_runtime_runs_wherever_it_is_unpacked(wiring: Wiring, tmp_path: Path) -> None:
    found = wiring.toolchains.find(HOST)
    assert wiring.toolchains.find(HOST) == found
    with tarfile.open(archive_path(found.runtime, wiring.folders.archives)) as archive:
        archive.extractall(tmp_path / "anywhere", filter="tar")
    what = "import sys, ssl, sqlite3, ctypes, asyncio, zlib, lzma, bz2, hashlib; print(sys.version_info >= (3, 10))"
    done = subprocess.run(
        [tmp_path / "anywhere" / "bin" / "python", "-I", "-c", what],
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_other_platforms_have_their_own(wiring: Wiring) -> None:
    found = wiring.toolchains.find(Platform.OSX_ARM64)
    assert [wheel.file_name for wheel in found.wheels if "macosx" not in wheel.file_name] == []
    assert {"arm64" in wheel.file_name for wheel in found.wheels} == {True}
    assert "osx-arm64" in found.runtime.file_name


def test_without_a_store_there_is_no_place_for_tools(wiring: Wiring, tmp_path: Path) -> None:
    tools = wiring.toolchains.find(HOST)
    alone = Wiring(wiring.settings, project=tmp_path)
    with pytest.raises(StoreError, match="there is no store"):
        alone.toolchains.publish(tools)
