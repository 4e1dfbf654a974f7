"""PyPI's requirements as conda's match specs.

Names differ for a few projects, markers do not exist in conda and are decided for each Python, extras
are left out, and some operators are written in another way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import Specifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable

# Names on conda-forge that are not the project's normalized name.
CONDA_NAMES = {
    "tzdata": "python-tzdata",
    "msgpack": "msgpack-python",
    "typing-extensions": "typing_extensions",
    "importlib-metadata": "importlib_metadata",
    "importlib-resources": "importlib_resources",
}


def conda_name(project: str) -> str:
    """Give the name on conda-forge of a PyPI project.

    >>> conda_name("Typing_Extensions"), conda_name("PyYAML")
    ('typing_extensions', 'pyyaml')
    """
    name = canonicalize_name(project)
    return CONDA_NAMES.get(name, name)


def conda_version(specifiers: SpecifierSet) -> str:
    """Write a set of PEP 440 specifiers as a conda version spec; empty when anything will do.

    >>> conda_version(SpecifierSet("~=1.4.2, !=1.4.5"))
    '!=1.4.5,>=1.4.2,<1.5.0a0'
    """
    parts = sorted(specifiers, key=lambda specifier: (specifier.operator == "~=", str(specifier)))
    return ",".join(_conda_clause(specifier) for specifier in parts)


def _conda_clause(specifier: Specifier) -> str:
    operator, version = specifier.operator, specifier.version
    if not version.endswith(".*"):
        # Some write `2.0a.0` for what is `2.0a0` in its normal form.
        version = str(Version(version))
    if operator == "~=":
        return f">={version},<{_compatible_limit(version)}.0a0"
    if operator in ("==", "===") and version.endswith(".*"):
        return version
    if operator == "===":
        return f"=={version}"
    return f"{operator}{version}"


def _compatible_limit(version: str) -> str:
    """Give the first release that ``~=version`` excludes (PEP 440, compatible release)."""
    release = list(Version(version).release[:-1])
    release[-1] += 1
    return ".".join(map(str, release))


def match_specs(requirements: Iterable[str], python: str) -> tuple[str, ...]:
    """Give the match specs for ``Requires-Dist`` lines that apply to Python ``python``, sorted.

    ``python`` is a full version such as ``3.12.1``; the platform is this machine's. Requirements on one
    name are joined. Raises ``packaging.requirements.InvalidRequirement``.
    """
    environment = _marker_environment(python)
    joined: dict[str, SpecifierSet] = {}
    for line in requirements:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        name = conda_name(requirement.name)
        joined[name] = joined.get(name, SpecifierSet()) & requirement.specifier
    return tuple(f"{name} {conda_version(specifiers)}".strip() for name, specifiers in sorted(joined.items()))


def _marker_environment(python: str) -> dict[str, str]:
    environment = {name: str(value) for name, value in default_environment().items()}
    environment.update(
        implementation_name="cpython",
        implementation_version=python,
        platform_python_implementation="CPython",
        python_full_version=python,
        python_version=".".join(python.split(".")[:2]),
        extra="",
    )
    return environment
