"""The settings that Metaflow reads for us and passes on to remote tasks; texts, checked where they are used."""

from metaflow.metaflow_config_funcs import from_conf

CONDA_LOCAL_PATH = from_conf("CONDA_LOCAL_PATH")
CONDA_LOCALROOT = from_conf("CONDA_LOCALROOT")
CONDA_CHANNELS = from_conf("CONDA_CHANNELS")
CONDA_LOCK_TIMEOUT = from_conf("CONDA_LOCK_TIMEOUT")
CONDA_LINK_SCRIPTS = from_conf("CONDA_LINK_SCRIPTS")
CONDA_SYS_DEFAULT_PACKAGES = from_conf("CONDA_SYS_DEFAULT_PACKAGES")
