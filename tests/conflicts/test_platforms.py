"""Environments for other platforms than this one, from the real package index and the local channel."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from mfenv.app import settings
from mfenv.app.wiring import Wiring
from mfenv.domain.channel import Channel
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import EnvironmentsError
from mfenv.testing.channel import LocalChannel

OTHERS = [platform for platform in Platform if platform is not Platform.host()]
PURE = """
    def build_wheel(folder, config_settings=None, metadata_directory=None):
        import zipfile
        name = "{name}-1.0-{tags}.whl"
        with zipfile.ZipFile(folder + "/" + name, "w") as wheel:
            wheel.writestr("{name}-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
            wheel.writestr("{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: {tags}\\n")
            wheel.writestr("{name}-1.0.dist-info/RECORD", "")
        return name
"""


class Locks:
    """Locks for any platform."""

    def __init__(self, wiring: Wiring, channel: LocalChannel, folder: Path) -> None:
        self.wiring = wiring
        self.channel = channel
        self.folder = folder

    def get(
        self, platform: Platform, pypi: dict[str, str], conda: dict[str, str] | None = None
    ) -> LockedEnvironment | EnvironmentsError:
        spec = EnvironmentSpec(
            python=PythonConstraint.parse("3.11", where=""),
            conda=tuple(MatchSpec.parse(name, text, where="") for name, text in (conda or {}).items()),
            channels=(Channel.parse(str(self.channel.path()), where=""),),
            pypi=tuple(Requirement.parse(n, text, where="", relative_to=self.folder) for n, text in pypi.items()),
        )
        request = ResolutionRequest(spec=spec, target=baseline(platform))
        return self.wiring.locker("tester").resolve([request])[request]

    def source(self, name: str, tags: str) -> Path:
        """A folder whose build gives a wheel with `tags`; it needs nothing but Python."""
        folder = self.folder / f"{name}-source"
        folder.mkdir()
        (folder / "pyproject.toml").write_text(
            f'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
            f'[project]\nname = "{name}"\nversion = "1.0"\n'
        )
        (folder / "backend.py").write_text(textwrap.dedent(PURE).format(name=name, tags=tags))
        return folder


@pytest.fixture
def locks(tmp_path: Path, channel: LocalChannel, shared_local_path: Path) -> Iterator[Locks]:
    here = settings.read({"CONDA_LOCAL_PATH": str(shared_local_path)}.get, {"HOME": str(tmp_path)})
    wiring = Wiring(here, project=tmp_path / "project")
    yield Locks(wiring, channel, tmp_path)
    wiring.worker.close()


def _files(lock: LockedEnvironment | EnvironmentsError) -> dict[str, str]:
    assert isinstance(lock, LockedEnvironment), lock.explain()
    return {package.name: package.artifact.file_name for package in lock.pypi}


MANY = {
    Platform.LINUX_64: "manylinux_2_17_x86_64.manylinux2014_x86_64",
    Platform.LINUX_AARCH64: "manylinux_2_17_aarch64.manylinux2014_aarch64",
    Platform.OSX_64: "macosx_10_9_x86_64",
    Platform.OSX_ARM64: "macosx_11_0_arm64",
}


@pytest.mark.parametrize("platform", list(Platform))
def test_each_platform_gets_the_wheels_made_for_it(locks: Locks, platform: Platform) -> None:
    """Best tag first (PEP 425, PEP 600) for the documented baseline; markers are those of the target."""
    found = _files(
        locks.get(
            platform,
            {
                "numpy": "1.26.4",
                "pyyaml": "6.0.1",
                "charset-normalizer": "3.3.2",
                "six": "1.16.0; sys_platform == 'darwin'",
                "idna": "3.4; platform_machine == 'aarch64'",
                "toolz": "0.12.1; sys_platform == 'win32'",
            },
        )
    )
    expected = {
        "numpy": f"numpy-1.26.4-cp311-cp311-{MANY[platform]}.whl",
        "pyyaml": f"PyYAML-6.0.1-cp311-cp311-{MANY[platform]}.whl",
        "charset-normalizer": f"charset_normalizer-3.3.2-cp311-cp311-{MANY[platform]}.whl",
    }
    if not platform.is_linux:
        expected["six"] = "six-1.16.0-py2.py3-none-any.whl"
    if platform is Platform.LINUX_AARCH64:
        expected["idna"] = "idna-3.4-py3-none-any.whl"
    assert found == expected


@pytest.mark.parametrize("platform", OTHERS)
def test_a_pure_source_is_built_here_for_another_platform(locks: Locks, platform: Platform) -> None:
    """odfpy has no wheel; a folder on this machine neither."""
    folder = locks.source("purely", "py3-none-any")
    found = _files(locks.get(platform, {"odfpy": "1.4.1", "purely": str(folder)}, {"six": ""}))
    assert found == {
        "odfpy": "odfpy-1.4.1-py2.py3-none-any.whl",
        "purely": "purely-1.0-py3-none-any.whl",
        "defusedxml": found["defusedxml"],
    }


def test_what_has_to_be_compiled_is_refused_for_another_platform(locks: Locks) -> None:
    """All of it in one error, with what conda has in its place."""
    other = OTHERS[0]
    compiled = {name: str(locks.source(name, "cp311-cp311-linux_x86_64")) for name in ("psutil", "unheard")}
    error = locks.get(other, {**compiled, "six": "1.16.0"})
    assert isinstance(error, EnvironmentsError)
    psutil = locks.channel.package_versions("psutil", "3.11")[-1]
    assert error.message == (
        "Cannot resolve environment across architectures as it depends on local files or non-wheel packages: "
        f"`psutil` has no wheel for {other.value}; `unheard` has no wheel for {other.value}"
    )
    assert f'@conda(packages={{"psutil": "{psutil}"}})' in (error.hint or "")
    assert f"resolve `unheard` on {other.value}" in (error.hint or "")


def test_the_wheels_that_there_are_get_named(locks: Locks) -> None:
    """tensorflow 2.12 has no wheels for Apple's own processors, and no source."""
    error = locks.get(Platform.OSX_ARM64, {"tensorflow": "2.12.0"})
    assert isinstance(error, EnvironmentsError)
    assert error.message == (
        "Cannot resolve environment across architectures as it depends on local files or non-wheel packages: "
        "`tensorflow` has no wheel for osx-arm64, only for `manylinux_2_17_aarch64`, `manylinux_2_17_x86_64`, "
        "`manylinux2014_aarch64`, `manylinux2014_x86_64`, `macosx_10_15_x86_64`, `win_amd64`"
    )


def test_a_folder_that_is_compiled_works_on_this_platform(locks: Locks) -> None:
    tags = f"cp311-cp311-{'linux_x86_64' if Platform.host() is Platform.LINUX_64 else 'linux_aarch64'}"
    folder = locks.source("unheard", tags)
    assert _files(locks.get(Platform.host(), {"unheard": str(folder)})) == {"unheard": f"unheard-1.0-{tags}.whl"}
