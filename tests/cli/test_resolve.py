"""`metaflow environment resolve`, as it is typed: what files ask for is locked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran

FLOW = """
class Uses(FlowSpec):
    @conda(file="environment.yml")
    @step
    def start(self):
        tell()
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
"""


def call(flows: Flows, *arguments: str) -> Ran:
    return flows.call(Path(flows.python).with_name("metaflow"), "environment", "resolve", *arguments)


def document(ran: Ran) -> Any:
    return json.loads(ran.stdout[ran.stdout.index("{") :])


def test_a_file_is_locked_and_a_flow_with_that_file_has_nothing_to_resolve(flows: Flows) -> None:
    (flows.folder / "environment.yml").write_text("dependencies: [six=1.16]\n")
    [row] = document(call(flows, "-f", "environment.yml", "--json").succeeded())["environments"]
    assert row["newly_resolved"]
    assert "six 1.16.0" in " ".join(row["packages"])

    again = call(flows, "-f", "environment.yml").succeeded()
    assert (
        again.stdout.splitlines()[-len(row["packages"]) - 1] == f"### {row['arch']}: {row['req_id']}:{row['full_id']}"
    )

    ran = flows.run(FLOW).succeeded()
    assert "Resolving" not in ran.stdout + ran.stderr
    assert ran.fact("start")["prefix"].endswith(row["full_id"])


def test_files_add_up_and_platforms_are_locked_together(flows: Flows) -> None:
    (flows.folder / "environment.yml").write_text("dependencies: [six=1.16]\n")
    (flows.folder / "requirements.txt").write_text("--conda-pkg tzdata\n")
    arguments = ("-f", "environment.yml", "-r", "requirements.txt", "--python", "3.11")
    rows = document(call(flows, *arguments, "--arch", "linux-64", "--json").succeeded())["environments"]
    assert [row["arch"] for row in rows] == ["linux-64"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "there is nothing to resolve"),
        (("-r", "gone.txt"), 2, "`gone.txt` cannot be read"),
        (("-f", "bad.yml"), 2, "bad.yml:1:1: the key `chanels` is not known"),
        (("-f", "none.yml"), 3, "there is no package `no-such-package`"),
        (("-f", "none.yml", "--arch", "beos-86"), 2, "beos-86"),
        (("-f", "none.yml", "--python", "2"), 2, "Metaflow does not run on Python `2`"),
    ],
)
def test_what_cannot_be_is_refused_by_the_code_of_its_kind(
    flows: Flows, arguments: tuple[str, ...], code: int, words: str
) -> None:
    (flows.folder / "bad.yml").write_text("chanels: []\n")
    (flows.folder / "none.yml").write_text("dependencies: [no-such-package]\n")
    ran = call(flows, *arguments)
    assert (ran.code, "Traceback" in ran.stderr) == (code, False)
    assert words in ran.stderr
