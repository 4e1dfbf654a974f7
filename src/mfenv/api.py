"""Environments from Python: resolve, find, make, look into, compare.

Names here are for users and stay what they are. Metaflow is loaded only for what needs it: runs, and datastores in a
cloud::

    from mfenv import Environments

    with Environments() as environments:
        env = environments.resolve(conda={"pandas": "2.2.*"}, pypi={"attrs": ">=23"}, python="3.11")
        print(env.id, env["pandas"].version)
        prefix = environments.hydrate(env)
        subprocess.run([prefix.python, "script.py"], env={**os.environ, **prefix.environment(os.environ)})
"""

from __future__ import annotations

import getpass
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from mfenv.app import environments as use_cases
from mfenv.app import facts, plain_config
from mfenv.app.describe import describe, listed
from mfenv.app.files import FileWish
from mfenv.app.known import KnownEnvironments
from mfenv.app.needs import metaflow_needs
from mfenv.app.request import request_of
from mfenv.app.resolve_files import Upgrade, plus, read_files, resolve
from mfenv.app.settings import Settings
from mfenv.app.settings import read as read_settings
from mfenv.app.wiring import Wiring
from mfenv.domain.alias import Alias
from mfenv.domain.base import LockFile
from mfenv.domain.channel import Channel, ChannelCredentials, credentials_in
from mfenv.domain.cutoff import check_cutoff
from mfenv.domain.difference import Change, Held, Kind, Side, compare
from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.index import IndexSecret, PackageIndex, index_secret, secrets_in
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.reference import ByLock, ByName, ByPathspec, parse_reference
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import SpecLayer
from mfenv.errors import EnvironmentsError, InvalidSpec
from mfenv.hydrate.prefix import Prefix
from mfenv.store.aliases import taken
from mfenv.store.backends.local import LocalBlobStore
from mfenv.store.base import BlobStore

__all__ = [
    "Change",
    "Environment",
    "Environments",
    "EnvironmentsError",
    "Kind",
    "Package",
    "Prefix",
    "environment_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package of an environment."""

    name: str
    version: str
    side: str
    """``conda`` or ``pypi``."""
    build: str = ""
    """conda's build string; for a wheel, its tags."""
    channel: str = ""
    file: str = ""
    size: int | None = None
    """Bytes of that file; None where nobody tells."""
    sha256: str | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A locked environment, and what is known of it."""

    id: str
    """Which packages exactly: 40 hex digits; the ``full_id`` of command lines."""
    request_id: str | None
    """What was asked for: 40 hex digits; the ``req_id`` of command lines. None where nobody noted it."""
    platform: str
    """Such as ``linux-64``."""
    env_type: str
    """``conda-only``, ``pypi-only`` (beside Python) or ``mixed``."""
    packages: tuple[Package, ...]
    names: tuple[str, ...] = ()
    """What it is called: ``team/env:v1``."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables that processes in it have."""
    asked: Mapping[str, Any] | None = None
    """What it was asked to be: ``python``, ``conda``, ``pypi``, ``channels``, ``indexes``, and so on."""
    resolved_on: datetime | None = None
    resolved_by: str | None = None
    resolver: str | None = None
    """What chose the packages: ``rattler 0.28.0``."""
    co_resolved: Mapping[str, str] = field(default_factory=dict)
    """The ids of those that were resolved together with it, by platform."""
    is_default: bool = False
    """Whether this project uses it for its request."""
    is_shared: bool | None = None
    """Whether the shared store has it; None where it was not asked."""
    path: Path | None = None
    """Where it is on this machine, ready to use."""

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Environment:
        """Return the environment that `to_dict`, or ``--json`` of a command, told of. Raises `KeyError`."""
        when = facts["resolved_on"]
        return cls(
            id=facts["full_id"],
            request_id=facts["req_id"],
            platform=facts["arch"],
            env_type=facts["type"],
            packages=tuple(Package(**package) for package in facts["packages"]),
            names=tuple(row["alias"] for row in facts["aliases"]),
            variables=facts["variables"],
            asked=facts["asked"],
            resolved_on=datetime.fromisoformat(when) if when else None,
            resolved_by=facts["resolved_by"],
            resolver=facts["resolver"],
            co_resolved=facts["co_resolved"],
            is_default=facts["is_default"],
            is_shared=facts["shared"],
            path=Path(facts["local"]) if facts["local"] else None,
        )

    def __getitem__(self, name: str) -> Package:
        """Return the package called `name`, in conda's spelling or PyPI's. Raises `KeyError`."""
        wanted = Held(side=Side.PYPI, name=name, version="").project
        for package in self.packages:
            if package.name == name or Held(side=Side.PYPI, name=package.name, version="").project == wanted:
                return package
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        try:
            self[str(name)]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[Package]:
        return iter(self.packages)

    def __str__(self) -> str:
        return f"{self.request_id}:{self.id}" if self.request_id else self.id

    @property
    def env_id(self) -> tuple[str | None, str, str]:
        """Request id, id and platform: what a task's metadata holds."""
        return self.request_id, self.id, self.platform

    @property
    def deps(self) -> tuple[str, ...]:
        """The packages that it was asked to have."""
        asked = self.asked or {}
        return tuple(text for key in ("conda", "conda_only", "pypi") for text in asked.get(key, ()))

    @property
    def sources(self) -> tuple[str, ...]:
        """The channels and indexes that it was asked to be from."""
        asked = self.asked or {}
        return tuple(text for key in ("channels", "indexes") for text in asked.get(key, ()))

    @property
    def extras(self) -> tuple[str, ...]:
        """The options for the PyPI resolver that it was asked with."""
        return tuple((self.asked or {}).get("extras", ()))

    @property
    def co_resolved_archs(self) -> tuple[str, ...]:
        """The platforms that were resolved together, its own included."""
        return tuple(sorted({self.platform, *self.co_resolved}))

    @property
    def size(self) -> int:
        """Bytes of all package files whose size is known."""
        return sum(package.size or 0 for package in self.packages)

    def to_dict(self) -> dict[str, Any]:
        """Return the same in plain types, for `from_dict`."""
        return {
            "full_id": self.id,
            "req_id": self.request_id,
            "arch": self.platform,
            "type": self.env_type,
            "packages": [
                {name: getattr(package, name) for name in Package.__dataclass_fields__} for package in self.packages
            ],
            "aliases": [{"alias": name} for name in self.names],
            "variables": dict(self.variables),
            "asked": dict(self.asked) if self.asked is not None else None,
            "resolved_on": self.resolved_on.isoformat() if self.resolved_on else None,
            "resolved_by": self.resolved_by,
            "resolver": self.resolver,
            "co_resolved": dict(self.co_resolved),
            "is_default": self.is_default,
            "shared": self.is_shared,
            "local": str(self.path) if self.path else None,
        }


class Environments:
    """The environments of a project, and of the store that it shares.

    Configured as Metaflow is: by METAFLOW_ variables, the project's and the user's configuration. A context manager:
    what it started ends with it.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        datastore: str | None = None,
        local_only: bool = False,
        tell: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """Work in the project of `folder` (the working directory), sharing through a type of datastore.

        With `local_only`, nothing is shared. `tell` hears of what goes on besides, in sentences. Raises `InvalidSpec`
        for a setting that cannot be read.
        """
        self._folder = Path(folder or Path.cwd()).absolute()
        self._value_of = plain_config.values(self._folder)
        self._datastore = datastore or str(self._value_of("DEFAULT_DATASTORE") or "local")
        self._settings: Settings = read_settings(self._value_of)
        self._project = plain_config.project_folder(self._folder, self._value_of)
        self._local_only = local_only
        self._tell = tell

    def __enter__(self) -> Environments:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what was started; may be called again."""
        self._wiring.close()

    @cached_property
    def _wiring(self) -> Wiring:
        # Looking changes nothing.
        return self._wired(keeps_found=False)

    def _wired(self, *, keeps_found: bool = True, **credentials: Any) -> Wiring:
        return Wiring(
            self._settings,
            project=self._project,
            open_store=self._open_store,
            keeps_found=keeps_found,
            **credentials,
        )

    def _open_store(self) -> BlobStore | None:
        if self._local_only or self._datastore in self._settings.ignore_caching_datastores:
            return None
        if self._datastore in {"local", "spin"}:
            return LocalBlobStore(self._settings.store_root or self._project / "conda_env")
        # Metaflow's own clients know how to get in there.
        module = importlib.import_module("mfenv.metaflow.datastore")
        store: BlobStore | None = module.shared_store(self._datastore, self._settings, self._project / "conda_env")
        return store

    def _found_in(self, wiring: Wiring) -> use_cases.Environments:
        known = KnownEnvironments(
            wiring.locks,
            of_step=_of_step,
            aliases=lambda: wiring.aliases(tell=self._tell),
            index=wiring.index,
        )
        return use_cases.Environments(wiring, known)

    # ---------------------------------------------------------------- finding

    def find(self, name: str, *, platform: str | None = None) -> Environment:
        """Return an environment by its name, an id or its first digits, or a step of a run (``Flow/Run/Step``).

        For `platform`; where that is None, the very one that was named by its id or by the step that ran in it, else
        that for this machine's platform, else the only one. Raises `InvalidSpec` for what is not known.
        """
        found = self._found_in(self._wiring)
        wanted = Platform.parse(platform, where="platform") if platform else None
        known = found.look_up(name, where="name")
        lock = found.find(name, where="name", platform=wanted)
        return self._described(lock, known.requests.get(lock.platform))

    def list(self, *, shared: bool = True) -> list[Environment]:
        """Return the environments of this project, and with `shared` those of the store, too."""
        found = self._found_in(self._wiring)
        return [self._described(one.lock, None) for one in listed(found, local=True, store=shared)]

    def _described(self, lock: LockedEnvironment, request: RequestKey | None) -> Environment:
        found = describe(self._found_in(self._wiring), lock, request, local_only=self._local_only)
        return Environment.from_dict(facts.description(found, shown=lock.id))

    def _lock(self, env: Environment | str, platform: Platform | None = None) -> LockedEnvironment:
        found = self._found_in(self._wiring)
        if isinstance(env, Environment):
            return found.lock(LockId(env.id), where="env")
        return found.find(env, where="env", platform=platform)

    # ---------------------------------------------------------------- resolving

    def resolve(
        self,
        *,
        conda: Mapping[str, str] | None = None,
        pypi: Mapping[str, str] | None = None,
        python: str | None = None,
        channels: Sequence[str] = (),
        indexes: Sequence[str] = (),
        files: Sequence[str | Path] = (),
        groups: Sequence[str] = (),
        optional_dependencies: Sequence[str] = (),
        using: Environment | str | None = None,
        platform: str | None = None,
        exclude_newer: str = "",
        for_metaflow: bool = True,
        force: bool = False,
        upgrade: Iterable[str] = (),
        set_default: bool = True,
        share: bool = True,
    ) -> Environment:
        """Lock what is asked for; what is known is not solved again.

        `conda` and `pypi` are as in the decorators, `files` requirements, project and lock files, with their `groups`
        and `optional_dependencies`; `using` is built upon. With `for_metaflow`, what Metaflow imports in a task is in
        it, too. With `force` it is solved anew, with `upgrade` only as far as these packages ask for it. With `share`
        its lock and packages are in the shared store when this returns.

        Raises an `EnvironmentsError` of the kind that the command line ends with.
        """
        where = Platform.parse(platform, where="platform") if platform else Platform.host()
        files_asked = [self._wish(Path(path), groups, optional_dependencies) for path in files]
        layer, secrets = self._layer(conda or {}, pypi or {}, channels, indexes, exclude_newer)
        written = plus(read_files(files_asked, python, where), layer, *secrets)
        wiring = self._wired(credentials=written.channel_credentials, index_secrets=written.index_secrets)
        try:
            request = request_of(
                written.layer,
                self._settings,
                where,
                default_python=PythonConstraint.minor(*sys.version_info[:2]),
                needs=metaflow_needs(self._datastore) if for_metaflow else (),
                base=self._base(written.layer, using, where),
            )
            (found,) = resolve(
                wiring.locker(_user(), tell=self._tell),
                [request],
                force=force,
                upgrade=Upgrade(names=tuple(upgrade)),
                set_default=set_default,
            )
            if share:
                wiring.sharer.share([found.lock.id])
        finally:
            wiring.close()
        return self._described(found.lock, request.key)

    def _layer(
        self,
        conda: Mapping[str, str],
        pypi: Mapping[str, str],
        channels: Sequence[str],
        indexes: Sequence[str],
        exclude_newer: str,
    ) -> tuple[SpecLayer, tuple[Sequence[ChannelCredentials], Sequence[IndexSecret]]]:
        """Return what the arguments ask for, and the credentials in them."""
        folder = self._folder
        places = [(text, Channel.parse(text, where="channels", relative_to=folder)) for text in channels]
        urls = [(text, PackageIndex.parse(text, where="indexes", relative_to=folder)) for text in indexes]
        layer = SpecLayer(
            conda=tuple(
                MatchSpec.parse(name, text, where=f"conda={name!r}", relative_to=folder) for name, text in conda.items()
            ),
            pypi=tuple(
                Requirement.parse(name, text, where=f"pypi={name!r}", relative_to=folder) for name, text in pypi.items()
            ),
            channels=tuple(channel for _, channel in places),
            indexes=tuple(index for _, index in urls),
            exclude_newer=check_cutoff(exclude_newer, where="exclude_newer") if exclude_newer else "",
        )
        of_channels = [credentials_in(text, channel) for text, channel in places]
        of_indexes = [index_secret(text, index) for text, index in urls]
        of_packages = [found for pair in pypi.items() for found in secrets_in(" ".join(pair))]
        return layer, (
            [found for found in of_channels if found],
            [*(found for found in of_indexes if found), *of_packages],
        )

    def _wish(self, path: Path, groups: Sequence[str], optional: Sequence[str]) -> FileWish:
        return FileWish(
            path=self._folder / path, shown=str(path), groups=tuple(groups), optional_dependencies=tuple(optional)
        )

    def _base(
        self, layer: SpecLayer, using: Environment | str | None, platform: Platform
    ) -> LockedEnvironment | LockFile | None:
        base = layer.base if isinstance(layer.base, LockFile) else None
        if base and using:
            raise InvalidSpec(f"an environment can be built upon one other only: `using`, or the lock file `{base}`")
        return self._lock(using, platform) if using else base

    def name(self, env: Environment | str, name: str) -> None:
        """Give an environment a name, such as ``team/env:v1``, for everybody; with `local_only`, for this project.

        Raises `AliasExistsError` (an `EnvironmentsError`) for a name that cannot be moved.
        """
        ref = parse_reference(name, where="name")
        if not isinstance(ref, ByName):
            raise InvalidSpec(f"`{name}` is not a name, but an environment itself", hint="Write `team/env:v1`")
        lock = self._lock(env)
        request = env.request_id if isinstance(env, Environment) else None
        alias = Alias.of(
            ref,
            {lock.platform: lock.id},
            user=_user(),
            time=datetime.now(timezone.utc),
            requests={lock.platform: RequestKey(request)} if request else None,
        )
        aliases = self._wiring.aliases(tell=self._tell)
        if aliases:
            self._wiring.sharer.share([lock.id])
            aliases.point(alias)
            self._wiring.index.forget_alias(ref)
            return
        before = self._wiring.index.alias(ref)
        if before and not ref.is_mutable and before.locks != alias.locks:
            raise taken(before)
        self._wiring.index.set_alias(alias)

    # ---------------------------------------------------------------- using

    def hydrate(self, env: Environment | str) -> Prefix:
        """Have an environment on this machine, and return where; made if need be.

        Raises `HydrationFailed` (an `EnvironmentsError`).
        """
        return self._wiring.hydrator.hydrate(self._lock(env, Platform.host()))

    def compare(self, before: Environment | str, after: Environment | str) -> tuple[Change, ...]:
        """Return the packages that are not the same in both, sorted by name."""
        one, other = (env if isinstance(env, Environment) else self.find(env) for env in (before, after))
        return compare(map(_held, one.packages), map(_held, other.packages))


def environment_of(task: Any, *, folder: str | Path | None = None) -> Environment | None:
    """Return the environment that a task ran in; None for one that had none of its own.

    `task` is Metaflow's `Task` or `Step`, or a pathspec such as ``Flow/7/train`` or ``Flow/7/train/3``. Raises
    `InvalidSpec` for what is not there.
    """
    pathspec = task if isinstance(task, str) else str(task.pathspec)
    of_task = importlib.import_module("mfenv.metaflow.known").ids_of_task(pathspec)
    if of_task is None:
        return None
    with Environments(folder) as environments:
        return environments.find(str(of_task))


def _of_step(ref: ByPathspec, where: str) -> ByLock:
    # Runs are Metaflow's.
    found: ByLock = importlib.import_module("mfenv.metaflow.known").environment_of_step(ref, where)
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _held(package: Package) -> Held:
    return Held(
        side=Side.CONDA if package.side == "conda" else Side.PYPI,
        name=package.name,
        version=package.version,
        build=package.build,
        channel=package.channel,
        file_name=package.file,
        size=package.size,
        sha256=package.sha256,
    )
