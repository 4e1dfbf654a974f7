"""Settings of earlier versions that mean something else here, or nothing any more."""

from __future__ import annotations

from collections.abc import Callable

_CHANGED = {
    "CONDA_DEPENDENCY_RESOLVER": "no longer needed: the solver comes with the package",
    "PYLOCK_TOML_DEPENDENCY_RESOLVER": "no longer needed: lock files are read as they are",
    "CONDA_REMOTE_INSTALLER": "no longer needed: nothing has to be installed on remote machines",
    "CONDA_REMOTE_INSTALLER_DIRNAME": "no longer needed: nothing has to be installed on remote machines",
    "CONDA_LOCAL_DIST": "no longer needed: no conda is installed",
    "CONDA_LOCAL_DIST_DIRNAME": "no longer needed: no conda is installed",
    "CONDA_LOCAL_PATH": "means the folder of environments and caches now, not that of a conda installation",
    "CONDA_SYS_MARKERS": "no longer needed: markers are evaluated for the machine that a step runs on",
    "CONDA_BUILDER_ENV_PACKAGES": "no longer needed: a project's own build requirements count",
    "CONDA_HACK_CHANNEL_ALIAS": "no longer needed: name the channel by its address in CONDA_CHANNELS",
    "CONDA_TEST": "no longer needed: the local datastore works as any other",
}
_VALUES = {
    "CONDA_PYPI_DEPENDENCY_RESOLVER": ({"uv", "none"}, "`uv` or `none`"),
    "CONDA_MIXED_DEPENDENCY_RESOLVER": ({"hybrid", "none"}, "`hybrid` or `none`"),
}


def changed_settings(value_of: Callable[[str], object]) -> list[str]:
    """Return a line for each setting that is set and has changed.

    `value_of` gives a setting by its name without ``METAFLOW_``, or None. Values are not shown: they may be secret.
    """
    lines = [f"METAFLOW_{name}: {what}" for name, what in _CHANGED.items() if value_of(name) not in (None, "")]
    for name, (known, words) in _VALUES.items():
        value = value_of(name)
        if value not in (None, "") and str(value).lower() not in known:
            lines.append(f"METAFLOW_{name}: its values are {words} now")
    return lines
