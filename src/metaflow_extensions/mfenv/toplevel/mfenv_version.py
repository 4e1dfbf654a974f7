"""What `metaflow` itself gets from us: two names, and a word in its version string."""

from mfenv.metaflow.mutators import resolved_req, resolved_uv  # noqa: F401
from mfenv.metaflow.neighbour import tell
from mfenv.version import VERSION as __version__  # noqa: F401, N811

__mf_extensions__ = "netflix-ext"

tell()
