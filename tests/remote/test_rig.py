"""The rig itself: what containers see, and that flows without environments of ours go through every scheduler."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mfenv.testing.remote.batch import Served
from mfenv.testing.remote.images import bare_image
from mfenv.testing.remote.sandbox import Image, Record, Sandbox, Settings

if TYPE_CHECKING:
    from tests.remote.conftest import RemoteFlows, Rig

PLAIN = """
class Plain(FlowSpec):
    width = Parameter("width", default=1)

    @step
    def start(self):
        self.items = [10 * n for n in range(1, self.width + 1)]
        self.next(self.left, self.right)

    @step
    def left(self):
        self.next(self.each, foreach="items")

    @step
    def each(self):
        self.found = self.input
        self.next(self.gather)

    @step
    def gather(self, inputs):
        self.total = sum(one.found for one in inputs)
        self.next(self.join)

    @step
    def right(self):
        self.total = 1
        self.next(self.join)

    @step
    def join(self, inputs):
        self.total = inputs.gather.total + inputs.right.total
        self.next(self.end)

    @step
    def end(self):
        tell(total=self.total)
"""

STEPS = ["each", "each", "end", "gather", "join", "left", "right", "start"]


def test_a_plain_flow_runs_on_batch(remote: RemoteFlows, stocked: Image) -> None:
    remote.on_image(stocked)
    done = remote.run(PLAIN, "--width", "2").succeeded()
    assert done.fact("end")["total"] == 31
    assert sorted(record.step or "" for record in done.containers) == STEPS
    assert {fact["prefix"] for fact in done.facts["end"]} == {str(stocked.prefix)}
    nodes = {served.node for served in remote.served}
    assert nodes == {"launcher", *(record.variables["HOSTNAME"] for record in done.containers)}
