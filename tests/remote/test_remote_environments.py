"""Flows whose steps run on other machines, in the environments that were locked here.

The machines have a Python of another version than the launcher's and nothing else: no client of a cloud, no pip, no way
to anything but the datastore.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mfenv.testing.remote.images import bare_image

if TYPE_CHECKING:
    from tests.remote.conftest import RemoteFlows

    from mfenv.testing.remote.sandbox import Image

PACKAGES = "/mfenv/v1/packages/"


def flow(batch: str) -> str:
    return f"""
class Remote(FlowSpec):
    which = Parameter("which", default="late")

    {batch}
    @conda(packages={{"six": ""}})
    @pypi(packages={{"attrs": "23.1.0"}})
    @step
    def start(self):
        import attr, metaflow, shutil, six
        from metaflow import current
        self.items = [1, 2]
        tell(version=metaflow.__version__, six=six.__version__, attrs=attr.__name__, task=current.pathspec,
             path=shutil.which("python"), code=metaflow.__file__, local=os.environ["METAFLOW_CONDA_LOCAL_PATH"])
        self.next(self.each, foreach="items")

    {batch}
    @retry(times=1, minutes_between_retries=0)
    @catch(var="oops")
    @timeout(seconds=100)
    @conda(packages={{"six": ""}})
    @pypi(packages={{"attrs": "23.1.0"}})
    @step
    def each(self):
        import six
        if current.retry_count == 0 and self.input == 1:
            raise ValueError("once more")
        tell(input=self.input, retry=current.retry_count)
        self.next(self.join)

    {batch}
    @named_env(name="team/@{{METAFLOW_INIT_WHICH}}:v1", fetch_at_exec=True)
    @step
    def join(self, inputs):
        import six
        self.oops = [getattr(one, "oops", None) for one in inputs]
        tell(oops=[bool(oops) for oops in self.oops])
        self.next(self.end)

    @conda(packages={{"six": ""}})
    @step
    def end(self):
        import six
        tell(six=six.__version__)
"""


def test_steps_run_on_batch_in_what_was_locked_here(named: RemoteFlows) -> None:
    done = named.run_as_written(flow("@batch"))
    assert done.launcher.code == 0, done.launcher.text
    start, end = done.fact("start"), done.launcher.fact("end")
    # The environment's Python is the launcher's version by default, the image's is another.
    assert start["python"] == end["python"]
    assert re.fullmatch(r"/tmp/mfenv-\d+/envs/[0-9a-f]{40}", start["prefix"])
    assert (start["path"], start["attrs"], start["six"]) == (f"{start['prefix']}/bin/python", "attr", end["six"])
    assert start["version"] in done.launcher.text
    assert "/.mf_code/metaflow/" in start["code"]
    assert re.fullmatch(r"/tmp/mfenv-\d+", start["local"])
    assert sorted((fact["input"], fact["retry"]) for fact in done.facts["each"]) == [(1, 1), (2, 0)]
    # Both have their environment; the one behind the late name is another.
    assert done.facts["each"][0]["prefix"].rpartition("/")[2] == start["prefix"].rpartition("/")[2]
    assert done.fact("join")["oops"] == [False, False]
    assert done.fact("join")["prefix"].rpartition("/")[2] != start["prefix"].rpartition("/")[2]

    for record in done.containers:
        lines = [line for line in record.stdout.splitlines() + record.stderr.splitlines() if "nvironment" in line]
        assert len(lines) <= 5, lines
    # A node asks for each object once, and gets what was locked, the toolchain and the bytecode.
    nodes = {one.node for one in named.served} - {"launcher"}
    assert len(nodes) == len(done.containers)
    for node in nodes:
        asked = Counter(one.path for one in named.served if one.node == node and "/mfenv/v1/" in one.path)
        assert set(asked.values()) == {1}, asked
        assert sum(PACKAGES in path for path in asked) > 10

    # What Metaflow's client and ours tell of it, and the metadata of the task.
    code = (
        "import json, sys; from metaflow import Task, namespace; from mfenv import environment_of; namespace(None); "
        "task = Task(sys.argv[1]); info = task.environment_info; env = environment_of(sys.argv[1]); "
        "print(json.dumps([info['full_id'], env.id, len(info['packages']), len(env.packages), "
        "json.loads(task.metadata_dict['conda_env_id'])[1]]))"
    )
    told = named.flows.call(named.flows.python, "-c", code, start["task"]).succeeded()
    full_id, env_id, packages, same, noted = json.loads(told.stdout.splitlines()[-1])
    assert full_id == env_id == noted == start["prefix"].rpartition("/")[2]
    assert packages == same > 10

    # And from here on, it works on this machine.
    resumed = named.flows.call(
        *named.flows.command(named.flows.folder / "flow.py", "resume", "end", "--origin-run-id", done.launcher.run_id)
    ).succeeded()
    assert resumed.fact("end")["six"] == end["six"]


DEPLOYED = """
class Deployed(FlowSpec):
    which = Parameter("which", default="none")

    @named_env(name="team/@{METAFLOW_INIT_WHICH}:v1", fetch_at_exec=True)
    @step
    def start(self):
        import six
        self.items = [1, 2]
        tell(six=six.__version__)
        self.next(self.each, foreach="items")

    @pypi(packages={"attrs": "23.1.0"})
    @step
    def each(self):
        import attr
        tell(input=self.input)
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        tell()
"""


@pytest.mark.parametrize("scheduler", ["kubernetes", "argo", "step-functions", "airflow"])
def test_every_scheduler_runs_steps_in_what_was_locked_here(named: RemoteFlows, scheduler: str) -> None:
    if scheduler == "kubernetes":
        done = named.run(DEPLOYED, "--which", "late", on=scheduler, environment="conda")
    else:
        done = named.deployed(DEPLOYED, on=scheduler, environment="conda", which="late")
    facts = done.succeeded().facts
    assert facts["start"][0]["six"] == "1.17.0"
    assert sorted(fact["input"] for fact in facts["each"]) == [1, 2]
    for fact in [fact for told in facts.values() for fact in told]:
        assert re.fullmatch(r"/tmp/mfenv-\d+/envs/[0-9a-f]{40}", fact["prefix"])
    environments = {step: facts[step][0]["prefix"] for step in ("start", "each", "end")}
    assert environments["each"] != environments["end"]
    if scheduler != "kubernetes":
        # Nobody knows when it will run: what it needs is kept.
        pages = named.rig.aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=named.bucket)
        notes = [one["Key"] for page in pages for one in page["Contents"] if "/runs/Deployed/deployed/" in one["Key"]]
        assert {environments["each"].rpartition("/")[2], environments["end"].rpartition("/")[2]} <= {
            note.rpartition("/")[2] for note in notes
        }


def test_a_node_with_an_old_python_no_root_and_a_disk_that_cannot_be_written(
    named: RemoteFlows, tmp_path: Path
) -> None:
    """And a volume that the tasks of a node share: the second finds its environment there."""
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    named.on_image(bare_image("3.10"))
    named.configure(
        user=1234,
        is_read_only=True,
        volumes={"/mnt/environments": str(volume)},
        variables=named.rig.aws.container_variables,
    )
    named = named.using(METAFLOW_CONDA_NODE_PATH="/mnt/environments")
    done = named.run_as_written(
        """
class Twice(FlowSpec):
    @batch
    @conda(packages={"six": ""})
    @step
    def start(self):
        import six
        tell(user=os.getuid())
        self.next(self.end)

    @batch
    @conda(packages={"six": ""})
    @step
    def end(self):
        import six
        tell(user=os.getuid())
""",
    ).succeeded()
    assert done.fact("start")["user"] == 1234
    assert done.fact("start")["prefix"].startswith("/mnt/environments/envs/")
    assert done.fact("end")["prefix"] == done.fact("start")["prefix"]
    (second,) = done.of("end")
    assert "is ready on this node" in second.stderr
    nodes = {one.node for one in named.served if "/mfenv/v1/" in one.path} - {"launcher"}
    assert len(nodes) == 1


def test_what_a_task_cannot_have_is_in_its_log(named: RemoteFlows) -> None:
    text = """
class Damaged(FlowSpec):
    @batch
    @conda(packages={"six": ""})
    @step
    def start(self):
        self.next(self.end)

    @conda(packages={"six": ""})
    @step
    def end(self):
        pass
"""
    first = named.run_as_written(text).succeeded()
    s3 = named.rig.aws.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=named.bucket)
    (key,) = [one["Key"] for page in pages for one in page["Contents"] if re.search(r"/six-[^/]*\.conda$", one["Key"])]
    size = s3.head_object(Bucket=named.bucket, Key=key)["ContentLength"]
    s3.put_object(Bucket=named.bucket, Key=key, Body=bytes(size))
    ran = (replace(named, earlier=named.earlier + len(first.containers))).run_as_written(text).launcher
    assert ran.code == 1
    assert "The environment of step `start` cannot be made: " in ran.text
    assert "is damaged: it is not what was locked" in ran.text
    assert "hint: Remove it from the store" in ran.text
    # What the hint says helps.
    s3.delete_object(Bucket=named.bucket, Key=key)
    named.run_as_written(text).launcher.succeeded()


def test_what_metaflow_does_in_tasks_works_in_them(named: RemoteFlows, stocked: Image) -> None:
    """Secrets, a flow that a task runs itself, and a step without an environment, in the image's own Python."""
    named.configure(images={"stocked": stocked, "*": named.rig.sandbox.settings.images["*"]})
    named.flows.write(
        """
class Inner(FlowSpec):
    @step
    def start(self):
        import six
        self.found = six.__name__
        self.next(self.end)

    @step
    def end(self):
        pass
""",
        "inner.py",
    )
    done = named.run_as_written(
        """
class Outer(FlowSpec):
    @batch
    @secrets(sources=[{"type": "inline", "id": "words", "options": {"env_vars": {"SECRET_WORD": "sesame"}}}])
    @conda(packages={"six": ""})
    @step
    def start(self):
        from metaflow import Runner
        inner = Runner("inner.py", show_output=False, pylint=False, datastore="local", metadata="local").run()
        tell(word=os.environ["SECRET_WORD"], status=inner.status, same=sys.prefix)
        self.next(self.image)

    @batch(image="stocked")
    @conda(disabled=True)
    @step
    def image(self):
        tell(is_environment="/envs/" in sys.prefix)
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        tell()
""",
    ).succeeded()
    assert (done.fact("start")["word"], done.fact("start")["status"]) == ("sesame", "successful")
    assert done.fact("image")["is_environment"] is False
    assert done.fact("image")["python"].startswith("3.12.")
    assert done.launcher.fact("end")["prefix"] != done.fact("start")["prefix"]
