"""`metaflow environment search`, as it is typed; and the pages of indexes that it reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.errors import LockError
from mfenv.formats import simple_index
from mfenv.formats.simple_index import IndexFile

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Flows, Ran


def call(flows: Flows, *arguments: str) -> Ran:
    return flows.call(flows.python, "-m", "mfenv.cli", "environment", "search", *arguments)


def found(flows: Flows, *arguments: str) -> dict[str, list[dict[str, Any]]]:
    document = json.loads(call(flows, *arguments, "--json").succeeded().stdout)
    return {row["side"]: row["releases"] for row in document["found"]}


def test_both_sides_tell_what_they_have_newest_first(flows: Flows) -> None:
    rows = found(flows, "six")
    assert [row["version"] for row in rows["conda"]] == ["1.17.0", "1.16.0"]
    pypi = [row["version"] for row in rows["pypi"]]
    assert pypi.index("1.17.0") < pypi.index("1.16.0")
    assert len(pypi) == 10
    (wheel,) = next(row for row in rows["pypi"] if row["version"] == "1.16.0")["builds"]
    assert wheel == "six-1.16.0-py2.py3-none-any.whl"
    shown = call(flows, "six>=1.16,<1.17").succeeded().stdout
    assert "### conda, linux-64: 1 versions" in shown
    assert "1.17" not in shown


def test_builds_are_those_for_the_platform(flows: Flows) -> None:
    rows = found(flows, "pandas", "--conda", "--all")
    assert list(rows) == ["conda"]
    assert all(build.startswith("linux-64/") for row in rows["conda"] for build in row["builds"])
    assert [row["version"] for row in rows["conda"]] == sorted((r["version"] for r in rows["conda"]), reverse=True)


def write_index(folder: Path, project: str, lines: list[str]) -> None:
    (folder / project).mkdir(parents=True)
    (folder / project / "index.html").write_text("<html><body>" + "\n".join(lines) + "</body></html>")


def test_a_local_index_is_read_and_says_what_speaks_against_a_version(flows: Flows) -> None:
    folder = flows.folder / "simple"
    write_index(
        folder,
        "kit",
        [
            '<a href="kit-1.0-py3-none-any.whl">kit-1.0-py3-none-any.whl</a>',
            '<a href="kit-2.0.tar.gz">kit-2.0.tar.gz</a>',
            '<a href="x" data-requires-python="&lt;3.0">kit-3.0-py3-none-any.whl</a>',
            '<a href="x" data-yanked="broken">kit-4.0-py3-none-any.whl</a>',
            '<a href="x">kit-5.0-cp311-cp311-win_amd64.whl</a>',
            '<a href="x">readme.txt</a>',
        ],
    )
    rows = found(flows.using(METAFLOW_CONDA_DEFAULT_PYPI_SOURCE=folder.as_uri()), "kit", "--pypi", "--python", "3.11")
    assert [(row["version"], row["note"]) for row in rows["pypi"]] == [
        ("5.0", "not for this platform"),
        ("4.0", "yanked"),
        ("3.0", "not for Python 3.11"),
        ("2.0", "source only"),
        ("1.0", ""),
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("no-such-package-anywhere-1",), 3, "nobody has `no-such-package-anywhere-1` for linux-64"),
        (("six", "--conda", "--channel", "./nowhere"), 3, "nowhere"),
        (("six [", "--conda"), 2, "PACKAGE: `six [`"),
        (("six", "--arch", "beos-86"), 2, "beos-86"),
        (("six", "--python", "new"), 2, "--python: `new` is not a version"),
    ],
)
def test_what_is_not_there_or_not_meant_is_said(
    flows: Flows, arguments: tuple[str, ...], code: int, words: str
) -> None:
    ran = call(flows, *arguments)
    assert (ran.code, "Traceback" in ran.text) == (code, False)
    assert words in ran.stderr


def test_a_side_that_cannot_be_asked_does_not_hide_the_other(flows: Flows) -> None:
    broken = flows.using(METAFLOW_CONDA_DEFAULT_PYPI_SOURCE="http://me:sekrit@127.0.0.1:9/simple")
    ran = call(broken, "six")
    assert (ran.code, "### conda" in ran.stdout, "Traceback" in ran.text) == (3, True, False)
    assert "the package index `http://127.0.0.1:9/simple/six/` cannot be asked" in ran.stderr
    assert "sekrit" not in ran.text


def test_pages_are_read_in_both_forms() -> None:
    page = {
        "files": [{"filename": "a-1.whl", "requires-python": ">=3", "yanked": "x", "size": 7, "upload-time": "2026"}]
    }
    (file,) = simple_index.load(json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json", shown="here")
    assert file == IndexFile(name="a-1.whl", requires_python=">=3", is_yanked=True, size=7, time="2026")
    html = b'<a href="x" data-requires-python="&gt;=3" data-yanked>a-1.whl</a>'
    assert simple_index.load(html, "text/html", shown="here") == [
        IndexFile(name="a-1.whl", requires_python=">=3", is_yanked=True)
    ]


@given(st.binary(max_size=200), st.sampled_from(["text/html", "application/json"]))
def test_anything_else_is_one_of_our_errors(content: bytes, kind: str) -> None:
    try:
        found = simple_index.load(content, kind, shown="here")
    except LockError as error:
        assert error.message.startswith("here: ")  # noqa: PT017
    else:
        assert isinstance(found, list)
