"""A small world of packages, written once: a conda channel and a package index, both as folders of files."""

from __future__ import annotations

import html
import io
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mfenv.app import settings
from mfenv.app.wiring import Wiring
from mfenv.domain.channel import Channel
from mfenv.domain.index import PackageIndex
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import ResolvedEnvironment
from mfenv.domain.spec import EnvironmentSpec
from mfenv.formats.pylock_toml import tomllib
from mfenv.testing.channel.indexing import index_channel
from mfenv.testing.channel.package import CondaPackage, Entry, RegularFile, write_package

DATA = Path(__file__).parents[1] / "data" / "conflicts"


@dataclass(frozen=True)
class World:
    """The real resolver, with nothing but this world's packages in reach."""

    channel: Path
    index: Path
    wiring: Wiring

    def resolve(self, case: dict[str, Any]) -> ResolvedEnvironment:
        """Resolve what a case asks for; ``{index}`` in a requirement is the folder of the index."""
        spec = EnvironmentSpec(
            python=PythonConstraint.parse(case.get("python", "3.11"), where="python"),
            conda=tuple(MatchSpec.parse(name, text, where="conda") for name, text in case.get("conda", {}).items()),
            conda_only=tuple(
                MatchSpec.parse(name, text, where="conda_only") for name, text in case.get("conda_only", {}).items()
            ),
            pypi=tuple(
                Requirement.parse(name, text.replace("{index}", self.index.as_uri()), where="pypi")
                for name, text in case.get("pypi", {}).items()
            ),
            channels=(Channel.parse(str(self.channel), where="channel"),),
            default_index=PackageIndex(url=self.index.as_uri()),
        )
        request = ResolutionRequest(spec=spec, target=baseline(Platform.LINUX_64))
        return self.wiring.resolver.resolve(request)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    universe = tomllib.loads((DATA / "universe.toml").read_text())
    for package in universe["conda"]:
        _write_conda(package, folder / "channel")
    index_channel(folder / "channel")
    _write_index(universe["pypi"], folder / "index")
    here = settings.read({"CONDA_LOCAL_PATH": str(folder / "local")}.get, {"HOME": str(folder)})
    wiring = Wiring(here, project=folder / "project")
    yield World(channel=folder / "channel", index=folder / "index", wiring=wiring)
    wiring.worker.close()


def _write_conda(package: dict[str, Any], channel: Path) -> None:
    for version in package["versions"]:
        if abis := package.get("abi"):
            for abi in abis:
                tag = f"cp{abi.replace('.', '')}"
                needs = (f"python >={abi},<{_next(abi)}.0a0", f"python_abi {abi}.* *_{tag}")
                _write_build(package, version, channel, f"{tag}_0", needs, f"lib/python{abi}/site-packages", "linux-64")
        elif package.get("python"):
            _write_build(package, version, channel, "py_0", ("python",), "site-packages", "noarch", noarch="python")
        elif package["name"] == "python_abi":
            _write_build(package, version, channel, f"1_cp{version.replace('.', '')}", (), "", "linux-64")
        else:
            _write_build(package, version, channel, "0", (), "", "linux-64")


def _next(minor: str) -> str:
    major, _, number = minor.partition(".")
    return f"{major}.{int(number) + 1}"


def _write_build(
    package: dict[str, Any],
    version: str,
    channel: Path,
    build: str,
    needs: tuple[str, ...],
    site_packages: str,
    subdir: str,
    *,
    noarch: str | None = None,
) -> None:
    name = package["name"]
    brings = package.get("brings", [f"{name.replace('-', '_')}-{{version}}.dist-info/METADATA"]) if needs else []
    requires = "".join(f"Requires-Dist: {text}\n" for text in package.get("requires", ()))
    files: dict[str, Entry] = {
        f"{site_packages}/{path.format(version=version)}": RegularFile(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}".encode()
        )
        for path in brings
    }
    write_package(
        CondaPackage(
            name=name,
            version=version,
            build=build,
            subdir=subdir,
            files=files,
            depends=(*needs, *package.get("depends", ())),
            noarch=noarch,
        ),
        channel,
    )


def _write_index(packages: list[dict[str, Any]], index: Path) -> None:
    links = defaultdict(list)
    for package in packages:
        page = index / package["name"]
        page.mkdir(parents=True, exist_ok=True)
        for version in package["versions"]:
            write = _write_sdist if package.get("sdist") else _write_wheel
            file = write(package, version, page)
            attributes = "".join(
                f' {attribute}="{html.escape(package[key])}"'
                for key, attribute in (("requires_python", "data-requires-python"), ("yanked", "data-yanked"))
                if key in package
            )
            links[page].append(f'<a href="{file.name}"{attributes}>{file.name}</a>')
    for page, lines in links.items():
        (page / "index.html").write_text("<!DOCTYPE html><html><body>\n" + "\n".join(lines) + "</body></html>\n")


def _metadata(package: dict[str, Any], version: str) -> str:
    lines = ["Metadata-Version: 2.2", f"Name: {package['name']}", f"Version: {version}"]
    lines += [f"Requires-Dist: {text}" for text in package.get("requires", ())]
    lines += [f"Provides-Extra: {text}" for text in package.get("extras", ())]
    lines += [f"Requires-Python: {package['requires_python']}"] if "requires_python" in package else []
    return "\n".join(lines) + "\n"


def _write_wheel(package: dict[str, Any], version: str, page: Path) -> Path:
    stem = f"{package['name'].replace('-', '_')}-{version}"
    tags = package.get("tags", "py3-none-any")
    path = page / f"{stem}-{tags}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{stem}.dist-info/METADATA", _metadata(package, version))
        wheel.writestr(f"{stem}.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tags}\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")
    return path


def _write_sdist(package: dict[str, Any], version: str, page: Path) -> Path:
    stem = f"{package['name'].replace('-', '_')}-{version}"
    path = page / f"{stem}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in (
            ("PKG-INFO", _metadata(package, version)),
            ("pyproject.toml", '[build-system]\nrequires = []\nbuild-backend = "none"\n'),
        ):
            member = tarfile.TarInfo(f"{stem}/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path
