"""Executes what ``argo-workflows create`` makes, with a container for each pod.

It knows what Metaflow 2.19 writes of Argo Workflows (field reference of version 3.5): templates of the kinds ``dag``
and ``container``; ``depends`` and ``when``; ``withParam``; parameters, from files too; ``retryStrategy.limit``. Hooks
and exit handlers are not run. The little languages in it are read here, since the only thing that reads them otherwise
is Argo's own controller, in Go.
"""

from __future__ import annotations

import ast
import base64
import json
import re
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timezone
from functools import partial
from typing import Any

from mfenv.testing.remote.executed import Attempt, Executed, TaskFailed, Tasks, side_by_side
from mfenv.testing.remote.sandbox import Container, Sandbox

Scope = dict[str, str]
"""Values by the names that stand in ``{{...}}``."""

_TAG = re.compile(r"\{\{(?P<is_expression>=?)\s*(?P<text>.*?)\s*\}\}", re.DOTALL)
_TO_BASE64 = re.compile(r"toBase64\((inputs|workflow)\.parameters\['(.*)'\]\)")
_CHOSEN = re.compile(
    r"\(tasks\['(?P<task>.+)'\]\.status == 'Succeeded' \? "
    r"tasks\['(?P=task)'\]\.outputs\.parameters\['(?P<name>.+)'\] : nil\) == '(?P<value>.+)'"
)
_STATUS = re.compile(r"([\w-]+)\.(Succeeded|Skipped|Failed|Omitted)")
_COMPARED = re.compile(r"(\S+)\s*(==|!=)\s*(\S+)")
_ANNOTATION = re.compile(r"metadata\.annotations\['(.*)'\]")
_STAMP = "%Y-%m-%dT%H:%M:%SZ"


def execute(
    template: Mapping[str, Any],
    sandbox: Sandbox,
    *,
    name: str,
    parameters: Mapping[str, object] | None = None,
    seconds: float = 600,
) -> Executed:
    """Execute a WorkflowTemplate as the workflow `name`; `seconds` later, what still runs is ended.

    `parameters` are values as Python has them. Argo gets them as JSON, as Metaflow's own ``trigger`` sends them.
    """
    given = {key: json.dumps(value) for key, value in (parameters or {}).items()}
    workflow = _Workflow(template, Tasks(sandbox, time.monotonic() + seconds), name, given)
    run_id = f"argo-{name}"
    try:
        workflow.run()
    except TaskFailed as failed:
        return Executed(run_id=run_id, failed=str(failed))
    return Executed(run_id=run_id)


def fill(value: Any, scope: Mapping[str, str]) -> Any:
    """Put values in place of ``{{name}}`` in all texts; a name that the scope does not have stays.

    >>> fill(["{{workflow.name}}/{{item}}"], {"item": "2"})
    ['{{workflow.name}}/2']
    """
    match value:
        case str():
            return _TAG.sub(partial(_filled, scope), value)
        case list():
            return [fill(one, scope) for one in value]
        case dict():
            return {key: fill(one, scope) for key, one in value.items()}
        case _:
            return value


def _filled(scope: Mapping[str, str], found: re.Match[str]) -> str:
    if not found["is_expression"]:
        return scope.get(found["text"], found[0])
    if encoded := _TO_BASE64.fullmatch(found["text"]):
        return base64.b64encode(scope[f"{encoded[1]}.parameters.{encoded[2]}"].encode()).decode()
    if chosen := _CHOSEN.fullmatch(found["text"]):
        value = scope.get(f"tasks.{chosen['task']}.outputs.parameters.{chosen['name']}")
        return json.dumps(value == chosen["value"])
    raise NotImplementedError(f"the expression `{found['text']}`")


def is_ready(depends: str, done: Mapping[str, str]) -> bool | None:
    """Tell whether a task may begin, given how others ended; None while too few have.

    >>> is_ready("a.Succeeded && (b.Succeeded || b.Skipped)", {"a": "Succeeded", "b": "Skipped"})
    True
    >>> is_ready("a.Succeeded && b.Succeeded", {"a": "Succeeded"})
    """
    if any(task not in done for task, _ in _STATUS.findall(depends)):
        return None
    text = _STATUS.sub(lambda found: str(done[found[1]] == found[2]), depends)
    return _truth(text) if text.strip() else True


def may_run(when: str) -> bool:
    """Tell whether a ``when`` holds, which is filled already.

    >>> may_run("(a == a) && (b != b)")
    False
    """
    text = _COMPARED.sub(
        lambda found: str((found[1] == found[3]) == (found[2] == "==")), when.replace("(", "( ").replace(")", " )")
    )
    return _truth(text.replace("true", "True").replace("false", "False"))


def _truth(text: str) -> bool:
    for theirs, ours in (("&&", " and "), ("||", " or "), ("!", " not ")):
        text = text.replace(theirs, ours)
    return _evaluated(ast.parse(text.strip(), mode="eval").body)


def _evaluated(node: ast.expr) -> bool:
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(map(_evaluated, values))
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(map(_evaluated, values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluated(operand)
        case ast.Constant(value=bool(value)):
            return value
        case _:
            raise NotImplementedError(f"the condition `{ast.unparse(node)}`")


class _Workflow:
    """One execution. The results of a node are its output parameters; None if its ``when`` did not hold."""

    def __init__(self, template: Mapping[str, Any], tasks: Tasks, name: str, parameters: Mapping[str, str]) -> None:
        spec = template["spec"]
        self.tasks = tasks
        self.templates = {one["name"]: one for one in spec["templates"]}
        self.entrypoint: str = spec["entrypoint"]
        now = datetime.now(timezone.utc)
        self.scope: Scope = {
            "workflow.name": name,
            "workflow.uid": name,
            "workflow.namespace": template["metadata"].get("namespace") or "default",
            "workflow.creationTimestamp": now.strftime(_STAMP),
            "workflow.creationTimestamp.RFC3339": now.strftime(_STAMP),
            "workflow.creationTimestamp.s": str(int(now.timestamp())),
        }
        for one in _parameters(spec, "arguments"):
            self.scope[f"workflow.parameters.{one['name']}"] = parameters.get(one["name"], one.get("value") or "")
        self.annotations = fill((spec.get("podMetadata") or {}).get("annotations") or {}, self.scope)

    def run(self) -> None:
        self.node(self.entrypoint, {}, self.entrypoint)

    def node(self, template_name: str, inputs: Mapping[str, str], label: str) -> Scope:
        template = self.templates[template_name]
        scope = dict(self.scope)
        for one in _parameters(template, "inputs"):
            scope[f"inputs.parameters.{one['name']}"] = inputs.get(one["name"], one.get("value") or "")
        if "container" in template:
            return self.pod(template, scope, label)
        return self.dag(template, scope)

    def pod(self, template: Mapping[str, Any], scope: Scope, label: str) -> Scope:
        def attempt(number: int) -> Attempt:
            filled = fill(template, {**scope, "retries": str(number)})
            container = filled["container"]
            return Attempt(
                command=[*(container.get("command") or []), *(container.get("args") or [])],
                variables={one["name"]: self.value(one, filled) for one in container.get("env") or []},
                image=container["image"],
                seconds=float(filled.get("activeDeadlineSeconds") or 600),
            )

        def results(container: Container) -> Scope:
            found = {}
            for one in _parameters(template, "outputs"):
                path = container.root / one["valueFrom"]["path"].lstrip("/")
                found[one["name"]] = path.read_text(encoding="utf-8").rstrip("\n")
            return found

        limit = int((template.get("retryStrategy") or {}).get("limit") or 0)
        return self.tasks.run(f"argo-{label}", attempt, attempts=limit + 1, results=results)

    def value(self, variable: Mapping[str, Any], template: Mapping[str, Any]) -> str:
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if not reference:
            return str(variable.get("value") or "")
        path: str = reference["fieldPath"]
        if found := _ANNOTATION.fullmatch(path):
            own = (template.get("metadata") or {}).get("annotations") or {}
            return str(own.get(found[1]) or self.annotations.get(found[1]) or "")
        known = {"metadata.namespace": self.scope["workflow.namespace"], "status.hostIP": "127.0.0.1"}
        return known.get(path, "pod")

    def dag(self, template: Mapping[str, Any], scope: Scope) -> Scope:
        waiting: dict[str, Mapping[str, Any]] = {one["name"]: one for one in template["dag"]["tasks"]}
        done: dict[str, str] = {}
        running: dict[Future[Scope | None], str] = {}
        with ThreadPoolExecutor(len(waiting)) as pool:
            while waiting or running:
                asked = [(name, is_ready(task.get("depends") or "", done)) for name, task in waiting.items()]
                decided = [(name, ready) for name, ready in asked if ready is not None]
                if not decided and not running:
                    raise ValueError(f"tasks that wait for each other: {', '.join(waiting)}")
                for name, ready in decided:
                    task = waiting.pop(name)
                    if ready:
                        running[pool.submit(self.task, task, dict(scope))] = name
                    else:
                        done[name] = "Omitted"
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    results = future.result()
                    done[name] = "Skipped" if results is None else "Succeeded"
                    scope.update({f"tasks.{name}.outputs.parameters.{k}": v for k, v in (results or {}).items()})
        return {one["name"]: fill(one["valueFrom"]["parameter"], scope) for one in _parameters(template, "outputs")}

    def task(self, task: Mapping[str, Any], scope: Scope) -> Scope | None:
        when = fill(task.get("when") or "", scope)
        if when and not may_run(when):
            return None
        given = _parameters(task, "arguments")

        def one(label: str, inner: Scope) -> Scope:
            return self.node(task["template"], {p["name"]: fill(p.get("value") or "", inner) for p in given}, label)

        if "withParam" not in task:
            return one(task["name"], scope)
        items = [str(item) for item in json.loads(fill(task["withParam"], scope))]
        results = side_by_side([partial(one, f"{task['name']}-{item}", {**scope, "item": item}) for item in items])
        # What the tasks of a loop give are lists, as JSON ("Loops", aggregated outputs).
        return {name: json.dumps([result[name] for result in results]) for name in (results or [{}])[0]}


def _parameters(part: Mapping[str, Any], of: str) -> list[dict[str, Any]]:
    return (part.get(of) or {}).get("parameters") or []
