"""The environments of steps of earlier runs, as Metaflow's metadata has them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator

from metaflow import Flow, Step, get_metadata, namespace
from metaflow.client.core import Run, Task, get_namespace
from metaflow.exception import MetaflowException

from mfenv.app.known import KnownEnvironments
from mfenv.app.wiring import Wiring
from mfenv.domain.channel import without_credentials
from mfenv.domain.digest import LockId, RequestKey, is_id
from mfenv.domain.reference import ByLock, ByPathspec, parse_pathspec
from mfenv.errors import InvalidSpec, StoreError
from mfenv.metaflow.legacy import read_through


def known_environments(wiring: Wiring, tell: Callable[[str], None] = lambda _line: None) -> KnownEnvironments:
    """Return what finds environments by all that users call them; `tell` hears of what is taken over or restored."""
    return KnownEnvironments(
        wiring.locks,
        of_step=environment_of_step,
        aliases=lambda: wiring.aliases(tell=tell),
        index=wiring.index,
        import_legacy=read_through(wiring, tell),
    )


def environment_of_step(ref: ByPathspec, where: str) -> ByLock:
    """Return the ids in the metadata of a step's first task; other people's runs count too.

    Raises `InvalidSpec` naming `where` for a step that is not there, and for one without such an environment.
    """
    found = _ids_in_metadata(ref, where)
    if found is None:
        raise InvalidSpec(
            f"{where}: the step `{ref}` did not run in an environment of this package",
            hint="Name a step that ran with --environment=conda and this package installed, and was not disabled",
        )
    return found


def _ids_in_metadata(ref: ByPathspec, where: str) -> ByLock | None:
    with everybodys_runs():
        try:
            task = _task(ref)
            metadata = {datum.name: datum.value for datum in task.metadata} if task else {}
        except MetaflowException as error:
            raise _no_step(ref, where, error) from error
    return _ids_in(metadata["conda_env_id"], ref, where) if "conda_env_id" in metadata else None


def task_of(ref: ByPathspec, *, where: str) -> Task:
    """Return a task, or the first of a step; other people's runs count too.

    Raises `InvalidSpec` naming `where` for what is not there.
    """
    with everybodys_runs():
        try:
            task = _task(ref)
        except MetaflowException as error:
            raise _no_step(ref, where, error) from error
    if task is None:
        raise InvalidSpec(
            f"{where}: the step `{ref}` has no task", hint="It did not begin; name a step of the run that did"
        )
    return task


@contextlib.contextmanager
def everybodys_runs() -> Iterator[None]:
    """Have Metaflow's client find runs of other people too; what it finds in this block stays usable behind it.

    Raises `StoreError` where nobody answers, or what is there cannot be read.
    """
    before = get_namespace()
    namespace(None)
    try:
        yield
    except OSError as error:
        # Those of `requests` are among them.
        raise StoreError(
            f"the metadata of runs cannot be read from `{_provider()}`",
            hint="Check that it can be reached, and METAFLOW_DEFAULT_METADATA and METAFLOW_SERVICE_URL",
            output=f"{type(error).__name__}: {error}",
        ) from error
    finally:
        namespace(before)


def _provider() -> str:
    kind, _, place = get_metadata().partition("@")
    return f"{kind}@{without_credentials(place)}"


def _no_step(ref: ByPathspec, where: str, error: MetaflowException) -> InvalidSpec:
    return InvalidSpec(
        f"{where}: there is no step `{ref}`",
        hint="Check flow, run and step, and that the run was made with the metadata service of this flow",
        output=str(error),
    )


def _task(ref: ByPathspec) -> Task | None:
    run = _latest(ref.flow) if ref.run == "latest" else ref.run
    if ref.task:
        return Task(f"{ref.flow}/{run}/{ref.step}/{ref.task}")
    return next(iter(Step(f"{ref.flow}/{run}/{ref.step}")), None)


def _latest(flow: str) -> str:
    latest = Flow(flow).latest_successful_run
    if latest is None:
        raise MetaflowException(f"no run of {flow} was successful")
    return str(latest.id)


def _ids_in(text: str, ref: ByPathspec, where: str) -> ByLock:
    try:
        request, lock, _ = json.loads(text)
    except (ValueError, TypeError):
        request = lock = None
    if not isinstance(lock, str) or not is_id(lock):
        raise InvalidSpec(
            f"{where}: what the step `{ref}` notes of its environment cannot be read: `{text}`",
            hint="Name a step that ran with this package installed",
        )
    is_request = isinstance(request, str) and is_id(request)
    return ByLock(lock=LockId(lock), request=RequestKey(request) if is_request else None)


def ids_of_task(pathspec: str) -> ByLock | None:
    """Return the ids of the environment of a task, or of a step's first; None when it had none of its own.

    Raises `InvalidSpec` for what is not there.
    """
    ref = parse_pathspec(pathspec, where="task")
    return _ids_in_metadata(ref, "task")


def steps_of_run(flow: str, run: str, *, where: str) -> list[str]:
    """Return the steps of a run in the order in which they ran; `run` can be ``latest``. Raises `InvalidSpec`."""
    with everybodys_runs():
        try:
            run = _latest(flow) if run == "latest" else run
            return [step.id for step in reversed(list(Run(f"{flow}/{run}")))]
        except MetaflowException as error:
            raise InvalidSpec(
                f"{where}: there is no run `{flow}/{run}`",
                hint="Check flow and run, and that the run was made with the metadata service of this flow",
                output=str(error),
            ) from error
