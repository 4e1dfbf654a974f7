"""What files of requirements ask for, as arguments of `@pypi` and `@conda`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import SpecLayer
from mfenv.errors import InvalidSpec
from mfenv.formats import environment_yml, pyproject_toml, requirements_txt


def arguments_of_requirements(text: str) -> dict[str, Any]:
    """Return the arguments of `@pypi` for a requirements.txt. Raises `InvalidSpec` for what has no argument."""
    layer = requirements_txt.load(text, shown="requirements.txt", folder=Path.cwd()).layer
    _refuse(layer, "requirements.txt", ("channels", "system", "constraints"))
    return _pypi(layer, "requirements.txt")


def arguments_of_project(text: str) -> dict[str, Any]:
    """Return the arguments of `@pypi` for a pyproject.toml. Raises `InvalidSpec` for what has no argument."""
    platform = Platform.host()
    layer = pyproject_toml.load(text, shown="pyproject.toml", folder=Path.cwd(), platform=platform).layer
    _refuse(layer, "pyproject.toml", ("conda", "channels", "system", "constraints", "variables"))
    return _pypi(layer, "pyproject.toml")


def arguments_of_environment(text: str) -> dict[str, Any]:
    """Return the arguments of `@conda` for an environment.yml. Raises `InvalidSpec` for what has no argument."""
    layer = environment_yml.load(text, shown="environment.yml", folder=Path.cwd()).layer
    _refuse(layer, "environment.yml", ("system", "constraints", "variables", "flags", "conda_only"))
    pypi = _pypi(layer, "environment.yml")
    found = {
        "packages": dict(map(_conda_pair, layer.conda)),
        "channels": [channel.identity for channel in layer.channels],
        "python": pypi.get("python"),
        "pip_packages": pypi["packages"],
        "pip_sources": pypi.get("extra_indices"),
        "parsed_from": "environment.yml",
    }
    return {key: value for key, value in found.items() if value or key == "packages"}


def _pypi(layer: SpecLayer, file: str) -> dict[str, Any]:
    _refuse_hashes(layer, file)
    twice = [one.name for one in layer.pypi if sum(other.name == one.name for other in layer.pypi) > 1]
    if twice:
        raise _no_argument(file, f"`{twice[0]}` twice, under two markers")
    indexes = [*layer.indexes, *([layer.default_index] if layer.default_index else [])]
    found = {
        "packages": dict(map(_pypi_pair, layer.pypi)),
        "conda_only": dict(map(_conda_pair, layer.conda_only)),
        "extra_indices": [index.identity for index in indexes],
        "extras": [flag.identity for flag in layer.flags],
        "python": _python(layer),
        "exclude_newer": layer.exclude_newer,
        "parsed_from": file,
    }
    return {key: value for key, value in found.items() if value or key == "packages"}


def _python(layer: SpecLayer) -> str | None:
    if layer.python:
        return layer.python.version
    bound = layer.requires_python
    # A bound that the launching Python is within needs no word.
    return None if bound is None or bound.admits_minor(*sys.version_info[:2]) else bound.version


def _pypi_pair(wanted: Requirement) -> tuple[str, str]:
    extras = f"[{','.join(wanted.extras)}]" if wanted.extras else ""
    marker = f" ; {wanted.marker}" if wanted.marker else ""
    constraint = wanted.url or wanted.specifier
    return f"{wanted.name}{extras}", f"{'-e ' if wanted.is_editable else ''}{constraint}{marker}"


def _conda_pair(spec: MatchSpec) -> tuple[str, str]:
    name = f"{spec.channel.identity}::{spec.name}" if spec.channel else spec.name
    version = "" if spec.version == "*" and not spec.build else spec.version
    return name, " ".join(filter(None, (version, spec.build)))


def _refuse(layer: SpecLayer, file: str, kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        if getattr(layer, kind):
            raise _no_argument(file, kind)


def _refuse_hashes(layer: SpecLayer, file: str) -> None:
    if any(wanted.hashes for wanted in layer.pypi):
        raise _no_argument(file, "hashes")
    if any(wanted.index for wanted in layer.pypi):
        raise _no_argument(file, "packages that come from one index only")


def _no_argument(file: str, what: str) -> InvalidSpec:
    return InvalidSpec(
        f"{file}: it has {what}, for which the decorator has no argument",
        hint=f'Name the file itself: @pypi(file="{file}") or @conda(file="{file}")',
    )


def python_of_requirements(path: str) -> str | None:
    """Return the Python that a requirements file asks for. Raises `UnreadableConfig`."""
    from mfenv.metaflow.parsers import UnreadableConfig

    file = Path(path)
    try:
        text = requirements_txt.read_text(file)
        layer = requirements_txt.load(text, shown=file.name, folder=file.parent).layer
    except InvalidSpec as error:
        raise UnreadableConfig(error.explain()) from error
    return layer.python.version if layer.python else None
