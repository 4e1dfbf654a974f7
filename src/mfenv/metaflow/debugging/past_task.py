"""Which task is meant, and which tasks came before it.

Metaflow's metadata does not say what the inputs of a task were. Its client guesses, but takes no account of switches
and loops, and not all of its supported versions do; here, a task's place in its foreaches and the transitions that
tasks noted are compared.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from metaflow import Flow, Run, Step, get_metadata
from metaflow.client.core import Task
from metaflow.exception import MetaflowException

from mfenv.domain.channel import without_credentials
from mfenv.domain.reference import ByPathspec
from mfenv.errors import InvalidSpec
from mfenv.metaflow.known import everybodys_runs

Place: TypeAlias = tuple[tuple[str, int | None], ...]
"""Where a task is in its foreaches, from the outermost: the step that began the branch, and its index."""

_PART = re.compile(r"[A-Za-z0-9_.@:=-]+")
_SURROUNDINGS = ("METAFLOW_HOME", "METAFLOW_PROFILE")
"""Say which of Metaflow's configurations counts; what is secret is in there."""
_MOST = 8
_HINT = "Check flow, run and step, and that the run was made with the metadata service of this project"


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTask:
    """A task of an earlier run."""

    flow: str
    run: str
    step: str
    task: str
    parents: tuple[str, ...]
    """Pathspecs of the tasks before it, in the order of a join's inputs."""
    is_join: bool
    index: int | None
    """Which branch of the innermost foreach it is in."""
    has_ended: bool
    """Whether it ended, be it well or not: only then are its own artifacts there."""
    current: Mapping[str, Any]
    """What `current` told it."""
    variables: Mapping[str, str]
    """What Metaflow has to be told to find the run's metadata and artifacts; no secrets."""

    @property
    def pathspec(self) -> str:
        """Flow, run, step and task."""
        return f"{self.flow}/{self.run}/{self.step}/{self.task}"

    @property
    def ref(self) -> ByPathspec:
        """What its environment and code are found by."""
        return ByPathspec(flow=self.flow, run=self.run, step=self.step, task=self.task)


def past_task(text: str, *, where: str) -> PastTask:
    """Return the task that `text`, as written at `where`, means; other people's runs count too.

    A flow means its latest successful run, a run its last step, and a step its only task. Raises `InvalidSpec` for what
    is not there, for a step that has several tasks, and for a task that has not begun.
    """
    parts = text.strip().removeprefix("step:").split("/")
    if len(parts) > 4 or not all(map(_PART.fullmatch, parts)):
        raise InvalidSpec(
            f"{where}: `{text}` names no flow, run, step or task",
            hint="Write `MyFlow`, `MyFlow/1234`, `MyFlow/1234/train` or `MyFlow/1234/train/5`",
        )
    with everybodys_runs():
        try:
            task, graph = _task(parts, where)
            return _told(task, graph, where)
        except MetaflowException as error:
            raise InvalidSpec(
                f"{where}: there is no flow, run, step or task `{text}`", hint=_HINT, output=str(error)
            ) from error


def _task(parts: Sequence[str], where: str) -> tuple[Task, Mapping[str, Any]]:
    run = _run(parts, where)
    graph = _graph(run, where)
    if len(parts) == 4:
        return Task(f"{run.pathspec}/{parts[2]}/{parts[3]}"), graph
    if len(parts) == 3:
        return _only_task(Step(f"{run.pathspec}/{parts[2]}"), where), graph
    end = graph.get("end_step", "end")
    steps = [step.id for step in reversed(list(run))]
    if end not in steps:
        named = ", ".join(f"`{run.pathspec}/{step}`" for step in steps)
        raise InvalidSpec(
            f"{where}: the run `{run.pathspec}` did not reach its step `{end}`",
            hint=f"Name one of its steps: {named}" if named else "No step of it has begun",
        )
    return _only_task(run[end], where), graph


def _run(parts: Sequence[str], where: str) -> Run:
    if len(parts) > 1 and parts[1] != "latest":
        return Run("/".join(parts[:2]))
    flow = Flow(parts[0])
    if (latest := flow.latest_successful_run) is not None:
        return latest
    last = flow.latest_run
    raise InvalidSpec(
        f"{where}: no run of `{parts[0]}` was successful",
        hint=f"Name a run: the latest is `{last.pathspec}`" if last else "There is no run yet",
    )


def _graph(run: Run, where: str) -> Mapping[str, Any]:
    try:
        graph = run["_parameters"].task["_graph_info"].data
        if "steps" in graph:
            return dict(graph)
        cause = "it has no steps"
    except (KeyError, TypeError, AttributeError, OSError) as error:
        cause = f"{type(error).__name__}: {error}"
    raise InvalidSpec(
        f"{where}: what the run `{run.pathspec}` notes of its flow cannot be read",
        hint="Check that the datastore of the run can be reached",
        output=cause,
    )


def _only_task(step: Step, where: str) -> Task:
    tasks = sorted(step, key=lambda task: (len(task.id), task.id))
    if len(tasks) == 1:
        return tasks[0]
    if not tasks:
        raise InvalidSpec(
            f"{where}: the step `{step.pathspec}` has no task", hint="It did not begin; name another step"
        )
    shown = ", ".join(f"`{task.pathspec}`{_branch(task)}" for task in tasks[:_MOST])
    raise InvalidSpec(
        f"{where}: the step `{step.pathspec}` has {len(tasks)} tasks",
        hint=f"Name one: {shown}{' ...' if len(tasks) > _MOST else ''}",
    )


def _branch(task: Task) -> str:
    stack = task.metadata_dict.get("foreach-stack")
    return f" ({', '.join(map(str, stack))})" if isinstance(stack, list) and stack else ""


def _told(task: Task, graph: Mapping[str, Any], where: str) -> PastTask:
    metadata = task.metadata_dict
    flow, run, step, task_id = task.path_components
    if step not in graph["steps"]:
        raise InvalidSpec(f"{where}: `{task.pathspec}` is no task of a step", hint="Name a step of the flow")
    if "attempt" not in metadata:
        raise InvalidSpec(
            f"{where}: the task `{task.pathspec}` has not begun", hint="Wait until it runs, or name another one"
        )
    place = _place(task)
    return PastTask(
        flow=flow,
        run=run,
        step=step,
        task=task_id,
        parents=tuple(parent.pathspec for parent in _parents(task, place, graph, where)),
        is_join=_is_join(step, graph),
        index=place[-1][1] if place else None,
        has_ended="attempt-done" in metadata,
        current=_current(task),
        variables=_variables(metadata),
    )


def _place(task: Task) -> Place:
    """Return where a task is in its foreaches."""
    text = task.metadata_dict.get("foreach-execution-path") or ""
    frames = [frame.rpartition(":") for frame in text.split(",") if frame]
    return tuple((step, int(index) if index.isdecimal() else None) for step, _, index in frames)


def _parents(task: Task, place: Place, graph: Mapping[str, Any], where: str) -> list[Task]:
    flow, run, step, _ = task.path_components
    before = sorted(name for name, node in graph["steps"].items() if step in (node.get("next") or ()))
    if not before:
        return [Run(f"{flow}/{run}")["_parameters"].task]
    tasks = [(one, _place(one)) for name in before for one in _tasks(f"{flow}/{run}/{name}")]
    if _is_join(step, graph):
        found = [(one, at) for one, at in tasks if at == place or at[:-1] == place]
        # Steps of branches by name, as Metaflow has them; branches of a foreach by number.
        found.sort(key=lambda pair: (len(pair[1]), pair[1][-1][1] or 0 if len(pair[1]) > len(place) else 0))
        parents = [one for one, _ in found]
        if len(before) > 1:
            parents = [one for one in parents if _goes_to(one, step)]
    else:
        began_here = bool(place) and place[-1][0] == step
        parents = [one for one, at in tasks if at == (place[:-1] if began_here and _name(one) != step else place)]
        if len(parents) > 1 or step in before:
            # A switch comes here from one of several steps, or from the step itself, again and again.
            parents = [one for one in parents if one.created_at < task.created_at and _goes_to(one, step)]
            parents = sorted(parents, key=lambda one: one.created_at)[-1:]
    if not parents:
        raise InvalidSpec(
            f"{where}: no task is known that came before `{task.pathspec}`",
            hint="The metadata of the run may not be complete; name another task",
        )
    return parents


def _is_join(step: str, graph: Mapping[str, Any]) -> bool:
    return bool(graph["steps"][step].get("type") == "join")


def _name(task: Task) -> str:
    return str(task.path_components[2])


def _tasks(step: str) -> Iterator[Task]:
    try:
        yield from Step(step)
    except MetaflowException:
        # The other way of a switch.
        return


def _goes_to(task: Task, step: str) -> bool:
    """Tell whether a task ended with going on to `step`."""
    try:
        transition = task["_transition"].data
        return step in (transition[0] or ())
    except (KeyError, TypeError, IndexError):
        return False


def _current(task: Task) -> dict[str, Any]:
    metadata, run = task.metadata_dict, Run("/".join(task.path_components[:2]))
    system = dict(tag.partition(":")[::2] for tag in sorted(run.system_tags))
    attempts = [datum.value for datum in task.metadata if datum.name == "attempt"]
    user = metadata.get("user") or system.get("user")
    origin = metadata.get("origin-run-id")
    return {
        "retry_count": max((int(one) for one in attempts if str(one).isdecimal()), default=0),
        "origin_run_id": None if origin == "None" else origin,
        "username": user,
        "namespace": f"user:{user}" if user else None,
        "metadata": "@".join(map(without_credentials, get_metadata().split("@", 1))),
        "tags": sorted(run.user_tags),
        "project": _project(system, task.path_components[0]),
    }


def _project(tags: Mapping[str, str], flow: str) -> dict[str, Any]:
    """Return what ``@project`` adds to `current`."""
    if not (name := tags.get("project")) or not (branch := tags.get("project_branch")):
        return {}
    return {
        "project_name": name,
        "branch_name": branch,
        "is_user_branch": branch.startswith("user."),
        "is_production": branch == "prod" or branch.startswith("prod."),
        "project_flow_name": f"{name}.{branch}.{flow}",
    }


def _variables(metadata: Mapping[str, str]) -> dict[str, str]:
    kind, _, place = get_metadata().partition("@")
    found = {name: os.environ[name] for name in _SURROUNDINGS if os.environ.get(name)}
    found["METAFLOW_DEFAULT_METADATA"] = kind
    if kind == "local":
        found["METAFLOW_DATASTORE_SYSROOT_LOCAL"] = place
    elif kind == "service" and without_credentials(place) == place:
        found["METAFLOW_SERVICE_URL"] = place
    if store := metadata.get("ds-type"):
        found["METAFLOW_DEFAULT_DATASTORE"] = store
        root = metadata.get("ds-root", "")
        if store != "local" and root and without_credentials(root) == root:
            found[f"METAFLOW_DATASTORE_SYSROOT_{store.upper()}"] = root
    return found
