"""What is left of uv's configuration files: indexes and how to reach them, without credentials."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.app import uv_config
from mfenv.formats.pylock_toml import tomllib
from mfenv.io.uv_surroundings import UvSurroundings, toml

CONFIG = """
prerelease = "allow"
resolution = "lowest"
index-strategy = "unsafe-best-match"
index-url = "https://me:canary%2F1@one.example.org/simple"
extra-index-url = ["https://two.example.org/simple", "./local"]
find-links = ["https://me:canary-2@links.example.org/a,b", "wheels"]
keyring-provider = "disabled"
allow-insecure-host = ["two.example.org:8443"]
https-proxy = "http://me:canary-3@proxy.example.org"
constraint-dependencies = ["a<2"]

[[index]]
name = "our-own"
url = "https://me:canary-4@own.example.org/simple"
ignore-error-codes = [403]
authenticate = "always"
cache-control = { api = "max-age=600" }
exclude-newer = "2020-01-01"

[[index]]
name = "for-sources"
url = "https://explicit.example.org/simple"
explicit = true

[pip]
keyring-provider = "subprocess"
extra-index-url = ["https://pip.example.org/simple"]
no-binary = ["a"]
"""


def of(path: Path, **environment: str) -> UvSurroundings:
    return uv_config.surroundings({"UV_CONFIG_FILE": str(path), **environment})


def test_places_stay_and_choices_do_not(tmp_path: Path) -> None:
    path = tmp_path / "uv.toml"
    path.write_text(CONFIG)
    found = of(path)
    assert tomllib.loads(found.config) == {
        "keyring-provider": "subprocess",
        "allow-insecure-host": ["two.example.org:8443"],
        "index": [
            {"url": "https://pip.example.org/simple"},
            {
                "name": "our-own",
                "url": "https://own.example.org/simple",
                "ignore-error-codes": [403],
                "authenticate": "always",
                "cache-control": {"api": "max-age=600"},
            },
            {"url": "https://two.example.org/simple"},
            {"url": (tmp_path / "local").as_uri()},
            {"name": "mfenv-configured-4", "url": "https://one.example.org/simple", "default": True},
        ],
    }
    assert found.variables == {
        "HTTPS_PROXY": "http://me:canary-3@proxy.example.org",
        "UV_INDEX_OUR_OWN_USERNAME": "me",
        "UV_INDEX_OUR_OWN_PASSWORD": "canary-4",
        "UV_INDEX_MFENV_CONFIGURED_4_USERNAME": "me",
        "UV_INDEX_MFENV_CONFIGURED_4_PASSWORD": "canary/1",
        "UV_FIND_LINKS": f"https://me:canary-2@links.example.org/a%2Cb,{(tmp_path / 'wheels').as_uri()}",
    }
    assert "canary" not in f"{found.config}{found!r}"


def test_variables_come_before_files(tmp_path: Path) -> None:
    path = tmp_path / "uv.toml"
    path.write_text('find-links = ["https://file.example.org"]\nhttp-proxy = "http://file.example.org"\n')
    found = of(path, UV_FIND_LINKS="/users", http_proxy="http://users.example.org")
    assert found == UvSurroundings(variables={"UV_FIND_LINKS": "/users,https://file.example.org"})


def test_the_users_file_comes_before_the_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / "user.toml", tmp_path / "machine.toml", tmp_path / "missing.toml"]
    paths[0].write_text('system-certs = true\nextra-index-url = ["https://user.example.org/simple"]\n')
    paths[1].write_text(
        'system-certs = false\noffline = true\nextra-index-url = ["https://machine.example.org/simple"]\n'
    )
    monkeypatch.setattr(uv_config, "_files", lambda _: paths)
    assert tomllib.loads(uv_config.surroundings({}).config) == {
        "system-certs": True,
        "offline": True,
        "index": [{"url": "https://user.example.org/simple"}, {"url": "https://machine.example.org/simple"}],
    }


def test_without_files_there_is_nothing() -> None:
    assert uv_config.surroundings({"HOME": "/nowhere", "UV_NO_CONFIG": "1"}) == UvSurroundings()


@pytest.mark.parametrize(
    "text",
    ["[[", "index = 3", "index = [3]", "[[index]]\nname = 'a'", "pip = 3", "extra-index-url = [3]", "index-url = 3", "offline = 2020-01-01", "a = " + "[" * 5000],
)  # fmt: skip
def test_a_file_that_is_wrong_is_left_to_uv(text: str, tmp_path: Path) -> None:
    """It may name the index that everything is to come from: without a word, it would come from elsewhere."""
    path = tmp_path / "uv.toml"
    path.write_text(text)
    assert of(path) == UvSurroundings(unreadable=path)
    assert of(tmp_path / "missing.toml") == UvSurroundings(unreadable=tmp_path / "missing.toml")


@given(text=st.text(st.characters(exclude_categories=["Cs"])), number=st.integers(-9, 9), truth=st.booleans())
def test_values_stay_themselves_in_toml(text: str, number: int, truth: bool) -> None:
    value = {"text": text, text or "empty": [text, text], "inner": {"number": number, "truth": truth}}
    assert tomllib.loads(f"value = {toml(value)}") == {"value": value}
