"""The toolchain of any platform gets into the store, from the real index, once."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from mfenv.app import settings
from mfenv.app.wiring import Wiring
from mfenv.domain.platform import Platform
from mfenv.errors import StoreError
from mfenv.io.files import sha256_of
from mfenv.store.backends.local import LocalBlobStore


def test_a_machine_that_has_nothing_finds_the_tools_that_this_one_locks_with(tmp_path: Path) -> None:
    store = LocalBlobStore(tmp_path / "store")
    values = {"CONDA_LOCAL_PATH": str(tmp_path / "local")}
    wiring = Wiring(settings.read(values.get), project=tmp_path, open_store=lambda: store)
    try:
        found = {one: wiring.toolchains.find(one, python="3.11") for one in (Platform.LINUX_64, Platform.OSX_ARM64)}
        names = {one: {wheel.file_name.split("-")[0]: wheel for wheel in tools.wheels} for one, tools in found.items()}
        for platform, tag in ((Platform.LINUX_64, "x86_64"), (Platform.OSX_ARM64, "arm64")):
            for tool in ("py_rattler", "uv"):
                wheel = names[platform][tool]
                assert wheel.file_name.split("-")[1] == metadata.version(tool.replace("_", "-"))
                assert tag in wheel.file_name
        wiring.toolchains.publish(found[Platform.LINUX_64])
        stored = {info.key: info for info in store.list("mfenv/v1/toolchain/linux-64/")}
        assert {key.split("/")[-1] for key in stored} == {wheel.file_name for wheel in found[Platform.LINUX_64].wheels}
        for key in stored:
            assert sha256_of(tmp_path / "store" / key) == key.split("/")[-2]
        before = {key: info.modified for key, info in stored.items()}
        wiring.toolchains.publish(found[Platform.LINUX_64])
        assert {info.key: info.modified for info in store.list("mfenv/v1/toolchain/linux-64/")} == before
    finally:
        wiring.close()


def test_without_a_store_there_is_no_place_for_tools(tmp_path: Path) -> None:
    wiring = Wiring(settings.read({"CONDA_LOCAL_PATH": str(tmp_path)}.get), project=tmp_path)
    tools = wiring.toolchains.find(Platform.LINUX_64, python="3.11")
    with pytest.raises(StoreError, match="there is no store"):
        wiring.toolchains.publish(tools)
