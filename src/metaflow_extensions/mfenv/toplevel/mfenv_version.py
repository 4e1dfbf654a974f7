"""What Metaflow's version string says of us."""

from mfenv.metaflow.neighbour import tell
from mfenv.version import VERSION as __version__  # noqa: F401, N811

__mf_extensions__ = "netflix-ext"

tell()
