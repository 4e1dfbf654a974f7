"""What the pages say is true: links, commands, references, and words that have no place in them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mfenv.app.backends import ROLES

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])
HOUSE = sorted(
    [
        *PAGES,
        ROOT / "Makefile",
        ROOT / ".ci" / "run",
        ROOT / "pyproject.toml",
        *(path for folder in ("src", "benchmarks", "examples", "scripts") for path in (ROOT / folder).rglob("*.py")),
    ]
)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made for Markdown."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8"))
    broken = []
    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
        waiting += [(page.parent / link).resolve() for link in links]
    assert set(PAGES) - reached - {ROOT / "examples" / "README.md"} == set()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_make_command_that_a_page_names_is_in_the_makefile(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    in_blocks = re.findall(r"^\$ make ([a-z]+)", text, re.MULTILINE)
    in_lines = re.findall(r"`make ([a-z]+)", text)
    rules = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(in_blocks + in_lines) - rules == set()


def test_the_readme_names_the_two_commands_and_make_knows_how() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for rule in ("demo", "test"):
        assert f"$ make {rule}\n" in text
        subprocess.run(["make", "--dry-run", rule], cwd=ROOT, check=True, capture_output=True)


def test_the_readme_names_exactly_the_settings_of_the_reference() -> None:
    pattern = r"`(METAFLOW_CONDA_[A-Z0-9_]+)`"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    reference = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    assert set(re.findall(pattern, readme)) == set(re.findall(pattern, reference))


def test_the_reference_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/write_reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_decision_is_listed_and_has_its_three_parts() -> None:
    folder = ROOT / "docs" / "adr"
    pages = sorted(folder.glob("0*.md"))
    listed = re.findall(r"\((\d{4}-[a-z0-9-]+\.md)\)", (folder / "index.md").read_text(encoding="utf-8"))
    assert listed == [page.name for page in pages]
    for number, page in enumerate(pages, start=1):
        text = page.read_text(encoding="utf-8")
        assert page.name.startswith(f"{number:04}-")
        assert text.startswith(f"# {number}. ")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]


def test_the_page_on_backends_has_every_role() -> None:
    page = (ROOT / "docs" / "how-to" / "backends.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(mfenv\.\w+)` \| `METAFLOW_(\w+)` \|", page, re.MULTILINE)
    assert rows == [(role.group, role.setting) for role in ROLES]


def test_modules_that_pages_name_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"`(mfenv(?:\.[a-z_]+)+)`", page.read_text(encoding="utf-8")):
            path = ROOT.joinpath("src", *name.split("."))
            if name in {role.group for role in ROLES}:
                continue
            assert path.with_suffix(".py").exists() or (path / "__init__.py").exists(), f"{named(page)}: {name}"


# Written in pieces, so that this file does not hold what it looks for.
HOSTS = ["pypi" + ".org", "pythonhosted" + ".org", "anaconda" + ".org", "prefix" + ".dev"]


@pytest.mark.parametrize("path", HOUSE, ids=named)
def test_nothing_names_a_registry_a_machine_or_a_ticket(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [host for host in HOSTS if host in text] == []
    assert re.findall(r"(?<![\w.])/(?:work|farm|root|opt/pypi)/\S*", text) == []
    assert re.findall(r"/home/(?!me/|someone/)\S+", text) == []
    assert re.findall(r"(?i)\b(?:issue|ticket|pull request) ?#?\d+|(?<![\w&#/])#\d{2,}\b", text) == []
