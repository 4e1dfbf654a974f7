"""The package indexes that uv is configured with, and their credentials.

uv is given what is left of its configuration when it resolves; wheels are not downloaded by uv, and need the same
credentials (uv documentation, "Configuration files", "Environment variables" and "Package indexes").
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from mfenv.domain.channel import without_credentials
from mfenv.domain.index import IndexSecret, PackageIndex, index_secret
from mfenv.errors import InvalidSpec
from mfenv.io.uv_surroundings import UvSurroundings, index_variables, toml, variable_key

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


def places(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return where uv's variables and configuration files have it look for packages, without credentials."""
    indexes = [url for _, url in (*_from_variables(environment), *_from_files(environment))]
    links = environment.get("UV_FIND_LINKS", "").replace(",", " ").split()
    for document in _documents(environment):
        tables = [document, document.get("pip")]
        found = [table.get("find-links") for table in tables if isinstance(table, dict)]
        links += [str(link) for each in found if isinstance(each, list) for link in each]
    return tuple(without_credentials(url).rstrip("/") for url in (*indexes, *links))


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
        except (OSError, ValueError, RecursionError):
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
    key = variable_key(name)
    user = environment.get(f"UV_INDEX_{key}_USERNAME", "")
    password = environment.get(f"UV_INDEX_{key}_PASSWORD", "")
    parts = urlsplit(url)
    if not name or "@" in parts.netloc or not (user or password):
        return url
    return parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}").geturl()


# What may stand beside an index's name and address; everything else there chooses among packages.
_OF_AN_INDEX = ("authenticate", "cache-control", "default", "format", "ignore-error-codes")
_SINGLE_ANSWERS = ("keyring-provider", "native-tls", "offline", "system-certs")
_PROXIES = {"http-proxy": "HTTP_PROXY", "https-proxy": "HTTPS_PROXY", "no-proxy": "NO_PROXY"}


def surroundings(environment: Mapping[str, str]) -> UvSurroundings:
    """Return what of uv's configuration files tells where packages are and how to get there.

    The user's file comes before the machine's, as uv puts them together: lists add up, of single answers the first
    counts. Files that cannot be read are left to uv, which will say so.
    """
    kept, config = _Kept(), ""
    for path in _files(environment):
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            if environment.get("UV_CONFIG_FILE"):
                return UvSurroundings(unreadable=path)
            continue
        except (OSError, ValueError):
            return UvSurroundings(unreadable=path)
        try:
            kept.add(tomllib.loads(text), path.parent)
            config = kept.text
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
            return UvSurroundings(unreadable=path)
    is_set = {name for name in environment if environment[name]}
    variables = {name: value for name, value in kept.variables.items() if not is_set & {name, name.lower()}}
    if kept.links:
        variables["UV_FIND_LINKS"] = ",".join([*filter(None, [environment.get("UV_FIND_LINKS")]), *kept.links])
    return UvSurroundings(config=config, variables=variables)


class _Kept:
    """Collects from documents what is kept of them; fails in whichever way on one that is not as uv has it."""

    def __init__(self) -> None:
        self._answers: dict[str, Any] = {}
        self._hosts: list[str] = []
        self._indexes: list[dict[str, Any]] = []
        self.links: list[str] = []
        self.variables: dict[str, str] = {}

    @property
    def text(self) -> str:
        lines = [f"{key} = {toml(value)}" for key, value in self._answers.items()]
        lines += [f"allow-insecure-host = {toml(self._hosts)}"] if self._hosts else []
        for row in self._indexes:
            lines += ["[[index]]", *(f"{key} = {toml(value)}" for key, value in row.items())]
        return "".join(f"{line}\n" for line in lines)

    def add(self, document: Mapping[str, Any], folder: Path) -> None:
        # What is said of ``uv pip`` alone comes before what is said of all of uv.
        for table in (document.get("pip") or {}, document):
            for key in _SINGLE_ANSWERS:
                if key in table:
                    self._answers.setdefault(key, table[key])
            self._hosts += _texts(table.get("allow-insecure-host"))
            for row in table.get("index") or ():
                self._add_index(row, folder)
            for url in _texts(table.get("extra-index-url")):
                self._add_index({"url": url}, folder)
            self.links += [quote(_address(link, folder), safe=_URL_SAFE) for link in _texts(table.get("find-links"))]
            for key, variable in _PROXIES.items():
                if key in table:
                    self.variables.setdefault(variable, ",".join(_texts(table[key])))
        for table in (document.get("pip") or {}, document):
            for url in _texts(table.get("index-url")):
                self._add_index({"url": url, "default": True}, folder)

    def _add_index(self, row: Mapping[str, Any], folder: Path) -> None:
        # An explicit one serves only what a project's own file takes from it.
        if row.get("explicit"):
            return
        url = _address(row["url"], folder)
        parts = urlsplit(url)
        user_info, has_user, host = parts.netloc.rpartition("@")
        name = str(row.get("name") or (f"mfenv-configured-{len(self._indexes)}" if has_user else ""))
        self.variables |= index_variables(name, user_info)
        kept = {key: row[key] for key in _OF_AN_INDEX if key in row}
        self._indexes.append({**({"name": name} if name else {}), "url": parts._replace(netloc=host).geturl(), **kept})


# A comma would end the address in a variable that has several.
_URL_SAFE = "%/:=&?~#+!$;'@()*[]"


def _texts(value: object) -> list[str]:
    if value is None:
        return []
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise TypeError(f"{value} is not a list of texts")
    return found


def _address(text: str, folder: Path) -> str:
    """Return an address in full; uv takes a relative path from the file's folder."""
    return text if urlsplit(text).scheme else Path(folder, text).absolute().as_uri()
