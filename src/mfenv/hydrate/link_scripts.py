"""Post-link scripts: what a conda package wants done once its files are in place.

conda and micromamba run them (conda-build documentation, "Adding pre-link, post-link, and pre-unlink scripts"),
py-rattler does not unless asked, and it would run them in a prefix that still has another name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from mfenv.domain.locked import LockedEnvironment
from mfenv.errors import HydrationFailed

_TIME_LIMIT = 600.0


def run_post_link(lock: LockedEnvironment, prefix: Path) -> list[str]:
    """Run the post-link scripts of `lock`'s packages in install order; return the names of those that had one.

    Raises `HydrationFailed` naming the package whose script failed, with what it printed.
    """
    ran = []
    for package in lock.packages:
        script = prefix / "bin" / f".{package.name}-post-link.sh"
        if script.is_file():
            _run(script, prefix, package.name, package.version, package.record.build_number)
            ran.append(package.name)
    return ran


def _run(script: Path, prefix: Path, name: str, version: str, build_number: int) -> None:
    environment = {
        **os.environ,
        "PREFIX": str(prefix),
        "CONDA_PREFIX": str(prefix),
        "PKG_NAME": name,
        "PKG_VERSION": version,
        "PKG_BUILDNUM": str(build_number),
        "PATH": f"{prefix / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    command = [shutil.which("bash") or "/bin/sh", str(script)]
    try:
        done = subprocess.run(
            command,
            cwd=prefix,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIME_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise HydrationFailed(f"the post-link script of `{name}` {version} did not end", hint=_HINT) from error
    if done.returncode:
        raise HydrationFailed(
            f"the post-link script of `{name}` {version} failed with exit code {done.returncode}",
            hint=_HINT,
            output=done.stdout.decode(errors="replace"),
        )


_HINT = "Ask for another version of that package, or set METAFLOW_CONDA_LINK_SCRIPTS=false to do without such scripts"
