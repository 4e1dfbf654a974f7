"""What a task of an earlier run had: `self`, `inputs` and `current`.

`metaflow debug task` puts a copy of this file beside the notebook and the script that use it. It runs in the Python of
the task's environment, with the Metaflow that the task had, so: Python 3.7, Metaflow and the standard library only.
Artifacts are read when they are asked for, and nothing is written: neither to the datastore nor to the metadata.
"""

# ruff: noqa: UP, PTH

from __future__ import annotations

import importlib.util
import json
import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any, Dict, Iterator, List, Optional, Tuple

DESCRIPTION = ".mfenv-debug.json"
"""The file beside this one that says which task it is."""


class StepReturned(BaseException):
    """The step returned here: what follows is not what the task did."""

    def _render_traceback_(self) -> List[str]:
        return ["The step returns here: what follows is not what the task did."]


class Recreated(object):
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
    def artifacts(self) -> List[str]:
        """Names of the artifacts that the task left."""
        return sorted(artifact.id for artifact in self.task)


def recreate(names: Optional[Dict[str, Any]] = None) -> Recreated:
    """Return the task that the description beside this file tells of.

    What the flow's file imports and defines is put into `names`, such as ``globals()``.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, DESCRIPTION), encoding="utf-8") as file:
        told = json.load(file)
    os.environ.update(told["variables"])
    for name, folder in told["folders"].items():
        os.environ[name] = os.path.normpath(os.path.join(here, folder))
    for folder in reversed(told["python_path"]):
        sys.path.insert(0, os.path.normpath(os.path.join(here, folder)))
    flow_file = os.path.normpath(os.path.join(here, told["flow_file"]))
    module = _load(flow_file)
    if names is not None:
        # Also the classes of pickled artifacts, which a task has in its main module.
        names.update(
            (name, value)
            for name, value in vars(module).items()
            if not (name.startswith("__") and name.endswith("__"))
        )
    return _recreate(told, _flow_class(module, told["flow"]))


def _load(path: str) -> ModuleType:
    """Import the flow's file: not as the main module, so that it does not run the flow."""
    name = os.path.splitext(os.path.basename(path))[0]
    if name in sys.modules:
        name = "flow_" + name
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _flow_class(module: ModuleType, name: str) -> Any:
    for value in [getattr(module, name, None)] + list(vars(module).values()):
        if isinstance(value, type) and value.__name__ == name:
            return value
    raise RuntimeError("There is no flow %s in %s" % (name, module.__file__))


def _recreate(told: Dict[str, Any], flow_class: Any) -> Recreated:
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


def _join_type(flow: Any, step: str) -> Optional[str]:
    """Return the type of the split that a step joins; None for a step that joins nothing."""
    node = flow._graph[step]
    return str(flow._graph[node.split_parents[-1]].type) if node.type == "join" else None


def _clone(flow_class: Any, task: Any) -> Any:
    """Return one of the inputs of a join."""
    flow = flow_class(use_cli=False)
    flow._set_datastore(_Artifacts(task))
    flow._current_step = task.path_components[2]
    return flow


def _begin(flow: Any, told: Dict[str, Any], join_type: Optional[str], inputs: List[_Artifacts]) -> List[str]:
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


def _use(flow: Any, artifacts: _Artifacts, parameters: _Artifacts) -> List[str]:
    """Have a flow read from `artifacts`; return the names of its parameters."""
    from metaflow.task import MetaflowTask

    flow._set_datastore(artifacts)
    holder = SimpleNamespace(flow=flow)
    names: List[str] = MetaflowTask._init_parameters(holder, parameters, passdown=artifacts is not parameters)
    return names


def _next(*_steps: Any, **_options: Any) -> None:
    """Go nowhere: what a step does last has no meaning here."""


def _set_current(current: Any, flow: Any, told: Dict[str, Any], parameters: List[str]) -> None:
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
        tags=facts["tags"],
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


class _Artifacts(object):
    """What a task left, as Metaflow's flows expect their datastore."""

    def __init__(self, task: Any) -> None:
        """Read from a task of Metaflow's client; from none, where there is nothing yet."""
        self._task = task
        self._found: Dict[str, Any] = {}

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

    def items(self) -> Iterator[Tuple[str, str]]:
        """Give names and digests of all artifacts."""
        for artifact in self._task or ():
            yield artifact.id, artifact.sha

    def passdown_partial(self, origin: _Artifacts, names: List[str]) -> None:
        """Take over artifacts of another task."""
        for name in names:
            self._found[name] = origin._find(name)


class _Ignored(object):
    """Takes everything that is done with it, and does nothing."""

    def __getattr__(self, name: str) -> _Ignored:
        return self

    def __getitem__(self, name: Any) -> _Ignored:
        return self

    def __setitem__(self, name: Any, value: Any) -> None:
        pass

    def __call__(self, *arguments: Any, **options: Any) -> _Ignored:
        return self
