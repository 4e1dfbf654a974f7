"""Canonical JSON and ids."""

from __future__ import annotations

import hashlib

import pytest

from mfenv.domain.digest import canonical_json, identity, is_id, is_sha256


def test_canonical_json_has_one_spelling() -> None:
    assert canonical_json({"b": [1, True, None, "é/\n"], "a": {}}) == '{"a":{},"b":[1,true,null,"é/\\n"]}'.encode()


@pytest.mark.parametrize("value", [1.5, [1.0], {"a": [{"b": 0.1}]}, float("nan")])
def test_canonical_json_refuses_floats(value: object) -> None:
    with pytest.raises(ValueError, match="canonical"):
        canonical_json(value)  # type: ignore[arg-type]


def test_an_id_is_the_beginning_of_a_digest_over_schema_and_value() -> None:
    assert identity("s/1", {"a": 1}) == hashlib.sha256(b's/1\n{"a":1}').hexdigest()[:40]
    assert identity("s/1", [1]) != identity("s/2", [1])


@pytest.mark.parametrize(
    ("text", "id_", "sha256"),
    [
        ("a1" * 20, True, False),
        ("a1" * 32, False, True),
        ("A1" * 20, False, False),
        ("A1" * 32, False, False),
        ("a1" * 20 + "\n", False, False),
        ("a1" * 32 + "\n", False, False),
        ("g1" * 20, False, False),
        ("", False, False),
    ],
)
def test_ids_and_digests_are_known_by_their_form(text: str, id_: bool, sha256: bool) -> None:
    assert (is_id(text), is_sha256(text)) == (id_, sha256)
