"""What the executor makes of Argo's little languages, and of workflows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.testing.remote.argo import execute, fill, is_ready, may_run
from mfenv.testing.remote.executed import Executed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.testing.remote.conftest import PretendedSandbox


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("a-{{ workflow.name }}-{{item}}", "a-w-2"),
        ("{{not.known}}", "{{not.known}}"),
        ("{{=toBase64(inputs.parameters['x'])}}", "MQ=="),
        (
            "{{=(tasks['a'].status == 'Succeeded' ? tasks['a'].outputs.parameters['to'] : nil) == 'b'}}",
            "true",
        ),
        (
            "{{=(tasks['z'].status == 'Succeeded' ? tasks['z'].outputs.parameters['to'] : nil) == 'b'}}",
            "false",
        ),
    ],
)
def test_tags_are_filled(text: str, filled: str) -> None:
    scope = {"workflow.name": "w", "item": "2", "inputs.parameters.x": "1", "tasks.a.outputs.parameters.to": "b"}
    assert fill({"key": [text, 1]}, scope) == {"key": [filled, 1]}


def test_an_unknown_expression_is_not_passed_over() -> None:
    with pytest.raises(NotImplementedError, match=r"the expression `sprig.now\(\)`"):
        fill("{{=sprig.now()}}", {})


@pytest.mark.parametrize(
    ("depends", "done", "ready"),
    [
        ("", {}, True),
        ("a.Succeeded", {}, None),
        ("a.Succeeded", {"a": "Succeeded"}, True),
        ("a.Succeeded", {"a": "Omitted"}, False),
        ("a-1.Succeeded && b.Succeeded", {"a-1": "Succeeded"}, None),
        ("(a.Succeeded || a.Skipped) && !b.Skipped", {"a": "Skipped", "b": "Succeeded"}, True),
        ("a.Skipped && b.Skipped", {"a": "Skipped", "b": "Succeeded"}, False),
    ],
)
def test_a_task_is_ready_when_what_it_depends_on_has_ended_so(
    depends: str, done: dict[str, str], ready: bool | None
) -> None:
    assert is_ready(depends, done) is ready


@pytest.mark.parametrize(
    ("when", "holds"),
    [("true", True), ("(false)", False), ("a == a", True), ("a != a", False), ("(a == b) || (true && 1 != 2)", True)],
)
def test_a_condition_holds_or_not(when: str, holds: bool) -> None:
    assert may_run(when) is holds


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["&&", "||"])), min_size=1, max_size=8))
def test_a_condition_is_what_python_makes_of_it(parts: list[tuple[bool, str]]) -> None:
    theirs = " ".join(f"{'x == x' if value else 'x == y'} {operator}" for value, operator in parts) + " true"
    ours = " ".join(f"{value} {'and' if operator == '&&' else 'or'}" for value, operator in parts) + " True"
    assert may_run(theirs) is eval(ours)


def _pod(name: str, *, inputs: tuple[str, ...] = (), outputs: Mapping[str, str] | None = None, limit: int = 0) -> Any:
    variables = [{"name": one.upper(), "value": f"{{{{inputs.parameters.{one}}}}}"} for one in inputs]
    return {
        "name": name,
        "inputs": {"parameters": [{"name": one} for one in inputs]},
        "outputs": {"parameters": [{"name": one, "valueFrom": {"path": p}} for one, p in (outputs or {}).items()]},
        "retryStrategy": {"limit": limit},
        "container": {
            "image": "python:3.12",
            "command": ["run", name],
            "env": [{"name": "ATTEMPT", "value": "{{retries}}"}, *variables],
        },
    }


def _flow(*templates: Any, tasks: list[Any], parameters: Mapping[str, str] | None = None) -> Any:
    return {
        "metadata": {},
        "spec": {
            "entrypoint": "flow",
            "arguments": {"parameters": [{"name": n, "value": v} for n, v in (parameters or {}).items()]},
            "templates": [{"name": "flow", "dag": {"tasks": tasks}}, *templates],
        },
    }


def _task(name: str, *, after: str = "", given: Mapping[str, str] | None = None, **more: Any) -> Any:
    arguments = [{"name": key, "value": value} for key, value in (given or {}).items()]
    return {"name": name, "template": name, "depends": after, "arguments": {"parameters": arguments}, **more}


def test_a_loop_gives_each_item_to_a_task_and_its_results_to_the_next(
    pretended: Callable[[Any], PretendedSandbox],
) -> None:
    def does(name: str, variables: Mapping[str, str]) -> dict[str, str]:
        return {"/mnt/out/splits": "[0, 1]\n", "/mnt/out/id": f"t-{variables.get('N', '')}\n"}

    sandbox = pretended(does)
    flow = _flow(
        _pod("start", inputs=("width",), outputs={"splits": "/mnt/out/splits"}),
        _pod("each", inputs=("n",), outputs={"id": "/mnt/out/id"}),
        _pod("join", inputs=("ids",)),
        tasks=[
            _task("join", after="each.Succeeded", given={"ids": "{{tasks.each.outputs.parameters.id}}"}),
            _task(
                "each",
                after="start.Succeeded",
                given={"n": "{{item}}"},
                withParam="{{tasks.start.outputs.parameters.splits}}",
            ),
            _task("start", given={"width": "{{workflow.parameters.width}}"}),
        ],
        parameters={"width": "1"},
    )
    assert execute(flow, sandbox, name="w", parameters={"width": 2}) == Executed(run_id="argo-w")
    assert sandbox.began[0] == ("argo-start", {"ATTEMPT": "0", "WIDTH": "2"})
    assert sorted(sandbox.began[1:3], key=str) == [
        ("argo-each-0", {"ATTEMPT": "0", "N": "0"}),
        ("argo-each-1", {"ATTEMPT": "0", "N": "1"}),
    ]
    assert sandbox.began[3] == ("argo-join", {"ATTEMPT": "0", "IDS": '["t-0", "t-1"]'})


def test_a_task_is_tried_again_and_then_fails_the_workflow(pretended: Callable[[Any], PretendedSandbox]) -> None:
    sandbox = pretended(lambda name, _: 3)
    flow = _flow(_pod("start", limit=1), _pod("end"), tasks=[_task("start"), _task("end", after="start.Succeeded")])
    executed = execute(flow, sandbox, name="w")
    assert executed == Executed(run_id="argo-w", failed="argo-start: exit code 3\nwhat it said")
    assert sandbox.began == [("argo-start", {"ATTEMPT": "0"}), ("argo-start", {"ATTEMPT": "1"})]


def test_what_is_not_chosen_is_skipped(pretended: Callable[[Any], PretendedSandbox]) -> None:
    sandbox = pretended(lambda name, _: {"/mnt/out/to": "b"})
    chosen = "{{=(tasks['a'].status == 'Succeeded' ? tasks['a'].outputs.parameters['to'] : nil) == '%s'}}"
    flow = _flow(
        _pod("a", outputs={"to": "/mnt/out/to"}),
        *map(_pod, ("b", "c", "d")),
        tasks=[
            _task("a"),
            _task("b", after="a.Succeeded", when=chosen % "b"),
            _task("c", after="a.Succeeded", when=chosen % "c"),
            _task("d", after="(b.Succeeded && c.Skipped)"),
        ],
    )
    assert execute(flow, sandbox, name="w") == Executed(run_id="argo-w")
    assert sandbox.names == ["argo-a", "argo-b", "argo-d"]


def test_tasks_that_wait_for_each_other_are_told_of(pretended: Callable[[Any], PretendedSandbox]) -> None:
    flow = _flow(_pod("a"), tasks=[_task("a", after="a.Succeeded")])
    with pytest.raises(ValueError, match="tasks that wait for each other: a"):
        execute(flow, pretended(lambda *_: 0), name="w")
