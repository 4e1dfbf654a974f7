"""uv installs as this package has it do, whatever the user has told it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.pypi import UvInstaller
from mfenv.testing.pypi import ScriptedProcessRunner, ended


def test_the_users_own_uv_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links into a cache would break when the cache is cleaned."""
    monkeypatch.setenv("UV_LINK_MODE", "symlink")
    monkeypatch.setenv("UV_TARGET", "/elsewhere")
    runner = ScriptedProcessRunner([ended()])
    installer = UvInstaller(runner, lambda: "uv", LocalFolders(tmp_path))
    installer.install(LockedEnvironment(platform=Platform.LINUX_64, packages=()), tmp_path / "prefix", [])
    (ran,) = runner.runs
    assert "--no-config" in ran.command
    assert {name: ran.environment[name] for name in ("UV_LINK_MODE", "UV_TARGET", "UV_CACHE_DIR")} == {
        "UV_LINK_MODE": None,
        "UV_TARGET": None,
        "UV_CACHE_DIR": str(LocalFolders(tmp_path).uv_cache),
    }
