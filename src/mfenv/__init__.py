"""Resolved, locked, verified environments for every step of a Metaflow flow.

This module is imported by every process that imports Metaflow, on whatever Python a step asked for:
it and what it imports stay readable by Python 3.7 and cost next to nothing.
"""

from mfenv.version import VERSION as __version__  # noqa: N811

# Metaflow reads this name: it puts this package, with its distribution, into every code package,
# so that a task elsewhere finds the classes that the registration strings name.
METAFLOW_PACKAGE_POLICY = "include"
# The same in the words of Metaflow 2.16.
METAFLOW_PACKAGE = 1

__all__ = ["METAFLOW_PACKAGE", "METAFLOW_PACKAGE_POLICY", "__version__"]
