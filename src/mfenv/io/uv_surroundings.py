"""What of the user's own uv reaches the uv that is run here: where packages are and how to get there, nothing else.

uv takes options from variables and from configuration files as well (uv 0.13, "Environment variables" and
"Configuration files"). Which packages an environment gets has to follow from what was asked for it, so that the id of
the request means the same on every machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

_INDEXES = frozenset({"UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_INDEX", "UV_INDEX_URL"})
_ACCESS = frozenset(
    {
        "UV_CREDENTIALS_DIR",
        "UV_GITHUB_TOKEN",
        "UV_INSECURE_HOST",
        "UV_KEYRING_PROVIDER",
        "UV_NATIVE_TLS",
        "UV_SYSTEM_CERTS",
    }
)
_NETWORK = frozenset(
    {
        "UV_CONCURRENT_BUILDS",
        "UV_CONCURRENT_DOWNLOADS",
        "UV_CONCURRENT_INSTALLS",
        "UV_HTTP_CONNECT_TIMEOUT",
        "UV_HTTP_RETRIES",
        "UV_HTTP_TIMEOUT",
        "UV_OFFLINE",
        "UV_REQUEST_TIMEOUT",
    }
)
_REACHING = _INDEXES | _ACCESS | _NETWORK
_OF_AN_INDEX = re.compile(r"UV_INDEX_.+_(USERNAME|PASSWORD)")


@dataclass(frozen=True, slots=True, kw_only=True)
class UvSurroundings:
    """The user's indexes, and how to reach them."""

    config: str = ""
    """The text of a ``uv.toml`` with what is left of the user's; without credentials."""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What cannot be in that text: credentials, and addresses that have some."""
    unreadable: Path | None = None
    """A configuration file that cannot be read. uv is given it as it is, and says what is wrong with it."""

    def arguments(self, folder: Path) -> list[str]:
        """Return the options with which uv reads this configuration, written into `folder`, and no other."""
        if self.unreadable:
            return ["--config-file", str(self.unreadable)]
        if not self.config:
            return ["--no-config"]
        path = folder / "mfenv-uv.toml"
        path.write_text(self.config, encoding="utf-8")
        return ["--config-file", str(path)]


def hidden_variables(names: Iterable[str]) -> dict[str, None]:
    """Return those of the variables called `names` that uv must not see, in the form of `ProcessRunner.run`."""
    return {
        name: None
        for name in names
        if name.startswith("UV_") and name not in _REACHING and not _OF_AN_INDEX.fullmatch(name)
    }


def index_variables(name: str, user_info: str) -> dict[str, str]:
    """Return the variables with which uv is let into its index called `name`; `user_info` is that of a URL."""
    user, _, password = user_info.partition(":")
    found = {"USERNAME": user, "PASSWORD": password}
    return {f"UV_INDEX_{variable_key(name)}_{key}": unquote(text) for key, text in found.items() if text}


def variable_key(name: str) -> str:
    """Return an index's name as it stands in the names of variables."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def toml(value: object) -> str:
    """Write a value as TOML; the texts, numbers and lists of JSON are TOML's too, but for one character."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
