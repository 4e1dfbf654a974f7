from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from mfenv.testing.channel import (
    EXTRA,
    HOSTILE,
    TAMPERED,
    ChannelServer,
    Credentials,
    Fault,
    LocalChannel,
    build_channel,
)
from mfenv.testing.channel.subdirs import SUBDIRS

if TYPE_CHECKING:
    from pathlib import Path

Rattler = Callable[..., dict[str, Any]]


def test_a_channel_is_built_once(channel: LocalChannel) -> None:
    before = (channel.root / "channel.json").stat().st_mtime_ns
    assert build_channel() == channel.root
    assert (channel.root / "channel.json").stat().st_mtime_ns == before


def test_the_description_names_two_pandas(channel: LocalChannel) -> None:
    assert len(channel.pandas_versions()) >= 2
    assert channel.running in channel.pythons
    assert len(channel.package_versions("itsdangerous")) >= 3


def test_python_and_pandas_run_where_they_are_installed(
    channel: LocalChannel, rattler: Rattler, tmp_path: Path
) -> None:
    prefix = tmp_path / "prefix"
    answer = rattler(
        f"python {channel.running}.*", "pandas", "requests", "prefixprobe", "postlink",
        channels=(channel.url(),), prefix=prefix,
    )  # fmt: skip
    assert answer["installed"]["pandas"] == channel.pandas_versions()[-1]
    code = "import pandas, ssl, sqlite3, sys, sysconfig; print(sys.prefix, sysconfig.get_config_var('prefix'))"
    ran = subprocess.run([prefix / "bin" / "python", "-c", code], env={}, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == (f"{prefix} {prefix}\n", "")
    shown = subprocess.run([prefix / "bin" / "prefixprobe"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"{prefix}\n"
    binary = (prefix / "share" / "prefixprobe.bin").read_bytes()
    assert os.fsencode(prefix) + b"/share/prefixprobe.txt\x00" in binary
    assert b"tail-intact" in binary
    assert (prefix / "share" / "postlink-ran.txt").read_text() == "postlink 1.0\n"
    script = (prefix / "bin" / "normalizer").read_text()
    assert script.startswith(f"#!{prefix}/bin/python")


@pytest.mark.parametrize("subdir", SUBDIRS)
def test_every_platform_resolves(channel: LocalChannel, rattler: Rattler, subdir: str) -> None:
    answer = rattler("python", "pandas", "boto3", channels=(channel.url(),), platform=subdir)
    assert {"python", "pandas", "boto3"} <= answer["installed"].keys()


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        (["needs-cuda"], "__cuda"),
        (["needs-new-glibc"], "__glibc"),
        (["needs-missing"], "this-package-does-not-exist"),
        (["quarrel-left", "quarrel-right"], "quarrel-base"),
        (["violates-limits"], "limited"),
    ],
)
def test_what_cannot_be_solved_is_not(channel: LocalChannel, rattler: Rattler, specs: list[str], words: str) -> None:
    assert words in rattler(*specs, channels=(channel.url(),))["error"]


def test_the_order_of_channels_decides(channel: LocalChannel, rattler: Rattler) -> None:
    main, extra = channel.url(), channel.url(EXTRA)
    first = rattler("itsdangerous", channels=(main, extra))["installed"]["itsdangerous"]
    second = rattler("itsdangerous", channels=(extra, main))["installed"]["itsdangerous"]
    assert (first, second) == (channel.package_versions("itsdangerous")[-1], "99.0")


def test_a_tampered_package_is_noticed_over_http(channel: LocalChannel, rattler: Rattler, tmp_path: Path) -> None:
    with ChannelServer(channel.root) as server:
        answer = rattler("tampered", channels=(server.channel_url(TAMPERED),), prefix=tmp_path / "prefix")
    assert "hash mismatch" in answer["error"]


def test_an_index_that_fails_once_is_asked_for_again(channel: LocalChannel, rattler: Rattler) -> None:
    with ChannelServer(channel.root, faults=[Fault(path="*/repodata_shards*", status=404)]) as server:
        answer = rattler("limited", channels=(server.channel_url("conda-forge"),))
        paths = server.statistics().paths
    assert answer["installed"] == {"limited": "2.0"}
    assert "/conda-forge/noarch/repodata.json.zst" in paths


def test_a_channel_with_a_password_is_installed_from(channel: LocalChannel, rattler: Rattler, tmp_path: Path) -> None:
    credentials = Credentials(user="user", password="secret")
    with ChannelServer(channel.root, credentials=credentials) as server:
        url = server.channel_url("conda-forge", with_credentials=True)
        answer = rattler("prefixprobe", channels=(url,), prefix=tmp_path / "prefix")
        statuses = server.statistics().statuses
    assert answer == {"installed": {"prefixprobe": "1.0"}}
    assert statuses.keys() <= {200, 206, 404}
    assert (tmp_path / "prefix" / "bin" / "prefixprobe").is_file()


def test_the_hostile_package_names_a_file_outside(channel: LocalChannel, rattler: Rattler) -> None:
    assert rattler("escaping-paths", channels=(channel.url(HOSTILE),))["installed"]


def test_records_are_as_old_as_their_release(channel: LocalChannel) -> None:
    for repodata in channel.path().glob("*/repodata.json"):
        content = json.loads(repodata.read_text())
        for record in (*content["packages"].values(), *content["packages.conda"].values()):
            assert record["indexed_timestamp"] == record["timestamp"]


def test_a_channel_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "channel.json").write_text('{"format": 0}')
    with pytest.raises(ValueError, match="has format 0, expected 1"):
        LocalChannel.read(tmp_path)
