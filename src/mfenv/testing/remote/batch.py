"""AWS on loopback: S3, Batch, and what Metaflow's Step Functions need besides; moto, whose Batch runs containers.

moto's own Batch needs Docker. Here a job's command runs in a `sandbox` instead, and how it ends is told as Batch tells
it (API reference, "DescribeJobs": ``container.exitCode`` and ``container.reason``). Written for moto 5.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mfenv.testing.remote.sandbox import Sandbox

REGION = "us-east-1"
QUEUE = "jobs"
TABLE = "foreach"
_LAUNCHER = "launcher"
_KEY = re.compile(r"Credential=([^/]+)/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A request that was answered."""

    node: str
    """Who asked: a container's node, or ``launcher``."""
    method: str
    path: str
    status: int
    sent: int
    """Bytes of the answer's body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aws:
    """A server that runs."""

    port: int
    role: str
    log: Path

    @property
    def endpoint(self) -> str:
        """The address of all services."""
        return f"http://127.0.0.1:{self.port}"

    def _credentials(self, name: str) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": name,
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    @property
    def container_variables(self) -> dict[str, str]:
        """What a container's role gives it. The key's name says which container asks."""
        return self._credentials("{node}")

    def launcher_variables(self, bucket: str) -> dict[str, str]:
        """Return what makes Metaflow use it, with `bucket` for its datastore."""
        return {
            **self._credentials(_LAUNCHER),
            "METAFLOW_S3_ENDPOINT_URL": self.endpoint,
            "METAFLOW_DATASTORE_SYSROOT_S3": f"s3://{bucket}/metaflow",
            "METAFLOW_DEFAULT_DATASTORE": "s3",
            "METAFLOW_DEFAULT_METADATA": "local",
            "METAFLOW_BATCH_JOB_QUEUE": QUEUE,
            "METAFLOW_ECS_S3_ACCESS_IAM_ROLE": self.role,
            "METAFLOW_SFN_IAM_ROLE": self.role,
            "METAFLOW_EVENTS_SFN_ACCESS_IAM_ROLE": self.role,
            "METAFLOW_SFN_DYNAMO_DB_TABLE": TABLE,
        }

    def client(self, service: str) -> Any:
        """Return boto3's client for a service."""
        return _client(service, self.endpoint)

    @property
    def served(self) -> list[Served]:
        """All that was asked of S3 so far."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        return [Served(**json.loads(line)) for line in lines]


@contextlib.contextmanager
def aws(sandbox: Sandbox) -> Iterator[Aws]:
    """Run the server until the end of the block, or of this process. Its jobs run by the settings of `sandbox`."""
    log = sandbox.folder / "served.jsonl"
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", __name__, str(sandbox.folder), str(log)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        port = int(server.stdout.readline())
        role = _provision(f"http://127.0.0.1:{port}")
        yield Aws(port=port, role=role, log=log)
        # It waits for this: whoever is killed closes it, too.
        server.stdin.close()


def _client(service: str, endpoint: str) -> Any:
    import boto3

    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=_LAUNCHER,
        aws_secret_access_key="any",  # noqa: S106
    )


def _provision(endpoint: str) -> str:
    """Make what Metaflow expects to be there, and return the role for everything."""
    iam, ec2, batch = (_client(name, endpoint) for name in ("iam", "ec2", "batch"))
    trust = {"Effect": "Allow", "Principal": {"Service": ["ecs-tasks.amazonaws.com"]}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role: str = iam.create_role(RoleName="tasks", AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    iam.create_instance_profile(InstanceProfileName="nodes")
    iam.add_role_to_instance_profile(InstanceProfileName="nodes", RoleName="tasks")
    profile = iam.get_instance_profile(InstanceProfileName="nodes")["InstanceProfile"]["Arn"]
    network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=network, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="nodes", Description="nodes", VpcId=network)["GroupId"]
    nodes = batch.create_compute_environment(
        computeEnvironmentName="nodes",
        type="MANAGED",
        state="ENABLED",
        serviceRole=role,
        computeResources={
            "type": "EC2",
            "minvCpus": 0,
            "maxvCpus": 8,
            "desiredvCpus": 0,
            "instanceTypes": ["m5.large"],
            "instanceRole": profile,
            "subnets": [subnet],
            "securityGroupIds": [group],
        },
    )["computeEnvironmentArn"]
    order = [{"order": 1, "computeEnvironment": nodes}]
    batch.create_job_queue(jobQueueName=QUEUE, state="ENABLED", priority=1, computeEnvironmentOrder=order)
    # Where a foreach on Step Functions keeps how many tasks it has.
    _client("dynamodb", endpoint).create_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": "pathspec", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pathspec", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return role


# ------------------------------------------------------------- in the process


def _run_in(sandbox: Sandbox) -> Callable[[Any], None]:
    """Return what moto's jobs do in a thread of their own, instead of what they do otherwise."""
    from moto.batch.models import JobStatus

    def run(job: Any) -> None:
        try:
            if job.depends_on and not job._wait_for_dependencies():  # noqa: SLF001
                return
            job.status = JobStatus.STARTING
            given = job._get_container_property("environment", [])  # noqa: SLF001
            container = sandbox.start(
                job.job_name,
                job._add_parameters_to_command(job._get_container_property("command", [])),  # noqa: SLF001
                # What the job itself sets wins: who executes a state machine numbers the attempts.
                {**_of_batch(job), **{one["name"]: one["value"] for one in given}},
                image=(job.job_definition.container_properties or {}).get("image", ""),
                seconds=job._get_attempt_duration() or 600,  # noqa: SLF001
            )
            job.job_started_at = datetime.now()  # noqa: DTZ005 (as moto's are)
            job.status = JobStatus.RUNNING
            job._start_attempt()  # noqa: SLF001
            record = container.wait(is_stopped=lambda: bool(job.stop))
            container.clean()
            job.exit_code = record.code
            job.reason = "Essential container in task exited" if record.code else None
            if job.latest_attempt:
                job.latest_attempt["container"]["exitCode"] = record.code
            job._mark_stopped(success=record.code == 0)  # noqa: SLF001
        except Exception as error:
            logging.exception("job %s", job.job_id)
            job.job_stopped_reason = repr(error)
            job._mark_stopped(success=False)  # noqa: SLF001

    return run


def _of_batch(job: Any) -> dict[str, str]:
    """Return the variables that Batch sets in every container (user guide, "AWS Batch job environment variables")."""
    return {
        "AWS_BATCH_JOB_ID": job.job_id,
        "AWS_BATCH_JOB_ATTEMPT": "1",
        "AWS_BATCH_CE_NAME": "nodes",
        "AWS_BATCH_JQ_NAME": job.job_queue.name,
        "AWS_EXECUTION_ENV": "AWS_ECS_EC2",
    }


def _counted(app: Callable[..., Iterable[bytes]], log: Path) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application that also writes down what is asked of S3."""
    turn = threading.Lock()

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        status = 0

        def start(line: str, *arguments: Any) -> Any:
            nonlocal status
            status = int(line.split()[0])
            return start_response(line, *arguments)

        parts = list(app(environ, start))
        signed = environ.get("HTTP_AUTHORIZATION", "")
        found = _KEY.search(signed)
        if found and "/s3/" in signed:
            served = Served(
                node=found[1],
                method=environ["REQUEST_METHOD"],
                path=environ["PATH_INFO"],
                status=status,
                sent=sum(map(len, parts)),
            )
            # Before the answer is sent: whoever has it finds it written down.
            with turn, log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(served)) + "\n")
        return parts

    return answer


def _main(folder: Path, log: Path) -> None:
    from moto.batch import models
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    models.Job.run = _run_in(Sandbox(folder))
    details = models.Job._container_details  # noqa: SLF001

    def container_details(job: Any) -> dict[str, Any]:
        reason = getattr(job, "reason", None)
        code = {} if job.exit_code is None else {"exitCode": job.exit_code}
        return {**details(job), **code, **({"reason": reason} if reason else {})}

    models.Job._container_details = container_details  # noqa: SLF001
    server = make_server("127.0.0.1", 0, _counted(DomainDispatcherApplication(create_backend_app), log), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    _main(*map(Path, sys.argv[1:]))
