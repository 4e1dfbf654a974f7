"""Environments from Python, as a program without Metaflow has them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mfenv
from mfenv import Environment, Environments, EnvironmentsError, Kind
from mfenv.testing.channel import LocalChannel


@pytest.fixture
def environments(
    tmp_path: Path, channel: LocalChannel, shared_local_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Environments]:
    monkeypatch.setenv("METAFLOW_CONDA_CHANNELS", str(channel.path()))
    monkeypatch.setenv("METAFLOW_CONDA_LOCAL_PATH", str(shared_local_path))
    monkeypatch.setenv("METAFLOW_HOME", str(tmp_path / "home"))
    (tmp_path / "project" / ".metaflow").mkdir(parents=True)
    with Environments(tmp_path / "project") as found:
        yield found


def test_an_environment_is_resolved_named_found_and_made(environments: Environments) -> None:
    env = environments.resolve(conda={"six": "1.16"}, python="3.11")
    assert env["six"].version == "1.16.0"
    assert ("SIX" in env, "pandas" in env) == (True, False)
    assert {package.side for package in env} == {"conda"}
    assert env.deps == ("requests", "six ==1.16")
    assert (env.is_default, env.is_shared, env.env_type) == (True, True, "conda-only")
    environments.name(env, "team/env:v1")
    found = environments.find("team/env:v1")
    assert (found.env_id, found.names) == (env.env_id, ("team/env:v1",))
    assert environments.find(env.id[:8]).id == env.id
    assert [one.id for one in environments.list()] == [env.id]
    prefix = environments.hydrate(found)
    said = subprocess.run(
        [prefix.python, "-c", "import six; print(six.__version__)"], capture_output=True, text=True, check=True
    )
    assert said.stdout == "1.16.0\n"
    assert environments.find("team/env:v1").path == prefix.path


def test_two_environments_are_compared(environments: Environments) -> None:
    old = environments.resolve(conda={"six": "1.16"}, for_metaflow=False)
    new = environments.resolve(conda={"six": "", "tzdata": ""}, for_metaflow=False)
    assert [(change.name, change.kind) for change in environments.compare(old, new)] == [("six", Kind.UPGRADED)]
    assert environments.compare(old.id, old) == ()


def test_what_is_told_comes_back_from_plain_types(environments: Environments) -> None:
    env = environments.resolve(conda={"six": "1.16"}, share=False)
    assert Environment.from_dict(env.to_dict()) == env


def test_errors_are_of_one_kind_and_have_words(environments: Environments) -> None:
    with pytest.raises(EnvironmentsError) as caught:
        environments.find("nobody:v1")
    assert caught.value.message == "name: no environment is known by the name `nobody:v1`"
    with pytest.raises(EnvironmentsError) as caught:
        environments.resolve(conda={"no-such-package": ""})
    assert "there is no package `no-such-package`" in caught.value.message
    with pytest.raises(EnvironmentsError, match="is not a name"):
        environments.name("0" * 40, "0" * 40)


def test_a_name_that_cannot_be_moved_stays(environments: Environments) -> None:
    old = environments.resolve(conda={"six": "1.16"})
    new = environments.resolve(conda={"six": ""})
    environments.name(old, "team/env:v1")
    environments.name(old, "team/env:v1")
    with pytest.raises(EnvironmentsError, match="team/env:v1"):
        environments.name(new, "team/env:v1")
    environments.name(old, "team/env")
    environments.name(new, "team/env")
    assert environments.find("team/env").id == new.id


def test_neither_metaflow_nor_a_solver_is_loaded_for_it(tmp_path: Path) -> None:
    program = (
        "import sys, mfenv\n"
        "with mfenv.Environments() as environments:\n"
        "    assert environments.list() == []\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'metaflow', 'rattler', 'boto3', 'rich'}, loaded\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True)


def test_importing_the_package_loads_nothing_of_it() -> None:
    program = "import sys, mfenv\nassert [n for n in sys.modules if n.startswith('mfenv.')] == ['mfenv.version']"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert set(mfenv.__all__) <= set(dir(mfenv))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = mfenv.nothing


@pytest.mark.parametrize(
    ("variables", "files", "words"),
    [
        ({"METAFLOW_PROFILE": "gone"}, {}, "METAFLOW_PROFILE: there is no"),
        ({}, {"home/config.json": "{"}, "cannot be read"),
        ({}, {"home/config.json": "[]"}, "does not hold settings, but a list"),
        ({"METAFLOW_CONDA_USE_REMOTE_LATEST": ":nobody:"}, {}, "METAFLOW_CONDA_USE_REMOTE_LATEST"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], files: dict[str, str], words: str
) -> None:
    monkeypatch.setenv("METAFLOW_HOME", str(tmp_path / "home"))
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(EnvironmentsError) as caught:
        Environments(tmp_path)
    assert words in caught.value.message


def test_metaflows_places_are_read_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mfenv.app.plain_config import project_folder, values

    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.json").write_text('{"METAFLOW_A": "user", "METAFLOW_B": "user", "METAFLOW_C": "user"}')
    project = tmp_path / "project"
    (project / ".metaflow").mkdir(parents=True)
    (project / ".metaflow" / "config.json").write_text('{"METAFLOW_A": "project", "METAFLOW_B": "project"}')
    inside = project / "deep"
    inside.mkdir()
    environment = {"METAFLOW_HOME": str(tmp_path / "home"), "METAFLOW_A": "variable"}
    value_of = values(inside, environment)
    assert [value_of(name) for name in "ABCD"] == ["variable", "project", "user", None]
    assert project_folder(inside, value_of) == project / ".metaflow"
    assert project_folder(tmp_path, value_of) == tmp_path / ".metaflow"
    elsewhere = values(inside, environment | {"METAFLOW_DATASTORE_SYSROOT_LOCAL": "/elsewhere"})
    assert project_folder(inside, elsewhere) == Path("/elsewhere/.metaflow")
