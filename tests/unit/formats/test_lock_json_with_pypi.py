"""Locks with PyPI packages: what was written stays readable, and what counts for their ids."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mfenv.app.lock import lock_of
from mfenv.domain.artifact import Artifact, LockedArtifact
from mfenv.domain.locked import LockedEnvironment, LockedPypiPackage
from mfenv.domain.platform import Platform
from mfenv.domain.resolved import BuildSource, ResolvedEnvironment, ResolvedPypiPackage
from mfenv.errors import LockError
from mfenv.formats import lock_json

GOLDEN = Path(__file__).parents[2] / "data" / "locks" / "v1" / "with-pypi.json"
SHA = "0123456789abcdef" * 4

PLAIN = LockedPypiPackage(
    name="requests",
    version="2.32.0",
    artifact=LockedArtifact(
        file_name="requests-2.32.0-py3-none-any.whl",
        url="https://files.example.org/requests-2.32.0-py3-none-any.whl",
        size=None,
        sha256=SHA,
    ),
)
BUILT = LockedPypiPackage(
    name="ours",
    version="1.0+local",
    artifact=LockedArtifact(
        file_name="ours-1.0+local-py3-none-any.whl",
        url="file:///cache/wheels/ours-1.0%2Blocal-py3-none-any.whl",
        size=1234,
        sha256=SHA[::-1],
    ),
    built_from="git+https://git.example.org/ours@0123#subdirectory=a",
)
LOCK = LockedEnvironment(platform=Platform.LINUX_64, packages=(), pypi=(PLAIN, BUILT))


def test_the_bytes_of_version_1_stay_what_they_are() -> None:
    assert lock_json.dump(LOCK) == GOLDEN.read_bytes()
    assert lock_json.load(GOLDEN.read_bytes(), expected=LOCK.id) == LOCK
    assert LOCK.id == "acbd94eedd2731cad372e1624df1375212157936"


def test_neither_order_nor_address_nor_origin_count_for_the_id() -> None:
    mirrored = replace(PLAIN, artifact=replace(PLAIN.artifact, url="https://mirror/requests.whl", size=7))
    assert replace(LOCK, pypi=(replace(BUILT, built_from=""), mirrored)).id == LOCK.id


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAIN, name="other"),
        replace(PLAIN, version="2.32.1"),
        replace(PLAIN, artifact=replace(PLAIN.artifact, sha256="f" * 64)),
        replace(PLAIN, artifact=replace(PLAIN.artifact, file_name="requests-2.32.0-1-py3-none-any.whl")),
    ],
)
def test_what_is_installed_counts_for_the_id(other: LockedPypiPackage) -> None:
    assert replace(LOCK, pypi=(other, BUILT)).id != LOCK.id
    assert replace(LOCK, pypi=()).id != LOCK.id


def change(path: str, value: object) -> Callable[[Any], None]:
    def apply(document: Any) -> None:
        *parents, last = path.split(".")
        place = document["pypi"][0]
        for key in parents:
            place = place[key]
        place[last] = value

    return apply


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (change("pypi.name", 3), "name"),
        (change("pypi.version", None), "version"),
        (change("pypi.built_from", 3), "built_from"),
        (change("file.sha256", "0"), "sha256"),
        (change("file.name", "../evil.whl"), "../evil.whl"),
        (change("file.size", -1), "size"),
        (change("pypi.name", "ours"), "`ours` twice"),
        (change("file", None), "file"),
    ],
)
def test_a_lock_that_is_wrong_is_refused_and_the_field_named(spoil: Callable[[Any], None], field: str) -> None:
    document = json.loads(GOLDEN.read_bytes())
    spoil(document)
    with pytest.raises(LockError) as caught:
        lock_json.load(json.dumps(document).encode())
    assert field in caught.value.message


# -- from answers to locks


def wheel(name: str, sha256: str | None, size: int | None = None) -> ResolvedPypiPackage:
    file_name = f"{name}-1.0-py3-none-any.whl"
    artifact = Artifact(file_name=file_name, url=f"https://h/{file_name}", sha256=sha256, size=size)
    return ResolvedPypiPackage(name=name, version="1.0", wheel=artifact)


def test_only_wheels_without_a_digest_are_measured_and_sources_are_built() -> None:
    known, vague = wheel("known", SHA), wheel("vague", None, 5)
    source = ResolvedPypiPackage(name="ours", version="", build=BuildSource(url="file:///srv/ours"))
    answer = ResolvedEnvironment(platform=Platform.LINUX_64, packages=(), pypi=(known, source, vague), resolver="fake")
    asked: list[Artifact] = []

    def measure(artifacts: Any) -> list[LockedArtifact]:
        asked.extend(artifacts)
        return [LockedArtifact(file_name=a.file_name, url=a.url, size=5, sha256="a" * 64) for a in artifacts]

    lock = lock_of(answer, measure, lambda package: replace(BUILT, name=package.name))
    assert asked == [vague.wheel]
    assert [(package.name, package.artifact.sha256, package.artifact.size) for package in lock.pypi] == [
        ("known", SHA, None),
        ("ours", SHA[::-1], 1234),
        ("vague", "a" * 64, 5),
    ]


def test_nothing_is_measured_when_all_is_known() -> None:
    answer = ResolvedEnvironment(platform=Platform.LINUX_64, packages=(), pypi=(wheel("known", SHA),), resolver="fake")

    def refuse(_: object) -> Any:
        raise AssertionError("nobody asked for that")

    assert lock_of(answer, refuse, refuse).pypi[0].artifact.sha256 == SHA
