"""Settings of earlier versions and of standard Metaflow that have changed, or mean nothing any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping

_TOOLS = "no longer needed: nothing has to be installed beside this package"
_MODELS = "not used: there is no `@huggingface` here"

CHANGED: Mapping[str, str] = {
    "PYLOCK_TOML_DEPENDENCY_RESOLVER": "no longer needed: lock files are read as they are",
    "CONDA_LOCAL_PATH": "changed: the folder of environments and caches, not that of a conda installation",
    "CONDA_LOCAL_DIST": _TOOLS,
    "CONDA_LOCAL_DIST_DIRNAME": _TOOLS,
    "CONDA_REMOTE_INSTALLER": _TOOLS,
    "CONDA_REMOTE_INSTALLER_DIRNAME": _TOOLS,
    "PATH_TO_MICROMAMBA": _TOOLS,
    "CONDA_USE_FAST_INIT": _TOOLS,
    "CONDA_PACKAGE_S3ROOT": "renamed: set METAFLOW_CONDA_S3ROOT, to the same place or to another",
    "CONDA_PACKAGE_AZUREROOT": "renamed: set METAFLOW_CONDA_AZUREROOT, to the same place or to another",
    "CONDA_PACKAGE_GSROOT": "renamed: set METAFLOW_CONDA_GSROOT, to the same place or to another",
    "CONDA_SYS_MARKERS": "no longer needed: markers are evaluated for the machine that a step runs on",
    "CONDA_ALL_ARCHS": "not used: environments are for the platform that a step runs on, or that `--arch` names",
    "CONDA_BUILDER_ENV_PACKAGES": "no longer needed: a project's own build requirements count",
    "CONDA_HACK_CHANNEL_ALIAS": "no longer needed: name the channel by its address in METAFLOW_CONDA_CHANNELS",
    "CONDA_TEST": "no longer needed: the local datastore works as any other",
    "HUGGINGFACE_AUTH_PROVIDER": _MODELS,
    "HUGGINGFACE_AUTH_PROVIDERS": _MODELS,
    "HUGGINGFACE_ENDPOINT": _MODELS,
    "HUGGINGFACE_LOCAL_DIR": _MODELS,
    "HUGGINGFACE_DOWNLOAD_TIMEOUT": _MODELS,
}
"""What is said of a setting whenever it is set, by its name without ``METAFLOW_``."""

VALUES: Mapping[str, tuple[frozenset[str], str]] = {}
"""The settings of which only some values have changed: those values, and what is said of them."""

RENAMED: Mapping[str, str] = {"CONDA_CHANNELS": "METAFLOW_CONDA_CHANNELS"}
"""Variables of other tools that standard Metaflow's conda support followed, and the setting to use for them."""


def changed_settings(value_of: Callable[[str], object], environment: Mapping[str, str]) -> list[str]:
    """Return a line for each setting that is set and has changed. Values are not shown: they may be secret.

    `value_of` gives a setting by its name without ``METAFLOW_``, or None; `environment` has other tools' variables.
    """
    lines = [f"METAFLOW_{name}: {what}" for name, what in CHANGED.items() if value_of(name) not in (None, "")]
    for name, (values, words) in VALUES.items():
        if str(value_of(name)).strip().lower() in values:
            lines.append(f"METAFLOW_{name}: {words}")
    for name, today in RENAMED.items():
        if environment.get(name) and value_of(today.removeprefix("METAFLOW_")) in (None, ""):
            lines.append(f"{name}: renamed: set {today}")
    return lines
