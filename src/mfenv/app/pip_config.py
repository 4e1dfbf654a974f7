"""Package indexes as pip is configured to use them.

pip's own reader is private and pip need not be here; the files are ini files (pip documentation, "Configuration").
"""

from __future__ import annotations

import configparser
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_SECTIONS = ("global", "install")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipConfig:
    """What of pip's configuration says where packages are; texts as written, credentials included."""

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()


def read(environment: Mapping[str, str], files: list[Path] | None = None) -> PipConfig:
    """Read pip's files, the more particular over the more general, and its variables over them.

    A file that cannot be read counts as empty: pip itself will say what is wrong with it.
    """
    values: dict[str, str] = {}
    for path in _files(environment) if files is None else files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (OSError, ValueError, configparser.Error):
            continue
        for section in _SECTIONS:
            if parser.has_section(section):
                values.update(parser.items(section))
    for key in ("index-url", "extra-index-url", "find-links"):
        variable = f"PIP_{key.upper().replace('-', '_')}"
        if variable in environment:
            values[key] = environment[variable]
    return PipConfig(
        index_url=values.get("index-url", "").strip(),
        extra_index_urls=tuple(url for url in values.get("extra-index-url", "").split() if _is_there(url)),
        find_links=tuple(place for place in values.get("find-links", "").split() if _is_there(place)),
    )


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    if environment.get("PIP_CONFIG_FILE") == "/dev/null":
        return
    home = Path(environment.get("HOME") or "/")
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    yield Path("/etc/pip.conf")
    yield Path("/etc/xdg/pip/pip.conf")
    if sys.platform == "darwin":
        yield Path("/Library/Application Support/pip/pip.conf")
        yield home / "Library" / "Application Support" / "pip" / "pip.conf"
    yield home / ".pip" / "pip.conf"
    yield config / "pip" / "pip.conf"
    yield Path(sys.prefix) / "pip.conf"
    if chosen := environment.get("PIP_CONFIG_FILE"):
        yield Path(chosen)


def _is_there(place: str) -> bool:
    """Leave out local folders that are not there, as pip does."""
    path = place.removeprefix("file://")
    return Path(path).exists() if path.startswith("/") else True
