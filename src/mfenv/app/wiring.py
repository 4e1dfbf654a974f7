"""The object graph: which implementation stands behind which seam, from the settings alone."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

from mfenv.app.lock import Locker
from mfenv.app.settings import Settings
from mfenv.domain.channel import ChannelCredentials
from mfenv.domain.machine import Machine
from mfenv.hydrate import conda
from mfenv.hydrate.conda import RattlerInstaller
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.service import Hydrator
from mfenv.io.worker import WorkerClient
from mfenv.resolve.backends import rattler as rattler_backend
from mfenv.resolve.backends.rattler import RattlerResolver
from mfenv.store.backends.local import LocalBlobStore
from mfenv.store.locks import LockStore


class Wiring:
    """Builds each part when it is first asked for; nothing here starts a process."""

    def __init__(
        self, settings: Settings, *, store_root: Path, credentials: tuple[ChannelCredentials, ...] = ()
    ) -> None:
        """Wire for `settings`; `store_root` is where locks are kept when the settings do not say.

        `credentials` are those of channels that a flow names.
        """
        self.settings = settings
        self._store_root = settings.store_root or store_root
        all_credentials = (*settings.channel_credentials, *credentials)
        self._secret_urls = {str(found.channel): found.secret_url for found in all_credentials}

    @cached_property
    def folders(self) -> LocalFolders:
        """The folders on this machine."""
        return LocalFolders(self.settings.local_path)

    @cached_property
    def worker(self) -> WorkerClient:
        """The helper process that solves and links."""
        return WorkerClient({**rattler_backend.OPERATIONS, **conda.OPERATIONS}, needs=("rattler",))

    def close(self) -> None:
        """End the helper process, if there is one."""
        if "worker" in self.__dict__:
            self.worker.close()

    @cached_property
    def installer(self) -> RattlerInstaller:
        """The conda installer."""
        return RattlerInstaller(self.worker, self.folders, self._secret_urls)

    @cached_property
    def hydrator(self) -> Hydrator:
        """The maker of prefixes."""
        return Hydrator(
            self.folders,
            self.installer,
            machine=Machine.here(),
            lock_timeout=self.settings.lock_timeout,
            link_scripts=self.settings.link_scripts,
        )

    def locker(self, user: str) -> Locker:
        """The finder and maker of locks, who notes that `user` asked."""
        return Locker(
            locks=LockStore(LocalBlobStore(self._store_root)),
            resolver=RattlerResolver(self.worker, cache=str(self.folders.repodata), secret_urls=self._secret_urls),
            measure=self.installer.measure,
            user=user,
            now=lambda: datetime.now(timezone.utc),
        )
