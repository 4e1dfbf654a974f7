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
from mfenv.formats.legacy_json import LegacyEnvironment, LegacyFile, LegacyManifest, LegacyPackage, LegacyRef

MD5, OTHER_MD5, SHA = "d" * 32, "e" * 32, "f" * 64
A, B = "ab" * 20, "cd" * 20
KEY = f"packages/conda/host.example.org/c/noarch/six-1.16.0-pyh_0.tar.bz2/six-1.16.0-pyh_0.conda/{OTHER_MD5}/six-1.16.0-pyh_0.conda"
CONDA = {
    "_type": "conda",
    "filename": "six-1.16.0-pyh_0",
    "url": "https://me:secret@host.example.org/t/tok-secret/c/noarch/six-1.16.0-pyh_0.tar.bz2",
    "url_format": ".tar.bz2",
    "hashes": {".tar.bz2": MD5, ".conda": OTHER_MD5},
    "cache_info": {".conda": {"_type": "conda", "url": KEY}},
}
WHEEL = {
    "_type": "pypi",
    "filename": "made-1.0-py3-none-any",
    "url": "https://files.example.org/made-1.0-py3-none-any.whl",
    "url_format": ".whl",
    "hashes": {".whl": SHA},
}
MANIFEST = {
    "version": 1,
    "mappings": {"Flow/1/start": [A, B]},
    "mutable_aliases": {"team/env/latest": [B, A], "team/gone/latest": [None], "team/lost/latest": None},
    "aliases": {"team/env/v1": [A, B], B: [A, B]},
    "environments": {"linux-64": {A: {B: {"packages": [WHEEL]}, "_default": B}}},
}


def environment(*packages: Any, **more: Any) -> bytes:
    return json.dumps({"packages": packages, **more}).encode()


def package(row: dict[str, Any]) -> LegacyPackage:
    (found,) = legacy_json.load_environment(environment(row), path="env").packages
    return found


def test_an_environment_is_read_without_credentials_and_what_is_stored_comes_first() -> None:
    content = environment(CONDA, resolved_by="ada", resolved_on="2024-01-02T03:04:05")
    assert legacy_json.load_environment(content, path="env") == LegacyEnvironment(
        packages=(
            LegacyPackage(
                is_conda=True,
                url="https://host.example.org/c/noarch/six-1.16.0-pyh_0.tar.bz2",
                files=(
                    LegacyFile(name="six-1.16.0-pyh_0.conda", digests=(OTHER_MD5,), key=KEY, is_served=False),
                    LegacyFile(name="six-1.16.0-pyh_0.tar.bz2", digests=(MD5,), key=None, is_served=True),
                ),
            ),
        ),
        resolved_by="ada",
        resolved_on=datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
    )


@pytest.mark.parametrize(
    ("hashes", "digests"),
    [
        ({".whl": SHA}, (SHA,)),
        ({".whl": SHA.upper()}, (SHA,)),
        ({".whl": None}, ()),
        ({".whl": "None"}, ()),
        ({}, ()),
        ({"sha512": "no matter"}, ()),
        # Those of lock files are kept under the name of the algorithm, which nothing looks at there.
        ({"sha256": SHA}, (SHA,)),
        ({".whl": "a" * 64, "sha256": SHA, "md5": MD5}, ("a" * 64, SHA, MD5)),
    ],
)
def test_every_digest_that_was_noted_counts(hashes: dict[str, Any], digests: tuple[str, ...]) -> None:
    assert package({**WHEEL, "hashes": hashes}).files == (
        LegacyFile(name="made-1.0-py3-none-any.whl", digests=digests, key=None, is_served=True),
    )


def test_a_digest_that_was_not_noted_is_in_the_key() -> None:
    stored, served = package({**CONDA, "hashes": {}}).files
    assert (stored.digests, served.digests) == ((OTHER_MD5,), ())


def test_a_wheel_that_was_built_has_the_name_that_it_has_in_the_store() -> None:
    source = {**WHEEL, "filename": "made-1.0", "url": "https://files.example.org/made-1.0.tar.gz"}
    key = f"packages/pypi/files.example.org/made-1.0.tar.gz/made-1.0-py3-none-any.whl/{SHA}/made-1.0-py3-none-any.whl"
    found = package({**source, "url_format": ".tar.gz", "hashes": {}, "cache_info": {".whl": {"url": key}}})
    assert found.files == (
        LegacyFile(name="made-1.0-py3-none-any.whl", digests=(SHA,), key=key, is_served=False),
        LegacyFile(name="made-1.0.tar.gz", digests=(), key=None, is_served=True),
    )


@pytest.mark.parametrize(
    ("url", "has_address"),
    [
        ("https://files.example.org/made-1.0-py3-none-any.whl", True),
        ("file:///srv/made-1.0-py3-none-any.whl", True),
        ("https://github.com/_fake/team/made/1234/made-1.0-py3-none-any.whl", False),
        ("https://_fake/local-1/made-1.0-py3-none-any.whl", False),
        ("_fake/local-1/made-1.0-py3-none-any.whl", False),
        ("git+https://git.example.org/team/made", False),
    ],
)
def test_what_was_built_has_an_address_only_in_name(url: str, has_address: bool) -> None:
    assert package({**WHEEL, "url": url}).has_address is has_address


def test_older_spellings_of_kinds_are_read() -> None:
    assert package({**WHEEL, "_type": "pip"}) == package(WHEEL)


@pytest.mark.parametrize("when", ["yesterday", "2024-13-01", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_is_none_is_no_reason_to_refuse(when: str) -> None:
    assert legacy_json.load_environment(environment(resolved_on=when), path="env").resolved_on is None


def test_an_alias_is_two_ids() -> None:
    assert legacy_json.load_alias(json.dumps([A, B]).encode(), path="alias") == LegacyRef(request=A, full=B)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'["a"]', b'["a", 1]', b'["a", "b"]', f'["{A}", "../{B}"]'.encode(), f'["{A}"]'.encode(), b"[" * 9999],
)
def test_anything_else_is_no_alias(content: bytes) -> None:
    with pytest.raises(LockError, match=r"^alias: "):
        legacy_json.load_alias(content, path="alias")


def test_a_projects_own_file_has_names_steps_and_environments() -> None:
    one = LegacyRef(request=A, full=B)
    assert legacy_json.load_manifest(json.dumps(MANIFEST).encode(), path="conda_v2.cnd") == LegacyManifest(
        names={"team/env/v1": one, "team/env/latest": LegacyRef(request=B, full=A), B: one},
        steps={"Flow/1/start": one},
        environments={
            ("linux-64", one): LegacyEnvironment(packages=(package(WHEEL),), resolved_by="unknown", resolved_on=None)
        },
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, r"^x\.version: only version 1 is known here"),
        ({"version": None}, r"^x\.version: missing"),
        ({"aliases": {"a/b": ["c"]}}, r"^x\.aliases\.a/b: expected two ids"),
        ({"mappings": []}, r"^x\.mappings: expected dict"),
        ({"environments": {"linux-64": []}}, r"^x\.environments\.linux-64: expected an object"),
        ({"environments": {"linux-64": {A: {"x": {}}}}}, rf"^x\.environments\.linux-64\.{A}\.x: expected two ids"),
        ({"environments": {"linux-64": {A: {B: {}}}}}, rf"^x\.environments\.linux-64\.{A}\.{B}\.packages: missing"),
    ],
)
def test_a_damaged_file_of_a_project_is_refused_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LockError, match=message):
        legacy_json.load_manifest(json.dumps({**MANIFEST, **change}).encode(), path="x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_type": "npm"}, r"^env\.packages\[0\]\._type: `npm` is not known"),
        ({"filename": "../six"}, r"^env\.packages\[0\]\.filename: "),
        ({"filename": "..%2Fsix"}, r"^env\.packages\[0\]\.filename: "),
        ({"filename": "-six"}, r"^env\.packages\[0\]\.filename: "),
        ({"filename": "six" * 100}, r"^env\.packages\[0\]\.filename: "),
        ({"url": 1}, r"^env\.packages\[0\]\.url: expected str"),
        ({"url": "https://[x/six.conda"}, r"^env\.packages\[0\]\.url: `https://\[x/six.conda` is not an address"),
        ({"url_format": ".rpm", "cache_info": {}}, r"^env\.packages\[0\]: there is no file"),
        ({"cache_info": {".conda": "x"}}, r"^env\.packages\[0\]\.cache_info\.\.conda: expected dict"),
        ({"hashes": []}, r"^env\.packages\[0\]\.hashes: expected dict"),
        ({"hashes": {".tar.bz2": "d" * 31}}, r"^env\.packages\[0\]\.hashes\.\.tar\.bz2: `d+` is neither an MD5"),
        *(
            ({"cache_info": {".conda": {"url": key}}}, r"^env\.packages\[0\]\.cache_info\.\.conda\.url: `")
            for key in (
                "../../x.conda",
                "/etc/x.conda",
                "a/../x.conda",
                "a//x.conda",
                "x.conda",
                "a/x.zip",
                "a/x\n.conda",
            )
        ),
    ],
)
def test_a_damaged_environment_is_refused_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LockError, match=message):
        legacy_json.load_environment(environment({**CONDA, **change}), path="env")


READERS = (legacy_json.load_alias, legacy_json.load_environment, legacy_json.load_manifest)
WORDS = [*CONDA, *MANIFEST, "packages", ".conda", ".tar.bz2", "resolved_on", "linux-64", A, B]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([*WORDS, MD5, SHA, KEY, "https://[", "conda", "pypi"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(WORDS), inner),
)


def only_our_errors(content: bytes) -> None:
    for read in READERS:
        with contextlib.suppress(EnvironmentsError):
            read(content, path="x")


@given(st.binary() | VALUES.map(lambda value: json.dumps(value).encode()))
def test_whatever_the_bytes_only_our_errors_come(content: bytes) -> None:
    only_our_errors(content)


@given(st.sampled_from([MANIFEST, {"packages": [CONDA, WHEEL]}]), st.data())
def test_whatever_was_changed_in_a_real_file_only_our_errors_come(
    document: dict[str, Any], data: st.DataObject
) -> None:
    changed = json.loads(json.dumps(document))
    place: Any = changed
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not (isinstance(place[key], dict | list) and place[key]) or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(VALUES)
    content = json.dumps(changed).encode()
    only_our_errors(content)
    cut = data.draw(st.integers(0, len(content)))
    only_our_errors(content[:cut] + data.draw(st.binary(max_size=3)) + content[cut + data.draw(st.integers(0, 3)) :])


SECRET = "https://me:hunter2@host.example.org/t/hunter2/x/y.conda?k=hunter2"


@pytest.mark.parametrize(
    "change",
    [
        {"url": SECRET},
        {"url": [SECRET]},
        {"url": "https://me:hunter2@["},
        {"filename": SECRET},
        {"hashes": {".tar.bz2": SECRET}},
        {"cache_info": {".conda": {"url": SECRET}}},
        {"_type": SECRET},
    ],
)
def test_no_password_gets_out(change: dict[str, Any]) -> None:
    try:
        found = repr(legacy_json.load_environment(environment({**CONDA, **change}), path="env"))
    except LockError as error:
        found = error.message
    assert "hunter2" not in found
