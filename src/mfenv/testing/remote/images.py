"""Images to run containers of: Pythons of this machine with nothing else in them, and such with packages.

Virtual environments without pip, which see nothing of what is installed beside their Python. Made once, in the user's
cache. The interpreters are those that the local channel's Pythons are made of (`find_interpreters`).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from mfenv.errors import ToolNotFound
from mfenv.io.filelock import held
from mfenv.testing.channel.interpreters import Interpreter, find_interpreters
from mfenv.testing.remote.sandbox import Image


@cache
def interpreters() -> dict[str, Interpreter]:
    """Return this machine's interpreters by their minor version."""
    return {found.minor: found for found in find_interpreters()}


def bare_image(minor: str) -> Image:
    """Return an image of a Python of this minor version, such as ``3.12``, alone. Raises `ToolNotFound`."""
    return image_with(minor)


def image_with(minor: str, *requirements: str, variables: dict[str, str] | None = None) -> Image:
    """Return an image of a Python with packages, which uv fetches, and with `variables` of its own.

    Raises `ToolNotFound` if there is no such Python.
    """
    found = interpreters().get(minor)
    if found is None:
        raise ToolNotFound(
            f"There is no Python {minor} for an image; there are: {', '.join(interpreters())}",
            hint="Install one with uv or pyenv, or put one on the `PATH`",
        )
    cache_folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mfenv-testing"
    key = hashlib.sha256("\n".join([str(found.executable), found.version, *requirements]).encode()).hexdigest()[:12]
    folder = cache_folder / f"image-{minor}-{key}"
    with held(cache_folder / f"{folder.name}.lock", timeout=600):
        if not (folder / ".ready").exists():
            _make(folder, found, requirements)
    return Image(folders=(str(folder), str(found.prefix)), variables=variables or {})


def _make(folder: Path, interpreter: Interpreter, requirements: tuple[str, ...]) -> None:
    command = [str(interpreter.executable), "-I", "-m", "venv", "--clear", "--without-pip", str(folder)]
    subprocess.run(command, check=True, timeout=120, stdin=subprocess.DEVNULL)
    if requirements:
        install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")]
        subprocess.run([*install, *requirements], check=True, timeout=600, stdin=subprocess.DEVNULL)
    (folder / ".ready").touch()
