"""`metaflow environment show`, `list`, `get` and `diff`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran


def call(flows: Flows, *arguments: str) -> Ran:
    return flows.call(flows.python, "-m", "mfenv.cli", "environment", *arguments)


def answer(flows: Flows, *arguments: str) -> Any:
    return json.loads(call(flows, *arguments, "--json").succeeded().stdout)


@pytest.fixture
def two(flows: Flows) -> tuple[Flows, dict[str, str]]:
    """A project with two environments that have names."""
    old = answer(flows, "resolve", "--conda-pkg", "six=1.16", "--alias", "team/env:v1")["environments"][0]
    new = answer(flows, "resolve", "--conda-pkg", "six=1.16", "--pypi-pkg", "attrs", "--alias", "team/env:v2")
    return flows, {"v1": old["full_id"], "v2": new["environments"][0]["full_id"], "request": old["req_id"]}


def test_an_environment_is_shown_by_all_that_it_can_be_called(two: tuple[Flows, dict[str, str]]) -> None:
    flows, ids = two
    texts = [
        "team/env:v1",
        ids["v1"],
        ids["v1"][:8],
        ids["request"],
        ids["request"][:8],
        f"{ids['request']}:{ids['v1']}",
    ]
    rows = answer(flows, "show", *texts)["environments"]
    assert [(row["env"], row["full_id"], row["req_id"]) for row in rows] == [
        (text, ids["v1"], ids["request"]) for text in texts
    ]
    first = rows[0]
    assert {row["name"] for row in first["packages"]} >= {"six", "python", "requests"}
    assert first["aliases"] == [{"alias": "team/env:v1", "mutable": False, "local_only": False}]
    assert (first["type"], first["is_default"], first["shared"]) == ("conda-only", True, True)
    made = flows.local_path / "envs" / ids["v1"]
    assert first["local"] == (str(made) if made.is_dir() else None)
    assert first["asked"]["conda"] == ["requests", "six 1.16.*"]
    assert (first["resolved_by"], first["resolver"].split()[0]) == ("tester", "rattler")
    assert first["cached_files"] == len(first["packages"])
    assert first["size"] == sum(row["size"] for row in first["packages"])


def test_people_read_names_wishes_and_packages(two: tuple[Flows, dict[str, str]]) -> None:
    flows, ids = two
    shown = call(flows, "show", "team/env:v2").succeeded().stdout
    assert "names:          team/env:v2" in shown
    assert "from PyPI:      attrs" in shown
    assert "conda six==1.16.0-" in shown
    assert "PyPI  attrs==" in shown
    assert f":{ids['v2']}" in shown.splitlines()[0]


def test_a_quiet_line_has_a_fixed_number_of_words(two: tuple[Flows, dict[str, str]]) -> None:
    flows, ids = two
    lines = [
        call(flows, "--quiet", *command).succeeded().stdout.split()
        for command in (("show", "team/env:v1"), ("show", ids["v2"]), ("get", "team/env:v1"))
    ]
    assert [(len(words), words[1]) for words in lines] == [(12, ids["v1"]), (12, ids["v2"]), (12, ids["v1"])]
    copy = flows.folder / "copy.txt"
    ran = call(flows, "--quiet", "--quiet-file-output", str(copy), "show", "team/env:v1").succeeded()
    assert copy.read_text() == ran.stdout


def test_what_is_not_known_is_told_of_beside_what_is(two: tuple[Flows, dict[str, str]]) -> None:
    flows, ids = two
    ran = call(flows, "show", "team/enw:v1", "team/env:v1")
    assert ran.code == 2
    assert "no environment is known by the name `team/enw:v1`" in ran.stderr
    assert "`team/env:v1`" in ran.stderr
    assert ids["v1"] in ran.stdout
    quiet = call(flows, "--quiet", "show", "nobody", "--arch", "linux-64")
    assert (quiet.code, quiet.stdout) == (2, "nobody@linux-64 NOT_FOUND\n")
    document = json.loads(call(flows, "show", "nobody", "team/env:v1", "--json").stdout)
    assert [row.get("full_id") for row in document["environments"]] == [None, ids["v1"]]
    assert document["error"]["exit_code"] == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Bad Name", "`Bad Name` is not the name of an environment"),
        ("a/b:v1:v2", "is not a tag"),
        ("abcdef0", "no environment is known by the name `abcdef0:latest`"),
        ("0" * 40, f"the environment `{'0' * 40}` is not in the store"),
        ("NoFlow/1/start", "there is no step `NoFlow/1/start`"),
        ("step:a", "`step:a` does not name a step of a run"),
    ],
)
def test_a_reference_that_means_nothing_is_refused_with_its_form(flows: Flows, text: str, words: str) -> None:
    ran = call(flows, "show", text)
    assert (ran.code, "Traceback" in ran.text) == (2, False)
    assert words in ran.stderr


def test_digits_that_several_ids_begin_with_list_them(flows: Flows) -> None:
    # Under one request, two locks: the digits of the request can be either.
    first = answer(flows, "resolve", "--pypi-pkg", "attrs==23.1.0", "--alias", "x:a")["environments"][0]
    locks = flows.folder / ".metaflow" / "conda_v2.locks" / "mfenv" / "v1"
    one = next((locks / "locks").glob("*.json"))
    text = one.read_text().replace('"version":"23.1.0"', '"version":"23.1.1"')
    from mfenv.formats import lock_json

    other = lock_json.load(text.encode())
    note = next((locks / "provenance" / first["full_id"]).glob("*.json"))
    store = flows.folder / ".metaflow" / "conda_env" / "mfenv" / "v1"
    (store / "locks" / f"{other.id}.json").write_bytes(lock_json.dump(other))
    answers = next((store / "requests" / first["req_id"]).iterdir())
    (answers / other.id).mkdir()
    (answers / other.id / note.name.removesuffix(".json")).write_bytes(b"")
    ran = call(flows, "show", first["req_id"])
    assert ran.code == 2
    assert "can be one of several environments" in ran.stderr
    assert first["full_id"] in ran.stderr
    assert other.id in ran.stderr


def test_another_platform_is_said_to_be_missing(two: tuple[Flows, dict[str, str]]) -> None:
    flows, _ = two
    ran = call(flows, "show", "team/env:v1", "--arch", "osx-arm64")
    assert ran.code == 2
    assert "`team/env:v1` has no environment for osx-arm64, only for linux-64" in ran.stderr


def test_environments_are_listed_filtered_and_sorted(two: tuple[Flows, dict[str, str]]) -> None:
    flows, ids = two
    rows = answer(flows, "list", "--sort", "name")["environments"]
    assert [(row["full_id"], row["aliases"], row["project"], row["shared"]) for row in rows] == [
        (ids["v1"], ["team/env:v1"], True, True),
        (ids["v2"], ["team/env:v2"], True, True),
    ]
    assert [row["full_id"] for row in answer(flows, "list")["environments"]] == [ids["v2"], ids["v1"]]
    assert [row["full_id"] for row in answer(flows, "list", "--sort", "size")["environments"]] == [ids["v2"], ids["v1"]]
    assert [row["full_id"] for row in answer(flows, "list", "--filter", "attrs==")["environments"]] == [ids["v2"]]
    assert [row["full_id"] for row in answer(flows, "list", "--filter", "env:v1")["environments"]] == [ids["v1"]]
    assert answer(flows, "list", "--arch", "osx-64")["environments"] == []
    assert len(answer(flows, "list", "--limit", "1")["environments"]) == 1
    assert len(answer(flows, "list", "--store")["environments"]) == 2
    local = answer(flows, "resolve", "--conda-pkg", "tzdata", "--local-only")["environments"][0]["full_id"]
    assert {row["full_id"]: row["shared"] for row in answer(flows, "list", "--local")["environments"]}[local] is False
    assert local not in [row["full_id"] for row in answer(flows, "list", "--store")["environments"]]
    assert local not in [row["full_id"] for row in answer(flows, "list", "--aliases")["environments"]]
    shown = call(flows, "list").succeeded()
    assert ids["v1"] in shown.stdout
    assert "3 environments" in shown.stderr


def test_looking_leaves_no_trace(two: tuple[Flows, dict[str, str]], tmp_path: Path) -> None:
    flows, _ = two

    def everything() -> dict[str, float]:
        return {str(path): path.stat().st_mtime for path in flows.folder.rglob("*") if path.is_file()}

    before = everything()
    for command in (
        ("show", "team/env:v1"),
        ("list",),
        ("diff", "team/env:v1", "team/env:v2"),
        ("history", "team/env:v1"),
    ):
        call(flows, *command).succeeded()
    assert everything() == before
    empty = tmp_path / "empty"
    empty.mkdir()
    ran = flows.call(flows.python, "-m", "mfenv.cli", "environment", "list", cwd=empty).succeeded()
    assert (ran.stdout, list(empty.iterdir())) == ("", [])


def test_what_is_got_is_used_for_its_request_from_then_on(two: tuple[Flows, dict[str, str]], tmp_path: Path) -> None:
    flows, ids = two
    # Another project, which shares the store.
    there = flows.using(METAFLOW_CONDA_LOCALROOT=str(flows.folder / ".metaflow" / "conda_env"))
    other = tmp_path / "other"
    other.mkdir()
    command = (flows.python, "-m", "mfenv.cli", "environment")
    there.call(*command, "get", "team/env:v1", "--no-default", cwd=other).succeeded()
    assert list((other / ".metaflow").glob("conda_v2.cnd")) == []
    assert [path.stem for path in (other / ".metaflow").rglob("locks/*.json")] == [ids["v1"]]
    there.call(*command, "get", "team/env:v1", cwd=other).succeeded()
    ran = there.call(*command, "resolve", "--conda-pkg", "six=1.16", "--json", cwd=other).succeeded()
    row = json.loads(ran.stdout)["environments"][0]
    assert (row["full_id"], row["newly_resolved"]) == (ids["v1"], False)


def test_two_environments_are_compared_package_by_package(two: tuple[Flows, dict[str, str]]) -> None:
    flows, _ = two
    call(flows, "resolve", "--conda-pkg", "six", "--alias", "team/env:v3").succeeded()
    found = answer(flows, "diff", "team/env:v2", "team/env:v3")
    kinds = {row["name"]: (row["kind"], row["before"] and row["before"]["side"]) for row in found["changes"]}
    assert kinds["attrs"] == ("removed", "pypi")
    assert kinds["six"] == ("upgraded", "conda")
    removed = next(row for row in found["changes"] if row["name"] == "attrs")
    assert removed["growth"] == -removed["before"]["size"]
    assert found["growth"] == sum(row["growth"] for row in found["changes"])
    shown = call(flows, "diff", "team/env:v2", "team/env:v3").succeeded().stdout
    assert "- attrs" in shown
    assert "^ six" in shown
    assert "1 removed, 1 upgraded" in shown.replace("upgraded, 1 removed", "removed, 1 upgraded")
    same = call(flows, "diff", "team/env:v1", "team/env:v1").succeeded().stdout
    assert same == "team/env:v1 and team/env:v1 have the same packages.\n"


def test_an_environment_is_compared_with_a_lock_file(two: tuple[Flows, dict[str, str]]) -> None:
    flows, ids = two
    own = flows.folder / ".metaflow" / "conda_v2.locks" / "mfenv" / "v1" / "locks" / f"{ids['v1']}.json"
    assert answer(flows, "diff", "team/env:v1", str(own))["changes"] == []
    explicit = flows.folder / "explicit.txt"
    lines = [f"{row['url']}#sha256:{row['sha256']}" for row in _files(own)]
    explicit.write_text("\n".join(["@EXPLICIT", *lines[:-1]]) + "\n")
    (change,) = answer(flows, "diff", "team/env:v1", str(explicit))["changes"]
    assert change["kind"] == "removed"
    (flows.folder / "requirements.txt").write_text("six\n")
    ran = call(flows, "diff", "team/env:v1", "requirements.txt")
    assert ran.code == 2
    assert "`requirements.txt` is not a lock file" in ran.stderr


def _files(lock: Path) -> list[dict[str, str]]:
    return [package["file"] for package in json.loads(lock.read_text())["packages"]]


def test_two_runs_are_compared_step_by_step(flows: Flows) -> None:
    flow = """
    class Steps(FlowSpec):
        @conda(libraries={"six": "%s"})
        @step
        def start(self):
            self.next(self.end)

        @conda(disabled=True)
        @step
        def end(self):
            pass
    """
    first = flows.run(flow % "1.16").succeeded()
    second = flows.run(flow % "").succeeded()
    found = answer(flows, "diff", f"Steps/{first.run_id}", "Steps/latest")
    assert [(row["step"], [one["name"] for one in row["changes"]]) for row in found["steps"]] == [
        ("start", ["six"]),
        ("end", []),
    ]
    shown = call(flows, "diff", f"Steps/{first.run_id}", f"Steps/{second.run_id}").succeeded()
    assert "end: the same (no environment)" in shown.stdout
    by_step = answer(flows, "diff", f"Steps/{first.run_id}/start", f"Steps/{second.run_id}/start")
    assert [row["name"] for row in by_step["changes"]] == ["six"]
    ran = call(flows, "diff", f"Steps/{first.run_id}", f"Steps/{second.run_id}/start")
    assert ran.code == 2
    assert "is a whole run" in ran.stderr
    gone = call(flows, "diff", "Steps/1", "Steps/latest")
    assert (gone.code, "there is no run `Steps/1`" in gone.stderr) == (2, True)


def test_looking_loads_no_solver(two: tuple[Flows, dict[str, str]]) -> None:
    flows, _ = two
    program = (
        "import sys\n"
        "from mfenv.cli.commands import cli\n"
        "try:\n    cli(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'rattler' not in sys.modules\n"
    )
    for command in (("show", "team/env:v1"), ("list",), ("diff", "team/env:v1", "team/env:v2"), ("get", "team/env:v1")):
        flows.call(flows.python, "-c", program, "environment", *command).succeeded()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--datastore", "cupboard"), "environments cannot be shared through the datastore `cupboard`"),
        (("--metadata", "diary"), "--metadata: `diary` keeps no metadata"),
        (("--metadata", "local@/not/there"), "--metadata: `local@/not/there` cannot be asked"),
        (("--conda-root", "ftp://example.org/x"), "--conda-root: `ftp://example.org/x` is an address"),
        (
            ("--datastore", "s3", "--conda-root", "s3://me:canary@bucket/x"),
            "--conda-root: there is a password in the address",
        ),
    ],
)
def test_options_of_the_group_are_checked(flows: Flows, options: tuple[str, ...], words: str) -> None:
    ran = call(flows, *options, "show", "team/env:v1")
    assert (ran.code, "Traceback" in ran.text, "canary" in ran.text) in {(2, False, False), (5, False, False)}
    assert words in ran.stderr


def test_another_root_is_another_store(two: tuple[Flows, dict[str, str]], tmp_path: Path) -> None:
    flows, ids = two
    assert call(flows, "--conda-root", str(tmp_path / "nothing"), "show", "team/env:v1").code == 2
    root = str(flows.folder / ".metaflow" / "conda_env")
    other = tmp_path / "elsewhere"
    other.mkdir()
    ran = flows.call(
        flows.python, "-m", "mfenv.cli", "environment", "--conda-root", root, "show", "team/env:v1", "--json", cwd=other
    )
    assert json.loads(ran.succeeded().stdout)["environments"][0]["full_id"] == ids["v1"]
