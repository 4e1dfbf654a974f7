"""What the project is called that an archive or a folder holds, as far as that can be told without building it."""

from __future__ import annotations

import configparser
import contextlib
import re
import sys
from pathlib import Path

from mfenv.errors import InvalidSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # the same, before it went into the standard library


def name_of_archive(file_name: str) -> str:
    """Return the project that a wheel's or source archive's name begins with (PEP 427, PEP 625); empty if none."""
    if file_name.endswith(".whl"):
        return file_name.split("-")[0] if file_name.count("-") >= 4 else ""
    found = re.fullmatch(r"(?P<name>.+?)-\d[^-]*\.(tar\.gz|zip|tar\.bz2|tar\.xz|tgz)", file_name)
    return found["name"] if found else ""


def name_of_folder(folder: Path, *, where: str) -> str:
    """Return the name of the project in `folder`, by its pyproject.toml or setup.cfg; empty if those do not tell.

    Raises `InvalidSpec` when there is no such folder, or no project in it.
    """
    if not folder.is_dir():
        raise InvalidSpec(
            f"{where}: there is no folder `{folder}`", hint="The path is relative to the folder of the file it is in"
        )
    files = [name for name in ("pyproject.toml", "setup.cfg", "setup.py") if (folder / name).is_file()]
    if not files:
        raise InvalidSpec(
            f"{where}: `{folder}` has neither pyproject.toml nor setup.py", hint="Name the folder of a Python project"
        )
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, configparser.Error):
        if "pyproject.toml" in files:
            document = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
            table = document.get("project") or document["tool"]["poetry"]
            return str(table["name"])
    with contextlib.suppress(OSError, ValueError, KeyError, configparser.Error):
        if "setup.cfg" in files:
            parser = configparser.ConfigParser()
            parser.read(folder / "setup.cfg", encoding="utf-8")
            return parser["metadata"]["name"]
    return ""
