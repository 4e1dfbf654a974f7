"""`metaflow environment tree` and `why`, as they are typed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran


def call(flows: Flows, *arguments: str) -> Ran:
    return flows.call(flows.python, "-m", "mfenv.cli", "environment", *arguments)


def answer(flows: Flows, *arguments: str) -> Any:
    return json.loads(call(flows, *arguments, "--json").succeeded().stdout)


@pytest.fixture
def mixed(flows: Flows) -> Flows:
    packages = ("--conda-pkg", "six=1.16", "--pypi-pkg", "jinja2>=3")
    call(flows, "resolve", *packages, "--alias", "team/mixed").succeeded()
    return flows


def test_both_sides_are_one_tree(mixed: Flows) -> None:
    shown = call(mixed, "tree", "team/mixed").succeeded().stdout.splitlines()
    roots = [line.split()[0] for line in shown if not line.startswith((" ", "│", "├", "└"))]
    assert roots == ["jinja2", "python", "requests", "six"]
    assert any(line.startswith("└── markupsafe ") and "(PyPI)" in line and "[>=2" in line for line in shown)
    assert any("urllib3" in line and "(conda)" in line for line in shown)
    # Shown once, then marked.
    assert sum("(*)" in line for line in shown) >= 1
    flat = call(mixed, "tree", "team/mixed", "--depth", "0").succeeded().stdout.splitlines()
    assert [line.split()[0] for line in flat] == roots


def test_a_tree_can_begin_anywhere_and_go_either_way(mixed: Flows) -> None:
    below = call(mixed, "tree", "team/mixed", "requests").succeeded().stdout.splitlines()
    assert below[0].startswith("requests ")
    assert any("idna" in line for line in below)
    above = call(mixed, "tree", "team/mixed", "MarkupSafe", "--invert").succeeded().stdout.splitlines()
    assert [line.split(" (")[0].split()[-2] for line in above] == ["markupsafe", "jinja2"]


def test_programs_get_the_whole_graph(mixed: Flows) -> None:
    found = answer(mixed, "tree", "team/mixed")
    packages = {(row["side"], row["name"]): row for row in found["packages"]}
    assert packages["pypi", "jinja2"]["asked"] == "jinja2>=3"
    assert packages["pypi", "jinja2"]["needs"] == [
        {"name": "markupsafe", "side": "pypi", "constraint": packages["pypi", "jinja2"]["needs"][0]["constraint"]}
    ]
    assert {row["name"] for row in found["roots"]} == {"jinja2", "python", "requests", "six"}


def test_why_names_who_asked_and_each_way(mixed: Flows) -> None:
    (row,) = answer(mixed, "why", "team/mixed", "markupsafe")["packages"]
    assert (row["asked"], row["side"], row["metaflow"]) == (None, "pypi", False)
    assert [chain[0].split()[0] for chain in row["chains"]] == ["jinja2"]
    (six,) = answer(mixed, "why", "team/mixed", "six")["packages"]
    assert (six["asked"], six["metaflow"]) == ("six 1.16.*", False)
    (requests,) = answer(mixed, "why", "team/mixed", "requests")["packages"]
    assert requests["metaflow"]
    shown = call(mixed, "why", "team/mixed", "idna").succeeded().stdout
    assert "requests" in shown
    assert " -> idna " in shown


def test_what_is_not_there_comes_with_names_like_it(mixed: Flows) -> None:
    ran = call(mixed, "why", "team/mixed", "jinja3")
    assert (ran.code, "Traceback" in ran.text) == (2, False)
    assert "PACKAGE: there is no `jinja3` in this environment" in ran.stderr
    assert "`jinja2`" in ran.stderr
    assert call(mixed, "tree", "team/mixed", "nothing").code == 2
    assert call(mixed, "tree", "nobody").code == 2


def test_looking_inside_loads_no_solver(mixed: Flows) -> None:
    call(mixed, "tree", "team/mixed").succeeded()
    program = (
        "import sys\n"
        "from mfenv.cli.commands import cli\n"
        "try:\n    cli(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'rattler' not in sys.modules\n"
    )
    for command in (("tree", "team/mixed"), ("why", "team/mixed", "idna")):
        mixed.call(mixed.python, "-c", program, "environment", *command).succeeded()
