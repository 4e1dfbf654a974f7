"""What a task of an earlier run had: `self`, `inputs` and `current`.

`metaflow debug task` puts a copy of this file beside the notebook and the script that use it. It runs in the Python of
the task's environment, with the Metaflow that the task had, so: Python 3.7, Metaflow and the standard library only.
Artifacts are read when they are asked for, and nothing is written: neither to the datastore nor to the metadata.
"""

# ruff: noqa: SLF001

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

DESCRIPTION = ".mfenv-debug.json"
"""The file beside this one that says which task it is."""


class StepReturned(SystemExit):
    """The step returned here. A script ends with it, and in a notebook the cells below stay as they are."""

    def __init__(self) -> None:
        """End well."""
        super().__init__(0)

    def __str__(self) -> str:
        return "The step returns here: what follows is not what the task did."


class Recreated:
    """A task as it was before it ran, or after."""

    def __init__(self, flow: Any, inputs: Any, current: Any, task: Any) -> None:
        """Hold what a step sees."""
        self.self = flow
        self.inputs = inputs
        """The tasks that a join joins; None for other steps."""
        self.current = current
        self.task = task
        """The task in Metaflow's client: `task.data.x` is what it left, as far as it came."""

    @property
    def artifacts(self) -> list[str]:
        """Names of the artifacts that the task left."""
        return sorted(artifact.id for artifact in self.task)


def recreate(names: dict[str, Any] | None = None) -> Recreated:
    """Return the task that the description beside this file tells of.

    What the flow's file imports and defines is put into `names`, such as ``globals()``.
    """
    here = Path(__file__).absolute().parent
    told = json.loads((here / DESCRIPTION).read_text(encoding="utf-8"))
    os.environ.update(told["variables"])
    os.environ.update((name, str(here / folder)) for name, folder in told["folders"].items())
    sys.path[:0] = [str(here / folder) for folder in told["python_path"]]
    module = _load(here / told["flow_file"])
    if names is not None:
        # Also the classes of pickled artifacts, which a task has in its main module.
        names.update(
            (name, value) for name, value in vars(module).items() if not (name.startswith("__") and name.endswith("__"))
        )
    return _recreate(told, _flow_class(module, told["flow"]))


def _load(path: Path) -> ModuleType:
    """Import the flow's file: not as the main module, so that it does not run the flow."""
    name = path.stem
    if name in sys.modules:
        name = "flow_" + name
    spec = importlib.util.spec_from_file_location(name, str(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _flow_class(module: ModuleType, name: str) -> Any:
    for value in [getattr(module, name, None), *vars(module).values()]:
        if isinstance(value, type) and value.__name__ == name:
            return value
    raise RuntimeError(f"There is no flow {name} in {module.__file__}")


def _recreate(told: dict[str, Any], flow_class: Any) -> Recreated:
    from metaflow import Task, current, namespace
    from metaflow.datastore.inputs import Inputs

    if told["current"]["namespace"]:
        namespace(told["current"]["namespace"])
    task = Task(told["pathspec"], _namespace_check=False)
    before = [Task(parent, _namespace_check=False) for parent in told["parents"]]
    flow = flow_class(use_cli=False)
    join_type = _join_type(flow, told["step"])
    inputs = Inputs(_clone(flow_class, parent) for parent in before) if join_type else None
    if told["inspect"]:
        parameters = _use(flow, _Artifacts(task), _Artifacts(task))
    else:
        parameters = _begin(flow, told, join_type, [_Artifacts(parent) for parent in before])
    flow._current_step = told["step"]
    flow.next = _next
    _set_current(current, flow, told, parameters)
    _set_variables(flow, told["step"])
    return Recreated(flow, inputs, current, task)


def _join_type(flow: Any, step: str) -> str | None:
    """Return the type of the split that a step joins; None for a step that joins nothing."""
    node = flow._graph[step]
    return str(flow._graph[node.split_parents[-1]].type) if node.type == "join" else None


def _clone(flow_class: Any, task: Any) -> Any:
    """Return one of the inputs of a join."""
    flow = flow_class(use_cli=False)
    flow._set_datastore(_Artifacts(task))
    flow._current_step = task.path_components[2]
    return flow


def _begin(flow: Any, told: dict[str, Any], join_type: str | None, inputs: list[_Artifacts]) -> list[str]:
    """Put a flow into the state in which Metaflow calls a step."""
    from metaflow.task import MetaflowTask
    from metaflow.unbounded_foreach import UBF_CONTROL

    index = told["index"]
    holder = SimpleNamespace(flow=flow, ubf_context=UBF_CONTROL if index is None else None)
    # Metaflow's own functions: what they do is what the task's version of Metaflow did.
    MetaflowTask._init_foreach(holder, told["step"], join_type, inputs, index)
    if hasattr(MetaflowTask, "_init_iteration"):
        node = flow._graph[told["step"]]
        is_recursive = node.type == "split-switch" and told["step"] in node.out_funcs
        MetaflowTask._init_iteration(holder, told["step"], inputs, is_recursive)
    flow._success, flow._task_ok, flow._exception = False, None, None
    return _use(flow, _Artifacts(None) if join_type else inputs[0], inputs[0])


def _use(flow: Any, artifacts: _Artifacts, parameters: _Artifacts) -> list[str]:
    """Have a flow read from `artifacts`; return the names of its parameters."""
    from metaflow.task import MetaflowTask

    flow._set_datastore(artifacts)
    holder = SimpleNamespace(flow=flow)
    names: list[str] = MetaflowTask._init_parameters(holder, parameters, passdown=artifacts is not parameters)
    return names


def _next(*_steps: Any, **_options: Any) -> None:
    """Go nowhere: what a step does last has no meaning here."""


def _set_current(current: Any, flow: Any, told: dict[str, Any], parameters: list[str]) -> None:
    facts = told["current"]
    current._set_env(
        flow=flow,
        run_id=told["run"],
        step_name=told["step"],
        task_id=told["task"],
        retry_count=facts["retry_count"],
        origin_run_id=facts["origin_run_id"],
        namespace=facts["namespace"],
        username=facts["username"],
        metadata_str=facts["metadata"],
        is_running=True,
        tags=set(facts["tags"]),
    )
    more = dict(facts["project"], parameter_names=parameters, graph_info=flow._graph_info)
    if any(decorator.name == "card" for decorator in getattr(flow, told["step"]).decorators):
        more["card"] = _Ignored()
    current._update_env(more)


def _set_variables(flow: Any, step: str) -> None:
    """Set what `@environment` sets."""
    for decorator in getattr(flow, step).decorators:
        if decorator.name == "environment" and isinstance(decorator.attributes.get("vars"), dict):
            os.environ.update((str(name), str(value)) for name, value in decorator.attributes["vars"].items())


class _Artifacts:
    """What a task left, as Metaflow's flows expect their datastore."""

    def __init__(self, task: Any) -> None:
        """Read from a task of Metaflow's client; from none, where there is nothing yet."""
        self._task = task
        self._found: dict[str, Any] = {}

    def _find(self, name: str) -> Any:
        if name not in self._found:
            try:
                self._found[name] = None if self._task is None else self._task[name]
            except KeyError:
                self._found[name] = None
        return self._found[name]

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def __getitem__(self, name: str) -> Any:
        artifact = self._find(name)
        if artifact is None:
            raise KeyError(name)
        return artifact.data

    def is_none(self, name: str) -> bool:
        """Tell whether there is no such artifact, or it is None."""
        return name not in self or self[name] is None

    def items(self) -> Iterator[tuple[str, str]]:
        """Give names and digests of all artifacts."""
        for artifact in self._task or ():
            yield artifact.id, artifact.sha

    def passdown_partial(self, origin: _Artifacts, names: list[str]) -> None:
        """Take over artifacts of another task."""
        for name in names:
            self._found[name] = origin._find(name)


class _Ignored:
    """Takes everything that is done with it, and does nothing."""

    def __getattr__(self, name: str) -> _Ignored:
        return self

    def __getitem__(self, name: Any) -> _Ignored:
        return self

    def __setitem__(self, name: Any, value: Any) -> None:
        pass

    def __call__(self, *_arguments: Any, **_options: Any) -> _Ignored:
        return self
