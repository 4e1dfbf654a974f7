"""The steps of a flow that run on other machines: for which platforms, and what gets their environments there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mfenv.app.reporting import Live
from mfenv.app.sharing import Publication
from mfenv.app.wiring import Wiring
from mfenv.domain.assignment import Locked, StepAssignment
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.toolchain import StoreLocation, Toolchain
from mfenv.errors import EnvironmentsError, StoreError
from mfenv.metaflow.requirements import remote_platform
from mfenv.metaflow.wishes import FlowWishes
from mfenv.store.layout import DEPLOYED

BEFORE_START = "_parameters"
"""What schedulers call the step that notes parameters; it runs on a machine like that of the start step."""


class RemoteSteps:
    """What the launching process does for other machines, from which nothing but the store can be reached."""

    def __init__(self, platforms: Mapping[str, Platform], *, is_quiet: bool = False) -> None:
        """Know the platforms of these steps, by their names; nothing is asked for yet."""
        self._platforms = platforms
        self._is_quiet = is_quiet
        self._published: Publication | None = None
        self._location: StoreLocation | None = None

    @classmethod
    def of(cls, flow: Any, wishes: FlowWishes, *, is_quiet: bool = False) -> RemoteSteps:
        """Return those of a flow that have an environment there."""
        commands = wishes.wiring.settings.remote_commands
        found = {step.__name__: remote_platform(step.decorators, commands) for step in flow}
        platforms = {step: platform for step, platform in found.items() if platform}
        enabled = {step: platform for step, platform in platforms.items() if not wishes.layers[step].disabled}
        return cls(enabled, is_quiet=is_quiet)

    def __contains__(self, step: str) -> bool:
        return self._place_of(step) in self._platforms

    def platform(self, step: str) -> Platform:
        """Return the platform of the machine that a step runs on, which may be this one."""
        return self._platforms.get(self._place_of(step)) or Platform.host()

    @staticmethod
    def _place_of(step: str) -> str:
        return "start" if step == BEFORE_START else step

    # ---------------------------------------------------------------- the store

    def prepare(self, wiring: Wiring, datastore_type: str) -> None:
        """Look for the store and for toolchains, the latter in the background; nothing for a flow that runs here.

        Raises `StoreError` where the store cannot be used, or there is none.
        """
        if not self._platforms:
            return
        step = next(iter(self._platforms))
        begin = f"step `{step}` runs on another machine, which gets its environment from the store"
        try:
            shared = wiring.shared()
        except StoreError as error:
            raise StoreError(f"{begin}: {error.message}", hint=error.hint, output=error.output) from error
        if shared is None:
            raise StoreError(
                f"{begin}, and nothing is shared with the datastore `{datastore_type}`",
                hint="Take it out of METAFLOW_CONDA_IGNORE_CACHING_DATASTORES",
            )
        self._location = wiring.location_of(shared)
        self._published = Publication(wiring.sharer, wiring.toolchains, wiring.bytecode, set(self._platforms.values()))

    @property
    def location(self) -> StoreLocation | None:
        """Where the store is; None for a flow that needs none."""
        return self._location

    def toolchains(self) -> tuple[Toolchain, ...]:
        """Return what makes environments there. Raises the `EnvironmentsError` of looking for it."""
        return self._published.toolchains() if self._published else ()

    @property
    def compiling(self) -> tuple[Platform, ...]:
        """The platforms for which this machine cannot compile: their first tasks do."""
        return tuple(sorted({*self._platforms.values()} - {Platform.host()}, key=lambda one: one.value))

    def start(self, flow: str, run_id: str, locks: Iterable[LockedEnvironment]) -> None:
        """Begin to send what is not in the store, in this order, for a run that is noted there; returns at once."""
        if self._published:
            self._published.start(flow, run_id, locks)

    def publish(self, flow: str, locks: Iterable[LockedEnvironment], echo: Callable[..., None]) -> None:
        """Have all in the store for a deployment: whoever runs it comes later. Raises the `EnvironmentsError` of it."""
        if self._published is None:
            return
        self._published.start(flow, DEPLOYED, locks)
        self._published.wait()
        try:
            self._published.wait_for_bytecode()
        except EnvironmentsError as error:
            # Tasks compile for themselves.
            echo(f"Warning: the environments could not be compiled here: {error.message}.", fg="yellow")

    def wait(self, assignment: StepAssignment) -> None:
        """Wait until the machine that a task runs on can get its environment. Raises the error of sending it."""
        assert self._published is not None
        lock_id = assignment.lock if isinstance(assignment, Locked) else None
        if self._published.is_done(lock_id):
            self._published.wait(lock_id)
            return
        title = "Caching the environment for other machines" if lock_id is None else f"Caching environment {lock_id}"
        with Live(title, is_shown=not self._is_quiet) as live:
            self._published.listener = live.passed
            self._published.wait(lock_id)

    def stop(self) -> None:
        """Send nothing more."""
        if self._published:
            self._published.stop()
