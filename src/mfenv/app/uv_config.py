"""The credentials of package indexes that uv is configured with.

uv reads its own configuration when it resolves; wheels are not downloaded by uv, and need the same credentials
(uv documentation, "Configuration files", "Environment variables" and "Package indexes").
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from mfenv.domain.index import IndexSecret, PackageIndex, index_secret
from mfenv.errors import InvalidSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # the same, before it went into the standard library

_SINGLE = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
_LISTS = ("UV_INDEX", "UV_EXTRA_INDEX_URL")
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)=(?P<url>.+)")


def index_secrets(environment: Mapping[str, str]) -> tuple[IndexSecret, ...]:
    """Return the credentials in uv's variables, and in its configuration files for the user and the machine.

    What cannot be read is left out: uv itself will say what is wrong with it.
    """
    found = []
    for name, url in (*_from_variables(environment), *_from_files(environment)):
        try:
            index = PackageIndex.parse(url, where="uv")
        except InvalidSpec:
            continue
        written = index_secret(_with_variables(name, url, environment), index)
        found += [written] if written else []
    return tuple(found)


def uses_keyring(environment: Mapping[str, str]) -> bool:
    """Tell whether uv is to ask the program ``keyring`` for passwords."""
    files = []
    for document in _documents(environment):
        pip = document.get("pip")
        files += [document.get("keyring-provider"), pip.get("keyring-provider") if isinstance(pip, dict) else None]
    chosen = (environment.get("UV_KEYRING_PROVIDER"), *files)
    return next((text for text in chosen if text), "disabled") == "subprocess"


def _from_variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    texts = [environment.get(variable, "") for variable in _SINGLE]
    texts += [text for variable in _LISTS for text in environment.get(variable, "").split()]
    for text in filter(None, texts):
        named = _NAMED.fullmatch(text)
        yield (named["name"], named["url"]) if named else ("", text)


def _from_files(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for document in _documents(environment):
        for table in (document, document.get("pip")):
            if not isinstance(table, dict):
                continue
            extra = table.get("extra-index-url")
            urls = [table.get("index-url"), *(extra if isinstance(extra, list) else ())]
            yield from (("", url) for url in urls if isinstance(url, str))
        rows = document.get("index")
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and isinstance(row.get("url"), str):
                yield str(row.get("name") or ""), row["url"]


def _documents(environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for path in _files(environment):
        try:
            yield tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue


def _files(environment: Mapping[str, str]) -> list[Path]:
    if environment.get("UV_NO_CONFIG"):
        return []
    if chosen := environment.get("UV_CONFIG_FILE"):
        return [Path(chosen)]
    home = Path(environment.get("HOME") or "/")
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    return [config / "uv" / "uv.toml", Path("/etc/xdg/uv/uv.toml"), Path("/etc/uv/uv.toml")]


def _with_variables(name: str, url: str, environment: Mapping[str, str]) -> str:
    """Put the credentials of ``UV_INDEX_<NAME>_USERNAME`` and ``..._PASSWORD`` into `url`."""
    key = re.sub(r"[^A-Z0-9]", "_", name.upper())
    user = environment.get(f"UV_INDEX_{key}_USERNAME", "")
    password = environment.get(f"UV_INDEX_{key}_PASSWORD", "")
    parts = urlsplit(url)
    if not name or "@" in parts.netloc or not (user or password):
        return url
    return parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}").geturl()
