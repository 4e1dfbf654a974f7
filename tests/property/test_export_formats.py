"""What is written for other tools is read back as the same packages, whatever the environment."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mfenv.app.export import FORMATS, losses, notes
from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment, LockedPypiPackage
from mfenv.domain.platform import Platform
from mfenv.domain.resolved import CondaRecord
from mfenv.domain.wheel_metadata import WheelMetadata
from mfenv.formats import conda_lock_yml, explicit_txt
from mfenv.formats.toml_text import tomllib
from mfenv.formats.writers.content import Content

_NAMES = st.from_regex(r"[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,4})?", fullmatch=True)
_VERSIONS = st.sampled_from(["1.0", "2.0.1", "3.10", "0.0", "2024.1.1", "1.0rc1", "1.0+cu118"])
# Those that YAML would take for numbers and the like.
_CONDA_VERSIONS = _VERSIONS | st.sampled_from(["1e1", "0x1", "2024_01", "1!2.0"])
_DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
_HOST = "https://example.org"


def _conda(name: str, version: str, sha256: str, depends: list[str]) -> LockedCondaPackage:
    file = f"{name}-{version}-0.conda"
    record = CondaRecord(
        name=name,
        version=version,
        build="0",
        build_number=0,
        subdir="linux-64",
        channel=f"{_HOST}/channel",
        depends=tuple(depends),
    )
    artifact = LockedArtifact(file_name=file, url=f"{_HOST}/channel/linux-64/{file}", size=3, sha256=sha256)
    return LockedCondaPackage(record=record, artifact=artifact)


def _wheel(name: str, version: str, sha256: str, size: int | None, built: str) -> LockedPypiPackage:
    file = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    artifact = LockedArtifact(file_name=file, url=f"{_HOST}/wheels/{file}", size=size, sha256=sha256)
    return LockedPypiPackage(name=name, version=version, artifact=artifact, built_from=built)


@st.composite
def contents(draw: st.DrawFn) -> Content:
    names = draw(st.lists(_NAMES, max_size=4, unique=True))
    conda = [
        _conda(name, draw(_CONDA_VERSIONS), draw(_DIGESTS), draw(st.lists(st.sampled_from(["a >=1", "__glibc"]))))
        for name in names
    ]
    wheels = [
        _wheel(
            name,
            draw(_VERSIONS),
            draw(_DIGESTS),
            draw(st.sampled_from([None, 7])),
            draw(st.sampled_from(["", "git+x"])),
        )
        for name in draw(st.lists(_NAMES, max_size=4, unique=True))
    ]
    lock = LockedEnvironment(platform=Platform.LINUX_64, packages=tuple(conda), pypi=tuple(wheels))
    needs = st.lists(
        st.sampled_from([*(one.name for one in wheels), "b[x]>=1; extra == 'y'", "not a need ("]), max_size=3
    )
    said = {one.artifact.sha256: WheelMetadata(requires=tuple(draw(needs)), requires_python=">=3.8") for one in wheels}
    return Content(
        title=draw(st.sampled_from(["team/env:v1", "two\nlines"])),
        locks={Platform.LINUX_64: lock},
        wheels=said,
        md5={one.artifact.sha256: "0" * 32 for one in conda},
    )


def _expected(content: Content) -> set[tuple[str, str]]:
    """The digests of what can be had elsewhere, by side."""
    return {("conda", one.artifact.sha256) for one in content.only.packages} | _wheels(content)


def _wheels(content: Content) -> set[tuple[str, str]]:
    return {("pypi", one.artifact.sha256) for one in content.only.pypi if not one.built_from}


@given(contents())
def test_every_format_is_written_the_same_each_time_and_tells_what_it_loses(content: Content) -> None:
    for found in FORMATS.values():
        assert found.dump(content) == found.dump(content)
        lost = losses(found, content)
        built = [one.name for one in content.only.pypi if one.built_from]
        if built and found.name != "cyclonedx":
            assert any(name in line for name in built for line in lost)
        assert all(isinstance(line, str) for line in notes(found, content, [Platform.OSX_64]))


@given(contents())
def test_a_conda_lock_file_is_read_back(content: Content) -> None:
    text = FORMATS["conda-lock.yml"].dump(content)
    found = conda_lock_yml.load(text, shown="f", folder=Path("/"), platform=Platform.LINUX_64)
    there = {("conda", str(one.sha256)) for one in found.conda if hasattr(one, "sha256")}
    there |= {("pypi", str(wheel.sha256)) for one in found.pypi for wheel in one.wheels}
    assert there == _expected(content)


@given(contents())
def test_a_list_is_read_back(content: Content) -> None:
    text = FORMATS["explicit"].dump(content)
    found = explicit_txt.load(text, shown="f", folder=Path("/"), platform=Platform.LINUX_64)
    there = {("conda", str(one.sha256)) for one in found.conda if hasattr(one, "sha256")}
    there |= {("pypi", str(wheel.sha256)) for one in found.pypi for wheel in one.wheels}
    assert there == _expected(content)


@given(contents())
def test_pylock_requirements_and_yaml_say_the_same_packages(content: Content) -> None:
    wheels = {sha256 for _, sha256 in _wheels(content)}
    pylock = tomllib.loads(FORMATS["pylock.toml"].dump(content))
    assert {wheel["hashes"]["sha256"] for row in pylock["packages"] for wheel in row["wheels"]} == wheels
    requirements = FORMATS["requirements.txt"].dump(content)
    assert {line.rpartition(":")[2] for line in requirements.splitlines() if "--hash=" in line} == wheels
    assert [line for line in requirements.splitlines() if line and line[0] not in " #" and "==" not in line] == []
    document = YAML(typ="safe").load(FORMATS["environment.yml"].dump(content))
    specs = [one for one in document["dependencies"] if isinstance(one, str)]
    assert len(specs) == len(content.only.packages)
    pixi = YAML(typ="safe").load(FORMATS["pixi.lock"].dump(content))
    assert {row["sha256"] for row in pixi["packages"]} == {sha256 for _, sha256 in _expected(content)}
    bill = json.loads(FORMATS["cyclonedx"].dump(content))
    count = len(content.only.packages) + len(content.only.pypi)
    assert len(bill.get("components", [])) == count
