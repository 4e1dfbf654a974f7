"""Every setting, read once."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mfenv.domain.channel import Channel, ChannelCredentials, credentials_in
from mfenv.domain.platform import Platform, Target, baseline
from mfenv.errors import InvalidSpec

Lookup = Callable[[str], str | None]
"""Gives the text of a setting by its name without ``METAFLOW_``, or None when nobody set it."""

DEFAULT_CHANNELS = "conda-forge"
_LOCK_TIMEOUT = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set from outside, in its own types."""

    local_path: Path
    """Where environments and package caches live (``CONDA_LOCAL_PATH``).

    By default the folder ``mfenv`` in the user's cache: ``~/.cache`` or ``$XDG_CACHE_HOME``; on macOS
    ``~/Library/Caches``.
    """
    store_root: Path | None
    """Where locks are kept (``CONDA_LOCALROOT``). By default the folder ``conda_env`` in the local datastore."""
    channels: tuple[Channel, ...]
    """Channels behind those that a flow names (``CONDA_CHANNELS``).

    Names, URLs or paths, separated by commas, the most important first. By default ``conda-forge``.
    """
    channel_credentials: tuple[ChannelCredentials, ...]
    lock_timeout: float
    """Seconds to wait for another process that builds the same environment (``CONDA_LOCK_TIMEOUT``).

    By default an hour. The wait ends at once when that process ends, in whichever way.
    """
    link_scripts: bool
    """Whether packages' post-link scripts run (``CONDA_LINK_SCRIPTS``): ``true``, the default, or ``false``."""
    virtual_packages: Mapping[Platform, Mapping[str, str]]
    """Facts put over the baseline of a platform (``CONDA_SYS_DEFAULT_PACKAGES``).

    JSON, such as ``{"linux-64": {"__glibc": "2.34", "__cuda": "12.4"}}``. By default nothing. conda's variables
    ``CONDA_OVERRIDE_*`` are put over both.
    """

    def target(self, platform: Platform) -> Target:
        """Return the target for `platform`: its baseline with what is set put over it."""
        return baseline(platform, self.virtual_packages.get(platform))


def read(lookup: Lookup, environment: Mapping[str, str] | None = None) -> Settings:
    """Read all settings; raise `InvalidSpec` naming the one that cannot be read.

    `environment` is asked for what is not Metaflow's: ``CONDA_OVERRIDE_*`` and the cache folder's variables.
    """
    environment = os.environ if environment is None else environment
    lookup = _texts_of(lookup)
    texts = [text for text in (lookup("CONDA_CHANNELS") or DEFAULT_CHANNELS).split(",") if text.strip()]
    channels = [Channel.parse(text, where="METAFLOW_CONDA_CHANNELS") for text in texts]
    credentials = map(credentials_in, texts, channels)
    local_path = lookup("CONDA_LOCAL_PATH")
    store_root = lookup("CONDA_LOCALROOT")
    return Settings(
        local_path=_folder("CONDA_LOCAL_PATH", local_path) if local_path else _cache_folder(environment) / "mfenv",
        store_root=_folder("CONDA_LOCALROOT", store_root) if store_root else None,
        channels=tuple(channels),
        channel_credentials=tuple(found for found in credentials if found),
        lock_timeout=_seconds("CONDA_LOCK_TIMEOUT", lookup("CONDA_LOCK_TIMEOUT"), _LOCK_TIMEOUT),
        link_scripts=_truth("CONDA_LINK_SCRIPTS", lookup("CONDA_LINK_SCRIPTS"), default=True),
        virtual_packages=_virtual_packages(lookup("CONDA_SYS_DEFAULT_PACKAGES"), environment),
    )


def _texts_of(lookup: Callable[[str], object]) -> Lookup:
    """Take what a configuration file holds as a value for the text that means it."""

    def text_of(name: str) -> str | None:
        value = lookup(name)
        return value if value is None or isinstance(value, str) else json.dumps(value)

    return text_of


def _folder(name: str, text: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise InvalidSpec(
            f"METAFLOW_{name}: `{text}` is in the home folder of nobody", hint="Set it to the path of a folder"
        ) from error


def _cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the user's cache folder (XDG Base Directory 0.8; on macOS, Apple's)."""
    home = Path(environment.get("HOME") or Path.home())
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    set_to = environment.get("XDG_CACHE_HOME", "")
    # A relative path there is to be ignored, says the specification.
    return Path(set_to) if set_to.startswith("/") else home / ".cache"


def _seconds(name: str, text: str | None, default: float) -> float:
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    # In these words nan is refused too, which is neither less nor more.
    if not seconds >= 0:
        raise InvalidSpec(
            f"METAFLOW_{name}: `{text}` is not a number of seconds",
            hint="Set it to a number of seconds, such as `3600`",
        )
    return seconds


def _truth(name: str, text: str | None, *, default: bool) -> bool:
    match (text or "").strip().lower():
        case "":
            return default
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off":
            return False
    raise InvalidSpec(f"METAFLOW_{name}: `{text}` is neither true nor false", hint="Set it to `true` or `false`")


def _virtual_packages(text: str | None, environment: Mapping[str, str]) -> Mapping[Platform, Mapping[str, str]]:
    where = "METAFLOW_CONDA_SYS_DEFAULT_PACKAGES"
    try:
        configured = json.loads(text) if text else {}
        by_platform = {
            Platform.parse(platform, where=where): {str(name): str(version) for name, version in facts.items()}
            for platform, facts in configured.items()
        }
    except (ValueError, AttributeError, RecursionError) as error:
        raise InvalidSpec(
            f"{where}: `{text}` is not JSON of this form",
            hint='Set it to something like {"linux-64": {"__glibc": "2.28"}}',
        ) from error
    try:
        for platform, facts in by_platform.items():
            baseline(platform, facts)
    except InvalidSpec as error:
        raise InvalidSpec(f"{where}: {error.message}", hint=error.hint) from error
    return {platform: {**by_platform.get(platform, {}), **_overrides(platform, environment)} for platform in Platform}


def _overrides(platform: Platform, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Read conda's own variables; the C library's only means something on Linux, and so on."""
    names = ("GLIBC", "LINUX", "CUDA", "ARCHSPEC") if platform.is_linux else ("OSX", "ARCHSPEC")
    return {
        f"__{name.lower()}": environment[f"CONDA_OVERRIDE_{name}"]
        for name in names
        if f"CONDA_OVERRIDE_{name}" in environment
    }
