"""`metaflow environment audit`, as it is typed."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mfenv.testing.channel import ChannelServer

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran


def call(flows: Flows, *arguments: str) -> Ran:
    return flows.call(flows.python, "-m", "mfenv.cli", "environment", *arguments)


def advisory(identity: str, name: str, *, ecosystem: str = "PyPI", fixed: str = "999", **more: Any) -> dict[str, Any]:
    """As OSV has it."""
    return {
        "schema_version": "1.7.0",
        "id": identity,
        "modified": "2026-01-01T00:00:00Z",
        "summary": f"Something about {name}",
        "affected": [
            {
                "package": {"ecosystem": ecosystem, "name": name},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
            }
        ],
        **more,
    }


KNOWN = [
    advisory("GHSA-1", "Tabulate", aliases=["CVE-2026-1"], database_specific={"severity": "HIGH"}),
    advisory("PYSEC-1", "tabulate", aliases=["CVE-2026-1"]),
    advisory("GHSA-2", "six", fixed="1.16.0"),
    advisory("GHSA-3", "six", withdrawn="2026-02-01T00:00:00Z"),
    advisory("CONDA-1", "six", ecosystem="conda-forge", severity=[{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N"}]),
    advisory("GHSA-4", "tqdm"),
]


@pytest.fixture
def made(flows: Flows) -> Flows:
    """A project with an environment: six and tabulate of conda, tqdm of PyPI."""
    arguments = ["--conda-pkg", "six=1.16", "--conda-pkg", "tabulate", "--pypi-pkg", "tqdm", "--alias", "team/env:v1"]
    call(flows, "resolve", *arguments).succeeded()
    return flows


def shown(ran: Ran) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["package"], row["id"]): row for row in json.loads(ran.stdout)["findings"]}


def test_what_is_known_is_shown_for_both_sides(made: Flows, tmp_path: Path) -> None:
    database = tmp_path / "all.zip"
    with zipfile.ZipFile(database, "w") as archive:
        for row in KNOWN:
            archive.writestr(f"{row['id']}.json", json.dumps(row))
    ran = call(made, "audit", "team/env:v1", "--database", str(database), "--json")
    assert ran.code == 9, ran.text
    found = shown(ran)
    assert set(found) == {("tabulate", "GHSA-1"), ("six", "CONDA-1"), ("tqdm", "GHSA-4")}
    assert found["tabulate", "GHSA-1"] == {
        "id": "GHSA-1",
        "aliases": ["CVE-2026-1", "PYSEC-1"],
        "package": "tabulate",
        "version": found["tabulate", "GHSA-1"]["version"],
        "ecosystem": "pypi",
        "brought_by": "tabulate",
        "severity": "HIGH",
        "summary": "Something about Tabulate",
        "fixed_in": ["999"],
    }
    assert (found["six", "CONDA-1"]["version"], found["six", "CONDA-1"]["severity"]) == ("1.16.0", "CVSS:3.1/AV:N")
    assert (found["tqdm", "GHSA-4"]["brought_by"], found["tqdm", "GHSA-4"]["ecosystem"]) == (None, "pypi")


def test_words_say_the_same(made: Flows, tmp_path: Path) -> None:
    database = tmp_path / "known.json"
    database.write_text(json.dumps(KNOWN))
    ran = made.using(METAFLOW_CONDA_OSV_DATABASE=str(database)).call(
        made.python, "-m", "mfenv.cli", "environment", "audit", "team/env:v1"
    )
    assert ran.code == 9, ran.text
    assert "six 1.16.0 (conda)  CONDA-1  [CVSS:3.1/AV:N]\n    Something about six\n    mended in 999\n" in ran.stdout
    assert "3 advisories about" in ran.stderr


def test_where_nothing_is_known_it_ends_well(made: Flows, tmp_path: Path) -> None:
    (tmp_path / "known").mkdir()
    (tmp_path / "known" / "one.json").write_text(json.dumps(advisory("GHSA-9", "nobody-has-this")))
    ran = call(made, "audit", "team/env:v1", "--database", str(tmp_path / "known"), "--json").succeeded()
    assert shown(ran) == {}


def test_a_database_at_a_url_is_fetched_once(made: Flows, tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "known.json").write_text(json.dumps(KNOWN))
    with ChannelServer(tmp_path / "served") as server:
        for _ in range(2):
            ran = call(made, "audit", "team/env:v1", "--database", f"{server.url}/known.json", "--json")
            assert (ran.code, len(shown(ran))) == (9, 3), ran.text
        assert dict(server.statistics().statuses) == {200: 1, 304: 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there are no advisories at"),
        ("{", "is no advisory as OSV has it"),
        ('{"affected": []}', "is no advisory as OSV has it"),
        ("PK\x03\x04 not a zip", "is no advisory as OSV has it"),
    ],
)
def test_what_is_no_database_is_one_error(flows: Flows, tmp_path: Path, content: str | None, message: str) -> None:
    call(flows, "resolve", "--conda-pkg", "six=1.16", "--alias", "team/env:v1").succeeded()
    database = tmp_path / "known"
    if content is not None:
        database.write_text(content)
    ran = call(flows, "audit", "team/env:v1", "--database", str(database))
    assert ran.code == 5
    assert message in ran.text
    assert "Traceback" not in ran.text


def test_without_a_database_it_says_how_to_name_one(flows: Flows) -> None:
    call(flows, "resolve", "--conda-pkg", "six=1.16", "--alias", "team/env:v1").succeeded()
    ran = call(flows, "audit", "team/env:v1")
    assert ran.code == 2
    assert "no database of advisories is named" in ran.text
    assert "METAFLOW_CONDA_OSV_DATABASE" in ran.text
