"""Resolved, locked, verified environments for every step of a Metaflow flow.

This module is imported by every process that imports Metaflow, on whatever Python a step asked for:
it and what it imports stay readable by Python 3.7 and cost next to nothing.
"""

from typing import TYPE_CHECKING

from mfenv.version import VERSION as __version__  # noqa: N811

if TYPE_CHECKING:
    from mfenv.api import Change, Environment, Environments, EnvironmentsError, Kind, Package, Prefix, environment_of

# Metaflow reads this name: it puts this package, with its distribution, into every code package,
# so that a task elsewhere finds the classes that the registration strings name.
METAFLOW_PACKAGE_POLICY = "include"
# The same in the words of Metaflow 2.16.
METAFLOW_PACKAGE = 1

__all__ = [
    "METAFLOW_PACKAGE",
    "METAFLOW_PACKAGE_POLICY",
    "Change",
    "Environment",
    "Environments",
    "EnvironmentsError",
    "Kind",
    "Package",
    "Prefix",
    "__version__",
    "environment_of",
]


def __getattr__(name):  # type: ignore[no-untyped-def]
    # What users import from here is loaded when it is first asked for (PEP 562).
    if name in __all__:
        from importlib import import_module

        return getattr(import_module("mfenv.api"), name)
    raise AttributeError("module 'mfenv' has no attribute '%s'" % name)  # noqa: UP031


def __dir__():  # type: ignore[no-untyped-def]
    return sorted({*globals(), *__all__})
