"""`metaflow environment resolve` with each of its options."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mfenv.store.project_index import ProjectIndex
from mfenv.testing.wheels import MadeWheel

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran


def call(flows: Flows, *arguments: str) -> Ran:
    return flows.call(flows.python, "-m", "mfenv.cli", "environment", "resolve", *arguments)


def rows(flows: Flows, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(call(flows, *arguments, "--json").succeeded().stdout)["environments"]
    return found


def versions(row: dict[str, Any]) -> dict[str, str]:
    return {text.split()[0]: text.split()[1] for text in row["packages"]}


@pytest.fixture
def indexed(flows: Flows) -> Flows:
    """Runs commands that have one folder of wheels and no index besides."""
    folder = flows.folder / "wheels"
    folder.mkdir()
    for name, version, needs in (
        ("tool", "1.0", ()),
        ("tool", "2.0", ()),
        ("kit", "1.0", ("tool",)),
        ("kit", "2.0", ("tool",)),
        ("kit", "3.0", ("tool>=2",)),
    ):
        wheel = MadeWheel(name=name, version=version, needs=needs)
        wheel.write(folder)
    return flows


WHEELS = "--find-links ./wheels\n--no-index\n"


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_packages_and_channels_can_be_given_as_options(flows: Flows) -> None:
    (row,) = rows(flows, "--conda-pkg", "six=1.16", "--channel", str(flows.channel.path()), "--python", "3.11")
    assert versions(row)["six"] == "1.16.0"
    assert versions(row)["python"].startswith("3.11.")
    ran = call(flows, "--conda-pkg", "six", "--channel", "./nowhere")
    assert (ran.code, "nowhere" in ran.stderr, "Traceback" in ran.text) == (3, True, False)


def test_what_metaflow_imports_can_be_left_out(flows: Flows) -> None:
    (row,) = rows(flows, "--conda-pkg", "six", "--skip-metaflow-deps")
    assert "requests" not in versions(row)


def test_a_plan_is_shown_and_nothing_is_kept(indexed: Flows) -> None:
    (indexed.folder / "requirements.txt").write_text(WHEELS + "kit==1.0\n")
    before = everything(indexed.folder)
    (row,) = rows(indexed, "-r", "requirements.txt", "--dry-run", "--skip-metaflow-deps", "--alias", "a/b:v1")
    assert (row["full_id"], row["newly_resolved"], row["before"]) == (None, True, None)
    assert {"kit", "tool", "python"} <= versions(row).keys()
    assert everything(indexed.folder) == before
    assert sorted({change["kind"] for change in row["changes"]}) == ["added"]
    shown = call(indexed, "-r", "requirements.txt", "--dry-run", "--skip-metaflow-deps").succeeded()
    assert "Nothing was kept" in shown.stdout
    assert everything(indexed.folder) == before


def test_what_is_upgraded_moves_and_the_rest_stays(indexed: Flows) -> None:
    requirements = indexed.folder / "requirements.txt"
    (indexed.folder / "more").mkdir()
    # What is there first: tool 1.0 and kit 2.0. Later the newer ones come.
    for name in ("tool-2.0", "kit-3.0"):
        wheel = next((indexed.folder / "wheels").glob(f"{name}-*"))
        wheel.rename(indexed.folder / "more" / wheel.name)
    requirements.write_text(WHEELS + "kit\n")
    options = ("-r", "requirements.txt", "--skip-metaflow-deps")
    (first,) = rows(indexed, *options)
    assert {name: versions(first)[name] for name in ("kit", "tool")} == {"kit": "2.0", "tool": "1.0"}
    for wheel in (indexed.folder / "more").iterdir():
        wheel.rename(indexed.folder / "wheels" / wheel.name)
    (same,) = rows(indexed, *options)
    assert (same["full_id"], same["newly_resolved"]) == (first["full_id"], False)

    (planned,) = rows(indexed, *options, "--upgrade", "tool", "--dry-run")
    assert [(change["name"], change["kind"]) for change in planned["changes"]] == [("tool", "upgraded")]
    assert planned["before"] == first["full_id"]
    (tool,) = rows(indexed, *options, "--upgrade", "tool")
    assert {name: versions(tool)[name] for name in ("kit", "tool")} == {"kit": "2.0", "tool": "2.0"}
    (everything_new,) = rows(indexed, *options, "--upgrade-all")
    assert {name: versions(everything_new)[name] for name in ("kit", "tool")} == {"kit": "3.0", "tool": "2.0"}
    (now,) = rows(indexed, *options)
    assert (now["full_id"], now["newly_resolved"]) == (everything_new["full_id"], False)
    ran = call(indexed, *options, "--upgrade", "tol")
    assert (ran.code, "--upgrade: there is no `tol` in what is locked now" in ran.stderr) == (2, True)
    assert "`tool`" in ran.stderr


def test_what_a_preference_cannot_keep_gives_way(indexed: Flows) -> None:
    (indexed.folder / "requirements.txt").write_text(WHEELS + "kit\ntool<2\n")
    (first,) = rows(indexed, "-r", "requirements.txt", "--skip-metaflow-deps")
    assert {name: versions(first)[name] for name in ("kit", "tool")} == {"kit": "2.0", "tool": "1.0"}
    (planned,) = rows(indexed, "-r", "requirements.txt", "--skip-metaflow-deps", "--upgrade", "kit", "--dry-run")
    assert planned["changes"] == []


def test_conda_packages_stay_as_well(flows: Flows) -> None:
    (first,) = rows(flows, "--conda-pkg", "six=1.16")
    (flows.folder / "environment.yml").write_text("dependencies: [six]\n")
    (free,) = rows(flows, "-f", "environment.yml")
    assert versions(free)["six"] != "1.16.0"
    # The lock of the narrow request is made that of the wide one: by hand, as `get` does.
    index = ProjectIndex(flows.folder / ".metaflow" / "conda_v2.cnd")
    by_lock = {default.lock: default for default in index.defaults()}
    wide, narrow = by_lock[free["full_id"]], by_lock[first["full_id"]]
    index.set_defaults([replace(wide, lock=narrow.lock)])
    (kept,) = rows(flows, "-f", "environment.yml", "--upgrade", "requests", "--dry-run")
    assert versions(kept)["six"] == "1.16.0"
    (moved,) = rows(flows, "-f", "environment.yml", "--upgrade", "six", "--dry-run")
    assert versions(moved)["six"] == versions(free)["six"]
    assert [change["name"] for change in moved["changes"]] == ["six"]


def test_an_environment_is_built_upon(flows: Flows) -> None:
    (base,) = rows(flows, "--conda-pkg", "six=1.16", "--alias", "team/base:v1")
    (row,) = rows(flows, "--using", "team/base:v1", "--pypi-pkg", "attrs")
    assert set(base["packages"]) < set(row["packages"])
    assert "attrs" in versions(row)
    (same,) = rows(flows, "--using", "team/base:v1", "--conda-pkg", "six")
    assert same["full_id"] == base["full_id"]


def test_the_request_of_an_environment_is_answered_again(flows: Flows) -> None:
    (first,) = rows(flows, "--conda-pkg", "six=1.16", "--pypi-pkg", "attrs", "--alias", "team/base:v1")
    (again,) = rows(flows, "--from", "team/base:v1")
    assert (again["req_id"], again["full_id"], again["newly_resolved"]) == (first["req_id"], first["full_id"], False)
    (anew,) = rows(flows, "--from", first["full_id"][:10], "--force")
    assert (anew["req_id"], anew["full_id"], anew["newly_resolved"]) == (first["req_id"], first["full_id"], True)
    (older,) = rows(flows, "--from", "team/base:v1", "--exclude-newer", "2035-01-01")
    assert older["req_id"] != first["req_id"]


def test_steps_of_runs_can_be_built_upon_and_asked_again(flows: Flows) -> None:
    flow = """
    class Base(FlowSpec):
        @conda(libraries={"six": "1.16"})
        @step
        def start(self):
            self.next(self.end)

        @conda(disabled=True)
        @step
        def end(self):
            pass
    """
    ran = flows.run(flow).succeeded()
    pathspec = f"Base/{ran.run_id}/start"
    (upon,) = rows(flows, "--using-pathspec", pathspec, "--conda-pkg", "tzdata")
    assert versions(upon)["six"] == "1.16.0"
    (again,) = rows(flows, "--from-pathspec", pathspec)
    assert not again["newly_resolved"]


def test_a_request_keeps_its_lock_where_the_new_one_is_not_to_be_the_default(flows: Flows) -> None:
    (first,) = rows(flows, "--conda-pkg", "six=1.16")
    (other,) = rows(flows, "--conda-pkg", "six=1.16", "--exclude-newer", "2035-01-01", "--no-set-default")
    (again,) = rows(flows, "--conda-pkg", "six=1.16", "--exclude-newer", "2035-01-01", "--dry-run")
    assert again["newly_resolved"]
    assert other["full_id"] == first["full_id"]


def test_a_name_that_cannot_be_moved_is_refused_before_anything_is_solved(flows: Flows) -> None:
    (first,) = rows(flows, "--conda-pkg", "six=1.16", "--alias", "team/base:v1")
    rows(flows, "--conda-pkg", "six=1.16", "--alias", "team/base:v1")
    locks = flows.folder / ".metaflow" / "conda_v2.locks"
    before = everything(locks)
    ran = call(flows, "--conda-pkg", "six", "--alias", "team/base:v1")
    assert (ran.code, "team/base:v1" in ran.stderr, first["full_id"] in ran.stderr) == (5, True, True)
    assert everything(locks) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--using", "a:b", "--from", "c:d"), "--using and --from cannot be given together"),
        (("--using", "a:b", "--using-pathspec", "F/1/s"), "--using and --using-pathspec cannot be given together"),
        (("--from", "a:b", "--from-pathspec", "F/1/s"), "--from and --from-pathspec cannot be given together"),
        (("--from", "a:b", "-r", "x.txt"), "--from takes the request of an environment as it was"),
        (("--from", "a:b", "--conda-pkg", "six"), "--from takes the request of an environment as it was"),
        (("--using", "a:b", "--python", "3.11"), "--python: an environment that builds upon another"),
        (("--using", "nobody:v1"), "--using: no environment is known by the name `nobody:v1`"),
        (("--from", "nobody:v1"), "--from: no environment is known by the name `nobody:v1`"),
        (("--conda-pkg", "six", "--exclude-newer", "someday"), "--exclude-newer: `someday` is neither a date"),
        (("--conda-pkg", "six ["), "--conda-pkg: `six [`"),
        (("--pypi-pkg", "=="), "--pypi-pkg: `==` is not a requirement"),
        (("--conda-pkg", "six", "--alias", "Bad"), "--alias: `Bad` is not the name of an environment"),
    ],
)
def test_options_that_contradict_or_mean_nothing_are_refused(
    flows: Flows, arguments: tuple[str, ...], words: str
) -> None:
    ran = call(flows, *arguments)
    assert (ran.code, "Traceback" in ran.text) == (2, False)
    assert words in ran.stderr


def test_a_file_that_wants_another_python_than_what_is_built_upon_is_refused(flows: Flows) -> None:
    rows(flows, "--conda-pkg", "six=1.16", "--python", "3.11", "--alias", "team/base:v1")
    (flows.folder / "environment.yml").write_text("dependencies: [python=3.9]\n")
    ran = call(flows, "--using", "team/base:v1", "-f", "environment.yml")
    assert (ran.code, "a file asks for Python `3.9.*`, and `team/base:v1`" in ran.stderr) == (2, True)


def test_a_lock_that_came_from_a_file_says_that_the_file_is_needed_again(flows: Flows) -> None:
    (flows.folder / "explicit.txt").write_text("@EXPLICIT\n" + _six(flows) + "\n")
    rows(flows, "--lock", "explicit.txt", "--alias", "team/file:v1")
    ran = call(flows, "--from", "team/file:v1")
    assert (ran.code, "`team/file:v1` was made from a @EXPLICIT, which is not kept" in ran.stderr) == (4, True)


def _six(flows: Flows) -> str:
    (row,) = rows(flows, "--conda-pkg", "six=1.16")
    lock = flows.folder / ".metaflow" / "conda_v2.locks" / "mfenv" / "v1" / "locks" / f"{row['full_id']}.json"
    files = [package["file"] for package in json.loads(lock.read_text())["packages"]]
    return "\n".join(f"{file['url']}#sha256:{file['sha256']}" for file in files)
