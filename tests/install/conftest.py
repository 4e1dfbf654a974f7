"""The distribution, built once from a copy of the sources, and fresh environments to install it into."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from uv import find_uv_bin

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Distribution:
    sdist: Path
    wheel: Path


@dataclass(frozen=True)
class Virtual:
    """A virtual environment."""

    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    @property
    def site_packages(self) -> Path:
        (found,) = self.folder.glob("lib/python3*/site-packages")
        return found

    def install(self, *what: str | Path) -> None:
        _uv("pip", "install", "--quiet", "--python", self.python, *map(str, what))

    def uninstall(self, what: str) -> None:
        _uv("pip", "uninstall", "--quiet", "--python", self.python, what)


def _uv(*arguments: str) -> None:
    done = subprocess.run([find_uv_bin(), *arguments], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    """The sdist, and the wheel that is built from it; one for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "distribution"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "dist").exists():
            # A copy: what earlier builds left in the tree would get into the wheel.
            copy = folder / "source"
            leave = shutil.ignore_patterns("*.egg-info", "__pycache__")
            shutil.copytree(ROOT / "src", copy / "src", ignore=leave)
            for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
                shutil.copy(ROOT / name, copy)
            _uv("build", "--quiet", str(copy), "--out-dir", str(folder / "building"))
            (folder / "building").rename(folder / "dist")
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return Distribution(sdist=sdist, wheel=wheel)


@pytest.fixture
def virtual(tmp_path: Path) -> Callable[[str | Path], Virtual]:
    """Make a virtual environment of an interpreter."""

    def make(python: str | Path) -> Virtual:
        folder = tmp_path / "venv"
        _uv("venv", "--quiet", "--python", str(python), str(folder))
        return Virtual(folder)

    return make
