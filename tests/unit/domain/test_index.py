"""Package indexes, and the credentials that come with their addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfenv.domain.index import IndexSecret, PackageIndex, index_secret, origin_of, secrets_in
from mfenv.errors import InvalidSpec


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://host/simple/", "https://host/simple"),
        ("  https://HOST:8080/simple", "https://host:8080/simple"),
        ("https://me:canary@host/simple", "https://host/simple"),
        ("https://host/simple?token=canary", "https://host/simple"),
        ("file:///srv/simple", "file:///srv/simple"),
        ("./simple", "file:///there/simple"),
        ("/srv/a b", "file:///srv/a%20b"),
    ],
)
def test_an_index_is_an_address_without_credentials(text: str, url: str) -> None:
    assert PackageIndex.parse(text, where="there", relative_to=Path("/there")) == PackageIndex(url=url)


@pytest.mark.parametrize("text", ["", "simple", "ftp://host/simple", "https://", "me:canary@host/simple"])
def test_anything_else_is_refused_without_showing_a_password(text: str) -> None:
    with pytest.raises(InvalidSpec, match="is not the address of a package index") as caught:
        PackageIndex.parse(text, where="there")
    assert caught.value.message.startswith("there: `")
    assert "canary" not in caught.value.message


def test_a_secret_is_the_address_as_written_and_never_prints() -> None:
    index = PackageIndex(url="https://host/simple")
    secret = index_secret(" https://me:canary@host/simple/ ", index)
    assert secret == IndexSecret(index=index, secret_url="https://me:canary@host/simple")
    assert repr(secret) == str(secret) == "IndexSecret(https://host/simple, ***)"
    assert index_secret("https://host/simple", index) is None


def test_origins_are_scheme_and_host_with_and_without_credentials() -> None:
    assert origin_of("https://me:p%40s@host:8080/a/simple") == ("https://host:8080", "https://me:p%40s@host:8080")


def test_finds_the_credentials_in_requirements() -> None:
    text = "a @ git+https://token@host/r.git@main#subdirectory=b https://host/plain.whl ssh://git@host/r"
    assert secrets_in(text) == [
        IndexSecret(index=PackageIndex(url="https://host/r.git@main"), secret_url="https://token@host/r.git@main")
    ]
