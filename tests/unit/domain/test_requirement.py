"""Requirements in every spelling that users know, and what about them counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfenv.domain.requirement import Requirement
from mfenv.errors import InvalidSpec

HERE = Path("/there/flows")

SPELLINGS = {
    "any version": ("numpy", "", Requirement(name="numpy")),
    "exact version": ("pandas", "2.2.2", Requirement(name="pandas", specifier="==2.2.2")),
    "exact version with a v": ("pandas", "v2.2.2", Requirement(name="pandas", specifier="==2.2.2")),
    "specifier": ("requests", ">=2.21", Requirement(name="requests", specifier=">=2.21")),
    "several, in one order": ("a", "<3, >= 2,!=2.5", Requirement(name="a", specifier="!=2.5,<3,>=2")),
    "normal form of a name": ("Foo__Bar.baz", "1", Requirement(name="foo-bar-baz", specifier="==1")),
    "extras in one order": ("pandas[Excel, aws_s3]", "2", Requirement(name="pandas", extras=("aws-s3", "excel"), specifier="==2")),
    "marker behind a version": ("a", "1 ; python_version<'3.10'", Requirement(name="a", specifier="==1", marker='python_version < "3.10"')),
    "marker behind a name": ("a; python_version<'3.10'", "1", Requirement(name="a", specifier="==1", marker='python_version < "3.10"')),
    "two markers": (
        "a; sys_platform=='linux'",
        "1; python_version<'3.10' or os_name=='nt'",
        Requirement(
            name="a",
            specifier="==1",
            marker='sys_platform == "linux" and (python_version < "3.10" or os_name == "nt")',
        ),
    ),
    "wheel": ("a", "https://h/a-1-py3-none-any.whl", Requirement(name="a", url="https://h/a-1-py3-none-any.whl")),
    "wheel behind @": ("a", "@ https://h/a-1-py3-none-any.whl", Requirement(name="a", url="https://h/a-1-py3-none-any.whl")),
    "wheel in the name": ("a @ https://h/a-1-py3-none-any.whl", "", Requirement(name="a", url="https://h/a-1-py3-none-any.whl")),
    "wheel with a marker": ("a", "@ https://h/a.whl ; os_name=='nt'", Requirement(name="a", url="https://h/a.whl", marker='os_name == "nt"')),
    "repository": (
        "a[x] @ git+https://h/r.git@main#subdirectory=b",
        "",
        Requirement(name="a", extras=("x",), url="git+https://h/r.git@main#subdirectory=b"),
    ),
    "secure shell keeps its user": ("a", "git+ssh://git@h/r.git", Requirement(name="a", url="git+ssh://git@h/r.git")),
    "secure shell without its password": ("a", "git+ssh://git:pw@h/r.git", Requirement(name="a", url="git+ssh://git@h/r.git")),
    "credentials are left out": ("a", "@ https://me:p@ss@h/a.whl", Requirement(name="a", url="https://h/a.whl")),
    "token is left out": ("a @ git+https://token@h/r.git@v1", "", Requirement(name="a", url="git+https://h/r.git@v1")),
    "folder beside the flow": ("a", "./lib/a b", Requirement(name="a", url="file:///there/flows/lib/a%20b")),
    "folder above the flow": ("a", "../a", Requirement(name="a", url="file:///there/a")),
    "whole path": ("a", "/srv/a", Requirement(name="a", url="file:///srv/a")),
    "URL of a folder": ("a", "@ file:///srv/a", Requirement(name="a", url="file:///srv/a")),
    "relative URL of a folder": ("a", "file://./a", Requirement(name="a", url="file:///there/flows/a")),
    "editable": ("a", "-e ./a", Requirement(name="a", url="file:///there/flows/a", is_editable=True)),
}  # fmt: skip


@pytest.mark.parametrize("case", SPELLINGS.values(), ids=SPELLINGS)
def test_reads_what_users_write(case: tuple[str, str, Requirement]) -> None:
    name, constraint, expected = case
    assert Requirement.parse(name, constraint, where="there", relative_to=HERE) == expected


@pytest.mark.parametrize("case", SPELLINGS.values(), ids=SPELLINGS)
def test_its_text_means_the_same(case: tuple[str, str, Requirement]) -> None:
    expected = case[2]
    assert Requirement.from_text(str(expected), where="there", is_editable=expected.is_editable) == expected


@pytest.mark.parametrize(
    ("name", "constraint", "text"),
    [
        ("requests", ">>2", "requests>>2"),
        ("not a name", "", "not a name"),
        ("requests", "^2.0", "requests^2.0"),
        ("requests", "latest", "requests latest"),
        ("requests", "x; os_name=='nt'", "requests x ; os_name=='nt'"),
        ("a[", "", "a["),
        ("", "1", "==1"),
        ("a", "1; python_version", "a==1 ; python_version"),
    ],
)
def test_refuses_what_is_no_requirement_and_marks_the_place(name: str, constraint: str, text: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        Requirement.parse(name, constraint, where="step `s`, @pypi(...)")
    assert caught.value.message == f"step `s`, @pypi(...): `{text}` is not a requirement"
    assert caught.value.hint == 'Write the name as the key and a version as its value: {"requests": ">=2.21"}'
    assert "^" in caught.value.output.splitlines()[-1]


def test_a_refusal_shows_no_credentials() -> None:
    with pytest.raises(InvalidSpec) as caught:
        Requirement.parse("a[", "@ https://me:canary@host/a.whl", where="there")
    assert "canary" not in caught.value.message + caught.value.output


@pytest.mark.parametrize(
    ("url", "folder", "local"),
    [
        ("file:///srv/a", True, True),
        ("file:///srv/a-1-py3-none-any.whl", False, True),
        ("file:///srv/a-1.tar.gz", False, True),
        ("https://h/a", False, False),
        ("git+file:///srv/a", False, False),
    ],
)
def test_knows_what_is_on_this_machine(url: str, folder: bool, local: bool) -> None:
    requirement = Requirement(name="a", url=url)
    assert (requirement.is_local_folder, requirement.is_local) == (folder, local)
