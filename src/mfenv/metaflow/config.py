"""Settings from Metaflow's configuration: environment, project file, profile, in Metaflow's own order."""

from __future__ import annotations

import os

from metaflow import metaflow_config, metaflow_config_funcs

from mfenv.app import settings
from mfenv.app.settings import Settings


def read_settings() -> Settings:
    """Return the settings of this process; raise `InvalidSpec` naming the one that cannot be read."""
    return settings.read(value_of)


def value_of(name: str) -> object:
    """Return a setting's value; None when nobody set it.

    Metaflow writes every ``CONDA_`` setting that it knows of into the definitions of remote jobs. Those that may hold
    credentials are therefore not registered with it, and are read here from the same places in the same order.
    """
    if hasattr(metaflow_config, name):
        return getattr(metaflow_config, name)
    return set_by_user(name)


def set_by_user(name: str) -> object:
    """Return what a user set: in the environment, the project's file or the profile; None where nobody did."""
    key = f"METAFLOW_{name}"
    project = metaflow_config_funcs.METAFLOW_LOCAL_CONFIG or {}
    profile = metaflow_config_funcs.METAFLOW_CONFIG or {}
    return os.environ.get(key, project.get(key, profile.get(key)))
