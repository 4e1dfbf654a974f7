"""Have the environment of a lock on this machine: at once when it is there, built once when it is not."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment
from mfenv.domain.machine import Machine, unmet
from mfenv.errors import EnvironmentsError, HydrationFailed
from mfenv.hydrate.activation import activation_of, write_variables
from mfenv.hydrate.archives import USED
from mfenv.hydrate.conda import CondaInstaller
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.link_scripts import run_post_link
from mfenv.hydrate.ownership import check_ownership
from mfenv.hydrate.plan import archive_path, plan
from mfenv.hydrate.prefix import MAKING, MARKER, Prefix, mark_making, mark_ready, mark_used, owner, usable_prefix
from mfenv.hydrate.pypi import PypiInstaller, site_packages_of
from mfenv.io.filelock import held, used
from mfenv.io.files import remove_tree, sha256_of


class HydrationEvents(Protocol):
    """Who is told how a hydration goes. Called from any thread."""

    def waiting(self, holder: str) -> None:
        """Another process builds the same environment."""

    def fetched(self, event: dict[str, object]) -> None:
        """A file is here: see `mfenv.hydrate.conda.CondaInstaller.fetch`; or all are, and so many are being linked."""


class Supply(Protocol):
    """Brings files from nearer than their origin; see `mfenv.app.supply.Supplier`."""

    def __call__(
        self,
        artifacts: Sequence[LockedArtifact],
        on_event: Callable[[dict[str, object]], None] | None = None,
        *,
        again: bool = False,
    ) -> int:
        """Have of `artifacts` what can be had; with `again`, also what is here and damaged. Return how many came."""
        ...


def no_supply(
    artifacts: Sequence[LockedArtifact],  # noqa: ARG001
    on_event: Callable[[dict[str, object]], None] | None = None,  # noqa: ARG001
    *,
    again: bool = False,  # noqa: ARG001
) -> int:
    """Bring nothing: everything comes from its origin."""
    return 0


class Hydrator:
    """Makes prefixes from locks."""

    def __init__(
        self,
        folders: LocalFolders,
        installer: CondaInstaller,
        *,
        wheels: PypiInstaller,
        machine: Machine,
        lock_timeout: float,
        link_scripts: bool,
        supply: Supply = no_supply,
        permit: Callable[[LockedEnvironment], None] = lambda _lock: None,
    ) -> None:
        """Make prefixes in `folders` with `installer`; wait at most `lock_timeout` seconds for another builder.

        `permit` is asked before anything of an environment is brought here, and raises for one that must not be.
        """
        self._folders = folders
        self._installer = installer
        self._wheels = wheels
        self._machine = machine
        self._lock_timeout = lock_timeout
        self._link_scripts = link_scripts
        self._supply = supply
        self._permit = permit
        self._given_up = threading.Event()

    def ready(self, lock: LockedEnvironment) -> Prefix | None:
        """Return the prefix of `lock` if it is there; costs one small read."""
        return usable_prefix(self._folders.prefix(lock.id), lock)

    def hydrate(self, lock: LockedEnvironment, events: HydrationEvents | None = None) -> Prefix:
        """Return the prefix of `lock`, made if need be. Any number of processes may ask for the same one.

        Raises `HydrationFailed`, and what `permit` raises; then nothing is left that could be taken for an environment.
        """
        if prefix := self.ready(lock):
            mark_used(prefix)
            return prefix
        if reason := unmet(lock, self._machine):
            raise HydrationFailed(
                f"environment `{lock.id}` cannot run on this machine: {reason}",
                hint="Run the step on another machine, or ask for packages that are built for this one",
            )
        self._permit(lock)
        waiting = events.waiting if events else None
        path = self._folders.prefix_lock(lock.id)
        with (
            held(path, timeout=self._lock_timeout, waiting=waiting, given_up=self._given_up.is_set),
            # From when a file was found until it is linked, nobody clears it away.
            used(self._folders.files_lock),
        ):
            # Somebody else may have made it while this process waited.
            ready = self.ready(lock)
            return ready or self._build(lock, events, self._folders.prefix(lock.id), self._folders.staging(lock.id))

    def make_at(self, lock: LockedEnvironment, path: Path, events: HydrationEvents | None = None) -> Prefix:
        """Make an environment of its own at `path`, where nothing is, for the user to change; return it.

        One that was begun there, and not finished, is begun anew. Raises `HydrationFailed`, also when something else is
        there.
        """
        if reason := unmet(lock, self._machine):
            raise HydrationFailed(
                f"environment `{lock.id}` cannot run on this machine: {reason}",
                hint="Make it on another machine, or ask for packages that are built for this one",
            )
        self._permit(lock)
        waiting = events.waiting if events else None
        with (
            held(
                self._folders.place_lock(path),
                timeout=self._lock_timeout,
                waiting=waiting,
                given_up=self._given_up.is_set,
            ),
            used(self._folders.files_lock),
        ):
            if os.path.lexists(path):
                if owner(path) is None or (path / MARKER).exists():
                    raise HydrationFailed(f"`{path}` is there already")
                remove_tree(path)
            # Beside it, so that it can be renamed; hidden, so that nobody takes it for something.
            return self._build(lock, events, path, path.with_name(f".{path.name}.{secrets.token_hex(4)}.making"))

    def give_up(self) -> None:
        """Have calls that wait for another builder fail, from here on; what is being built here goes on."""
        self._given_up.set()

    def _have_files(self, lock: LockedEnvironment, events: HydrationEvents | None) -> None:
        """Have all files here, checked: from the cache, else the store, else their origin."""
        complaints = list[str]()

        def told(event: dict[str, object]) -> None:
            if damaged := event.get("damaged"):
                complaints.append(f"the store's copy `{damaged}` is damaged")
            if unreachable := event.get("unreachable"):
                complaints.append(f"the store cannot be used: {unreachable}")
            if events:
                events.fetched(event)

        # First, so that the store is asked for those that are damaged here.
        converted = {package.artifact for package in lock.packages if self._is_converted(package)}
        self._supply(lock.stored_artifacts, told)
        others = [package for package in lock.packages if package.artifact not in converted]
        converted |= {package.artifact for package in others if self._is_converted(package)}
        artifacts = [artifact for artifact in lock.artifacts if artifact not in converted]
        if any(package.converted for package in lock.packages):
            # Those whose converted file is nowhere: what the channel serves does as well.
            self._supply(artifacts, told)
        try:
            self._installer.fetch(artifacts, on_event=told)
        except HydrationFailed as error:
            # A file that was damaged here, and that its origin does not have any more.
            if not self._supply(artifacts, told, again=True):
                hints = [error.hint] if error.hint else []
                error.hint = "; ".join([*hints, *dict.fromkeys(complaints)]) or None
                raise
            self._installer.fetch(artifacts, on_event=told)

    def _is_converted(self, package: LockedCondaPackage) -> bool:
        """Tell whether a package's converted file is here; one that is damaged is taken away."""
        if package.converted is None:
            return False
        path = archive_path(package.converted, self._folders.archives)
        try:
            if sha256_of(path) == package.converted.sha256:
                with contextlib.suppress(OSError):
                    (path.parent / USED).touch()
                return True
            path.unlink()
        except FileNotFoundError:
            pass
        return False

    def _build(self, lock: LockedEnvironment, events: HydrationEvents | None, path: Path, staging: Path) -> Prefix:
        is_shared = path == self._folders.prefix(lock.id)
        try:
            for left_over in plan(lock, self._folders).remove if is_shared else ():
                remove_tree(left_over)
            self._have_files(lock, events)
            if events:
                events.fetched({"linking": len(lock.artifacts)})
            self._installer.link(lock, staging, path)
            wheels = self._wheels.read(lock) if lock.pypi else []
            check_ownership(lock, staging, site_packages_of(lock), wheels)
            write_variables(lock.variables, staging)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not is_shared:
                mark_making(staging, lock.id)
            staging.rename(path)
            if lock.pypi:
                # Here and not in the staging folder: installers write the prefix's path into scripts.
                self._wheels.install(lock, path, wheels)
            if self._link_scripts:
                run_post_link(lock, path)
            prefix = Prefix(path=path, lock_id=lock.id, activation=activation_of(path))
            mark_ready(prefix)
            (path / MAKING).unlink(missing_ok=True)
        except BaseException as error:
            with contextlib.suppress(OSError):
                remove_tree(staging)
                remove_tree(path)
            if isinstance(error, OSError) and not isinstance(error, EnvironmentsError):
                raise HydrationFailed(
                    f"environment `{lock.id}` cannot be put in place: {error.strerror or error}",
                    hint="Check the disk space and the rights below METAFLOW_CONDA_LOCAL_PATH",
                ) from error
            raise
        return prefix
