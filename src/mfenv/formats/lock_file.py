"""Which of other tools' lock files a file is, what of it counts, and the credentials in it."""

from __future__ import annotations

import hashlib
import re

from mfenv.domain.base import LockFileKind
from mfenv.domain.channel import Channel, ChannelCredentials, without_credentials
from mfenv.domain.index import IndexSecret, PackageIndex
from mfenv.formats.package_file import place_of

_EXPLICIT = re.compile(r"^\s*@EXPLICIT\s*$", re.MULTILINE)
_PYLOCK_NAME = re.compile(r"pylock(\.[^.]+)?\.toml")
_TABLE = re.compile(r"^\s*\[", re.MULTILINE)
_LOCK_VERSION = re.compile(r"^lock-version\s*=", re.MULTILINE)
_VERSION_TOML = re.compile(r"^version\s*=\s*\d+\s*$", re.MULTILINE)
_UV_SOURCE = re.compile(r"^source\s*=\s*\{", re.MULTILINE)
_VERSION_YAML = re.compile(r"^version:\s*\d+\s*$", re.MULTILINE)
_URL = re.compile(r"https?://[^\s\"'<>\\]+")


def kind_of(name: str, text: str) -> LockFileKind | None:
    """Tell which kind of lock file one called `name` with the content `text` is; None when it is none.

    The names that the tools give them decide; a file under another name is known by what all of its kind begin with.
    """
    lowered = name.lower()
    if lowered == "uv.lock":
        return LockFileKind.UV
    if lowered == "pixi.lock":
        return LockFileKind.PIXI
    if _PYLOCK_NAME.fullmatch(lowered):
        return LockFileKind.PYLOCK
    if re.fullmatch(r"(.+[.-])?conda-lock\.ya?ml", lowered):
        return LockFileKind.CONDA_LOCK
    return _kind_by_content(lowered, text)


def _kind_by_content(name: str, text: str) -> LockFileKind | None:
    if name.endswith((".yml", ".yaml", ".lock")) and _VERSION_YAML.search(text):
        if _has_keys(text, "metadata", "package"):
            return LockFileKind.CONDA_LOCK
        if _has_keys(text, "environments", "packages"):
            return LockFileKind.PIXI
    if name.endswith((".toml", ".lock")):
        head = _TABLE.split(text, maxsplit=1)[0]
        if _LOCK_VERSION.search(head):
            return LockFileKind.PYLOCK
        if _VERSION_TOML.search(head) and "[[package]]" in text and _UV_SOURCE.search(text):
            return LockFileKind.UV
    if not name.endswith((".toml", ".yml", ".yaml")) and _EXPLICIT.search(text):
        return LockFileKind.EXPLICIT
    return None


def _has_keys(text: str, *keys: str) -> bool:
    return all(re.search(rf"^{key}:\s*$", text, re.MULTILINE) for key in keys)


def content_digest(text: str) -> str:
    """Return the SHA-256 of a lock file in hex. Line ends do not count: git may change them between two machines."""
    return hashlib.sha256("\n".join(text.splitlines()).encode(errors="surrogatepass")).hexdigest()


def credentials(text: str) -> tuple[tuple[ChannelCredentials, ...], tuple[IndexSecret, ...]]:
    """Return the credentials in the addresses of a lock file, whichever its kind.

    What lies in a subdir is taken for a channel's, anything else for an index's, by the folder it lies in.
    """
    channels: dict[str, ChannelCredentials] = {}
    indexes: dict[str, IndexSecret] = {}
    for url in dict.fromkeys(found.rstrip(",;)]}") for found in _URL.findall(text)):
        secret = re.split(r"[#?]", url, maxsplit=1)[0]
        plain = without_credentials(secret)
        # A host's capital letters are no credentials, nor are the variables that conda-lock writes in place of some.
        if plain.lower() == secret.lower() or "$" in secret:
            continue
        channel, subdir = place_of(secret)
        if subdir or "/t/" in secret:
            place = channel if subdir else secret.rstrip("/")
            location = without_credentials(place)
            channels[location] = ChannelCredentials(channel=Channel(location=location), secret_url=place)
        else:
            folder = secret.rpartition("/")[0]
            location = without_credentials(folder)
            indexes[location] = IndexSecret(index=PackageIndex(url=location), secret_url=folder)
    return tuple(channels.values()), tuple(indexes.values())
