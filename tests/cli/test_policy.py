"""What an organisation's rules keep out, and when."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from mfenv.testing.channel import built_channel

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran

FLOW = """
class Policed(FlowSpec):
    @conda(packages={"six": "1.16.0"})
    @step
    def start(self):
        tell(ran=True)
        self.next(self.end)

    @step
    def end(self):
        pass
"""


def call(flows: Flows, *arguments: str) -> Ran:
    return flows.call(flows.python, "-m", "mfenv.cli", "environment", *arguments)


def resolved(flows: Flows, *arguments: str) -> dict[str, Any]:
    (row,) = json.loads(call(flows, "resolve", *arguments, "--json").succeeded().stdout)["environments"]
    return dict(row)


def note_on(flows: Flows, full_id: str) -> dict[str, Any]:
    """What the project and the store noted of an environment: the same."""
    found = (flows.folder / ".metaflow").rglob(f"provenance/{full_id}/*.json")
    (text,) = {path.read_bytes() for path in found}
    return dict(json.loads(text))


def fetched(flows: Flows) -> list[str]:
    return [path.name for path in flows.local_path.rglob("six-*")]


def test_what_is_denied_is_neither_kept_nor_fetched(cold_flows: Flows) -> None:
    flows = cold_flows
    ran = call(flows.using(METAFLOW_CONDA_DENIED_PACKAGES="conda:six<2"), "resolve", "--conda-pkg", "six=1.16")
    assert ran.code == 8
    assert (
        "the policy does not allow `six 1.16.0`: `conda:six<2` is denied (METAFLOW_CONDA_DENIED_PACKAGES)" in ran.text
    )
    assert "Traceback" not in ran.text
    assert fetched(flows) == []
    assert [*(flows.folder / ".metaflow").rglob("provenance/*/*.json")] == []


def test_what_was_resolved_before_the_rule_is_refused_before_it_is_made(cold_flows: Flows) -> None:
    flows = cold_flows
    made = resolved(flows, "--conda-pkg", "six=1.16", "--alias", "team/six:v1")
    denying = flows.using(METAFLOW_CONDA_DENIED_PACKAGES="six")
    # To give it a name was to share it, and so to fetch it.
    shutil.rmtree(flows.local_path)
    for arguments in (("create", "team/six:v1"), ("run", "team/six:v1", "--", "python", "-c", "0")):
        ran = call(denying, *arguments)
        assert (ran.code, "`six` is denied" in ran.text) == (8, True), ran.text
        assert not (flows.local_path / "envs" / made["full_id"]).exists()
        assert fetched(flows) == []
    assert call(flows, "create", "team/six:v1").code == 0


@pytest.mark.parametrize("allowed", ["conda-forge", "https://channels.example/main"])
def test_a_channel_that_is_not_allowed_is_not_asked(flows: Flows, allowed: str) -> None:
    ran = call(flows.using(METAFLOW_CONDA_ALLOWED_CHANNELS=allowed), "resolve", "--conda-pkg", "six=1.16")
    channel = built_channel().url()
    assert ran.code == 8
    assert (
        f"the policy does not allow `{channel}`: this channel is not allowed (METAFLOW_CONDA_ALLOWED_CHANNELS)"
        in " ".join(ran.text.split())
    )
    allowing = flows.using(METAFLOW_CONDA_ALLOWED_CHANNELS=f"{allowed},{channel}")
    row = resolved(allowing, "--conda-pkg", "six=1.16")
    note = note_on(flows, row["full_id"])
    assert note["policy"]["rules"] == {"allowed_channels": [allowed, channel]}


def test_an_index_that_is_not_allowed_is_not_asked(flows: Flows) -> None:
    strict = flows.using(METAFLOW_CONDA_ALLOWED_INDEXES="https://index.example/simple")
    ran = call(strict, "resolve", "--pypi-pkg", "six==1.16.0")
    assert ran.code == 8
    assert "`pypi`: this index is not allowed (METAFLOW_CONDA_ALLOWED_INDEXES)" in ran.text
    # What has no PyPI packages has no index.
    assert resolved(strict, "--conda-pkg", "six=1.16")


def test_only_what_is_old_enough_is_chosen(flows: Flows) -> None:
    """What was resolved without the rule is as old as the note on it."""
    patient = flows.using(METAFLOW_CONDA_MINIMUM_PACKAGE_AGE="2 hours")
    young = resolved(flows, "--conda-pkg", "tqdm")
    ran = call(patient, "create", young["full_id"])
    assert (ran.code, "its packages must be 2 hours old, and are known since" in ran.text) == (8, True), ran.text
    row = resolved(patient, "--conda-pkg", "six=1.16")
    note = note_on(flows, row["full_id"])
    assert note["policy"]["known_since"] < note["time"]
    assert call(patient, "create", row["full_id"]).code == 0
    # Nothing on the channel is as old as that.
    ran = call(flows.using(METAFLOW_CONDA_MINIMUM_PACKAGE_AGE="2000 weeks"), "resolve", "--conda-pkg", "attrs")
    assert ran.code == 3, ran.text


def test_a_run_with_what_is_denied_does_not_begin(flows: Flows) -> None:
    flows.run(FLOW).succeeded()
    ran = flows.using(METAFLOW_CONDA_DENIED_PACKAGES="six").run(FLOW)
    assert ran.code != 0
    assert "Not allowed" in ran.text
    assert "`six 1.16.0`: `six` is denied (METAFLOW_CONDA_DENIED_PACKAGES)" in " ".join(ran.text.split())
    assert ran.facts == {}


def test_without_a_policy_nothing_of_it_is_noted(flows: Flows) -> None:
    row = resolved(flows, "--conda-pkg", "six=1.16")
    note = note_on(flows, row["full_id"])
    assert "policy" not in note
