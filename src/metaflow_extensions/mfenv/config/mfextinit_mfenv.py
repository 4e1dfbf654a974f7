"""The settings that Metaflow reads for us and passes on to remote tasks; texts, checked where they are used.

Those that may hold credentials are not here: see `mfenv.metaflow.config`.
"""

from metaflow.metaflow_config_funcs import from_conf

CONDA_LOCAL_PATH = from_conf("CONDA_LOCAL_PATH")
CONDA_LOCALROOT = from_conf("CONDA_LOCALROOT")
CONDA_LOCK_TIMEOUT = from_conf("CONDA_LOCK_TIMEOUT")
CONDA_LINK_SCRIPTS = from_conf("CONDA_LINK_SCRIPTS")
CONDA_SYS_DEFAULT_PACKAGES = from_conf("CONDA_SYS_DEFAULT_PACKAGES")
CONDA_PYPI_DEPENDENCY_RESOLVER = from_conf("CONDA_PYPI_DEPENDENCY_RESOLVER")
CONDA_MIXED_DEPENDENCY_RESOLVER = from_conf("CONDA_MIXED_DEPENDENCY_RESOLVER")
CONDA_PYPI_INDEX_STRATEGY = from_conf("CONDA_PYPI_INDEX_STRATEGY")
CONDA_EXCLUDE_NEWER = from_conf("CONDA_EXCLUDE_NEWER")
CONDA_SYS_DEFAULT_GPU_PACKAGES = from_conf("CONDA_SYS_DEFAULT_GPU_PACKAGES")
