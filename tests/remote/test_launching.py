"""The ways in which flows get to other machines, besides `--with` and `create`."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from mfenv.testing.remote.images import bare_image

if TYPE_CHECKING:
    from pathlib import Path

    from tests.remote.conftest import RemoteFlows

SMALL = """
class Small(FlowSpec):
    @conda(packages={"six": ""})
    @step
    def start(self):
        import six
        self.version = six.__version__
        tell(six=six.__version__)
        self.next(self.end)

    @step
    def end(self):
        tell()
"""


def notes_of_deployments(remote: RemoteFlows, flow: str) -> set[str]:
    """The environments that the store keeps for a deployed flow."""
    pages = remote.rig.aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=remote.bucket)
    found = [one["Key"] for page in pages for one in page.get("Contents", ())]
    return {key.rpartition("/")[2] for key in found if f"/runs/{flow}/deployed/" in key}


@pytest.mark.parametrize("scheduler", ["argo_workflows", "step_functions"])
def test_a_deployer_locks_and_publishes_as_the_command_does(named: RemoteFlows, scheduler: str) -> None:
    flow = named.flows.write(SMALL.replace("six", "tqdm"))
    code = f"""
import sys
from metaflow import Deployer
deployer = Deployer({str(flow)!r}, environment="conda", datastore="s3", pylint=False)
deployed = deployer.{scheduler}(name="small").create()
print("DEPLOYED", deployed.name)
"""
    # The same variables with which the command is given what a cluster and a state machine need.
    ran = named.using(METAFLOW_SFN_IAM_ROLE="arn:aws:iam::123456789012:role/sfn").flows.call(
        named.flows.python, "-c", code, timeout=240
    )
    assert re.search(r"^DEPLOYED \S*small", ran.stdout, re.MULTILINE | re.IGNORECASE), ran.text
    kept = notes_of_deployments(named, "Small")
    assert len(kept) == 2


def test_a_run_made_here_goes_on_elsewhere(named: RemoteFlows) -> None:
    text = SMALL.replace(
        "        tell()", "        import six\n        assert os.environ.get('GO')\n        tell()"
    ).replace("    @step\n    def end", '    @conda(packages={"six": ""})\n    @step\n    def end')
    flow = named.flows.write(text)
    failed = named.flows.run(flow, environment="conda")
    assert failed.code != 0
    assert named.containers == ()
    named.configure(variables={**named.rig.sandbox.settings.variables, "GO": "1"})
    resumed = named.flows.call(
        *named.flows.command(flow, "resume", "--origin-run-id", failed.run_id, "--with", "batch"), timeout=240
    ).succeeded()
    (container,) = named.containers
    assert container.step == "end"
    # The same environment: here by its path on this machine, there by its path on the node.
    here = failed.fact("start")["prefix"].rpartition("/")[2]
    (told,) = re.findall(r"^FACTS (\{.*\})$", container.stdout, re.MULTILINE)
    assert json.loads(told)["prefix"].rpartition("/")[2] == here
    assert resumed.facts["start"] == [] if "start" in resumed.facts else True


def test_decorators_of_the_surroundings_send_steps_away(named: RemoteFlows) -> None:
    """METAFLOW_DECOSPECS holds for all steps, as `--with` does."""
    plain = """
class Bare(FlowSpec):
    @step
    def start(self):
        import six
        tell(six=six.__version__)
        self.next(self.end)

    @step
    def end(self):
        import six
        tell(six=six.__version__)
"""
    away = named.using(METAFLOW_DECOSPECS='batch conda:packages={"six":"1.16.0"}')
    done = away.run_as_written(plain).succeeded()
    assert [fact["six"] for told in done.facts.values() for fact in told] == ["1.16.0", "1.16.0"]
    assert len(done.containers) == 2


def test_many_tasks_of_one_node_ask_for_each_object_once(named: RemoteFlows, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    named.configure(
        volumes={**named.rig.sandbox.settings.volumes, "/mnt/environments": str(volume)},
    )
    named = named.using(METAFLOW_CONDA_NODE_PATH="/mnt/environments")
    done = named.run_as_written(
        """
class Wide(FlowSpec):
    @step
    def start(self):
        self.numbers = list(range(30))
        self.next(self.work, foreach="numbers")

    @batch
    @conda(packages={"six": ""})
    @step
    def work(self):
        import six
        tell(input=self.input)
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass
""",
        "--max-workers",
        "6",
        timeout=400,
    ).succeeded()
    facts = done.facts["work"]
    assert sorted(fact["input"] for fact in facts) == list(range(30))
    assert len({fact["prefix"] for fact in facts}) == 1
    asked = Counter(one.path for one in named.served if one.node != "launcher" and "/mfenv/v1/packages/" in one.path)
    assert len(asked) > 10
    assert set(asked.values()) == {1}, asked.most_common(5)


def test_steps_of_other_platforms_are_locked_for_them(named: RemoteFlows) -> None:
    """Nothing of another platform runs here; its packages and its toolchain are there before anybody needs them."""
    named.on_image(bare_image("3.12"))
    done = named.using(METAFLOW_KUBERNETES_CONDA_ARCH="linux-aarch64").run_as_written(
        """
class Platforms(FlowSpec):
    @conda(packages={"six": ""})
    @step
    def start(self):
        import six
        tell(six=six.__version__)
        self.next(self.near, self.far)

    @batch
    @conda(packages={"six": ""})
    @step
    def near(self):
        import six
        tell(six=six.__version__)
        self.next(self.join)

    @retry(times=0)
    @kubernetes
    @conda(packages={"six": ""})
    @step
    def far(self):
        self.next(self.join)

    @conda(disabled=True)
    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass
"""
    )
    # The only machine that there is is not of that platform, and says so at once.
    assert done.launcher.code != 0
    (far,) = done.of("far")
    assert re.search(r"was locked for linux-aarch64, and this machine is linux-64", far.stderr + far.stdout), far.tail()
    assert done.fact("near")["prefix"].rpartition("/")[2] == done.launcher.fact("start")["prefix"].rpartition("/")[2]
    pages = named.rig.aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=named.bucket)
    keys = [one["Key"] for page in pages for one in page["Contents"]]
    assert any("/toolchain/linux-aarch64/" in key for key in keys)
    locks = [
        json.loads(named.rig.aws.client("s3").get_object(Bucket=named.bucket, Key=key)["Body"].read())
        for key in keys
        if re.search(r"/locks/[0-9a-f]{40}\.json$", key)
    ]
    assert {lock["platform"] for lock in locks} == {"linux-64", "linux-aarch64"}
