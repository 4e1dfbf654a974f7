"""Settings from Metaflow's configuration: environment, project file, profile, in Metaflow's own order."""

from __future__ import annotations

from metaflow import metaflow_config

from mfenv.app import settings
from mfenv.app.settings import Settings


def read_settings() -> Settings:
    """Return the settings of this process; raise `InvalidSpec` naming the one that cannot be read."""
    return settings.read(lambda name: getattr(metaflow_config, name, None))
