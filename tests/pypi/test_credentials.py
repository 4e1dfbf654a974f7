"""Credentials reach the index they are for, on all ways on which users give them, and end up nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.pypi.conftest import ArgumentWatch, Canary, Private

from mfenv.testing.channel import ChannelServer, Credentials
from mfenv.testing.wheels import MadeWheel

if TYPE_CHECKING:
    from tests.conftest import Flows

FLOW = """
INDEX = os.environ.get("FLOW_INDEX")
CHANNEL = os.environ.get("FLOW_CHANNEL")

class Private(FlowSpec):
    @conda(packages={"requests": ""}, channels=[CHANNEL] if CHANNEL else [])
    @pypi(packages=json.loads(os.environ.get("FLOW_PACKAGES", '{"tiny": ""}')), extra_indices=[INDEX] if INDEX else [])
    @step
    def start(self):
        import tiny
        tell(tiny=tiny.version)
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
"""

Way = Callable[["Flows", Private], "Flows"]


def in_the_flow(flows: Flows, private: Private) -> Flows:
    return flows.using(FLOW_INDEX=private.secret())


def in_the_default_index(flows: Flows, private: Private) -> Flows:
    return flows.using(METAFLOW_CONDA_DEFAULT_PYPI_SOURCE=private.secret())


def in_a_requirement(flows: Flows, private: Private) -> Flows:
    address = private.secret().replace("/simple", "/files/tiny-2.0-py3-none-any.whl")
    return flows.using(FLOW_PACKAGES=json.dumps({"tiny": f"@ {address}"}))


def by_host(flows: Flows, private: Private) -> Flows:
    hosts = json.dumps({private.host: ["tester", private.canary.text]})
    return flows.using(METAFLOW_CONDA_DEFAULT_PYPI_SOURCE=private.plain, METAFLOW_CONDA_SRCS_AUTH_INFO=hosts)


def by_netrc(flows: Flows, private: Private) -> Flows:
    path = flows.home / ".netrc"
    path.write_text(f"machine 127.0.0.1 login tester password {private.canary.text}\n")
    path.chmod(0o600)
    return flows.using(METAFLOW_CONDA_DEFAULT_PYPI_SOURCE=private.plain)


def by_pip(flows: Flows, private: Private) -> Flows:
    path = flows.home / ".config" / "pip" / "pip.conf"
    path.parent.mkdir(parents=True)
    path.write_text(f"[global]\nindex-url = {private.secret()}\n")
    return flows.using(PIP_CONFIG_FILE=None, UV_DEFAULT_INDEX=None)


def by_pips_variable(flows: Flows, private: Private) -> Flows:
    return flows.using(PIP_INDEX_URL=private.secret(), UV_DEFAULT_INDEX=None)


def by_uvs_file(flows: Flows, private: Private) -> Flows:
    path = flows.home / ".config" / "uv" / "uv.toml"
    path.parent.mkdir(parents=True)
    path.write_text(f'[[index]]\nname = "private"\nurl = "{private.secret()}"\ndefault = true\n')
    return flows.using(UV_DEFAULT_INDEX=None)


def by_uvs_variable(flows: Flows, private: Private) -> Flows:
    return flows.using(UV_INDEX=f"private={private.secret()}")


def by_uvs_variables_for_a_name(flows: Flows, private: Private) -> Flows:
    return flows.using(
        UV_INDEX=f"our-own={private.plain}",
        UV_INDEX_OUR_OWN_USERNAME="tester",
        UV_INDEX_OUR_OWN_PASSWORD=private.canary.text,
    )


def by_keyring(flows: Flows, private: Private) -> Flows:
    programs = flows.home / "programs"
    programs.mkdir()
    (programs / "password").write_text(private.canary.text)
    (programs / "keyring").write_text(f'#!/bin/sh\n[ "$3" = tester ] && cat "{programs}/password"\n')
    (programs / "keyring").chmod(0o755)
    path = f"{programs}:{flows.environment()['PATH']}"
    index = private.plain.replace("://", "://tester@")
    return flows.using(PATH=path, UV_KEYRING_PROVIDER="subprocess", METAFLOW_CONDA_DEFAULT_PYPI_SOURCE=index)


WAYS: tuple[Way, ...] = (
    in_the_flow,
    in_the_default_index,
    in_a_requirement,
    by_host,
    by_netrc,
    by_pip,
    by_pips_variable,
    by_uvs_file,
    by_uvs_variable,
    by_uvs_variables_for_a_name,
    by_keyring,
)


@pytest.fixture
def surroundings(offline: Flows, tmp_path: Path) -> Flows:
    """Runs flows with an empty index behind the private one, all folders their own, and all that Metaflow can tell."""
    empty = tmp_path / "empty" / "simple"
    empty.mkdir(parents=True)
    return offline.using(local_path=tmp_path / "local", UV_DEFAULT_INDEX=empty.as_uri(), METAFLOW_DEBUG_CONDA="1")


def found_in(canary: Canary, flows: Flows, *texts: str) -> list[str]:
    """Where the canary is, apart from what the user wrote; `texts` are outputs of programs."""
    hits = canary.hits(flows.folder, flows.local_path, flows.tmp)
    return hits + [f"output {number}" for number, text in enumerate(texts) if canary.is_in(text.encode())]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_credentials_let_a_flow_in_and_stay_out_of_all_that_is_kept_or_shown(
    way: Way, surroundings: Flows, private: Private
) -> None:
    flows = way(surroundings, private)
    flow = flows.write(FLOW)
    with ArgumentWatch() as arguments:
        ran = flows.run(flow).succeeded()
    assert ran.fact("start")["tiny"] == "2.0"
    assert found_in(private.canary, flows, ran.text) == []
    assert [seen for seen in arguments.seen if private.canary.is_in(seen)] == []


def test_a_code_package_holds_no_credentials(surroundings: Flows, private: Private) -> None:
    flows = in_the_default_index(in_the_flow(surroundings, private), private)
    flow = flows.write(FLOW)
    saved = flows.call(*flows.command(flow, "package", "save", "code.tgz")).succeeded()
    assert (flows.folder / "code.tgz").is_file()
    assert found_in(private.canary, flows, saved.text) == []


def test_a_channels_credentials_are_kept_nowhere(surroundings: Flows, private: Private, canary: Canary) -> None:
    channel = surroundings.channel.root
    with ChannelServer(channel, credentials=Credentials(user="tester", password=canary.text)) as server:
        flows = surroundings.using(
            FLOW_CHANNEL=server.channel_url("conda-forge", with_credentials=True),
            METAFLOW_CONDA_CHANNELS=server.channel_url("extra"),
            METAFLOW_CONDA_SRCS_AUTH_INFO=json.dumps({f"127.0.0.1:{server.port}": ["tester", canary.text]}),
        )
        flows = in_the_default_index(flows, private)
        flow = flows.write(FLOW)
        with ArgumentWatch() as arguments:
            ran = flows.run(flow).succeeded()
    assert found_in(canary, flows, ran.text) == []
    assert [seen for seen in arguments.seen if canary.is_in(seen)] == []


@pytest.mark.parametrize("way", [in_the_flow, in_the_default_index, in_a_requirement], ids=lambda way: way.__name__)
def test_a_refused_password_is_not_shown(way: Way, surroundings: Flows, private: Private) -> None:
    flows = way(surroundings, private)
    private.server.credentials = Credentials(user="tester", password="another")
    ran = flows.run(FLOW)
    error = ran.refused()
    assert "Check the credentials for that index" in error
    assert found_in(private.canary, flows, ran.text) == []
    assert flows.leftovers() == []


def test_credentials_that_only_resolution_could_use_are_enough_for_a_build(
    surroundings: Flows, private: Private
) -> None:
    flows = in_the_flow(surroundings, private).using(FLOW_PACKAGES=json.dumps({"tiny": "1.0", "built": ""}))
    ran = flows.run(FLOW).succeeded()
    assert ran.fact("start")["tiny"] == "1.0"
    assert found_in(private.canary, flows, ran.text) == []


def test_a_private_repository_is_built_from(surroundings: Flows, private: Private, tmp_path: Path) -> None:
    """By git's plain protocol, which is files behind the same password."""
    source = MadeWheel(name="tiny", version="7.0").write_source(tmp_path / "source")
    who = {f"GIT_{kind}_{what}": "tester@h" for kind in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    served = private.server.root / "tiny.git"
    for command, folder in (
        (["init", "-q", "-b", "main"], source),
        (["add", "."], source),
        (["commit", "-qm", "all"], source),
        (["clone", "-q", "--bare", str(source), str(served)], tmp_path),
        (["update-server-info"], served),
    ):
        subprocess.run(["git", *command], cwd=folder, env={**os.environ, **who}, check=True, capture_output=True)
    address = private.secret().replace("/index/simple", "/tiny.git")
    flows = surroundings.using(FLOW_PACKAGES=json.dumps({"tiny": f"git+{address}@main"}))
    flow = flows.write(FLOW)
    with ArgumentWatch() as arguments:
        ran = flows.run(flow).succeeded()
    assert ran.fact("start")["tiny"] == "7.0"
    assert found_in(private.canary, flows, ran.text) == []
    assert [seen for seen in arguments.seen if private.canary.is_in(seen)] == []
