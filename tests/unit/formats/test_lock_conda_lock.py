"""conda-lock.yml, version 1; the saved file was written by conda-lock 4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.artifact import Artifact
from mfenv.domain.base import LockFileContent, LockFilePypiPackage
from mfenv.domain.channel import Channel
from mfenv.domain.platform import Platform
from mfenv.domain.resolved import BuildSource
from mfenv.errors import LockError
from mfenv.formats import conda_lock_yml

SAVED = (Path(__file__).parents[2] / "data" / "lock_files" / "conda-lock.yml").read_text()
PLACE = "https://channel.example.org/conda-forge"
MD5, SHA = "a" * 32, "b" * 64


def read(text: str, platform: Platform = Platform.LINUX_64, **wishes: Any) -> LockFileContent:
    return conda_lock_yml.load(text, shown="conda-lock.yml", folder=Path("/srv/project"), platform=platform, **wishes)


def names(found: LockFileContent) -> list[str]:
    return [package.file_name.rsplit("-", 2)[0] for package in found.conda if isinstance(package, Artifact)]


ALWAYS = [
    *("bzip2", "ca-certificates", "itsdangerous", "libffi", "libgcc", "libgomp", "liblzma", "libsqlite", "libstdcxx"),
    *("libuuid", "libxcrypt", "libzlib", "ncurses", "openssl", "python", "python_abi", "readline", "tk", "tzdata"),
]


def test_reads_what_conda_lock_writes() -> None:
    found = read(SAVED)
    assert sorted(names(found)) == ALWAYS
    assert found.channels == (Channel(location=PLACE),)
    assert found.pypi == (
        LockFilePypiPackage(
            name="idna",
            version="3.20",
            wheels=(
                Artifact(
                    file_name="idna-3.20-py3-none-any.whl",
                    url="https://files.example.org/packages/58/a2/idna-3.20-py3-none-any.whl",
                    sha256="ab7ae7122974553370f0bdb919e1a960b2cd1bc1ef0276416d896db81c14582c",
                ),
            ),
        ),
    )
    assert found.conda[0] == Artifact(
        file_name="bzip2-1.0.8-h6cf85bf_0.conda",
        url=f"{PLACE}/linux-64/bzip2-1.0.8-h6cf85bf_0.conda",
        md5="ae3c4cf9b2105639e753d6350a8bc478",
        sha256="8d436dcc79d56cbd669f33446e3e9d6a64dc977d153ed82053ff6d8064ae23a8",
    )
    # conda-lock writes no sha256 where the channel had none.
    assert (
        Artifact(
            file_name="tzdata-2025b-0.conda",
            url=f"{PLACE}/noarch/tzdata-2025b-0.conda",
            md5="af01404f7b694bf355647bd6341d0b6b",
        )
        in found.conda
    )


def test_each_platform_has_its_own_packages() -> None:
    subdirs = {
        package.url.split("/")[-2] for package in read(SAVED, Platform.OSX_ARM64).conda if isinstance(package, Artifact)
    }
    assert subdirs == {"noarch", "osx-arm64"}


def test_categories_are_taken_when_they_are_named() -> None:
    always = set(names(read(SAVED)))
    # markupsafe is in two categories: the file has it twice.
    assert set(names(read(SAVED, groups=["dev"]))) == {*always, "markupsafe"}
    assert set(names(read(SAVED, groups=["dev", "docs"]))) == {*always, "markupsafe"}
    assert read(SAVED, groups=["plain"]).pypi[1] == LockFilePypiPackage(
        name="zipp",
        version="4.1.2",
        build=BuildSource(
            url="https://files.example.org/packages/18/05/zipp-4.1.2.tar.gz",
            sha256="cf474b90b07ea932637e17c6b9479de2b2882900b0d311bdaf4f5c000a15a97f",
        ),
    )


@pytest.mark.parametrize(
    ("platform", "groups", "message", "hint"),
    [
        (
            Platform.OSX_64,
            (),
            "conda-lock.yml: nothing is locked for osx-64, only for `linux-64`, `osx-arm64`",
            "Lock again with osx-64 among the platforms",
        ),
        (
            Platform.LINUX_64,
            ("nope",),
            "conda-lock.yml: there is no category `nope`",
            "The file has `main`, `dev`, `docs`, `plain`",
        ),
    ],
)
def test_an_unknown_choice_is_refused_with_those_there_are(
    platform: Platform, groups: tuple[str, ...], message: str, hint: str
) -> None:
    with pytest.raises(LockError) as caught:
        read(SAVED, platform, groups=groups)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def row(**changes: str | None) -> str:
    """A package of the file, in one line; what is None is left out."""
    fields = {
        "name": "a",
        "version": "'1'",
        "manager": "conda",
        "platform": "linux-64",
        "url": f"{PLACE}/linux-64/a-1-0.conda",
        "hash": f"{{md5: {MD5}}}",
    }
    kept = {key: value for key, value in {**fields, **changes}.items() if value is not None}
    return "- {" + ", ".join(f"{key}: {value}" for key, value in kept.items()) + "}\n"


def document(*rows: str, head: str = "version: 1\nmetadata: {platforms: [linux-64]}\npackage:\n") -> str:
    return head + "".join(rows)


def test_versions_and_digests_stay_texts() -> None:
    digits = "1" * 32
    found = read(
        document(
            row(hash=f"{{md5: {digits}, sha256: null}}"),
            row(manager="pip", version="1.10", url="a-1.10.zip", hash="{}"),
        )
    )
    assert found.conda == (Artifact(file_name="a-1-0.conda", url=f"{PLACE}/linux-64/a-1-0.conda", md5=digits),)
    assert found.pypi[0].version == "1.10"


def test_a_package_that_another_category_names_again_counts_once() -> None:
    assert len(read(document(row(), row(category="dev")), groups=["dev"]).conda) == 1


def test_several_categories_in_one_row_are_read() -> None:
    assert read(document(row(categories="[dev, docs]"))).conda == ()
    assert len(read(document(row(categories="[dev, docs]")), groups=["docs"]).conda) == 1


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("./wheels/a-1-py3-none-any.whl", "file:///srv/project/wheels/a-1-py3-none-any.whl"),
        ("https://me:canary@h.example.org/a-1-py3-none-any.whl", "https://h.example.org/a-1-py3-none-any.whl"),
        (f"https://h.example.org/a-1-py3-none-any.whl#sha256={SHA}", "https://h.example.org/a-1-py3-none-any.whl"),
    ],
)
def test_wheels_are_where_the_file_says(url: str, expected: str) -> None:
    (package,) = read(document(row(manager="pip", url=url))).pypi
    assert package.wheels[0].url == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            f"git+https://me:canary@h.example.org/a.git@{'c' * 40}",
            BuildSource(url="git+https://h.example.org/a.git", commit="c" * 40),
        ),
        (
            f"git+ssh://git@h.example.org/a.git@{'c' * 40}#subdirectory=in",
            BuildSource(url="git+ssh://git@h.example.org/a.git", commit="c" * 40, subdirectory="in"),
        ),
        (
            f"git+https://h.example.org/a.git?rev=main#{'c' * 40}",
            BuildSource(url="git+https://h.example.org/a.git", commit="c" * 40),
        ),
        ("../beside", BuildSource(url="file:///srv/beside")),
    ],
)
def test_what_has_no_wheel_is_built_from_its_source(url: str, expected: BuildSource) -> None:
    (package,) = read(document(row(manager="pip", url=url, hash="{}"))).pypi
    assert (package.wheels, package.build) == ((), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "conda-lock.yml: the file is empty"),
        ("- a", "conda-lock.yml:1:1: expected keys with values"),
        ("a: [", "conda-lock.yml:1:5: this is not YAML (expected the node content, but found '<stream end>')"),
        ("a: b: c", "conda-lock.yml:1:5: this is not YAML (mapping values are not allowed here)"),
        ("\0", "conda-lock.yml: this is not YAML ("),
        ("[" * 5000, "conda-lock.yml"),
        ("metadata: {}", "conda-lock.yml:1:1: `version` is missing"),
        ("version: 2\npackage: []", "conda-lock.yml:1:1: the version `2` is not known here"),
        ("version: 1\nversion: 1", "conda-lock.yml:2:1: `version` is there twice"),
        ("version: 1\nmetadata: 3\npackage: []", "conda-lock.yml:2:11: expected keys with values"),
        ("version: 1\nmetadata: {platforms: [linux-64]}", "conda-lock.yml:1:1: `package` is missing"),
        ("version: 1\nmetadata: {}\npackage: {}", "conda-lock.yml:3:10: `package` is not a list"),
        ("version: 1\nmetadata: {}\npackage: []", "conda-lock.yml: nothing is locked for linux-64"),
        ("version: &a 1\nother: *a", "conda-lock.yml:2:8: references to other parts of a file are not read here"),
        (document("- 3\n"), "conda-lock.yml:4:3: expected keys with values"),
        (document(row(name=None)), "conda-lock.yml:4:3: `name` is missing"),
        (document(row(name="[]")), "conda-lock.yml:4:10: `name` is not a text"),
        (document(row(), row(manager="apt")), "conda-lock.yml:5:3: `manager` is `apt`, and not `conda` or `pip`"),
        (document(row(), row(hash=f"{{md5: {'b' * 32}}}")), "conda-lock.yml:5:3: `a` is there twice for linux-64"),
        (document(row(hash="{md5: x}")), "conda-lock.yml:4:3: `x` is not a md5"),
        (document(row(url="https://h/linux-64/a.zip")), "conda-lock.yml:4:3: `a.zip` is not a conda package"),
        (
            document(row(url="https://h/linux-64/..%2F..%2Fa.conda")),
            "conda-lock.yml:4:3: `../../a.conda` is not the name of a package file",
        ),
        (
            document(row(url=f"{PLACE}/osx-64/a-1-0.conda")),
            "conda-lock.yml:4:3: `a-1-0.conda` is for osx-64, and the step runs on linux-64",
        ),
        (
            document(row(manager="pip", name="../a", url="x.zip")),
            "conda-lock.yml:4:3: `../a` is not the name of a project",
        ),
        (
            document(row(manager="pip", url="https://me:canary@h/a")),
            "conda-lock.yml:4:3: `https://h/a` is neither a wheel",
        ),
        (
            document(row(manager="pip", url="git+https://h/a@main")),
            "conda-lock.yml:4:3: `main` is not a commit in full",
        ),
        (
            document(head="version: 1\nmetadata: {platforms: [linux-64], channels: [{url: 'x y'}]}\npackage: []"),
            "conda-lock.yml:2:46: `x y` is neither a channel name",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(LockError) as caught:
        read(text)
    assert caught.value.message.startswith(message)
    assert "canary" not in caught.value.explain()
    assert len(caught.value.message) < 300


def test_a_small_file_cannot_become_a_huge_one() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for before, name in zip("abcdefghijkl", "bcdefghijklm", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for text in (bomb, bomb.replace("[", "{<<: [").replace("]", "]}")):
        with pytest.raises(LockError, match=r"^conda-lock\.yml:"):
            read(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    _read_or_refused(text)


# Of the saved file the first packages: damage is found sooner in a short text.
HEAD = "version: 1" + "- name".join(SAVED.partition("version: 1")[2].split("- name")[:4])


@given(st.data())
def test_a_damaged_file_is_read_or_refused(data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(HEAD)))
    end = data.draw(st.integers(begin, min(begin + 100, len(HEAD))))
    put = data.draw(
        st.one_of(
            st.text(max_size=20), st.sampled_from(["&a ", "*a", "!!python/object:os.system ", "- ", "0x", "~", "? "])
        )
    )
    _read_or_refused(HEAD[:begin] + put + HEAD[end:])


def test_what_is_damaged_was_whole() -> None:
    assert names(read(HEAD)) == ["bzip2", "ca-certificates"]


def _read_or_refused(text: str) -> None:
    refusal = ""
    try:
        read(text)
    except LockError as error:
        refusal = error.message
    assert not refusal or refusal.startswith("conda-lock.yml")
    assert len(refusal) < 1000
