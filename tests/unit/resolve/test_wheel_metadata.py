"""What a wheel requires, read from the wheel."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.errors import ResolutionFailed
from mfenv.resolve.wheel_metadata import requirements_of


def wheel(**members: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, text in members.items():
            file.writestr(name, text)
    return content.getvalue()


METADATA = "Metadata-Version: 2.1\nName: a\nVersion: 1\nRequires-Dist: b>=1\nRequires-Dist: c ; extra == 'x'\n\nText\n"
GOOD = wheel(**{"a-1.dist-info/METADATA": METADATA, "a/b.dist-info/METADATA": "Requires-Dist: no\n", "a.py": ""})


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wheels") / "a-1-py3-none-any.whl"


def test_what_it_requires_is_told_as_it_is_written(path: Path) -> None:
    path.write_bytes(GOOD)
    assert requirements_of(path) == ("b>=1", "c ; extra == 'x'")


def test_one_that_requires_nothing_says_so(path: Path) -> None:
    path.write_bytes(wheel(**{"a-1.dist-info/METADATA": "Name: a\n"}))
    assert requirements_of(path) == ()


@pytest.mark.parametrize(
    "content", [b"", b"no zip", wheel(), wheel(**{"a-1.dist-info/METADATA": "", "b-1.dist-info/METADATA": ""})]
)
def test_what_is_no_wheel_is_refused_by_name(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ResolutionFailed, match=r"^the wheel `a-1-py3-none-any\.whl` cannot be looked into, to see"):
        requirements_of(path)


def test_one_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResolutionFailed, match=r"^the wheel `gone\.whl` cannot be looked into"):
        requirements_of(tmp_path / "gone.whl")


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_damaged_one_is_read_or_refused(path: Path, place: int, byte: int) -> None:
    path.write_bytes(GOOD[:place] + bytes([byte]) + GOOD[place + 1 :])
    try:
        found = requirements_of(path)
    except ResolutionFailed:
        return
    assert isinstance(found, tuple)
