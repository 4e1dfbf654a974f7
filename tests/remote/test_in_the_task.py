"""What Metaflow does beside a step's own code works in remote tasks as it does without environments of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from mfenv.testing.remote.metadata_service import MetadataService, metadata_service

if TYPE_CHECKING:
    from tests.remote.conftest import RemoteFlows


@pytest.fixture
def served(named: RemoteFlows) -> Iterator[tuple[RemoteFlows, MetadataService]]:
    """With a metadata service, which tasks and the launching program tell the same things."""
    with metadata_service() as service:
        named.rig.network.open(service.port)
        variables = {
            "METAFLOW_DEFAULT_METADATA": "service",
            "METAFLOW_SERVICE_URL": service.url,
            "METAFLOW_SERVICE_INTERNAL_URL": service.url,
        }
        yield named.using(**variables), service


CARDS = """
from metaflow.cards import Markdown

class Cards(FlowSpec):
    {remote}
    @card(type="blank", id="own")
    @card
    @conda(packages={{"six": ""}})
    @step
    def start(self):
        import six
        current.card["own"].append(Markdown("six is " + six.__version__))
        self.next(self.end)

    {remote}
    @card(type="no_such_type", save_errors=False)
    @conda(packages={{"six": ""}})
    @step
    def end(self):
        tell()
"""

LOOK = """
import json
from metaflow import Flow, namespace
from mfenv import environment_of
from metaflow.cards import get_cards
namespace(None)
run = Flow("Cards").latest_run
task = run["start"].task
cards = get_cards(task)
print(json.dumps({"count": len(cards), "own": [card.type for card in get_cards(task, id="own")],
                  "default": len(get_cards(task, type="default")[0].get()) > 1000,
                  "finished": run.finished, "env": environment_of(task.pathspec).id}))
"""


@pytest.mark.parametrize("where", ["@batch", "@kubernetes", ""])
def test_cards_are_made_in_the_tasks_environment(served: tuple[RemoteFlows, MetadataService], where: str) -> None:
    remote, service = served
    done = remote.run_as_written(CARDS.format(remote=where)).succeeded()
    told = remote.flows.call(remote.flows.python, "-c", LOOK, timeout=120).succeeded()
    seen = json.loads(told.stdout.splitlines()[-1])
    assert {**seen, "env": None} == {"count": 2, "own": ["blank"], "default": True, "finished": True, "env": None}
    prefix = (done if where else done.launcher).fact("end")["prefix"]
    assert seen["env"] == prefix.rpartition("/")[2]
    assert any("/tasks/" in path for path in service.heartbeats) or not where


def test_sidecars_and_loggers_run_in_the_tasks_environment(named: RemoteFlows) -> None:
    """The one that watches for the end of a spot machine is among them."""
    named = named.using(METAFLOW_DEFAULT_EVENT_LOGGER="debugLogger", METAFLOW_DEFAULT_MONITOR="debugMonitor")
    done = named.run_as_written(
        """
class Sidecars(FlowSpec):
    @batch
    @conda(packages={"six": ""})
    @step
    def start(self):
        import six, glob, time
        def sidecars():
            found = []
            for path in glob.glob("/proc/[0-9]*/cmdline"):
                try:
                    words = open(path).read().split("\\0")
                except OSError:
                    continue
                found += [words] if any(word.endswith("sidecar_worker.py") for word in words) else []
            return found
        until = time.time() + 20
        while not any("spot_termination_monitor" in words for words in sidecars()) and time.time() < until:
            time.sleep(0.2)
        time.sleep(2)
        tell(sidecars=sorted([words[0], words[-2]] for words in sidecars()))
        self.next(self.end)

    @step
    def end(self):
        pass
"""
    ).succeeded()
    fact = done.fact("start")
    names = {name for _, name in fact["sidecars"]}
    assert {"debugLogger", "debugMonitor", "spot_termination_monitor"} <= names, fact
    assert {program.rpartition("/bin/")[0] for program, _ in fact["sidecars"]} == {fact["prefix"]}


def test_tasks_that_run_together_find_each_other(named: RemoteFlows) -> None:
    """`num_parallel` on this machine, and on Batch as one job of several nodes."""
    text = """
class Together(FlowSpec):
    @step
    def start(self):
        self.next(self.work, num_parallel=2)

    @parallel
    @conda(packages={"six": ""})
    @step
    def work(self):
        import six
        tell(index=current.parallel.node_index, count=current.parallel.num_nodes, six=six.__version__)
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass
"""
    done = named.run_as_written(text).succeeded()
    facts = done.launcher.facts["work"]
    assert sorted((fact["index"], fact["count"]) for fact in facts) == [(0, 2), (1, 2)]
    assert len({fact["prefix"] for fact in facts}) == 1
