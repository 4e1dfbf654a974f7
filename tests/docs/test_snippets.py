"""Flows and messages on the pages are real: the flows run, the messages come."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mfenv.app import settings
from mfenv.app.wiring import Wiring
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import SpecLayer, complete
from mfenv.errors import EnvironmentsError, InvalidSpec
from mfenv.metaflow.requirements import Reader
from mfenv.testing.channel import LocalChannel

if TYPE_CHECKING:
    from tests.conftest import Flows

ROOT = Path(__file__).parents[2]
TROUBLESHOOTING = ROOT / "docs" / "how-to" / "troubleshooting.md"
WRITING = ROOT / "docs" / "how-to" / "write-environments.md"


def flows_on(page: Path) -> list[str]:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "FlowSpec" in block]


# The page on migration has a test of its own.
PAGES = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.stem != "migration")]
FLOWS = [pytest.param(flow, id=page.stem) for page in PAGES for flow in flows_on(page)]


@pytest.mark.parametrize("text", FLOWS)
def test_a_flow_on_a_page_runs_and_gets_what_it_asks_for(text: str, flows: Flows) -> None:
    """With two versions of pandas and the Python that this machine's channel has."""
    older, newer = flows.channel.pandas_versions()[-2:]
    ours = {'"2.1.4"': f'"{older}"', '"2.2.3"': f'"{newer}"', '"3.11"': f'"{flows.channel.running}"'}
    text = re.sub("|".join(map(re.escape, ours)), lambda found: ours[found[0]], text)
    path = flows.folder / "snippet.py"
    path.write_text(text, encoding="utf-8")
    # For those that name a file.
    (flows.folder / "environment.yml").write_text("dependencies: [six]\n", encoding="utf-8")

    ran = flows.run(path).succeeded()

    printed = re.findall(r"\(pid \d+\)\] (\d+\.\d+\.\d+)$", ran.stdout, re.MULTILINE)
    assert printed == [version for version in (older, newer) if f'"{version}"' in text]


def test_there_are_flows_on_pages() -> None:
    assert len(FLOWS) >= 2


def test_versions_in_the_table_mean_what_it_says() -> None:
    conda = WRITING.read_text(encoding="utf-8").partition("## PyPI packages")[0]
    rows = re.findall(r"^\| (`\".*?) \| (.+) \|$", conda, re.MULTILINE)
    written = [text for cell, _ in rows for text in re.findall(r'`"(.*?)"`', cell.replace("\\|", "|"))]
    parsed = {text: MatchSpec.parse("numpy", text, where="table") for text in written}
    assert {text: (spec.version, spec.build) for text, spec in parsed.items()} == {
        "1.26.4": ("==1.26.4", None),
        "1.26.*": ("1.26.*", None),
        "=1.26": ("1.26.*", None),
        ">=1.26,<2": ("<2,>=1.26", None),
        "1.25.*|>=1.26.2": ("1.25.*|>=1.26.2", None),
        "~=1.26.2": ("~=1.26.2", None),
        "": ("*", None),
        "1.26.4=py311h64a7726_0": ("==1.26.4", "py311h64a7726_0"),
        ">=1.26 py311*": (">=1.26", "py311*"),
    }


@dataclass
class Written:
    name: str
    attributes: dict[str, Any] = field(default_factory=dict)


def quoted(error: EnvironmentsError) -> str:
    """An error as the page shows it."""
    return f"{error.headline}:\n{error.explain()}".replace("*", "\N{ASTERISK OPERATOR}")


@pytest.mark.parametrize(
    "decorator",
    [
        Written("conda", {"libraries": {"pandas": "2.1,"}}),
    ],
    ids=["comma"],
)
def test_messages_about_what_cannot_be_read_are_those_on_the_page(decorator: Written) -> None:
    with pytest.raises(InvalidSpec) as caught:
        Reader(owner="step `start`", folder=ROOT).layer([decorator])
    assert quoted(caught.value) in TROUBLESHOOTING.read_text(encoding="utf-8").replace("*", "\N{ASTERISK OPERATOR}")


@pytest.fixture
def wiring(channel: LocalChannel, tmp_path: Path) -> Any:
    values = {"CONDA_CHANNELS": channel.url(), "CONDA_LOCAL_PATH": str(tmp_path / "local")}
    made = Wiring(settings.read(values.get, {}), project=tmp_path / "project")
    yield made
    made.worker.close()


@pytest.mark.parametrize(
    "names", [["pandsa"], ["quarrel-left", "quarrel-right"], ["needs-cuda"]], ids=lambda names: "-".join(names)
)
def test_messages_about_missing_solutions_are_those_on_the_page(
    names: list[str], wiring: Wiring, channel: LocalChannel
) -> None:
    spec = complete(
        SpecLayer(conda=tuple(MatchSpec(name=name) for name in names)),
        default_python=PythonConstraint.minor(*map(int, channel.running.split("."))),
        default_channels=wiring.settings.channels,
        needs=(),
    )
    request = ResolutionRequest(spec=spec, target=wiring.settings.target(Platform.host()))
    (failure,) = wiring.locker("tester").resolve([request]).values()
    assert isinstance(failure, EnvironmentsError)
    page = TROUBLESHOOTING.read_text(encoding="utf-8")
    shown = failure.explain().replace(channel.url(), "<channel>").replace("*", "\N{ASTERISK OPERATOR}")
    # The solver lists what conflicts in no order that it promises: compare what lines there are.
    missing = [line for line in shown.splitlines() if _without_tree(line) not in map(_without_tree, page.splitlines())]
    assert missing == [] or missing == [shown.splitlines()[0]]
    assert shown.splitlines()[0].replace("linux-64", Platform.host().value) in page


def _without_tree(line: str) -> str:
    return line.lstrip(" |│├└─")
