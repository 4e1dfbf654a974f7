"""Lists of package files (``@EXPLICIT``); one of the saved ones was written by conda-lock 4."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.artifact import Artifact
from mfenv.domain.base import LockFileContent, LockFilePypiPackage
from mfenv.domain.channel import Channel
from mfenv.domain.platform import Platform
from mfenv.domain.resolved import BuildSource
from mfenv.errors import LockError
from mfenv.formats import explicit_txt

FOLDER = Path(__file__).parents[2] / "data" / "lock_files"
WRITTEN, BY_HAND = (FOLDER / "explicit-linux-64.txt").read_text(), (FOLDER / "explicit.txt").read_text()
PLACE = "https://channel.example.org/conda-forge"
MD5 = "433dd7ed54399bc037110262ed160f4e"
SHA = "8d436dcc79d56cbd669f33446e3e9d6a64dc977d153ed82053ff6d8064ae23a8"


def read(text: str, platform: Platform = Platform.LINUX_64) -> LockFileContent:
    return explicit_txt.load(text, shown="list.txt", folder=Path("/srv/project"), platform=platform)


def test_every_spelling_of_an_address_and_a_digest_is_read() -> None:
    assert read(BY_HAND) == LockFileContent(
        conda=(
            Artifact(
                file_name="tzdata-2025b-0.conda",
                url=f"{PLACE}/noarch/tzdata-2025b-0.conda",
                md5="af01404f7b694bf355647bd6341d0b6b",
            ),
            Artifact(
                file_name="bzip2-1.0.8-h6cf85bf_0.conda",
                url=f"{PLACE}/linux-64/bzip2-1.0.8-h6cf85bf_0.conda",
                sha256=SHA,
            ),
            Artifact(file_name="libffi-3.4.4-h0668c23_0.conda", url=f"{PLACE}/linux-64/libffi-3.4.4-h0668c23_0.conda"),
            Artifact(
                file_name="own-1.0-0.tar.bz2",
                url="https://private.example.org/team/linux-64/own-1.0-0.tar.bz2",
                md5=MD5,
            ),
            Artifact(file_name="local-1.0-0.conda", url="file:///srv/channel/noarch/local-1.0-0.conda", md5=MD5),
            Artifact(file_name="beside-1.0-0.conda", url="file:///srv/project/packages/beside-1.0-0.conda", md5=MD5),
        ),
        channels=(
            Channel(location=PLACE),
            Channel(location="https://private.example.org/team"),
            Channel(location="file:///srv/channel"),
        ),
    )


def test_reads_what_conda_lock_writes_with_its_pypi_packages() -> None:
    found = read(WRITTEN)
    assert len(found.conda) == WRITTEN.count(f"\n{PLACE}") == 20
    assert found.channels == (Channel(location=PLACE),)
    assert found.pypi == (
        LockFilePypiPackage(
            name="idna",
            version="",
            wheels=(
                Artifact(
                    file_name="idna-3.20-py3-none-any.whl",
                    url="https://files.example.org/packages/58/a2/idna-3.20-py3-none-any.whl",
                    sha256="ab7ae7122974553370f0bdb919e1a960b2cd1bc1ef0276416d896db81c14582c",
                ),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("line", "digests"),
    [
        (f"a-1-0.conda#{MD5}", {"md5": MD5}),
        (f"a-1-0.conda#{MD5.upper()}", {"md5": MD5}),
        (f"a-1-0.conda#{SHA}", {"sha256": SHA}),
        (f"a-1-0.conda#sha256:{SHA}", {"sha256": SHA}),
        (f"  a-1-0.conda#md5:{MD5}  ", {"md5": MD5}),
        ("a-1-0.conda", {}),
    ],
)
def test_a_digest_is_read_however_it_is_written(line: str, digests: dict[str, str]) -> None:
    expected = Artifact(file_name="a-1-0.conda", url="file:///srv/project/a-1-0.conda", **digests)  # type: ignore[arg-type]
    assert read(f"@EXPLICIT\n{line}\n").conda == (expected,)


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        (f"# pip A_b @ ./a_b-1.zip --hash=sha256:{SHA}", BuildSource(url="file:///srv/project/a_b-1.zip", sha256=SHA)),
        (
            f"# pip a-b @ git+https://h.example.org/a@{'c' * 40}#subdirectory=in",
            BuildSource(url="git+https://h.example.org/a", commit="c" * 40, subdirectory="in"),
        ),
        (
            f"# pip a-b[x] @ git+https://h.example.org/a?rev=main#{'c' * 40}",
            BuildSource(url="git+https://h.example.org/a", commit="c" * 40),
        ),
    ],
)
def test_pypi_sources_in_comments_are_read(comment: str, expected: BuildSource) -> None:
    assert read(f"@EXPLICIT\n{comment}\n").pypi == (LockFilePypiPackage(name="a-b", version="", build=expected),)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("numpy", "list.txt:2:1: `numpy` is not the address of a conda package"),
        (" #x\n  numpy=1.26", "list.txt:3:3: `numpy=1.26` is not the address of a conda package"),
        ("#sha256:0\na.conda#x", "list.txt:3:1: `x` is not a digest"),
        ("a.conda#", "list.txt:2:1: `` is not a digest"),
        ("a.conda#sha256:" + MD5, f"list.txt:2:1: `sha256:{MD5}` is not a digest"),
        ("https://me:canary@h/..%2Fa.conda", "list.txt:2:1: `../a.conda` is not the name of a package file"),
        ("https://me:canary@h:99999999/a.conda", "list.txt:2:1: `"),
        ("gopher://h/a.conda", "list.txt:2:1: `gopher://h/a.conda` is not the address of a package file"),
        (f"{PLACE}/osx-64/a.conda", "list.txt:2:1: `a.conda` is for osx-64, and the step runs on linux-64"),
        ("# platform: osx-arm64", "list.txt:2:1: the list is for osx-arm64, and the step runs on linux-64"),
        ("a.conda\nb/a.conda", "list.txt:3:1: `a.conda` is there twice, from different places"),
        ("# pip a @ a.zip\n# pip A @ b/a.zip", "list.txt:3:1: `a` is there twice, with different files"),
        ("# pip ../a @ a.zip", "list.txt:2:1: `../a` is not the name of a project"),
        ("# pip a @ https://me:canary@h/a", "list.txt:2:1: `https://h/a` is neither a wheel"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(lines: str, message: str) -> None:
    with pytest.raises(LockError) as caught:
        read(f"@EXPLICIT\n{lines}\n")
    assert caught.value.message.startswith(message)
    assert "canary" not in caught.value.explain()


def test_a_package_that_is_there_twice_in_the_same_words_counts_once() -> None:
    assert len(read("@EXPLICIT\na.conda\na.conda\n").conda) == 1


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    _read_or_refused(text)


@given(st.data())
def test_a_damaged_file_is_read_or_refused(data: st.DataObject) -> None:
    saved = data.draw(st.sampled_from([WRITTEN, BY_HAND]))
    begin = data.draw(st.integers(0, len(saved)))
    end = data.draw(st.integers(begin, min(begin + 100, len(saved))))
    put = data.draw(st.one_of(st.text(max_size=20), st.sampled_from(["#", "//", "[", "%00", "@", ":", "..", "# pip "])))
    _read_or_refused(saved[:begin] + put + saved[end:])


def _read_or_refused(text: str) -> None:
    refusal = ""
    try:
        read(text)
    except LockError as error:
        refusal = error.message
    assert not refusal or refusal.startswith("list.txt:")
    assert len(refusal) < 1000
