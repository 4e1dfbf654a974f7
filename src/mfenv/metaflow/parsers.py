"""Parsers for Metaflow's `Config`: the text of a file in, keyword arguments of a decorator out.

They are imported with `metaflow` itself: what reads files is loaded when a parser is called. Python 3.7 syntax: see
`mfenv.metaflow`.
"""

from __future__ import annotations

from typing import Any

from metaflow.exception import MetaflowException


class UnreadableConfig(MetaflowException):
    """A file of requirements that a decorator's arguments cannot be made of."""

    headline = "Invalid environment"


def req_parser(content: str) -> dict[str, Any]:
    """
    Reads a requirements.txt for `@pypi(**config)`.

    Parameters
    ----------
    content : str
        Text of the file. Files that it includes are looked for in the working directory.

    Returns
    -------
    Dict[str, Any]
        `packages`, and `python`, `extra_indices`, `extras`, `conda_only` where the file has them.
    """
    from mfenv.metaflow import config_files

    return _spoken(config_files.arguments_of_requirements, content)


def yml_parser(content: str) -> dict[str, Any]:
    """
    Reads an environment.yml for `@conda(**config)`; what it has for pip becomes PyPI packages of the step.

    Parameters
    ----------
    content : str
        Text of the file.

    Returns
    -------
    Dict[str, Any]
        `packages`, and `channels`, `python`, `pip_packages`, `pip_sources` where the file has them.
    """
    from mfenv.metaflow import config_files

    return _spoken(config_files.arguments_of_environment, content)


def toml_parser(content: str) -> dict[str, Any]:
    """
    Reads a pyproject.toml for `@pypi(**config)`.

    Parameters
    ----------
    content : str
        Text of the file.

    Returns
    -------
    Dict[str, Any]
        `packages`, and `python`, `extra_indices`, `extras` where the file has them.
    """
    from mfenv.metaflow import config_files

    return _spoken(config_files.arguments_of_project, content)


def _spoken(read: Any, content: str) -> dict[str, Any]:
    from mfenv.errors import InvalidSpec

    try:
        found: dict[str, Any] = read(content)
    except InvalidSpec as error:
        raise UnreadableConfig(error.explain()) from error
    return found


# The names that standard Metaflow has for the same.
requirements_txt_parser = req_parser
conda_environment_yml_parser = yml_parser
pyproject_toml_parser = toml_parser
