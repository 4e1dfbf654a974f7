"""What the executor makes of DAG files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mfenv.testing.remote.airflow import execute, read
from mfenv.testing.remote.executed import Executed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.testing.remote.conftest import PretendedSandbox


def _state(name: str, *, is_mapper: bool = False, retries: int = 0, **variables: str) -> dict[str, Any]:
    return {
        "name": name,
        "is_mapper_node": is_mapper,
        "operator_args": {
            "cmds": ["run", "{{ ti.task_id }}"],
            "image": "python:3.12",
            "retries": retries,
            "env_vars": [{"name": key, "value": value} for key, value in variables.items()],
        },
    }


def _file(folder: Path, graph: list[Any], *states: dict[str, Any]) -> Path:
    configuration = {
        "graph_structure": graph,
        "states": {state["name"]: state for state in states},
        "dag_instantiation_params": {"dag_id": "flow"},
        "metaflow_params": [{"name": "width", "default": 1}, {"name": "other", "default": None}],
    }
    path = folder / "dag.py"
    path.write_text(f'"""A DAG."""\n\nCONFIG = {configuration!r}\n\nprint(CONFIG)\n')
    return path


def _own(variables: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in variables.items() if not key.startswith("METAFLOW_KUBERNETES_")}


def test_what_a_step_tells_makes_the_next_ones(tmp_path: Path, pretended: Callable[[Any], PretendedSandbox]) -> None:
    def does(name: str, variables: Mapping[str, str]) -> dict[str, str]:
        told = {"metaflow_task_id": f"id-{name}", "metaflow_foreach_cardinality": 2}
        return {"/airflow/xcom/return.json": json.dumps(told)}

    sandbox = pretended(does)
    dag = _file(
        tmp_path,
        ["start", [["left", [["each"]], "gather"], ["right"]], "join"],
        _state("start", P="{{ params | json_dump }}", RUN="{{ [run_id, dag_run.dag_id] | run_id_creator }}"),
        _state("left"),
        _state("each", is_mapper=True, N="{{ ti.map_index }}", T="{{ task_instance.try_number - 1 }}"),
        _state("gather", IDS="{{ ti.xcom_pull(task_ids='each', key='metaflow_task_id') | join_list }}"),
        _state("right"),
        _state("join", ID="{{ ti.xcom_pull(task_ids='right', key='metaflow_task_id') }}"),
    )
    executed = execute(dag, sandbox, name="manual", parameters={"width": 2})
    began = [(name, _own(variables)) for name, variables in sandbox.began]
    # The digest is that of the text `manual-flow`.
    assert executed == Executed(run_id="airflow-fe1d179e7e1b")
    assert began[:2] == [
        ("airflow-start", {"P": '{"width": 2, "other": null}', "RUN": "fe1d179e7e1b"}),
        ("airflow-left", {}),
    ]
    assert sorted(began[2:4], key=str) == [
        ("airflow-each-0", {"N": "0", "T": "0"}),
        ("airflow-each-1", {"N": "1", "T": "0"}),
    ]
    assert began[4:] == [
        ("airflow-gather", {"IDS": "id-airflow-each-0,id-airflow-each-1"}),
        ("airflow-right", {}),
        ("airflow-join", {"ID": "id-airflow-right"}),
    ]


def test_a_step_is_tried_again_and_then_fails_the_run(
    tmp_path: Path, pretended: Callable[[Any], PretendedSandbox]
) -> None:
    sandbox = pretended(lambda name, _: 3)
    dag = _file(tmp_path, ["start", "end"], _state("start", retries=1, T="{{ ti.try_number }}"), _state("end"))
    executed = execute(dag, sandbox, name="manual")
    assert executed == Executed(run_id="airflow-fe1d179e7e1b", failed="airflow-start: exit code 3\nwhat it said")
    assert [_own(variables) for _, variables in sandbox.began] == [{"T": "1"}, {"T": "2"}]


def test_a_file_that_is_no_python_is_refused() -> None:
    with pytest.raises(SyntaxError):
        read("CONFIG = {}\n}\n")


def test_a_file_without_a_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match="no configuration in the DAG file"):
        read("print(1)\n")
