"""Versions as PyPI counts them (PEP 440), and conda's constraints on them as far as the two agree."""

from __future__ import annotations

from mfenv.domain.matchspec import parse_version_spec
from mfenv.errors import InvalidSpec


def normal_version(version: str) -> str | None:
    """Return a version in the normal form of PEP 440; None when it is not one."""
    from packaging.version import InvalidVersion, Version

    try:
        return str(Version(version))
    except InvalidVersion:
        return None


def admits(specifier: str, version: str) -> bool:
    """Tell whether a specifier (PEP 440) admits `version`; what cannot be read is taken to."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion

    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return True


def conda_admits(constraint: str, version: str) -> bool:
    """Tell whether a conda version constraint admits `version`; what cannot be read is taken to.

    >>> conda_admits(">=1.26,<3", "2.1"), conda_admits("1.26.*", "2.1"), conda_admits("2.1", "2.1")
    (True, False, True)
    """
    try:
        alternatives = parse_version_spec(constraint, where="").split("|")
    except InvalidSpec:
        return True
    return any(alternative == "*" or admits(_as_specifier(alternative), version) for alternative in alternatives)


def _as_specifier(constraint: str) -> str:
    """Translate a constraint in normal form: conda writes ``1.26.*`` for ``==1.26.*``."""
    parts = constraint.split(",")
    return ",".join(f"=={part}" if part.endswith(".*") and part[0].isdigit() else part for part in parts)
