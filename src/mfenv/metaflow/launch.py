"""What the launching process does: read, lock, begin to make, enter."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from metaflow._vendor import click
from metaflow.packaging_sys import ContentType
from metaflow.util import get_username

from mfenv.app.hydrate import BackgroundHydration
from mfenv.app.reporting import Live, is_terminal
from mfenv.app.sharing import BackgroundSharing
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
    SpecLayer,
)
from mfenv.errors import EnvironmentsError, HydrationFailed
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
from mfenv.metaflow.failures import explained
from mfenv.metaflow.hydration_lines import HydrationLines
from mfenv.metaflow.remote_steps import BEFORE_START, RemoteSteps
from mfenv.metaflow.wishes import FlowWishes, reference
from mfenv.resolve.satisfies import satisfies

METADATA_FILE = "conda_v2.cnd"

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


def _is_quiet() -> bool:
    """Tell whether Metaflow was told to be quiet; its logger, which it gives to decorators, speaks all the same."""
    context = click.get_current_context(silent=True)
    return bool(context and getattr(context.obj, "is_quiet", False))


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
        self._remote = RemoteSteps({})
        self._hydration: BackgroundHydration | None = None
        self._sharing: BackgroundSharing | None = None
        self._code: CodeRoot | None = None
        self._in_use = contextlib.ExitStack()
        self._is_quiet = _is_quiet()
        self._lines = HydrationLines(echo, is_quiet=self._is_quiet)

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
            self._remote = remote = RemoteSteps.of(self._flow, wishes, is_quiet=self._is_quiet)
            # Toolchains are looked for while environments are resolved.
            remote.prepare(wiring, self._datastore_type)
            requests = wishes.requests_of({step: remote.platform(step) for step in layers})
            if "start" in remote and layers["start"].fetch_at_exec:
                # Until parameters are known, a late start step runs in what Metaflow needs.
                requests[BEFORE_START] = wishes.bare(remote.platform("start"))
            locks = self._lock_requests(wiring, requests, layers)
            for step in sorted(gpu & requests.keys()):
                for name in cpu_only(locks[requests[step]]):
                    self._echo(
                        f"Warning: step {step} asks for a GPU, but {name} is a build for the CPU only.", fg="yellow"
                    )
            self._locks = {lock.id: lock for lock in locks.values()}
            # Those of others' making too, and those that only machines far from here install.
            for lock in self._locks.values():
                wiring.policing.check(lock)
            assignments = {
                step: self._assignment(layer, requests.get(step), locks, remote.platform(step))
                for step, layer in layers.items()
            }
            if BEFORE_START in requests:
                asked = requests[BEFORE_START]
                assignments[BEFORE_START] = Locked(
                    request=asked.key, lock=locks[asked].id, platform=asked.target.platform
                )
            # Here and not when it is packaged: Metaflow does that in a thread, where an error is only a line.
            self._metadata = self._write_metadata(wiring, assignments)
            self._assignments = assignments

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

    def _write_metadata(self, wiring: Wiring, assignments: Mapping[str, StepAssignment]) -> Path:
        """Write the metadata file of this flow, under a name that tells its content."""
        content = metadata_file.dump(
            FlowMetadata(
                steps=assignments,
                locks=self._locks,
                store=self._remote.location,
                toolchains=self._remote.toolchains(),
                compiling=self._remote.compiling,
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
        self._remote.start(self._flow.name, run_id, self._remote_locks())
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
        with _spoken():
            self._remote.publish(self._flow.name, self._remote_locks(), self._echo)

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
        steps = [self._assignments.get(name) for name in order if (name in self._remote) is is_remote]
        return list(dict.fromkeys(assignment.lock for assignment in steps if isinstance(assignment, Locked)))

    def enter(self, step: str, cli_args: Any, flow_datastore: Any) -> None:
        """Make a task of `step` run in its environment; waits until that is ready.

        `flow_datastore` has the artifacts of the tasks before it.
        """
        assignment = self._assignments[step]
        if step in self._remote:
            cli_args.env[ENVIRONMENT_ID] = ""
            with _spoken():
                self._remote.wait(assignment)
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
        self._remote.stop()
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
            with Live(title, noun="files", is_shown=not self._is_quiet) as live:
                sharing.listener = live.passed
                sharing.wait()
            live.ended("failed" if sharing.troubles else "done")
        sharing.stop()
        for trouble in sharing.troubles:
            hint = f" ({trouble.hint})" if trouble.hint else ""
            self._echo(f"Warning: not everything could be shared with others: {trouble.message}{hint}.", fg="yellow")
