"""Executes the state machine that ``step-functions create`` makes, on the Batch and DynamoDB of `batch`.

It knows what Metaflow 2.19 writes of the Amazon States Language (specification of 2016): the states ``Task`` (with
``batch:submitJob.sync`` and ``dynamodb:getItem``), ``Parallel``, ``Map`` and ``Pass``, and the paths in them. moto has
an interpreter of its own, which does not get through Metaflow's machines (5.2: it submits without a job definition).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from mfenv.testing.remote.batch import Aws
from mfenv.testing.remote.executed import WIDTH, Executed, TaskFailed, side_by_side

_PART = re.compile(r"\.?(?P<name>[A-Za-z_]\w*)|\.?\[(?P<keys>[^\]]*)\]")
_POLL = 0.5
"""Seconds between two looks at a job."""


def execute(
    machine: Mapping[str, Any],
    aws: Aws,
    *,
    name: str,
    parameters: Mapping[str, object] | None = None,
    seconds: float = 600,
) -> Executed:
    """Execute a state machine as the execution `name`; `seconds` later, what still runs is ended."""
    # As Metaflow's own `trigger` sends them.
    given = {"Parameters": json.dumps(dict(parameters or {}))}
    run_id = f"sfn-{name}"
    try:
        _Execution(aws, time.monotonic() + seconds).run(machine, given, {"Execution": {"Name": name}})
    except TaskFailed as failed:
        return Executed(run_id=run_id, failed=str(failed))
    return Executed(run_id=run_id)


def lookup(path: str, given: Any, context: Any) -> Any:
    """Return what is at a reference path; ``$$`` is the context. Several names give that part of an object.

    >>> lookup("$.[0].Parameters.['run.id']", [{"Parameters": {"run.id": "1"}}], None)
    '1'
    >>> lookup("$.['a', 'b']", {"a": 1, "c": 2}, None)
    {'a': 1}
    """
    value, rest = (context, path[2:]) if path.startswith("$$") else (given, path[1:])
    for found in _PART.finditer(rest):
        keys = [found["name"]] if found["name"] else [key.strip().strip("'\"") for key in found["keys"].split(",")]
        if len(keys) > 1:
            value = {key: value[key] for key in keys if key in value}
        else:
            value = value[int(keys[0])] if isinstance(value, list) else value[keys[0]]
    return value


def fill(template: Any, given: Any, context: Any) -> Any:
    """Return a payload template with values: those of keys that end in ``.$`` are paths.

    >>> fill({"a.$": "$.b", "c": [1]}, {"b": 2}, None)
    {'a': 2, 'c': [1]}
    """
    match template:
        case dict():
            return {
                key.removesuffix(".$"): lookup(value, given, context)
                if key.endswith(".$")
                else fill(value, given, context)
                for key, value in template.items()
            }
        case list():
            return [fill(value, given, context) for value in template]
        case _:
            return template


def _as_called(value: Any) -> Any:
    """Return the parameters of a service integration as Batch's own API names them; names of values stay."""
    match value:
        case dict():
            return {
                key[:1].lower() + key[1:]: one if key in {"Parameters", "Tags"} else _as_called(one)
                for key, one in value.items()
            }
        case list():
            return [_as_called(one) for one in value]
        case _:
            return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class _Execution:
    """One execution."""

    def __init__(self, aws: Aws, deadline: float) -> None:
        self.batch, self.dynamodb = aws.client("batch"), aws.client("dynamodb")
        self.deadline = deadline

    def run(self, machine: Mapping[str, Any], given: Any, context: Mapping[str, Any]) -> Any:
        """Go through states from the first to the end, and return what the last one gives."""
        name: str = machine["StartAt"]
        while True:
            state = machine["States"][name]
            result = self.state(state, given, context)
            # Metaflow keeps results beside what was given under one name at most.
            where = state.get("ResultPath", "$")
            given = result if where == "$" else {**given, where.removeprefix("$."): result}
            if "OutputPath" in state:
                given = lookup(state["OutputPath"], given, context)
            if state.get("End"):
                return given
            name = state["Next"]

    def state(self, state: Mapping[str, Any], given: Any, context: Mapping[str, Any]) -> Any:
        match state["Type"]:
            case "Task":
                return self.task(state["Resource"], fill(state["Parameters"], given, context))
            case "Parallel":
                return side_by_side([partial(self.run, branch, given, context) for branch in state["Branches"]])
            case "Map":
                calls = []
                for index, item in enumerate(lookup(state["ItemsPath"], given, context)):
                    inner = {**context, "Map": {"Item": {"Index": index, "Value": item}}}
                    calls.append(partial(self.run, state["Iterator"], fill(state["Parameters"], given, inner), inner))
                return side_by_side(calls, width=min(WIDTH, state.get("MaxConcurrency") or WIDTH))
            case "Pass":
                return fill(state.get("Parameters", given), given, context)
            case other:
                raise NotImplementedError(f"the state `{other}`")

    def task(self, resource: str, parameters: dict[str, Any]) -> Any:
        match resource.split(":::")[1]:
            case "batch:submitJob.sync":
                return self.job(_as_called(parameters))
            case "dynamodb:getItem":
                return {"Item": self.dynamodb.get_item(**parameters).get("Item", {})}
            case other:
                raise NotImplementedError(f"the integration `{other}`")

    def job(self, call: dict[str, Any]) -> dict[str, Any]:
        """Run a job. moto's Batch knows no attempts: each is a job here, which is told its number."""
        attempts = call.pop("retryStrategy", {}).get("attempts", 1)
        overrides = call.pop("containerOverrides")
        # A variable may be there twice; the last one counts.
        variables = {one["name"]: _text(one["value"]) for one in overrides["environment"]}
        call["parameters"] = {key: _text(value) for key, value in call.get("parameters", {}).items()}
        job: dict[str, Any] = {}
        for number in range(1, attempts + 1):
            numbered = {**variables, "AWS_BATCH_JOB_ATTEMPT": str(number)} if number > 1 else variables
            environment = [{"name": key, "value": value} for key, value in numbered.items()]
            job = self.ended(**call, containerOverrides={**overrides, "environment": environment})
            if job["status"] == "SUCCEEDED":
                return {"JobId": job["jobId"], "Parameters": call["parameters"], "Status": job["status"]}
        raise TaskFailed(f"{call['jobName']}: {job.get('container', {}).get('reason') or job.get('statusReason')}")

    def ended(self, **call: Any) -> dict[str, Any]:
        """Submit a job, and return what Batch says of it at its end."""
        job_id = self.batch.submit_job(**call)["jobId"]
        while True:
            job: dict[str, Any] = self.batch.describe_jobs(jobs=[job_id])["jobs"][0]
            if job["status"] in {"SUCCEEDED", "FAILED"}:
                return job
            if time.monotonic() > self.deadline:
                self.batch.terminate_job(jobId=job_id, reason="no time is left")
                raise TaskFailed(f"{call['jobName']}: no time was left")
            time.sleep(_POLL)
