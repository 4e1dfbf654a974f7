"""What the launching process does: read, lock, begin to make, enter."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from metaflow.packaging_sys import ContentType
from metaflow.util import get_username

from mfenv.app.hydrate import BackgroundHydration
from mfenv.app.progress import TransferLine
from mfenv.app.reporting import Live, aside, both, is_terminal
from mfenv.app.sharing import BackgroundSharing, Publication
from mfenv.app.wiring import Wiring
from mfenv.domain.assignment import Deferred, Disabled, Locked, StepAssignment
from mfenv.domain.base import NamedBase, PathspecBase
from mfenv.domain.digest import LockId
from mfenv.domain.gpu import cpu_only
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.reference import (
    is_late,
    substitute,
    variable_of_parameter,
    variables_in,
)
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import (
    EnvironmentSpec,
    Place,
    SpecLayer,
)
from mfenv.errors import EnvironmentsError, HydrationFailed, ResolutionFailed, StoreError
from mfenv.formats import metadata_file
from mfenv.formats.metadata_file import FlowMetadata
from mfenv.hydrate.prefix import Prefix, mark_used
from mfenv.io import debug_log
from mfenv.io.filelock import used
from mfenv.io.files import write_atomically
from mfenv.metaflow.boundary import EnvironmentException
from mfenv.metaflow.code_root import CodeRoot
from mfenv.metaflow.config import read_settings
from mfenv.metaflow.enter import ENVIRONMENT_ID
from mfenv.metaflow.requirements import remote_platform
from mfenv.metaflow.wishes import FlowWishes, reference
from mfenv.resolve.satisfies import satisfies
from mfenv.store.layout import DEPLOYED

METADATA_FILE = "conda_v2.cnd"
BEFORE_START = "_parameters"
"""What schedulers call the step that notes parameters; until these are known, a late start step runs in this one's."""

Echo = Callable[..., None]


@contextlib.contextmanager
def _spoken() -> Iterator[None]:
    """Let Metaflow print our errors."""
    try:
        yield
    except EnvironmentsError as error:
        raise EnvironmentException(error) from error
    except OSError as error:
        # A write that fails does not say what it wrote to.
        place = f"`{error.filename}` cannot be used" if error.filename else "a file cannot be written"
        unusable = HydrationFailed(
            f"{place}: {error.strerror or error}",
            hint="Check the disk and the rights on that folder, or set METAFLOW_CONDA_LOCAL_PATH to another",
        )
        raise EnvironmentException(unusable) from error


class Launch:
    """The environments of one flow, in the process that launches, deploys or packages it."""

    def __init__(self, flow: Any, environment: Any, datastore_type: str, echo: Echo, *, force: bool) -> None:
        """Know the flow; nothing is read yet. With `force`, locks that are there are not used."""
        self._flow = flow
        self._environment = environment
        self._datastore_type = datastore_type
        self._echo = echo
        self._force = force
        self._wiring: Wiring | None = None
        self._wishes: FlowWishes | None = None
        self._assignments: dict[str, StepAssignment] = {}
        self._metadata: Path | None = None
        self._locks: dict[LockId, LockedEnvironment] = {}
        self._remote: dict[str, Platform] = {}
        self._published: Publication | None = None
        self._hydration: BackgroundHydration | None = None
        self._sharing: BackgroundSharing | None = None
        self._code: CodeRoot | None = None
        self._in_use = contextlib.ExitStack()
        # Metaflow gives an echo that says nothing when it is told to be quiet.
        self._is_quiet = "--quiet" in sys.argv
        self._lines = _Lines(echo, is_quiet=self._is_quiet)

    # ---------------------------------------------------------------- locking

    def lock(self) -> None:
        """Give every step its assignment. Solves what is not known yet; called again, it does nothing."""
        if self._assignments:
            return
        with _spoken():
            wishes = FlowWishes(self._flow, self._datastore_type, self._echo)
            layers, wiring = wishes.layers, wishes.wiring
            self._wishes, self._wiring = wishes, wiring
            for line in wishes.deprecations:
                self._echo(f"Deprecated: {line}.", fg="yellow")
            gpu = wishes.gpu
            self._remote = self._remote_platforms(wishes)
            publication = self._publication(wiring)
            requests = wishes.requests_of({step: self._platform(step) for step in layers})
            if "start" in self._remote and layers["start"].fetch_at_exec:
                requests[BEFORE_START] = wishes.bare(self._remote["start"])
            locks = self._lock_requests(wiring, requests, layers)
            for step in sorted(gpu & requests.keys()):
                for name in cpu_only(locks[requests[step]]):
                    self._echo(
                        f"Warning: step {step} asks for a GPU, but {name} is a build for the CPU only.", fg="yellow"
                    )
            self._locks = {lock.id: lock for lock in locks.values()}
            assignments = {
                step: self._assignment(layer, requests.get(step), locks, self._platform(step))
                for step, layer in layers.items()
            }
            if BEFORE_START in requests:
                asked = requests[BEFORE_START]
                assignments[BEFORE_START] = Locked(
                    request=asked.key, lock=locks[asked].id, platform=asked.target.platform
                )
            # Here and not when it is packaged: Metaflow does that in a thread, where an error is only a line.
            self._metadata = self._write_metadata(wiring, assignments, publication)
            self._assignments = assignments
            self._published = publication

    def _lock_requests(
        self, wiring: Wiring, requests: Mapping[str, ResolutionRequest], layers: Mapping[str, SpecLayer]
    ) -> dict[ResolutionRequest, LockedEnvironment]:
        locker = wiring.locker(get_username() or "unknown", tell=self._echo)
        known = {} if self._force else locker.known(requests.values())
        for asked in requests.values():
            if isinstance(base := asked.spec.base, LockedEnvironment) and satisfies(base, asked.spec) is None:
                # A named environment that has all that is asked for is what the step runs in.
                known[asked] = base
        missing = [request for request in dict.fromkeys(requests.values()) if request not in known]
        if not missing:
            return known
        noun = "environment" if len(missing) == 1 else "environments"
        title = f"Resolving {len(missing)} {noun}"
        # On a terminal the line moves, and is written when all is done.
        moves = is_terminal(sys.stderr) and not self._is_quiet and not debug_log.is_on()
        is_log = debug_log.is_on()
        if not moves:
            self._echo(f"{title} ...", nl=is_log)
        began = time.monotonic()
        try:
            total = len(missing) if len(missing) > 1 else None
            with Live(title, total=total, is_shown=moves) as live:
                outcomes = replace(locker, on_answer=live.answered).resolve(missing)
        except BaseException:
            # Python waits at its end for threads that wait for the helper process.
            wiring.close()
            raise
        failures = {request: outcome for request, outcome in outcomes.items() if isinstance(outcome, EnvironmentsError)}
        begin = f"{title} ..." if moves or is_log else ""
        self._echo(f"{begin} {'failed' if failures else 'done'} in {time.monotonic() - began:.1f} seconds.")
        if failures:
            raise explained(failures, requests, layers)
        return known | {r: outcome for r, outcome in outcomes.items() if isinstance(outcome, LockedEnvironment)}

    @staticmethod
    def _assignment(
        layer: SpecLayer,
        request: ResolutionRequest | None,
        locks: Mapping[ResolutionRequest, LockedEnvironment],
        platform: Platform,
    ) -> StepAssignment:
        if request is None:
            if layer.disabled or not isinstance(layer.base, NamedBase | PathspecBase):
                return Disabled()
            return Deferred(base=layer.base, platform=platform)
        lock = locks[request]
        return Locked(request=request.key, lock=lock.id, platform=lock.platform)

    def _remote_platforms(self, wishes: FlowWishes) -> dict[str, Platform]:
        """Return the platforms of the steps that run on other machines, and have an environment there."""
        commands = wishes.wiring.settings.remote_commands
        found = {step.__name__: remote_platform(step.decorators, commands) for step in self._flow}
        return {step: platform for step, platform in found.items() if platform and not wishes.layers[step].disabled}

    def _platform(self, step: str) -> Platform:
        return self._remote.get(step) or Platform.host()

    def _publication(self, wiring: Wiring) -> Publication | None:
        """Return what gets this flow's environments to other machines; None for a flow that has nothing there."""
        if not self._remote:
            return None
        step = next(iter(self._remote))
        begin = f"step `{step}` runs on another machine, which gets its environment from the store"
        try:
            shared = wiring.shared()
        except StoreError as error:
            raise StoreError(f"{begin}: {error.message}", hint=error.hint, output=error.output) from error
        if shared is None:
            raise StoreError(
                f"{begin}, and nothing is shared with the datastore `{self._datastore_type}`",
                hint="Take it out of METAFLOW_CONDA_IGNORE_CACHING_DATASTORES",
            )
        # It is looked for while environments are resolved.
        return Publication(wiring.sharer, wiring.toolchains, wiring.bytecode, set(self._remote.values()))

    def _write_metadata(
        self, wiring: Wiring, assignments: Mapping[str, StepAssignment], publication: Publication | None = None
    ) -> Path:
        """Write the metadata file of this flow, under a name that tells its content."""
        content = metadata_file.dump(
            FlowMetadata(
                steps=assignments,
                locks=self._locks,
                store=wiring.store_location if publication else None,
                toolchains=publication.toolchains() if publication else (),
                compiling=tuple(sorted({*self._remote.values()} - {Platform.host()}, key=lambda one: one.value)),
            )
        )
        path = wiring.folders.metadata / f"{hashlib.sha256(content).hexdigest()[:40]}.cnd"
        # Damaged, it would travel with the code.
        if not path.is_file() or path.read_bytes() != content:
            write_atomically(path, content)
        with contextlib.suppress(OSError):
            # When it was last used: nobody clears it away before it is in the code package.
            os.utime(path)
        return path

    def files_for_package(self) -> list[tuple[str, str, ContentType]]:
        """Return the metadata file of this flow, for its code package: its path, its name there, its kind."""
        if self._metadata is None:
            return []
        return [(str(self._metadata), METADATA_FILE, ContentType.OTHER_CONTENT)]

    # ---------------------------------------------------------------- running

    def begin(self, package: Any, run_id: str) -> None:
        """Begin to make the environments that the run will need, and lay out Metaflow's code for them."""
        if self._hydration is not None:
            return
        try:
            with _spoken():
                self._begin(package, run_id)
        except BaseException:
            # Metaflow calls nobody to finish a run that did not begin.
            self.finish()
            raise

    def _begin(self, package: Any, run_id: str) -> None:
        self.lock()
        assert self._wiring is not None
        needed = self._in_order_of_need(is_remote=False)
        if self._published:
            self._published.start(self._flow.name, run_id, self._remote_locks())
        for lock_id in needed:
            self._use(lock_id)
        self._sharing = BackgroundSharing(self._wiring.sharer, flow=self._flow.name, run_id=run_id)
        self._hydration = BackgroundHydration(
            self._wiring.hydrator,
            [self._locks[lock_id] for lock_id in needed],
            self._lines,
            on_ready=self._sharing.add,
        )
        for lock_id in self._hydration.ready:
            self._echo(f"Using existing Conda environment {lock_id}")
        for lock in self._hydration.missing:
            self._echo(f"Creating Conda environment {lock.id} ...")
            self._lines.makes(lock)
        self._hydration.start()
        if any(not isinstance(assignment, Disabled) for assignment in self._assignments.values()):
            self._code = CodeRoot(package, self._flow, self._environment, self._wiring.folders.code)

    def _use(self, lock_id: LockId) -> None:
        """Keep others from clearing away an environment for as long as the run lasts."""
        assert self._wiring is not None
        self._in_use.enter_context(used(self._wiring.folders.use_lock(lock_id)))

    def publish(self) -> None:
        """Have all that other machines need in the store, for a deployment: whoever runs it comes later."""
        if self._published is None:
            return
        with _spoken():
            self._published.start(self._flow.name, DEPLOYED, self._remote_locks())
            self._published.wait()
        try:
            self._published.wait_for_bytecode()
        except EnvironmentsError as error:
            # Tasks compile for themselves.
            self._echo(f"Warning: the environments could not be compiled here: {error.message}.", fg="yellow")

    @staticmethod
    def _place_of(name: str) -> str:
        """Return the step on whose machine something runs."""
        return "start" if name == BEFORE_START else name

    def _remote_locks(self) -> list[LockedEnvironment]:
        return [self._locks[lock_id] for lock_id in self._in_order_of_need(is_remote=True)]

    def waits_for_parameters(self, step: str) -> bool:
        """Tell whether a step's environment depends on parameters, which a deployed start step learns late."""
        assignment = self._assignments.get(step)
        return isinstance(assignment, Deferred) and step == "start"

    def _in_order_of_need(self, *, is_remote: bool) -> list[LockId]:
        """Return the locks of steps here, or elsewhere, in the order in which these come up, each once."""
        graph = self._flow._graph  # noqa: SLF001
        order, waiting = [BEFORE_START, "start"], ["start"]
        while waiting:
            for name in graph[waiting.pop(0)].out_funcs:
                if name not in order:
                    order.append(name)
                    waiting.append(name)
        steps = [self._assignments.get(name) for name in order if (self._place_of(name) in self._remote) is is_remote]
        return list(dict.fromkeys(assignment.lock for assignment in steps if isinstance(assignment, Locked)))

    def enter(self, step: str, cli_args: Any, flow_datastore: Any) -> None:
        """Make a task of `step` run in its environment; waits until that is ready.

        `flow_datastore` has the artifacts of the tasks before it.
        """
        assignment = self._assignments[step]
        if step in self._remote:
            assert self._published is not None
            cli_args.env[ENVIRONMENT_ID] = ""
            with _spoken():
                self._wait_until_published(assignment)
            return
        if isinstance(assignment, Disabled):
            # A flow that runs inside another flow's task must not pass that one's on.
            cli_args.env[ENVIRONMENT_ID] = ""
            return
        assert self._hydration is not None
        assert self._code is not None
        with _spoken():
            if isinstance(assignment, Deferred):
                assignment = self._fetched(step, assignment, cli_args.task, flow_datastore)
            try:
                prefix = self._waited_for(assignment.lock)
            except HydrationFailed as error:
                raise HydrationFailed(
                    f"step `{step}`: {error.message}", hint=error.hint, output=error.output
                ) from error
        mark_used(prefix)
        cli_args.entrypoint[0] = str(prefix.python)
        cli_args.env.update(prefix.environment(os.environ))
        cli_args.env.update(self._code.variables)
        cli_args.env["PYTHONNOUSERSITE"] = "1"
        if "PYTHONHOME" in os.environ:
            # Python takes an empty one for none.
            cli_args.env["PYTHONHOME"] = ""
        identity = [assignment.request, assignment.lock, assignment.platform.value]
        cli_args.env[ENVIRONMENT_ID] = json.dumps(identity)

    def _wait_until_published(self, assignment: StepAssignment) -> None:
        """Wait until the machine that the task runs on can get its environment."""
        assert self._published is not None
        lock_id = assignment.lock if isinstance(assignment, Locked) else None
        if self._published.is_done(lock_id):
            self._published.wait(lock_id)
            return
        title = "Caching the environment for other machines" if lock_id is None else f"Caching environment {lock_id}"
        with Live(title, is_shown=not self._is_quiet) as live:
            self._published.listener = live.passed
            self._published.wait(lock_id)

    def _waited_for(self, lock_id: LockId) -> Prefix:
        """Return an environment when it is ready; on a terminal, show how far it is."""
        assert self._hydration is not None
        if self._hydration.is_ready(lock_id):
            return self._hydration.prefix(lock_id)
        with self._lines.awaiting(lock_id):
            return self._hydration.prefix(lock_id)

    def _fetched(self, step: str, assignment: Deferred, task: Any, flow_datastore: Any) -> Locked:
        """Look up the environment of a task that is about to start."""
        assert self._hydration is not None
        where = f"step `{step}`, @named_env(fetch_at_exec=True)"
        known = {
            "METAFLOW_RUN_ID": str(task.run_id),
            "METAFLOW_RUN_ID_BASE": str(task.run_id),
            "METAFLOW_STEP_NAME": step,
            "METAFLOW_TASK_ID": str(task.task_id),
        }
        wanted = [name for name in variables_in(assignment.base.text, where=where) if name not in known]
        if any(map(is_late, wanted)):
            known |= self._parameters(task, flow_datastore)
        text = substitute(assignment.base.text, lambda name: known.get(name, os.environ.get(name)), where=where)
        assert self._wishes is not None
        lock = self._wishes.known().find(reference(assignment.base, text, where), assignment.platform, where=where)
        self._use(lock.id)
        self._lines.makes(lock)
        self._hydration.add(lock)
        spec = EnvironmentSpec(python=None, conda=(), channels=(), base=lock)
        target = read_settings().target(assignment.platform)
        return Locked(request=ResolutionRequest(spec=spec, target=target).key, lock=lock.id, platform=lock.platform)

    def _parameters(self, task: Any, flow_datastore: Any) -> dict[str, str]:
        """Return the values of the flow's parameters by the variables that stand for them.

        Each task has them: they are read from the first of those that this one comes after.
        """
        datastore = flow_datastore.get_task_datastore(*task.input_paths[0].split("/"))
        return {
            variable_of_parameter(parameter.name): str(datastore[name])
            for name, parameter in self._flow._get_parameters()  # noqa: SLF001
            if not getattr(parameter, "IS_CONFIG_PARAMETER", False) and name in datastore
        }

    def finish(self, *, is_done: bool = False) -> None:
        """Stop what is not needed any more, and clear away the run's own folder.

        When the run is done, wait until others can use what it resolved; one that failed should end now.
        """
        if self._hydration:
            self._hydration.stop()
        if self._published:
            self._published.stop()
        if self._sharing:
            # Metaflow calls this for each step.
            sharing, self._sharing = self._sharing, None
            self._share_the_rest(sharing, is_done=is_done)
        if self._wiring:
            self._wiring.close()
        if self._code:
            self._code.remove()
            self._code = None
        self._in_use.close()

    def _share_the_rest(self, sharing: BackgroundSharing, *, is_done: bool) -> None:
        if is_done and (count := sharing.under_way):
            title = f"Caching {count} {'environment' if count == 1 else 'environments'}"
            line = TransferLine(title, sys.stderr)
            with Live(title, is_shown=not self._is_quiet) as live:
                sharing.listener = both(line.passed, live.passed)
                sharing.wait()
            line.ended("failed" if sharing.troubles else "done")
        sharing.stop()
        for trouble in sharing.troubles:
            hint = f" ({trouble.hint})" if trouble.hint else ""
            self._echo(f"Warning: not everything could be shared with others: {trouble.message}{hint}.", fg="yellow")


class _Lines:
    """Tells of hydrations in plain lines, and shows how far they are while somebody waits for one."""

    def __init__(self, echo: Echo, *, is_quiet: bool) -> None:
        self._metaflows_echo = echo
        self._live = Live(is_shown=not is_quiet)

    def makes(self, lock: LockedEnvironment) -> None:
        """Know of an environment that is going to be made."""
        self._live.row(lock.id, _creating(lock.id), total=len(lock.artifacts), is_shown=False)

    @contextlib.contextmanager
    def awaiting(self, lock_id: LockId) -> Iterator[None]:
        """Show how far the environment is, and others in the making, for the duration of the block."""
        self._live.row(lock_id, _creating(lock_id))
        try:
            with self._live:
                yield
        finally:
            self._live.fetched({"environment": lock_id, "ended": True})

    def _echo(self, line: str) -> None:
        with aside():
            self._metaflows_echo(line)

    def waiting(self, holder: str) -> None:
        self._echo(f"Waiting for {holder}, which creates the same environment ...")

    def fetched(self, event: dict[str, object]) -> None:
        self._live.fetched(event)
        if healed := event.get("healed"):
            self._echo(f"The cached file {healed} was damaged; it was fetched again.")
        if damaged := event.get("damaged"):
            self._echo(f"The stored file {damaged} is damaged; it is fetched from its origin.")
        if unreachable := event.get("unreachable"):
            self._echo(f"The store cannot be used: {unreachable}; packages are fetched from their origin.")


def _creating(lock_id: LockId) -> str:
    return f"Creating Conda environment {lock_id}"


def explained(
    failures: Mapping[ResolutionRequest, EnvironmentsError],
    requests: Mapping[str, ResolutionRequest],
    layers: Mapping[str, SpecLayer],
) -> EnvironmentsError:
    """Make one error of all that failed, each with the places where its trouble was written."""
    first = next(iter(failures.values()))
    messages = []
    for request, failure in failures.items():
        steps = [step for step, asked in requests.items() if asked == request]
        messages.append(f"{_places(failure, steps, layers)}: {failure.message}")
    hints = dict.fromkeys(failure.hint for failure in failures.values() if failure.hint)
    outputs = dict.fromkeys(failure.output for failure in failures.values() if failure.output)
    joined = type(first)("\n".join(messages), hint="; ".join(hints) or None, output="\n".join(outputs))
    if isinstance(first, ResolutionFailed) and isinstance(joined, ResolutionFailed):
        joined.packages = first.packages
    return joined


def _places(failure: EnvironmentsError, steps: Iterable[str], layers: Mapping[str, SpecLayer]) -> str:
    steps = list(steps)
    blamed: tuple[str, ...] = getattr(failure, "packages", ())
    places: dict[str, None] = {}
    for step in steps:
        written = dict(layers[step].places) if step in layers else {}
        found: list[Place] = [written[name] for name in blamed if name in written]
        # A conflict blames nobody in particular: name all that this step was asked to have.
        found = found or ([place for name, place in written.items() if not name.startswith("channel:")])
        places.update(dict.fromkeys(str(place) for place in found))
    named = ", ".join(f"`{step}`" for step in steps)
    return "; ".join(places) or f"{'step' if len(steps) == 1 else 'steps'} {named}"
