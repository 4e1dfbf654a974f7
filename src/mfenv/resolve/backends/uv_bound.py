"""Requirements that must come from one index: as a project's file, the only form in which uv can be told so.

uv calls them sources (uv 0.13, "Package indexes", "Pinning a package to an index").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from mfenv.domain.channel import without_credentials
from mfenv.domain.requirement import Requirement
from mfenv.io.secrets import with_credentials
from mfenv.io.uv_surroundings import index_variables, toml

PROJECT = "mfenv-bound-requirements"
"""The name of the project; uv says of it what it otherwise says of the user."""


def project_file(bound: Sequence[Requirement]) -> str:
    """Return the text of a ``pyproject.toml`` that asks for `bound`, each from its index; without credentials."""
    names = _names(bound)
    dependencies = [str(wanted) for wanted in bound]
    lines = [
        "[project]",
        f"name = {toml(PROJECT)}",
        'version = "0"',
        f"dependencies = {toml(dependencies)}",
    ]
    for url, name in names.items():
        plain = without_credentials(url)
        lines += ["[[tool.uv.index]]", f"name = {toml(name)}", f"url = {toml(plain)}", "explicit = true"]
    lines += ["[tool.uv.sources]"]
    sources: dict[str, list[dict[str, str]]] = {}
    for wanted in bound:
        marker = {"marker": wanted.marker} if wanted.marker else {}
        sources.setdefault(wanted.name, []).append({"index": names[wanted.index], **marker})
    lines += [f"{toml(project)} = {toml(found)}" for project, found in sources.items()]
    return "\n".join(lines) + "\n"


def credentials(bound: Iterable[Requirement], secret_urls: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which uv is let into the indexes of `bound`."""
    variables: dict[str, str] = {}
    for url, name in _names(bound).items():
        user_info = urlsplit(with_credentials(url, secret_urls)).netloc.rpartition("@")[0]
        variables |= index_variables(name, user_info)
    return variables


def _names(bound: Iterable[Requirement]) -> dict[str, str]:
    urls = dict.fromkeys(wanted.index for wanted in bound)
    return {url: f"mfenv-bound-{number}" for number, url in enumerate(urls)}
