"""The old spellings themselves: names of decorators and of arguments, and what they are today."""

from __future__ import annotations

from dataclasses import dataclass

import libcst as cst

ALIASES = {"pip": "pypi", "pip_base": "pypi_base"}
NAMING = frozenset({"name", "pathspec", "fetch_at_exec"})
"""Arguments that `@named_env` has today."""
OLD_ARGUMENTS = frozenset({"pip_packages", "pip_sources", "sources", *NAMING})
"""Arguments of `@conda` and `@pypi` that are written otherwise today."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Something in a file that is left as it is, and why."""

    node: cst.CSTNode
    why: str


class Unsure(Exception):
    """Why something is left as it is."""


def base_of(name: str) -> str:
    """Return what sets the decorators of flows apart from those of steps: ``_base``, or nothing."""
    return "_base" if name.endswith("_base") else ""


def has_old_arguments(name: str) -> bool:
    """Tell whether a decorator is one of those that took other arguments once."""
    return name.removesuffix("_base") in {"conda", "pypi", "pip"}
