"""Executes the DAG file that ``airflow create`` writes, with a container for each pod. Airflow itself is not needed.

The file holds a configuration, which is read here as Metaflow 2.19 writes it, and code that makes a DAG of it: its
templates are Jinja's, its filters are those of that code. Steps run one after the other in the order of the graph, the
tasks of a foreach side by side. What a task tells the next ones (XComs) is in the file that Airflow's sidecar reads.
"""

from __future__ import annotations

import ast
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2

from mfenv.testing.remote.executed import Attempt, Executed, TaskFailed, Tasks, side_by_side
from mfenv.testing.remote.sandbox import Container, Sandbox

_RETURN = "airflow/xcom/return.json"
_CARDINALITY = "metaflow_foreach_cardinality"

# What the file has Airflow take from the pod itself.
_OF_THE_POD = {
    "METAFLOW_KUBERNETES_NAMESPACE": "default",
    "METAFLOW_KUBERNETES_POD_NAMESPACE": "default",
    "METAFLOW_KUBERNETES_POD_NAME": "pod",
    "METAFLOW_KUBERNETES_POD_ID": "pod",
    "METAFLOW_KUBERNETES_SERVICE_ACCOUNT_NAME": "default",
    "METAFLOW_KUBERNETES_NODE_IP": "127.0.0.1",
}


def execute(
    dag_file: Path,
    sandbox: Sandbox,
    *,
    name: str,
    parameters: Mapping[str, object] | None = None,
    seconds: float = 600,
) -> Executed:
    """Execute a DAG file as the DAG run `name`; `seconds` later, what still runs is ended."""
    configuration = read(dag_file.read_text(encoding="utf-8"))
    run = _Run(configuration, Tasks(sandbox, time.monotonic() + seconds), name, parameters or {})
    dag_id = configuration["dag_instantiation_params"]["dag_id"]
    run_id = f"airflow-{_digest(12, [name, dag_id])}"
    try:
        run.steps(configuration["graph_structure"], None)
    except TaskFailed as failed:
        return Executed(run_id=run_id, failed=str(failed))
    return Executed(run_id=run_id)


def read(text: str) -> dict[str, Any]:
    """Return the configuration in the text of a DAG file. The rest of the file must be Python, too."""
    for statement in ast.parse(text).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="CONFIG")], value=value):
                found: dict[str, Any] = ast.literal_eval(value)
                return found
    raise ValueError("no configuration in the DAG file")


def _digest(length: int, parts: list[object]) -> str:
    return hashlib.md5("-".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()[:length]


def _jinja() -> jinja2.Environment:
    # Airflow renders without escaping, too: these are no pages.
    environment = jinja2.Environment()  # noqa: S701
    filters: dict[str, Callable[..., Any]] = {
        "run_id_creator": partial(_digest, 12),
        "task_id_creator": partial(_digest, 8),
        "hash": partial(_digest, 8),
        "json_dump": json.dumps,
        "join_list": ",".join,
    }
    environment.filters.update(filters)
    return environment


class _Run:
    """One execution."""

    def __init__(self, configuration: Mapping[str, Any], tasks: Tasks, name: str, given: Mapping[str, object]) -> None:
        self.states: dict[str, dict[str, Any]] = configuration["states"]
        self.tasks = tasks
        self.name = name
        self.dag_run = SimpleNamespace(dag_id=configuration["dag_instantiation_params"]["dag_id"])
        known = configuration.get("metaflow_params") or []
        self.parameters = {**{one["name"]: one.get("default") for one in known}, **given}
        self.told: dict[str, Any] = {}
        """What each step told; a list for the tasks of a foreach."""
        self.jinja = _jinja()

    def steps(self, graph: list[Any], before: str | None) -> None:
        """Run a part of the graph: steps, each a name, and splits, each a list of such parts."""
        for part in graph:
            if isinstance(part, str):
                self.step(self.states[part], before)
                before = part
            else:
                for branch in part:
                    self.steps(branch, before)

    def step(self, state: Mapping[str, Any], before: str | None) -> None:
        if not state.get("is_mapper_node") or before is None:
            self.told[state["name"]] = self.task(state, -1)
        else:
            numbers = range(self.told[before][_CARDINALITY])
            self.told[state["name"]] = side_by_side([partial(self.task, state, number) for number in numbers])

    def task(self, state: Mapping[str, Any], index: int) -> dict[str, Any]:
        arguments = state["operator_args"]

        def attempt(number: int) -> Attempt:
            fill = partial(self.filled, state["name"], index, number)
            variables = {one["name"]: fill(one["value"]) for one in arguments.get("env_vars") or []}
            return Attempt(
                command=[fill(word) for word in arguments["cmds"]],
                variables={**_OF_THE_POD, **variables},
                image=arguments["image"],
                seconds=float((arguments.get("execution_timeout") or {}).get("seconds") or 600),
            )

        label = state["name"] if index < 0 else f"{state['name']}-{index}"
        attempts = 1 + int(arguments.get("retries") or 0)
        return self.tasks.run(f"airflow-{label}", attempt, attempts=attempts, results=_told)

    def filled(self, task: str, index: int, attempt: int, text: str) -> str:
        """Render a template as Airflow does, with the part of a task's context that Metaflow uses."""
        instance = SimpleNamespace(
            task_id=task, map_index=index, try_number=attempt + 1, job_id="job", xcom_pull=self.pulled
        )
        return self.jinja.from_string(text).render(
            run_id=self.name, dag_run=self.dag_run, ti=instance, task_instance=instance, params=self.parameters
        )

    def pulled(self, task_ids: str, key: str) -> Any:
        told = self.told[task_ids]
        return [one[key] for one in told] if isinstance(told, list) else told[key]


def _told(container: Container) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((container.root / _RETURN).read_text(encoding="utf-8"))
    return found
