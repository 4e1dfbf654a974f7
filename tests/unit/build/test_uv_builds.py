"""Builds of wheels take what they need from where the packages come from, and nothing from the user's own uv."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from mfenv.build.wheels import WheelBuilder
from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import PackageIndex
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import BuildSource, ResolvedPypiPackage
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import ResolutionFailed
from mfenv.io.files import sha256_of
from mfenv.io.process import SystemProcessRunner
from mfenv.io.uv_surroundings import UvSurroundings
from mfenv.resolve.backends.uv import build_arguments, build_environment, find_uv
from mfenv.testing.index import IndexFolder
from mfenv.testing.wheels import MadeWheel

PYTHON = ".".join(map(str, sys.version_info[:3]))
HOST = Platform.host()


@pytest.fixture(autouse=True)
def nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def index(tmp_path: Path) -> IndexFolder:
    """What a build needs, as a wheel, a source, and a version that nobody should take."""
    made = IndexFolder(tmp_path / "served").add(MadeWheel(name="helper"), MadeWheel(name="helper", version="0.1"))
    return made.add_sdists(MadeWheel(name="helper", version="0.5"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source whose wheel holds the version of `helper` that it was built with."""
    files = MadeWheel(name="made").source()
    files["pyproject.toml"] = files["pyproject.toml"].replace("requires = []", 'requires = ["helper"]')
    files["backend.py"] = files["backend.py"].replace(
        "def build_wheel(folder, settings=None, metadata=None):",
        "def build_wheel(folder, settings=None, metadata=None):\n"
        "    import helper\n"
        "    open('made.py', 'w').write(helper.version)",
    )
    path = tmp_path / "made-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"made-1.0/{name}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def builder(tmp_path: Path, source: Path) -> WheelBuilder:
    return WheelBuilder(
        runner=SystemProcessRunner(),
        uv=find_uv,
        folder=tmp_path / "wheels",
        cache=tmp_path / "cache",
        python=lambda _: Path(sys.executable),
        download=lambda url, name, sha256: source,
        secret_urls={},
        timeout=60,
    )


def built_with(builder: WheelBuilder, source: Path) -> str:
    """Build, and return the version of `helper` that was there."""
    import zipfile

    wanted = BuildSource(url="https://example.org/made-1.0.tar.gz", sha256=sha256_of(source))
    package = ResolvedPypiPackage(name="made", version="1.0", build=wanted)
    found = builder.build(package, python=PYTHON, platform=HOST, host=HOST)
    with zipfile.ZipFile(found.artifact.url.removeprefix("file://")) as wheel:
        return wheel.read("made.py").decode()


def told(builder: WheelBuilder, index: IndexFolder, *options: str, is_index: bool = True) -> WheelBuilder:
    """The builder for a request with `options`, and with the index unless it is configured elsewhere."""
    flags = tuple(ResolverFlag.parse(text, where="here") for text in options)
    default = PackageIndex(url=(index.folder / "simple").as_uri()) if is_index else None
    spec = EnvironmentSpec(python=None, conda=(), channels=(), flags=flags, default_index=default)
    request = ResolutionRequest(spec=spec, target=baseline(HOST))
    environment = build_environment(request, {}, (), builder.surroundings)
    return replace(builder, arguments=build_arguments(request), environment=environment)


def test_a_build_finds_what_it_needs_on_the_index(builder: WheelBuilder, index: IndexFolder, source: Path) -> None:
    assert built_with(told(builder, index), source) == "1.0"


def test_a_build_finds_what_it_needs_among_links_alone(
    builder: WheelBuilder, index: IndexFolder, source: Path, tmp_path: Path
) -> None:
    links = tmp_path / "links"
    links.mkdir()
    MadeWheel(name="helper", version="7.0").write(links)
    assert built_with(told(builder, index, "no-index", f"find-links={links}"), source) == "7.0"


@pytest.mark.parametrize(
    ("option", "version"), [("no-binary=helper", "0.5"), ("no-binary=:all:", "1.0"), ("only-binary=helper", "1.0")]
)
def test_build_tools_are_built_only_when_they_are_named(
    option: str, version: str, builder: WheelBuilder, index: IndexFolder, source: Path
) -> None:
    assert built_with(told(builder, index, option), source) == version


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UV_RESOLUTION", "lowest"),
        ("UV_BUILD_CONSTRAINT", "{folder}/old.txt"),
        ("UV_CONFIG_FILE", "{folder}/uv.toml"),
        ("UV_NO_BUILD", "1"),
        ("UV_NO_BUILD_ISOLATION", "1"),
        ("UV_REQUIRE_HASHES", "1"),
        ("XDG_CONFIG_HOME", "{folder}/config"),
    ],
)
def test_the_users_own_uv_does_not_count(
    name: str,
    value: str,
    builder: WheelBuilder,
    index: IndexFolder,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "old.txt").write_text("helper==0.1\n")
    (tmp_path / "config" / "uv").mkdir(parents=True)
    for path in ("uv.toml", "config/uv/uv.toml"):
        (tmp_path / path).write_text('resolution = "lowest"\nbuild-constraint-dependencies = ["helper==0.1"]\n')
    monkeypatch.setenv(name, value.format(folder=tmp_path))
    assert built_with(told(builder, index), source) == "1.0"


def test_the_users_own_indexes_do(builder: WheelBuilder, index: IndexFolder, source: Path) -> None:
    config = f'[[index]]\nurl = "{(index.folder / "simple").as_uri()}"\ndefault = true\n'
    surroundings = UvSurroundings(config=config)
    assert built_with(told(replace(builder, surroundings=surroundings), index, is_index=False), source) == "1.0"


def test_what_a_build_needs_may_not_be_had(builder: WheelBuilder, index: IndexFolder, source: Path) -> None:
    with pytest.raises(ResolutionFailed) as caught:
        built_with(told(builder, index, "no-index"), source)
    assert caught.value.packages == ("made",)
    assert "helper was not found" in caught.value.output
