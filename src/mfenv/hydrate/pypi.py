"""The PyPI installer seam, and uv behind it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from mfenv.domain.locked import LockedEnvironment
from mfenv.errors import HydrationFailed
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.plan import archive_path
from mfenv.hydrate.wheels import WheelFiles, changed_files, read_wheel
from mfenv.io.process import ProcessRunner
from mfenv.io.uv_surroundings import hidden_variables

_TIME_LIMIT = 1800.0


class PypiInstaller(Protocol):
    """Adds wheels to a prefix that has a Python: offline, without resolving, each checked before and after.

    Called from any thread, for several prefixes at a time.
    """

    def read(self, lock: LockedEnvironment) -> list[WheelFiles]:
        """Return what the wheels of `lock` would install; refuse those that would leave the prefix."""
        ...

    def install(self, lock: LockedEnvironment, prefix: Path, wheels: list[WheelFiles]) -> None:
        """Put the wheels of `lock` into `prefix`; raise `HydrationFailed` when anything is not as its wheel has it."""
        ...


class UvInstaller:
    """Installs with ``uv pip install`` (0.13); see `PypiInstaller`."""

    def __init__(self, runner: ProcessRunner, uv: Callable[[], str], folders: LocalFolders) -> None:
        """Run `uv` with `runner`; wheels are in the archives of `folders`."""
        self._runner = runner
        self._uv = uv
        self._folders = folders

    def read(self, lock: LockedEnvironment) -> list[WheelFiles]:
        """See `PypiInstaller.read`."""
        return [
            read_wheel(package.name, archive_path(package.artifact, self._folders.archives), site_packages_of(lock))
            for package in lock.pypi
        ]

    def install(self, lock: LockedEnvironment, prefix: Path, wheels: list[WheelFiles]) -> None:
        """See `PypiInstaller.install`."""
        with tempfile.TemporaryDirectory(prefix="mfenv-install-") as name:
            (Path(name) / "pylock.toml").write_text(self._pylock(lock))
            command = [
                *(self._uv(), "pip", "install", "--quiet", "--no-config", "--offline", "--no-deps", "--no-build"),
                *("--no-python-downloads", "--break-system-packages", "--python", str(prefix / "bin" / "python")),
                *("-r", "pylock.toml"),
            ]
            own = {"UV_CACHE_DIR": str(self._folders.uv_cache), "NO_COLOR": "1", "UV_NO_PROGRESS": "1"}
            environment = {**hidden_variables(os.environ), **own}
            done = self._runner.run(command, environment=environment, folder=Path(name), timeout=_TIME_LIMIT)
        if done.code or done.timed_out:
            raise HydrationFailed("uv could not install the wheels", hint="Run again", output=done.errors)
        # uv checks the wheel's own digest, but neither its members' nor what its cache has unpacked before.
        if changed := changed_files(wheels, prefix):
            raise HydrationFailed(
                f"what was installed is not what the wheel holds: {', '.join(changed[:5])}",
                hint=f"Remove `{self._folders.uv_cache}`, whose content was changed, and run again",
            )

    def _pylock(self, lock: LockedEnvironment) -> str:
        """Return a lock file (PEP 751) that names the local files; JSON's strings are TOML's too."""
        lines = ['lock-version = "1.0"', 'created-by = "mfenv"']
        for package in lock.pypi:
            path = json.dumps(str(archive_path(package.artifact, self._folders.archives)))
            hashes = json.dumps(package.artifact.sha256)
            lines += ["[[packages]]", f"name = {json.dumps(package.name)}", f"version = {json.dumps(package.version)}"]
            lines += [f"wheels = [{{ path = {path}, hashes = {{ sha256 = {hashes} }} }}]"]
        return "\n".join(lines) + "\n"


def site_packages_of(lock: LockedEnvironment) -> str:
    """Return the folder of Python packages below a prefix (CEP 17: the Python package may say so itself)."""
    python = lock.find("python")
    if python is None:
        # Nothing can be installed there, nor found.
        return "lib/python/site-packages"
    minor = ".".join(python.version.split(".")[:2])
    return python.record.python_site_packages_path or f"lib/python{minor}/site-packages"
