"""The object graph: which implementation stands behind which seam, from the settings alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

from mfenv.app import backends, policing
from mfenv.app.build import Builds
from mfenv.app.bytecode import BytecodePublisher
from mfenv.app.keyring import from_keyring
from mfenv.app.lock import Locker, lock_of
from mfenv.app.needs import ANY_NEED
from mfenv.app.policing import Policing
from mfenv.app.settings import Settings
from mfenv.app.share import Sharer
from mfenv.app.supply import Supplier
from mfenv.app.toolchain import ToolchainPublisher
from mfenv.build.convert import converted
from mfenv.build.wheels import WheelBuilder
from mfenv.domain.artifact import Artifact, LockedArtifact
from mfenv.domain.channel import ChannelCredentials
from mfenv.domain.digest import LockId
from mfenv.domain.index import IndexSecret, origin_of
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.machine import Machine
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedPypiPackage
from mfenv.domain.spec import EnvironmentSpec
from mfenv.domain.toolchain import StoreLocation
from mfenv.errors import StoreError
from mfenv.hydrate import conda
from mfenv.hydrate.conda import CondaInstaller, CondaLinker, LinkedByAnother, RattlerInstaller
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.plan import archive_path, is_here
from mfenv.hydrate.pypi import UvInstaller
from mfenv.hydrate.service import Hydrator
from mfenv.io import debug_log
from mfenv.io.process import SystemProcessRunner
from mfenv.io.worker import WorkerClient
from mfenv.resolve.backends import rattler as rattler_backend
from mfenv.resolve.backends.conda_cli import CondaCliResolver
from mfenv.resolve.backends.conda_dialects import PROGRAMS
from mfenv.resolve.backends.rattler import RattlerDistributions, RattlerIndex, RattlerRecords, RattlerResolver
from mfenv.resolve.backends.uv import UvResolver, build_arguments, build_environment, find_uv
from mfenv.resolve.base import Resolver
from mfenv.resolve.by_kind import ByKind
from mfenv.resolve.extend import ExtendingResolver
from mfenv.resolve.hybrid import HybridResolver
from mfenv.resolve.lock_files import LockFileReader, select
from mfenv.resolve.pypi import PypiResolver
from mfenv.resolve.wheel_metadata import requirements_of
from mfenv.store.aliases import AliasStore
from mfenv.store.backends.local import LocalBlobStore
from mfenv.store.backends.told import ToldBlobStore
from mfenv.store.base import BlobStore
from mfenv.store.layout import Layout
from mfenv.store.locks import LockStore
from mfenv.store.packages import PackageStore
from mfenv.store.project_index import ProjectIndex

if TYPE_CHECKING:
    from mfenv.app.attestations import AttestationVerifier
    from mfenv.app.index_pages import IndexPages

Part = TypeVar("Part")


class Wiring:
    """Builds each part when it is first asked for; nothing here starts a process."""

    def __init__(
        self,
        settings: Settings,
        *,
        project: Path,
        open_store: Callable[[], BlobStore | None] = lambda: None,
        keeps_found: bool = True,
        credentials: Iterable[ChannelCredentials] = (),
        index_secrets: Iterable[IndexSecret] = (),
    ) -> None:
        """Wire for `settings`; `project` is the folder of the local datastore, where a project's own locks are kept.

        `open_store` gives the store that is shared with others, or None where there is none. With `keeps_found`, locks
        that are found there are kept in the project. `credentials` and
        `index_secrets` are those of channels and indexes that a flow names.
        """
        self.settings = settings
        self._project = project
        self._open_store = open_store
        self._keeps_found = keeps_found
        self._opening = threading.Lock()
        self._opened: tuple[BlobStore | None] | None = None
        self._credentials = (*settings.channel_credentials, *credentials)
        self._index_secrets = (*settings.index_secrets, *index_secrets)
        # A keyring is a program of its own, and may ask the user: not in a run for which all is there.
        self.secret_urls: Mapping[str, str] = _MadeWhenAsked(self._find_secret_urls)
        """URLs with credentials, by the places that they are for; never printed, never stored."""

    def _find_secret_urls(self) -> dict[str, str]:
        uses_keyring = self.settings.uses_keyring
        secrets = [from_keyring(found, self.runner) if uses_keyring else found for found in self._index_secrets]
        found_urls = {
            **{str(found.channel): found.secret_url for found in self._credentials},
            **{str(found.index): found.secret_url for found in secrets},
            **dict(origin_of(found.secret_url) for found in secrets),
            **self.settings.secret_origins,
        }
        debug_log.conceal(found_urls)
        return found_urls

    @cached_property
    def folders(self) -> LocalFolders:
        """The folders on this machine."""
        return LocalFolders(self.settings.local_path)

    @cached_property
    def worker(self) -> WorkerClient:
        """The helper process that solves and links."""
        operations = {**rattler_backend.OPERATIONS, **conda.OPERATIONS, **policing.OPERATIONS}
        return WorkerClient(operations, needs=("rattler",))

    def close(self) -> None:
        """End the helper process, if there is one, and the programs under way."""
        if "worker" in self.__dict__:
            self.worker.close()
        if "runner" in self.__dict__:
            self.runner.close()

    @cached_property
    def installer(self) -> RattlerInstaller:
        """What brings files here, and links them by default."""
        return RattlerInstaller(self.worker, self.folders, self.secret_urls)

    @property
    def _conda_installer(self) -> CondaInstaller:
        ours = self.installer
        linker: CondaLinker = self._chosen(backends.CONDA_INSTALLER, self.settings.conda_installer, lambda: ours)
        return ours if linker is ours else LinkedByAnother(files=ours, linker=linker)

    @cached_property
    def hydrator(self) -> Hydrator:
        """The maker of prefixes."""
        return Hydrator(
            self.folders,
            self._conda_installer,
            wheels=UvInstaller(self.runner, find_uv, self.folders),
            machine=Machine.here(),
            lock_timeout=self.settings.lock_timeout,
            link_scripts=self.settings.link_scripts,
            supply=self.supplier.supply,
            permit=self.policing.check,
        )

    @cached_property
    def policing(self) -> Policing:
        """What holds environments against the policy."""
        return Policing(
            policy=self.settings.policy,
            verifier=lambda: self.attestations,
            notes=self.locks.notes,
            machine_indexes=self.settings.machine_indexes,
            default_index=lambda: self.index_pages.default_of_uv(),
            now=lambda: datetime.now(timezone.utc),
        )

    @cached_property
    def attestations(self) -> AttestationVerifier:
        """What looks for attestations of packages."""
        from mfenv.app.attestations import AttestationVerifier

        return AttestationVerifier(
            worker=self.worker,
            pages=self.index_pages,
            repodata=str(self.folders.repodata),
            secret_urls=self.secret_urls,
            publishers=self.settings.policy.publishers,
        )

    @cached_property
    def index_pages(self) -> IndexPages:
        """The pages of package indexes."""
        # It brings a client of HTTP, which few launches need.
        from mfenv.app.index_pages import IndexPages

        return IndexPages(secret_urls=self.secret_urls, runner=self.runner, uv_cache=self.folders.uv_cache)

    @cached_property
    def runner(self) -> SystemProcessRunner:
        """The runner of programs."""
        return SystemProcessRunner()

    def _chosen(
        self,
        role: backends.Role,
        name: str,
        default: Callable[[], Part],
        others: Mapping[str, Callable[[], Part]] | None = None,
    ) -> Part:
        """Return our backend, the default one or one of our others, or that of another package."""
        if name in role.own:
            return (others or {}).get(name, default)()
        cache = self.folders.root / "backends" / role.group / name
        parts = backends.Parts(default=default, runner=self.runner, cache=cache, secret_urls=self.secret_urls)
        made: Part = role.make(name, parts)
        return made

    @cached_property
    def _uv_resolver(self) -> UvResolver:
        return UvResolver(
            self.runner,
            cache=self.folders.uv_cache,
            secret_urls=self.secret_urls,
            find_links=self.settings.find_links,
            surroundings=self.settings.uv,
        )

    @cached_property
    def resolver(self) -> Resolver:
        """The resolver of everything: conda alone, conda and PyPI together, and either upon what is there."""
        settings, host, distributions = self.settings, Platform.host(), self.distributions
        programs = {name: partial(self._program_resolver, name) for name in PROGRAMS}
        conda: Resolver = self._chosen(
            backends.CONDA_RESOLVER, settings.conda_resolver, self._rattler_resolver, programs
        )
        pypi: PypiResolver = self._chosen(
            backends.PYPI_RESOLVER, settings.pypi_resolver, lambda: self._uv_resolver, {"pip": self._pip_resolver}
        )
        hybrid = HybridResolver(conda=conda, pypi=pypi, distributions=distributions, host=host)
        mixed: Resolver = self._chosen(
            backends.MIXED_RESOLVER, settings.mixed_resolver, lambda: hybrid, {"conda-lock": self._conda_lock_resolver}
        )
        extending = ExtendingResolver(
            inner=hybrid if mixed is hybrid else ByKind(mixed=mixed, others=hybrid, not_asked_for=ANY_NEED),
            conda=conda,
            pypi=pypi,
            distributions=distributions,
            lock_files=self.lock_files,
            select=select,
            requires=self._requirements_of,
            host=host,
        )
        return self.policing.over(extending)

    def _rattler_resolver(self) -> Resolver:
        return RattlerResolver(self.worker, cache=str(self.folders.repodata), secret_urls=self.secret_urls)

    def _program_resolver(self, program: str) -> Resolver:
        index = RattlerIndex(self.worker, cache=str(self.folders.repodata), secret_urls=self.secret_urls)
        return CondaCliResolver(
            program,
            runner=self.runner,
            records=index.records,
            cache=self.folders.root / "backends" / program,
            secret_urls=self.secret_urls,
        )

    def _conda_lock_resolver(self) -> Resolver:
        from mfenv.resolve.backends.conda_lock import CondaLockResolver

        index = RattlerIndex(self.worker, cache=str(self.folders.repodata), secret_urls=self.secret_urls)
        return CondaLockResolver(runner=self.runner, records=index.records, secret_urls=self.secret_urls)

    def _pip_resolver(self) -> PypiResolver:
        # It reads requirements, which nothing else at a launch that changes nothing does.
        from mfenv.resolve.backends.pip import PipResolver

        return PipResolver(
            self.runner,
            cache=self.folders.root / "backends" / "pip",
            secret_urls=self.secret_urls,
            find_links=self.settings.find_links,
        )

    @cached_property
    def lock_files(self) -> LockFileReader:
        """The reader of other tools' lock files."""
        return LockFileReader(
            runner=self.runner,
            uv=find_uv,
            cache=self.folders.uv_cache,
            worker=self.worker,
            records=RattlerRecords(
                self.worker,
                cache=str(self.folders.distributions),
                archives=str(self.folders.archives),
                secret_urls=self.secret_urls,
            ),
        )

    def _requirements_of(self, package: ResolvedPypiPackage) -> Sequence[str]:
        wheel = package.wheel
        assert wheel is not None
        return requirements_of(self._download(wheel.url, wheel.file_name, wheel.sha256))

    @cached_property
    def distributions(self) -> RattlerDistributions:
        """The reader of what conda packages bring."""
        return RattlerDistributions(
            self.worker,
            cache=str(self.folders.distributions),
            archives=str(self.folders.archives),
            repodata=str(self.folders.repodata),
            secret_urls=self.secret_urls,
        )

    @cached_property
    def builds(self) -> Builds:
        """The builders of wheels."""
        return Builds(
            resolver=self.resolver,
            hydrator=self.hydrator,
            measure=self.installer.measure,
            conda_versions=self.distributions.versions,
            host_target=self.settings.target(Platform.host()),
            wheel_builder=self._wheel_builder,
        )

    def _wheel_builder(self, request: ResolutionRequest, python: Callable[[str], Path]) -> WheelBuilder:
        return WheelBuilder(
            runner=self.runner,
            uv=find_uv,
            folder=self.folders.wheels,
            cache=self.folders.uv_cache,
            python=python,
            download=self._download,
            secret_urls=self.secret_urls,
            environment=build_environment(request, self.secret_urls, self.settings.find_links, self.settings.uv),
            arguments=build_arguments(request),
            surroundings=self.settings.uv,
            timeout=self.settings.lock_timeout,
            local_content=dict(request.spec.local_content),
        )

    def _download(self, url: str, file_name: str, sha256: str | None) -> Path:
        artifact = Artifact(file_name=file_name, url=url, sha256=sha256)
        (found,) = self.installer.measure([artifact])
        return archive_path(found, self.folders.archives)

    def _has(self, artifact: LockedArtifact) -> bool:
        built = Path(unquote(urlsplit(artifact.url).path))
        return is_here(artifact, self.folders.archives) or built.is_file()

    # ---------------------------------------------------------------- stores

    def shared(self) -> BlobStore | None:
        """Return the store that is shared with others, or None; opened when it is first asked for, by any thread."""
        with self._opening:
            if self._opened is None:
                store = self._open_store()
                self._opened = (ToldBlobStore(store) if store and debug_log.is_on() else store,)
            return self._opened[0]

    @cached_property
    def layout(self) -> Layout:
        """The names of keys in the shared store."""
        return Layout(packages_folder=self.settings.packages_dirname, environments_folder=self.settings.envs_dirname)

    @cached_property
    def index(self) -> ProjectIndex:
        """What this project resolved, and uses."""
        return ProjectIndex(self._project / self.settings.magic_file)

    @cached_property
    def shares(self) -> ProjectIndex:
        """What this machine knows stores to have; apart from what people put under version control."""
        name = Path(self.settings.magic_file)
        return ProjectIndex(self._project / f"{name.stem}.shared{name.suffix}")

    @cached_property
    def locks(self) -> LockStore:
        """The locks of this project, and of those that it shares with."""
        own = LocalBlobStore(self._project / f"{Path(self.settings.magic_file).stem}.locks")
        return LockStore(own, shared=self.shared, layout=self.layout, keeps_found=self._keeps_found)

    def aliases(self, tell: Callable[[str], None] = lambda _line: None) -> AliasStore | None:
        """Return the names of environments, or None where no store is shared; `tell` hears of those restored."""
        shared = self.shared()
        return AliasStore(shared, self.layout, tell=tell) if shared else None

    @cached_property
    def supplier(self) -> Supplier:
        """What brings package files from the shared store."""
        return Supplier(self._packages, self.folders.archives, lock_timeout=self.settings.lock_timeout)

    def _packages(self) -> PackageStore | None:
        shared = self.shared()
        return PackageStore(shared, self.layout) if shared else None

    @cached_property
    def sharer(self) -> Sharer:
        """What puts environments into the shared store."""
        return Sharer(
            shared=self.shared,
            locks=self.locks,
            index=self.shares,
            layout=self.layout,
            archives=self.folders.archives,
            fetch=self.installer.fetch,
            supplier=self.supplier,
            now=lambda: datetime.now(timezone.utc),
        )

    @cached_property
    def toolchains(self) -> ToolchainPublisher:
        """What puts into the shared store what a machine needs that has nothing."""
        return ToolchainPublisher(
            pypi=self._uv_resolver,
            lock_python=self._lock_python,
            link=self.installer.link,
            fetch=self.installer.fetch,
            folders=self.folders,
            lock_timeout=self.settings.lock_timeout,
            channels=tuple(map(str, self.settings.channels)),
            shared=self.shared,
            layout=self.layout,
            target=self.settings.target,
            indexes=self.settings.indexes,
            default_index=self.settings.default_index,
        )

    @cached_property
    def bytecode(self) -> BytecodePublisher:
        """What compiles environments for other machines."""
        return BytecodePublisher(
            hydrator=self.hydrator,
            runner=self.runner,
            machine=Machine.here(),
            shared=self.shared,
            layout=self.layout,
        )

    def _lock_python(self, platform: Platform, version: str) -> LockedEnvironment:
        """Lock a Python and nothing else; nobody remembers it. Raises `ResolutionFailed`."""
        python = PythonConstraint(version=version)
        spec = EnvironmentSpec(python=python, conda=(), channels=self.settings.channels)
        request = ResolutionRequest(spec=spec, target=self.settings.target(platform))
        answer = self.resolver.resolve(request)
        return lock_of(answer, self.installer.measure, self.builds.for_request(request, answer))

    @property
    def store_location(self) -> StoreLocation | None:
        """Where the shared store is, for machines that have nothing else to find it by."""
        shared = self.shared()
        return self.location_of(shared) if shared else None

    def location_of(self, store: BlobStore) -> StoreLocation:
        """Where a store is that has this project's names of keys."""
        return StoreLocation(
            kind=store.kind,
            root=store.location,
            packages=self.layout.packages,
            toolchain=self.layout.toolchain,
            environments=self.layout.environments,
        )

    def locker(self, user: str, tell: Callable[[str], None] = lambda _line: None, *, is_dry: bool = False) -> Locker:
        """The finder and maker of locks, who notes that `user` asked, and says to `tell` which locks do not fit.

        One that is dry remembers nothing that it finds.
        """
        return Locker(
            locks=self.locks,
            is_dry=is_dry,
            policing=self.policing,
            index=self.index,
            resolver=self.resolver,
            measure=self.installer.measure,
            builds=self.builds.for_request,
            convert=lambda lock: converted(
                lock, self.settings.preferred_format, self.folders.archives, fetch=self.installer.fetch, tell=tell
            ),
            has=self._has,
            is_shared=self._is_known_to_be_shared,
            user=user,
            now=lambda: datetime.now(timezone.utc),
            others=self.settings.use_remote_latest,
            tell=tell,
        )

    def _is_known_to_be_shared(self, lock_id: LockId) -> bool:
        try:
            return self.locks.is_shared(lock_id)
        except StoreError:
            return False


class _MadeWhenAsked(Mapping[str, str]):
    """A mapping that is made when somebody first looks into it."""

    def __init__(self, make: Callable[[], Mapping[str, str]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Mapping[str, str]:
        return self._make()

    def __getitem__(self, key: str) -> str:
        return self._made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)
