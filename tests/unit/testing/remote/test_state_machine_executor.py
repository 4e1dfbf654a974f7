"""What the executor makes of paths and payloads of the Amazon States Language, and of state machines."""

from __future__ import annotations

from typing import Any

import pytest

from mfenv.testing.remote.executed import Executed
from mfenv.testing.remote.step_functions import execute, fill, lookup

GIVEN: dict[str, Any] = {"JobId": "j", "Parameters": {"metaflow.run_id": "r"}, "Result": {"Item": {"n": {"NS": ["0"]}}}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", GIVEN),
        ("$.JobId", "j"),
        ("$.Parameters.['metaflow.run_id']", "r"),
        ("$.Result.Item.n.NS", ["0"]),
        ("$.['JobId', 'Index']", {"JobId": "j"}),
        ("$$.Execution.Name", "x"),
    ],
)
def test_a_path_leads_to_a_value(path: str, value: Any) -> None:
    assert lookup(path, GIVEN, {"Execution": {"Name": "x"}}) == value


def test_a_number_in_a_path_is_an_index() -> None:
    assert lookup("$.[1].JobId", [{"JobId": "a"}, {"JobId": "b"}], {}) == "b"


def test_a_payload_is_filled_however_deep() -> None:
    template = {
        "Key": {"pathspec": {"S.$": "$.JobId"}},
        "Names": [{"Value.$": "$$.Execution.Name"}],
        "Plain": "$.JobId",
    }
    assert fill(template, GIVEN, {"Execution": {"Name": "x"}}) == {
        "Key": {"pathspec": {"S": "j"}},
        "Names": [{"Value": "x"}],
        "Plain": "$.JobId",
    }


class PretendedAws:
    """Batch and DynamoDB, as far as they are asked: jobs end as they are told to, by name, each time."""

    def __init__(self, ends: dict[str, list[str]]) -> None:
        self.ends = ends
        self.submitted: list[tuple[str, dict[str, str], dict[str, str]]] = []

    def client(self, service: str) -> PretendedAws:
        return self

    def submit_job(self, **call: Any) -> dict[str, str]:
        variables = {one["name"]: one["value"] for one in call["containerOverrides"]["environment"]}
        self.submitted.append((call["jobName"], call["parameters"], variables))
        return {"jobId": f"{call['jobName']}-{len(self.submitted)}"}

    def describe_jobs(self, jobs: list[str]) -> dict[str, Any]:
        name = jobs[0].rsplit("-", 1)[0]
        status = self.ends.get(name, ["SUCCEEDED"]).pop(0) if self.ends.get(name) else "SUCCEEDED"
        return {"jobs": [{"jobId": jobs[0], "status": status, "container": {"reason": "no reason"}}]}

    def get_item(self, **call: Any) -> dict[str, Any]:
        return {"Item": {"n": {"NS": ["0", "1"]}, "asked": call["Key"]}}


def _job(name: str, *, attempts: int = 1, variables: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    environment = [{"Name": key.removesuffix(".$"), _value(key): value} for key, value in (variables or {}).items()]
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::batch:submitJob.sync",
        "Parameters": {
            "JobName": name,
            "JobQueue": "jobs",
            "Parameters": {"metaflow.run_id.$": "$$.Execution.Name"},
            "ContainerOverrides": {"Command": ["run"], "Environment": environment},
            "RetryStrategy": {"Attempts": attempts},
        },
        "OutputPath": "$.['JobId', 'Parameters']",
        **more,
    }


def _value(key: str) -> str:
    return "Value.$" if key.endswith(".$") else "Value"


def test_a_foreach_runs_a_job_for_each_number_that_its_step_left() -> None:
    machine = {
        "StartAt": "start",
        "States": {
            "start": _job("start", variables={"METAFLOW_PARAMETERS.$": "$.Parameters"}, Next="#each"),
            "#each": {
                "Type": "Task",
                "Resource": "arn:aws:states:::dynamodb:getItem",
                "Parameters": {"Key": {"pathspec": {"S.$": "$.JobId"}}},
                "ResultPath": "$.Result",
                "Next": "*each",
            },
            "*each": {
                "Type": "Map",
                "MaxConcurrency": 1,
                "ItemsPath": "$.Result.Item.n.NS",
                "Parameters": {"JobId.$": "$.JobId", "Index.$": "$$.Map.Item.Value"},
                "Iterator": {
                    "StartAt": "each",
                    "States": {"each": _job("each", variables={"I.$": "$.Index"}, End=True)},
                },
                "OutputPath": "$.[0]",
                "Next": "end",
            },
            "end": _job("end", variables={"PARENT.$": "$.JobId"}, End=True),
        },
    }
    aws: Any = PretendedAws({})
    assert execute(machine, aws, name="x", parameters={"width": 2}) == Executed(run_id="sfn-x")
    run = {"metaflow.run_id": "x"}
    assert aws.submitted == [
        ("start", run, {"METAFLOW_PARAMETERS": '{"width": 2}'}),
        ("each", run, {"I": "0"}),
        ("each", run, {"I": "1"}),
        ("end", run, {"PARENT": "each-2"}),
    ]


def test_branches_are_gone_through_and_give_a_list() -> None:
    branches = [{"StartAt": name, "States": {name: _job(name, End=True)}} for name in ("left", "right")]
    machine = {
        "StartAt": "both",
        "States": {
            "both": {"Type": "Parallel", "Branches": branches, "Next": "end"},
            "end": _job("end", variables={"RUN.$": "$.[1].Parameters.['metaflow.run_id']"}, End=True),
        },
    }
    aws: Any = PretendedAws({})
    assert execute(machine, aws, name="x") == Executed(run_id="sfn-x")
    assert sorted(name for name, _, _ in aws.submitted[:2]) == ["left", "right"]
    assert aws.submitted[2] == ("end", {"metaflow.run_id": "x"}, {"RUN": "x"})


def test_a_job_is_tried_again_and_knows_it_and_then_fails_the_execution() -> None:
    machine = {"StartAt": "start", "States": {"start": _job("start", attempts=2, End=True)}}
    aws: Any = PretendedAws({"start": ["FAILED", "FAILED"]})
    assert execute(machine, aws, name="x") == Executed(run_id="sfn-x", failed="start: no reason")
    assert [variables for _, _, variables in aws.submitted] == [{}, {"AWS_BATCH_JOB_ATTEMPT": "2"}]


def test_an_unknown_state_is_not_passed_over() -> None:
    machine = {"StartAt": "a", "States": {"a": {"Type": "Wait", "Seconds": 1, "End": True}}}
    aws: Any = PretendedAws({})
    with pytest.raises(NotImplementedError, match="the state `Wait`"):
        execute(machine, aws, name="x")
