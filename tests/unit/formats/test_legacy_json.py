"""What the existing product stores is read as it is documented, and anything else is refused in our words."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.errors import EnvironmentsError, LockError
from mfenv.formats import legacy_json
from mfenv.formats.legacy_json import LegacyEnvironment, LegacyFile, LegacyPackage

CONDA = {
    "_type": "conda",
    "filename": "six-1.16.0-pyh_0",
    "url": "https://me:secret@host.example.org/c/noarch/six-1.16.0-pyh_0.tar.bz2",
    "url_format": ".tar.bz2",
    "hashes": {".tar.bz2": "d" * 32, ".conda": "e" * 32},
    "cache_info": {".conda": {"_type": "conda", "url": "packages/conda/x/six-1.16.0-pyh_0.conda"}},
}


def environment(*packages: Any, **more: Any) -> bytes:
    return json.dumps({"packages": packages, **more}).encode()


def test_an_environment_is_read_without_credentials_and_what_is_stored_comes_first() -> None:
    content = environment(CONDA, resolved_by="ada", resolved_on="2024-01-02T03:04:05")
    assert legacy_json.load_environment(content, path="env") == LegacyEnvironment(
        packages=(
            LegacyPackage(
                is_conda=True,
                url="https://host.example.org/c/noarch/six-1.16.0-pyh_0.tar.bz2",
                files=(
                    LegacyFile(
                        name="six-1.16.0-pyh_0.conda",
                        digest="e" * 32,
                        key="packages/conda/x/six-1.16.0-pyh_0.conda",
                        is_served=False,
                    ),
                    LegacyFile(name="six-1.16.0-pyh_0.tar.bz2", digest="d" * 32, key=None, is_served=True),
                ),
            ),
        ),
        resolved_by="ada",
        resolved_on=datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
    )


def test_an_alias_is_two_ids() -> None:
    assert legacy_json.load_alias(b'["a", "b"]', path="alias") == ("a", "b")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'["a"]', b'["a", 1]', b'["a", "../b"]', b'["a", "b", "c"]', b"[" * 9999]
)
def test_anything_else_is_no_alias(content: bytes) -> None:
    with pytest.raises(LockError, match=r"^alias: "):
        legacy_json.load_alias(content, path="alias")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_type": "npm"}, r"^env\.packages\[0\]\._type: `npm` is not known"),
        ({"filename": "../six"}, r"^env\.packages\[0\]\.filename: "),
        ({"url": 1}, r"^env\.packages\[0\]\.url: expected str"),
        ({"url_format": ".rpm", "cache_info": {}}, r"^env\.packages\[0\]: there is no file"),
        ({"cache_info": {".conda": "x"}}, r"^env\.packages\[0\]\.cache_info\.\.conda: expected dict"),
        ({"hashes": []}, r"^env\.packages\[0\]\.hashes: expected dict"),
    ],
)
def test_a_damaged_environment_is_refused_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LockError, match=message):
        legacy_json.load_environment(environment({**CONDA, **change}), path="env")


@given(
    st.one_of(
        st.binary(),
        st.recursive(
            st.none() | st.text() | st.integers(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*CONDA, "packages", ".conda"]), inner),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_whatever_the_bytes_only_our_errors_come(content: bytes) -> None:
    for read in (legacy_json.load_alias, legacy_json.load_environment):
        with contextlib.suppress(EnvironmentsError):
            read(content, path="x")
