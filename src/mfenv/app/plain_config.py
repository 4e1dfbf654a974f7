"""Metaflow's configuration, read without Metaflow: for programs that want environments and nothing else.

The places and their order are Metaflow's own (2.19): the environment, ``config.json`` in the project's folder
``.metaflow``, and ``~/.metaflowconfig/config.json`` or that of METAFLOW_PROFILE.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mfenv.errors import InvalidSpec

LOCAL_DATASTORE = ".metaflow"


def values(folder: Path, environment: Mapping[str, str] | None = None) -> Callable[[str], object]:
    """Return what gives a setting's value by its name without ``METAFLOW_``, for a program that works in `folder`.

    Raises `InvalidSpec` for a file that cannot be read.
    """
    environment = os.environ if environment is None else environment
    home = Path(environment.get("METAFLOW_HOME", "~/.metaflowconfig")).expanduser()
    profile = environment.get("METAFLOW_PROFILE")
    of_user = _read(home / (f"config_{profile}.json" if profile else "config.json"), must_exist=bool(profile))
    upwards = _nearest(folder)
    of_project = _read(upwards / "config.json", must_exist=False) if upwards else {}

    def value_of(name: str) -> object:
        key = f"METAFLOW_{name}"
        return environment.get(key, of_project.get(key, of_user.get(key)))

    return value_of


def project_folder(folder: Path, value_of: Callable[[str], object]) -> Path:
    """Return the folder of the local datastore: where it is set, the nearest upwards, or where a run would make it."""
    if sysroot := value_of("DATASTORE_SYSROOT_LOCAL"):
        return Path(str(sysroot)) / LOCAL_DATASTORE
    return _nearest(folder) or folder / LOCAL_DATASTORE


def _nearest(folder: Path) -> Path | None:
    folder = folder.resolve()
    found = (parent / LOCAL_DATASTORE for parent in (folder, *folder.parents))
    return next((path for path in found if path.is_dir()), None)


def _read(path: Path, *, must_exist: bool) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise InvalidSpec(
                f"METAFLOW_PROFILE: there is no `{path}`", hint="Check its spelling, or METAFLOW_HOME"
            ) from None
        return {}
    except (OSError, ValueError) as error:
        raise InvalidSpec(f"`{path}` cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise InvalidSpec(f"`{path}` does not hold settings, but a {type(content).__name__}")
    return content
