"""Our lock format: what was written stays readable, and what is refused is named by its field."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.digest import LockId
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.resolved import CondaRecord
from mfenv.errors import LockError
from mfenv.formats import lock_json

GOLDEN = Path(__file__).parents[2] / "data" / "locks" / "v1" / "two-packages.json"
ID = LockId("b3c696b8c79afedee8b7207989258208553719f8")

LOCK = LockedEnvironment(
    platform=Platform.LINUX_64,
    packages=(
        LockedCondaPackage(
            record=CondaRecord(
                name="python",
                version="3.11.7",
                build="h1_0_cpython",
                build_number=0,
                subdir="linux-64",
                channel="https://conda.example.org/team",
                depends=("__glibc >=2.17,<3.0.a0", "openssl >=3"),
                constrains=("python_abi 3.11.* *_cp311",),
                python_site_packages_path="lib/python3.11/site-packages",
                license="Python-2.0",
            ),
            artifact=LockedArtifact(
                file_name="python-3.11.7-h1_0_cpython.conda",
                url="https://conda.example.org/team/linux-64/python-3.11.7-h1_0_cpython.conda",
                size=31415926,
                sha256="0123456789abcdef" * 4,
            ),
        ),
        LockedCondaPackage(
            record=CondaRecord(
                name="six",
                version="1.16.0",
                build="pyhd8_0",
                build_number=3,
                subdir="noarch",
                channel="conda-forge",
                depends=("python",),
                noarch="python",
                license="Licence d\u2019été",
            ),
            artifact=LockedArtifact(
                file_name="six-1.16.0-pyhd8_0.tar.bz2",
                url="file:///srv/channel/noarch/six-1.16.0-pyhd8_0.tar.bz2",
                size=0,
                sha256="fedcba9876543210" * 4,
            ),
        ),
    ),
)


def test_a_lock_of_version_1_is_readable_for_ever() -> None:
    assert lock_json.load(GOLDEN.read_bytes(), expected=ID) == LOCK
    assert LOCK.id == ID


def test_a_lock_is_written_as_it_always_was() -> None:
    assert lock_json.dump(LOCK) == GOLDEN.read_bytes()


Change = Callable[[dict[str, Any]], object]


def _package(document: dict[str, Any], *keys: str, index: int = 1) -> Any:
    found = document["packages"][index]
    for key in keys:
        found = found[key]
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("schema"), "L.schema: missing"),
        (lambda d: d.update(schema="mfenv/lock/2"), "L: the schema `mfenv/lock/2` is not known here"),
        (lambda d: d.update(schema=1), "L.schema: expected str, found `1`"),
        (lambda d: d.pop("platform"), "L.platform: missing"),
        (lambda d: d.update(platform="win-64"), "L.platform: `win-64` is not a platform"),
        (lambda d: d.pop("packages"), "L.packages: missing"),
        (lambda d: d.update(packages={}), "L.packages: expected list, found `{}`"),
        (lambda d: d["packages"].append(1), "L.packages[2]: expected an object"),
        (lambda d: d["packages"].append(d["packages"][1]), "L.packages: a lock holds `six` twice"),
        (lambda d: _package(d).pop("conda"), "L.packages[1].conda: missing"),
        (lambda d: _package(d).update(file=[]), "L.packages[1].file: expected dict, found `[]`"),
        (lambda d: _package(d, "conda").pop("name"), "L.packages[1].conda.name: missing"),
        (
            lambda d: _package(d, "conda").update(name="../six"),
            "L.packages[1].conda: `../six` cannot be part of a conda package's name",
        ),
        (
            lambda d: _package(d, "conda").update(build="0/../../x"),
            "L.packages[1].conda: `0/../../x` cannot be part of a conda package's name",
        ),
        (lambda d: _package(d, "conda").update(version=1), "L.packages[1].conda.version: expected str, found `1`"),
        (
            lambda d: _package(d, "conda").update(build_number=True),
            "L.packages[1].conda.build_number: expected int, found `True`",
        ),
        (
            lambda d: _package(d, "conda").update(build_number=1.0),
            "L.packages[1].conda.build_number: expected int, found `1.0`",
        ),
        (
            lambda d: _package(d, "conda").update(depends=["python", 1]),
            "L.packages[1].conda.depends[1]: expected str, found `1`",
        ),
        (
            lambda d: _package(d, "conda").update(depends="python"),
            "L.packages[1].conda.depends: expected list, found `'python'`",
        ),
        (
            lambda d: _package(d, "conda").update(subdir="osx-64"),
            "L.packages: a lock for linux-64 holds `six-1.16.0-pyhd8_0.tar.bz2`, which is for osx-64",
        ),
        (lambda d: _package(d, "conda").update(noarch=True), "L.packages[1].conda.noarch: expected str, found `True`"),
        (lambda d: _package(d, "file").pop("sha256"), "L.packages[1].file.sha256: missing"),
        (
            lambda d: _package(d, "file").update(sha256="abc"),
            "L.packages[1].file: package file `six-1.16.0-pyhd8_0.tar.bz2` has no sha256",
        ),
        (lambda d: _package(d, "file").update(size="7"), "L.packages[1].file.size: expected int, found `'7'`"),
        (
            lambda d: _package(d, "file").update(size=-7),
            "L.packages[1].file: package file `six-1.16.0-pyhd8_0.tar.bz2` has the size -7",
        ),
        (
            lambda d: _package(d, "file").update(name="a/b.conda"),
            "L.packages[1].file: `a/b.conda` is not the name of a package file",
        ),
        (lambda d: _package(d, "file").update(url=None), "L.packages[1].file.url: missing"),
    ],
)
def test_a_refusal_names_the_field_and_what_is_there(change: Change, message: str) -> None:
    document = json.loads(GOLDEN.read_bytes())
    change(document)
    with pytest.raises(LockError) as caught:
        lock_json.load(json.dumps(document).encode(), expected=ID, path="L")
    assert caught.value.message == message


def test_a_lock_with_another_id_than_expected_is_refused_with_both() -> None:
    document = json.loads(GOLDEN.read_bytes())
    _package(document, "file")["sha256"] = "ab" * 32
    content = json.dumps(document).encode()
    actual = lock_json.load(content).id
    with pytest.raises(LockError) as caught:
        lock_json.load(content, expected=ID, path="L")
    assert caught.value.message == f"L: this is the lock `{actual}`, not `{ID}`"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        GOLDEN.read_bytes()[:-1],
        b'{"schema": "mfenv/lock/1", "platform": "\\ud800"}',
        b"[" * 100_000,
        b'{"a": ' + b"1" * 10_000 + b"}",
    ],
    ids=["empty", "brace", "no text", "truncated", "half a character", "deep", "long number"],
)
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(LockError, match=r"^lock: this is not JSON"):
        lock_json.load(content)


@pytest.mark.parametrize("content", [b"[]", b"1", b"null", b'"x"'])
def test_a_lock_must_be_an_object(content: bytes) -> None:
    with pytest.raises(LockError) as caught:
        lock_json.load(content, path="x.json")
    assert caught.value.message == "x.json: expected an object"


def test_a_lock_of_a_later_version_says_what_to_do() -> None:
    with pytest.raises(LockError) as caught:
        lock_json.load(b'{"schema": "mfenv/lock/9"}')
    assert caught.value.hint is not None
    assert "update this one" in caught.value.hint


def test_unknown_fields_are_left_alone() -> None:
    document = json.loads(GOLDEN.read_bytes())
    document["note"] = 1
    document["packages"][0]["conda"]["arch"] = "x86_64"
    assert lock_json.load(json.dumps(document).encode()) == LOCK
