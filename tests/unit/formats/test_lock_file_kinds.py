"""Which of other tools' lock files a file is, what of it counts, and the credentials in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.base import LockFileKind
from mfenv.domain.channel import Channel, ChannelCredentials
from mfenv.domain.index import IndexSecret, PackageIndex
from mfenv.formats.lock_file import content_digest, credentials, kind_of

SAVED = Path(__file__).parents[2] / "data" / "lock_files"
REAL = {
    "pylock.toml": LockFileKind.PYLOCK,
    "project/uv.lock": LockFileKind.UV,
    "pixi.lock": LockFileKind.PIXI,
    "pixi-v6.lock": LockFileKind.PIXI,
    "conda-lock.yml": LockFileKind.CONDA_LOCK,
    "explicit-linux-64.txt": LockFileKind.EXPLICIT,
    "explicit.txt": LockFileKind.EXPLICIT,
}
OTHER_NAMES = {
    LockFileKind.PYLOCK: "locked.toml",
    LockFileKind.UV: "other.lock",
    LockFileKind.PIXI: "workspace.lock",
    LockFileKind.CONDA_LOCK: "environment.lock.yml",
    LockFileKind.EXPLICIT: "spec-file.lock",
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_known_by_their_names_and_by_their_content(name: str) -> None:
    text = (SAVED / name).read_text()
    assert kind_of(Path(name).name, text) is REAL[name]
    assert kind_of(OTHER_NAMES[REAL[name]], text) is REAL[name]
    assert kind_of(OTHER_NAMES[REAL[name]], text.replace("\n", "\r\n")) is REAL[name]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("pylock.toml", LockFileKind.PYLOCK),
        ("pylock.dev.toml", LockFileKind.PYLOCK),
        ("UV.lock", LockFileKind.UV),
        ("pixi.lock", LockFileKind.PIXI),
        ("conda-lock.yml", LockFileKind.CONDA_LOCK),
        ("conda-lock.yaml", LockFileKind.CONDA_LOCK),
        ("team.conda-lock.yml", LockFileKind.CONDA_LOCK),
        ("pylock.a.b.toml", None),
        ("my-pylock.toml", None),
        ("poetry.lock", None),
        ("requirements.txt", None),
        ("environment.yml", None),
    ],
)
def test_the_names_that_tools_give_them_decide(name: str, kind: LockFileKind | None) -> None:
    assert kind_of(name, "") is kind


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.txt", "numpy==1.26.4\n# not @EXPLICIT\n"),
        ("requirements.txt", "numpy==1.26.4 --hash=sha256:00\n"),
        ("environment.yml", "name: a\ndependencies:\n- python\nversion: 1\n"),
        ("environment.yml", "dependencies:\n- python\n@EXPLICIT\n"),
        ("pyproject.toml", '[project]\nname = "a"\n[tool.other]\nlock-version = "1.0"\n'),
        ("poetry.lock", '[[package]]\nname = "a"\nversion = "1"\n[metadata]\nlock-version = "2.1"\n'),
        ("pixi.toml", '[workspace]\nchannels = []\nversion = "1"\n'),
    ],
)
def test_files_that_leave_something_open_are_none(name: str, text: str) -> None:
    assert kind_of(name, text) is None


@given(st.text(max_size=30), st.text())
def test_any_text_has_a_kind_or_none(name: str, text: str) -> None:
    assert kind_of(name, text) in {None, *LockFileKind}


def test_line_ends_do_not_count_and_anything_else_does() -> None:
    assert content_digest("a\nb\n") == content_digest("a\r\nb\r\n") == content_digest("a\nb")
    assert content_digest("a\nb") != content_digest("a\nc")


@given(st.text())
def test_any_text_has_a_digest_and_its_credentials_are_found(text: str) -> None:
    assert len(content_digest(text)) == 64
    credentials(text)


def test_credentials_come_back_by_the_place_they_are_for() -> None:
    text = (SAVED / "explicit.txt").read_text() + (
        "url: 'https://u:canary2@files.example.org/simple/a/a-1.0-py3-none-any.whl'\n"
        "- url: https://host.example.org/t/tk-canary-3/other\n"
        "- url: https://${USER}:${PASSWORD}@host.example.org/variables\n"
        "- url: https://HOST.example.org/plain\n"
    )
    secret = "https://me:canary@private.example.org/t/tk-canary-1/team"
    channels, indexes = credentials(text)
    assert channels == (
        ChannelCredentials(channel=Channel(location="https://private.example.org/team"), secret_url=secret),
        ChannelCredentials(
            channel=Channel(location="https://host.example.org/other"),
            secret_url="https://host.example.org/t/tk-canary-3/other",
        ),
    )
    assert indexes == (
        IndexSecret(
            index=PackageIndex(url="https://files.example.org/simple/a"),
            secret_url="https://u:canary2@files.example.org/simple/a",
        ),
    )
    assert "canary" not in repr((channels, indexes))


@pytest.mark.parametrize("name", ["pylock.toml", "project/uv.lock", "pixi.lock", "conda-lock.yml"])
def test_files_without_credentials_have_none(name: str) -> None:
    assert credentials((SAVED / name).read_text()) == ((), ())
