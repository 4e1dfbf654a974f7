"""What the helper process tells of a pixi.lock, as values; the reading itself is in the contract tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mfenv.domain.artifact import Artifact
from mfenv.domain.base import LockFileContent, LockFilePypiPackage
from mfenv.domain.channel import Channel
from mfenv.domain.platform import Platform
from mfenv.domain.resolved import BuildSource, CondaRecord, ResolvedPackage
from mfenv.errors import LockError
from mfenv.formats import pixi_lock

SAVED = Path(__file__).parents[2] / "data" / "lock_files"
PLACE = "https://channel.example.org/team"
SHA = "a" * 64
CONDA = {
    "name": "a",
    "location": "https://me:canary@channel.example.org/team/linux-64/a-1-0.conda",
    "record": {
        "name": "a",
        "version": "1",
        "build": "0",
        "build_number": 0,
        "subdir": "linux-64",
        "channel": "https://me:canary@channel.example.org/team/",
        "depends": ["b"],
        "constrains": [],
        "noarch": None,
        "python_site_packages_path": None,
        "license": None,
    },
    "size": 3,
    "sha256": SHA,
    "md5": None,
}
WHEEL = {
    "name": "W_heel",
    "version": "1.0",
    "location": "https://files.example.org/w_heel-1.0-py3-none-any.whl",
    "sha256": SHA,
    "md5": None,
    "requires_python": ">=3.8",
}
FOLDER = {"name": "f", "version": "<dynamic>", "location": "./f", "sha256": None, "md5": None, "requires_python": None}


def answer(**changes: Any) -> dict[str, Any]:
    return {
        "environments": {"default": ["linux-64"], "test": []},
        "channels": ["https://channel.example.org/t/tk-canary/team/"],
        "conda": [CONDA],
        "pypi": [WHEEL, FOLDER],
        **changes,
    }


def content(
    found: dict[str, Any], *, environment: str = "default", platform: Platform = Platform.LINUX_64
) -> LockFileContent:
    return pixi_lock.content(
        found, shown="pixi.lock", folder=Path("/srv/project"), platform=platform, environment=environment
    )


def test_an_answer_becomes_values_without_credentials() -> None:
    assert content(answer()) == LockFileContent(
        conda=(
            ResolvedPackage(
                record=CondaRecord(
                    name="a", version="1", build="0", build_number=0, subdir="linux-64", channel=PLACE, depends=("b",)
                ),
                artifact=Artifact(file_name="a-1-0.conda", url=f"{PLACE}/linux-64/a-1-0.conda", size=3, sha256=SHA),
            ),
        ),
        pypi=(
            LockFilePypiPackage(name="f", version="", build=BuildSource(url="file:///srv/project/f")),
            LockFilePypiPackage(
                name="w-heel",
                version="1.0",
                wheels=(Artifact(file_name="w_heel-1.0-py3-none-any.whl", url=WHEEL["location"] or "", sha256=SHA),),
                requires_python=">=3.8",
            ),
        ),
        channels=(Channel(location=PLACE),),
    )


@pytest.mark.parametrize(
    ("found", "wishes", "message", "hint"),
    [
        (answer(), {"environment": "x"}, "pixi.lock: there is no environment `x`", "The file has `default`, `test`"),
        (
            answer(),
            {"platform": Platform.OSX_64},
            "pixi.lock: the environment `default` is not locked for osx-64, only for `linux-64`",
            "Add osx-64 to the platforms of the workspace and run `pixi lock`",
        ),
        (
            answer(),
            {"environment": "test"},
            "pixi.lock: the environment `test` is not locked for linux-64",
            "Add linux-64 to the platforms of the workspace and run `pixi lock`",
        ),
        (
            answer(conda=[{"name": "s", "location": "./s", "record": None}]),
            {},
            "pixi.lock: `s` is built from source by pixi, and has no file that could be installed",
            "Publish it to a channel, or take it from one",
        ),
        (
            answer(conda=[{**CONDA, "location": "https://h/osx-64/a-1-0.conda"}]),
            {},
            "pixi.lock: `a`: `a-1-0.conda` is for osx-64, and the step runs on linux-64",
            "Make a lock file for linux-64, or let the step run on osx-64",
        ),
        (
            answer(conda=[{**CONDA, "location": "https://h/linux-64/..%2Fa.conda"}]),
            {},
            "pixi.lock: `a`: `../a.conda` is not the name of a package file",
            None,
        ),
        (
            answer(conda=[{**CONDA, "record": {**CONDA["record"], "version": "../1"}}]),  # type: ignore[dict-item]
            {},
            "pixi.lock: a: `../1` cannot be part of a conda package's name",
            None,
        ),
        (
            answer(pypi=[WHEEL, {**WHEEL, "location": "./w_heel-1.0-py3-none-any.whl"}]),
            {},
            "pixi.lock: `W_heel` is there twice, with different files",
            None,
        ),
    ],
)
def test_what_cannot_be_had_is_refused(
    found: dict[str, Any], wishes: dict[str, Any], message: str, hint: str | None
) -> None:
    with pytest.raises(LockError) as caught:
        content(found, **wishes)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_one_environment_is_taken_and_by_default_the_default_one() -> None:
    assert pixi_lock.environment_of((), shown="pixi.lock") == "default"
    assert pixi_lock.environment_of(("test",), shown="pixi.lock") == "test"
    with pytest.raises(LockError, match=r"^pixi.lock: only one environment of a file can be taken, not `a`, `b`$"):
        pixi_lock.environment_of(("a", "b"), shown="pixi.lock")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "pixi.lock: this is not a lock file of pixi's: it has no `version`"),
        ("# x\nversion: 5\n", "pixi.lock:2:1: the version 5 is not known here"),
        ("version: 8\n", "pixi.lock:1:1: the version 8 is not known here"),
    ],
)
def test_versions_that_are_not_known_are_refused(text: str, message: str) -> None:
    with pytest.raises(LockError) as caught:
        pixi_lock.check_version(text, shown="pixi.lock")
    assert caught.value.message == message


@pytest.mark.parametrize("name", ["pixi.lock", "pixi-v6.lock"])
def test_versions_that_are_known_are_not(name: str) -> None:
    pixi_lock.check_version((SAVED / name).read_text(), shown=name)
