"""Every setting, read once."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from mfenv.app import backends, pip_config, rules, uv_config
from mfenv.app.pip_config import PipConfig
from mfenv.domain.artifact import is_plain_file_name
from mfenv.domain.channel import Channel, ChannelCredentials, credentials_in
from mfenv.domain.cutoff import check_cutoff
from mfenv.domain.index import IndexSecret, PackageIndex, index_secret
from mfenv.domain.others import NOBODY, Others
from mfenv.domain.platform import Platform, Target, baseline
from mfenv.domain.policy import Attestations, Denial, Policy
from mfenv.domain.spec import IndexStrategy
from mfenv.errors import InvalidSpec
from mfenv.io.uv_surroundings import UvSurroundings

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
    """Where environments are shared with the datastore ``local`` (``CONDA_LOCALROOT``).

    By default the folder ``conda_env`` in that datastore.
    """
    s3_root: str | None
    """Where environments are shared with the datastore ``s3`` (``CONDA_S3ROOT``), such as ``s3://bucket/folder``.

    By default the folder ``conda_env`` in that datastore.
    """
    azure_root: str | None
    """The same for the datastore ``azure`` (``CONDA_AZUREROOT``), such as ``container/folder``."""
    gs_root: str | None
    """The same for the datastore ``gs`` (``CONDA_GSROOT``), such as ``gs://bucket/folder``."""
    ignore_caching_datastores: tuple[str, ...]
    """Datastores through which nothing is shared (``CONDA_IGNORE_CACHING_DATASTORES``).

    Names between commas, or a JSON list. By default none.
    """
    packages_dirname: str
    """The folder below ``mfenv/v1`` that package files are in (``CONDA_PACKAGES_DIRNAME``). By default ``packages``."""
    envs_dirname: str
    """A folder below ``mfenv/v1`` for locks, names and all else (``CONDA_ENVS_DIRNAME``). By default there is none."""
    magic_file: str
    """The name of the file beside the local datastore that says what the project uses (``CONDA_MAGIC_FILE_V2``).

    By default ``conda_v2.cnd``.
    """
    use_remote_latest: Others
    """Whose environments are used before anything is solved anew (``CONDA_USE_REMOTE_LATEST``).

    ``:none:``, the default, ``:username:`` for one's own from other machines, ``:any:``, or user names between commas.
    """
    preferred_format: str
    """The format that conda packages are kept in (``CONDA_PREFERRED_FORMAT``): ``none``, ``.conda`` or ``.tar.bz2``.

    ``none``, the default, keeps what the channel serves.
    """
    legacy_root: str | None
    """Where the existing product shared environments (``CONDA_LEGACY_ROOT``): names that are only there are imported.

    By default nowhere.
    """
    remote_commands: tuple[str, ...]
    """The decorators that send a step to another machine (``CONDA_REMOTE_COMMANDS``), besides those that say so.

    Names between commas, or a JSON list. By default ``batch,kubernetes``.
    """
    node_path: str | None
    """The folder on remote machines that environments are in, and are made in (``CONDA_NODE_PATH``).

    A volume that several tasks of a machine share, or a folder of an image that holds environments already. By default
    a folder among the machine's temporary ones.
    """
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
    conda_resolver: str
    """What resolves conda packages (``CONDA_DEPENDENCY_RESOLVER``): ``rattler``, or what another package brings.

    ``conda``, ``mamba`` and ``micromamba`` are these programs, which have to be there; ``rattler`` needs none of them.
    """
    pypi_resolver: str
    """What resolves PyPI packages (``CONDA_PYPI_DEPENDENCY_RESOLVER``): ``uv``, ``pip``, another's, or ``none``."""
    mixed_resolver: str
    """What resolves conda and PyPI together (``CONDA_MIXED_DEPENDENCY_RESOLVER``).

    ``hybrid``, which is made of the two, ``conda-lock``, what another package brings, or ``none``.
    """
    conda_installer: str
    """What links conda packages (``CONDA_INSTALLER``): ``rattler``, or what another package brings."""
    default_index: PackageIndex | None
    """The index behind all others (``CONDA_DEFAULT_PYPI_SOURCE``, else pip's or uv's configuration)."""
    indexes: tuple[PackageIndex, ...]
    """Indexes behind those that a flow names; from pip's configuration."""
    index_secrets: tuple[IndexSecret, ...]
    find_links: tuple[str, ...]
    uses_keyring: bool
    """Whether uv is configured to ask the program ``keyring`` for passwords (``UV_KEYRING_PROVIDER``)."""
    hosts: Mapping[str, tuple[str, str]]
    """User and password by host name (``CONDA_SRCS_AUTH_INFO``); never shown, never stored."""
    index_strategy: IndexStrategy
    """How several indexes count (``CONDA_PYPI_INDEX_STRATEGY``)."""
    exclude_newer: str
    """Nothing published after this counts (``CONDA_EXCLUDE_NEWER``)."""
    allowed_channels: tuple[str, ...]
    """The only channels that packages may be of (``CONDA_ALLOWED_CHANNELS``): names or URLs between commas.

    By default all.
    """
    allowed_indexes: tuple[str, ...]
    """The only indexes that PyPI packages may be from (``CONDA_ALLOWED_INDEXES``): URLs between commas.

    ``pypi`` is the one that uv takes by default. By default all.
    """
    denied_packages: tuple[Denial, ...]
    """What no environment may hold (``CONDA_DENIED_PACKAGES``), with ``;`` between several.

    Such as ``left-pad; pypi:requests<2.32; conda:openssl>=1,<3``. By default nothing.
    """
    minimum_age: str
    """How long packages must have been published (``CONDA_MINIMUM_PACKAGE_AGE``), such as ``7 days``.

    By default any time.
    """
    attestations: Attestations
    """Which packages need a verified attestation (``CONDA_REQUIRE_ATTESTATION``).

    ``none``, the default, ``pypi`` (PEP 740), ``conda`` (CEP 27) or ``all``.
    """
    publishers: tuple[str, ...]
    """Who may have signed attestations (``CONDA_ATTESTATION_PUBLISHERS``): identities between commas.

    ``*`` stands for any text: ``https://github.com/our-org/*`` for conda, ``GitHub:our-org/*`` for PyPI. By default
    anybody.
    """
    osv_databases: tuple[str, ...]
    """Known vulnerabilities, for ``metaflow environment audit`` (``CONDA_OSV_DATABASE``).

    Paths or URLs between commas, of what OSV publishes. By default none.
    """
    machine_indexes: tuple[str, ...]
    """Where this machine's configuration has the PyPI resolver look besides, without credentials."""
    gpu_packages: Mapping[str, str]
    """Virtual packages of machines with a GPU (``CONDA_SYS_DEFAULT_GPU_PACKAGES``), as JSON.

    By default ``{"__cuda": "12.8"}``, what drivers since 2025 can do.
    """
    virtual_packages: Mapping[Platform, Mapping[str, str]]
    """Facts put over the baseline of a platform (``CONDA_SYS_DEFAULT_PACKAGES``).

    JSON, such as ``{"linux-64": {"__glibc": "2.34", "__cuda": "12.4"}}``. By default nothing. conda's variables
    ``CONDA_OVERRIDE_*`` are put over both.
    """
    uv: UvSurroundings = field(default_factory=UvSurroundings, repr=False)
    """What of uv's configuration files reaches uv."""

    @property
    def policy(self) -> Policy:
        """What is allowed in environments."""
        return Policy(
            allowed_channels=self.allowed_channels,
            allowed_indexes=self.allowed_indexes,
            denied=self.denied_packages,
            minimum_age=self.minimum_age,
            attestations=self.attestations,
            publishers=self.publishers,
        )

    @property
    def secret_origins(self) -> dict[str, str]:
        """Scheme and host without credentials to the same with them, for the hosts that have any."""
        return {
            f"{scheme}://{host}": f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{host}"
            for host, (user, password) in self.hosts.items()
            for scheme in ("https", "http")
        }

    def target(self, platform: Platform, *, has_gpu: bool = False, system: Mapping[str, str] | None = None) -> Target:
        """Return the target for `platform`: its baseline, what is set put over it, and a step's own word over that.

        With `has_gpu`, the machine has what is set for machines with a GPU.
        """
        gpu = self.gpu_packages if has_gpu and platform.is_linux else {}
        return baseline(platform, {**gpu, **self.virtual_packages.get(platform, {}), **(system or {})})


def read(values: Callable[[str], object], environment: Mapping[str, str] | None = None) -> Settings:
    """Read all settings; raise `InvalidSpec` naming the one that cannot be read.

    `values` gives the value of a setting by its name without ``METAFLOW_``, or None; `environment` is asked for what is
    not Metaflow's: ``CONDA_OVERRIDE_*``, pip's and uv's variables, and the cache folder's.
    """
    environment = os.environ if environment is None else environment
    lookup: Lookup = _texts_of(values)
    texts = [text for text in (lookup("CONDA_CHANNELS") or DEFAULT_CHANNELS).split(",") if text.strip()]
    channels = [Channel.parse(text, where="METAFLOW_CONDA_CHANNELS") for text in texts]
    credentials = map(credentials_in, texts, channels)
    indexes = _indexes(lookup("CONDA_DEFAULT_PYPI_SOURCE"), environment)
    local_path = lookup("CONDA_LOCAL_PATH")
    store_root = lookup("CONDA_LOCALROOT")
    return Settings(
        local_path=_folder("CONDA_LOCAL_PATH", local_path) if local_path else _cache_folder(environment) / "mfenv",
        store_root=_folder("CONDA_LOCALROOT", store_root) if store_root else None,
        s3_root=lookup("CONDA_S3ROOT") or None,
        azure_root=lookup("CONDA_AZUREROOT") or None,
        gs_root=lookup("CONDA_GSROOT") or None,
        ignore_caching_datastores=_names(lookup("CONDA_IGNORE_CACHING_DATASTORES")),
        packages_dirname=_key_folder("CONDA_PACKAGES_DIRNAME", lookup("CONDA_PACKAGES_DIRNAME"), "packages"),
        envs_dirname=_key_folder("CONDA_ENVS_DIRNAME", lookup("CONDA_ENVS_DIRNAME"), ""),
        magic_file=_file_name("CONDA_MAGIC_FILE_V2", lookup("CONDA_MAGIC_FILE_V2") or "conda_v2.cnd"),
        use_remote_latest=Others.parse(
            lookup("CONDA_USE_REMOTE_LATEST") or NOBODY, where="METAFLOW_CONDA_USE_REMOTE_LATEST"
        ),
        preferred_format=_choice("CONDA_PREFERRED_FORMAT", lookup, ("none", ".conda", ".tar.bz2")),
        legacy_root=lookup("CONDA_LEGACY_ROOT") or None,
        remote_commands=_names(lookup("CONDA_REMOTE_COMMANDS")) or ("batch", "kubernetes"),
        node_path=lookup("CONDA_NODE_PATH") or None,
        channels=tuple(channels),
        channel_credentials=tuple(found for found in credentials if found),
        lock_timeout=_seconds("CONDA_LOCK_TIMEOUT", lookup("CONDA_LOCK_TIMEOUT"), _LOCK_TIMEOUT),
        link_scripts=_truth("CONDA_LINK_SCRIPTS", lookup("CONDA_LINK_SCRIPTS"), default=True),
        conda_resolver=backends.CONDA_RESOLVER.choice(lookup(backends.CONDA_RESOLVER.setting)),
        pypi_resolver=backends.PYPI_RESOLVER.choice(lookup(backends.PYPI_RESOLVER.setting)),
        mixed_resolver=backends.MIXED_RESOLVER.choice(lookup(backends.MIXED_RESOLVER.setting)),
        conda_installer=backends.CONDA_INSTALLER.choice(lookup(backends.CONDA_INSTALLER.setting)),
        default_index=indexes.default,
        indexes=indexes.others,
        index_secrets=indexes.secrets,
        find_links=indexes.find_links,
        uses_keyring=uv_config.uses_keyring(environment),
        hosts=_hosts(lookup("CONDA_SRCS_AUTH_INFO")),
        index_strategy=IndexStrategy(
            _choice("CONDA_PYPI_INDEX_STRATEGY", lookup, tuple(strategy.value for strategy in IndexStrategy))
        ),
        exclude_newer=_cutoff(lookup("CONDA_EXCLUDE_NEWER")),
        allowed_channels=rules.channels(lookup("CONDA_ALLOWED_CHANNELS")),
        allowed_indexes=rules.indexes(lookup("CONDA_ALLOWED_INDEXES")),
        denied_packages=rules.denials(lookup("CONDA_DENIED_PACKAGES")),
        minimum_age=rules.age(lookup("CONDA_MINIMUM_PACKAGE_AGE")),
        attestations=rules.attestations(lookup("CONDA_REQUIRE_ATTESTATION")),
        publishers=_names(lookup("CONDA_ATTESTATION_PUBLISHERS")),
        osv_databases=_names(lookup("CONDA_OSV_DATABASE")),
        machine_indexes=(*map(str, indexes.others), *indexes.find_links, *uv_config.places(environment)),
        gpu_packages=_facts(
            "METAFLOW_CONDA_SYS_DEFAULT_GPU_PACKAGES", lookup("CONDA_SYS_DEFAULT_GPU_PACKAGES"), {"__cuda": "12.8"}
        ),
        virtual_packages=_virtual_packages(lookup("CONDA_SYS_DEFAULT_PACKAGES"), environment),
        uv=uv_config.surroundings(environment),
    )


class _Indexes(NamedTuple):
    default: PackageIndex | None
    others: tuple[PackageIndex, ...]
    secrets: tuple[IndexSecret, ...]
    find_links: tuple[str, ...]


def _indexes(chosen: str | None, environment: Mapping[str, str]) -> _Indexes:
    """Find the indexes that this user works with.

    The setting first, then what uv is told by variables, which it reads itself, then pip's configuration.
    """
    uv_is_told = any(
        name in environment for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")
    )
    pip = PipConfig() if uv_is_told else pip_config.read(environment)
    text = chosen or pip.index_url
    where = "METAFLOW_CONDA_DEFAULT_PYPI_SOURCE" if chosen else "pip's index-url"
    default = replace(PackageIndex.parse(text, where=where), is_of_machine=not chosen) if text else None
    others = [
        replace(PackageIndex.parse(url, where="pip's extra-index-url"), is_of_machine=True)
        for url in pip.extra_index_urls
    ]
    pairs = [*([(text, default)] if default else []), *zip(pip.extra_index_urls, others, strict=True)]
    secrets = [secret for written, index in pairs if (secret := index_secret(written, index))]
    return _Indexes(default, tuple(others), (*secrets, *uv_config.index_secrets(environment)), pip.find_links)


_KEY_FOLDER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


def _key_folder(name: str, text: str | None, default: str) -> str:
    folder = (text or default).strip("/")
    if folder and not _KEY_FOLDER.fullmatch(folder):
        raise InvalidSpec(
            f"METAFLOW_{name}: `{text}` is not the name of a folder in a store",
            hint="Use letters, digits, `-`, `_` and `.`, and `/` between folders",
        )
    return folder


def _file_name(name: str, text: str) -> str:
    if not is_plain_file_name(text) or text.startswith("."):
        raise InvalidSpec(f"METAFLOW_{name}: `{text}` is not the name of a file", hint="Set it to a name without `/`")
    return text


def _names(text: str | None) -> tuple[str, ...]:
    """Read names between commas, or a JSON list of them."""
    try:
        names = json.loads(text or "")
    except ValueError:
        names = (text or "").split(",")
    return tuple(str(name).strip() for name in names if str(name).strip()) if isinstance(names, list) else ()


def _choice(name: str, lookup: Lookup, known: tuple[str, ...]) -> str:
    """Return a setting that is one of `known`; the first is the default, and ``null`` is ``none``."""
    text = (lookup(name) or known[0]).strip().lower()
    text = "none" if text == "null" else text
    if text not in known:
        raise InvalidSpec(
            f"METAFLOW_{name}: `{text}` is not known", hint=f"Set it to {' or '.join(f'`{good}`' for good in known)}"
        )
    return text


def _cutoff(text: str | None) -> str:
    return check_cutoff(text, where="METAFLOW_CONDA_EXCLUDE_NEWER") if text else ""


def _hosts(text: str | None) -> Mapping[str, tuple[str, str]]:
    try:
        rows = json.loads(text) if text else {}
        # A text of two letters would do for a pair, too.
        lists = {host: row if isinstance(row, list) else [] for host, row in rows.items()}
        return {str(host): (str(user), str(password)) for host, (user, password) in lists.items()}
    except (ValueError, AttributeError, TypeError):
        # The text holds passwords: it is not shown.
        raise InvalidSpec(
            "METAFLOW_CONDA_SRCS_AUTH_INFO: this is not JSON of the form that is needed",
            hint='Set it to {"host.name": ["user", "password"]}',
        ) from None


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


def _facts(where: str, text: str | None, default: Mapping[str, str]) -> Mapping[str, str]:
    try:
        return {str(name): str(version) for name, version in json.loads(text).items()} if text else default
    except (ValueError, AttributeError) as error:
        raise InvalidSpec(
            f"{where}: `{text}` is not JSON of this form", hint=f"Set it to something like {json.dumps(dict(default))}"
        ) from error


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
