"""How a flow's and a step's words are merged, and what is added to them."""

from __future__ import annotations

import pytest

from mfenv.domain.channel import Channel
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.python import PythonConstraint
from mfenv.domain.spec import ChannelPriority, EnvironmentSpec, Place, SolveOptions, SpecLayer, complete, override

PY310, PY311 = PythonConstraint.minor(3, 10), PythonConstraint.minor(3, 11)
FORGE, TEAM, OTHER = (Channel(location=name) for name in ("conda-forge", "team", "other"))


def spec(name: str, version: str = "*") -> MatchSpec:
    return MatchSpec(name=name, version=version)


def place(owner: str) -> Place:
    return Place(owner=owner, text="@conda(...)")


def test_the_steps_word_replaces_the_flows_package_by_package() -> None:
    flow = SpecLayer(
        python=PY310,
        conda=(spec("numpy", "==1"), spec("pandas", "==2")),
        places=(("numpy", place("flow")), ("pandas", place("flow"))),
    )
    step = SpecLayer(python=PY311, conda=(spec("numpy", "==1.5"),), places=(("numpy", place("step")),))
    assert override(flow, step) == SpecLayer(
        python=PY311,
        conda=(spec("numpy", "==1.5"), spec("pandas", "==2")),
        disabled=False,
        places=(("numpy", place("step")), ("pandas", place("flow"))),
    )


def test_a_step_that_says_nothing_gets_the_flows_word() -> None:
    flow = SpecLayer(python=PY310, conda=(spec("numpy"),), channels=(TEAM,), places=(("numpy", place("flow")),))
    assert override(flow, SpecLayer()) == flow


def test_the_steps_channels_come_first_and_each_counts_once() -> None:
    merged = override(SpecLayer(channels=(FORGE, TEAM)), SpecLayer(channels=(OTHER, TEAM)))
    assert merged.channels == (OTHER, TEAM, FORGE)


@pytest.mark.parametrize(
    ("flow", "step", "disabled"),
    [
        (None, SpecLayer(), None),
        (None, SpecLayer(disabled=True), True),
        (True, SpecLayer(), True),
        (False, SpecLayer(), False),
        (True, SpecLayer(disabled=False), False),
        (False, SpecLayer(disabled=True), True),
        (True, SpecLayer(conda=(spec("numpy"),)), False),
        (True, SpecLayer(python=PY311), False),
        (True, SpecLayer(channels=(TEAM,)), False),
        (True, SpecLayer(conda=(spec("numpy"),), disabled=True), True),
    ],
)
def test_who_is_disabled(flow: bool | None, step: SpecLayer, disabled: bool | None) -> None:
    assert override(SpecLayer(disabled=flow), step).disabled is disabled


def test_a_step_that_asks_for_packages_gets_nothing_of_a_disabled_flow() -> None:
    flow = SpecLayer(
        python=PY310, conda=(spec("pandas"),), channels=(TEAM,), disabled=True, places=(("pandas", place("flow")),)
    )
    step = SpecLayer(conda=(spec("numpy"),))
    assert override(flow, step) == SpecLayer(conda=(spec("numpy"),), disabled=False)


def _complete(layer: SpecLayer, needs: tuple[MatchSpec, ...] = ()) -> EnvironmentSpec:
    return complete(layer, default_python=PY310, default_channels=(FORGE,), needs=needs)


def test_defaults_are_put_in_where_nothing_is_said() -> None:
    assert _complete(SpecLayer(), needs=(spec("requests"),)) == EnvironmentSpec(
        python=PY310,
        conda=(spec("requests"),),
        channels=(FORGE,),
        options=SolveOptions(channel_priority=ChannelPriority.STRICT),
    )


def test_what_metaflow_needs_yields_to_the_users_own_word() -> None:
    layer = SpecLayer(conda=(spec("requests", "==2.28.2"), spec("boto3", "<2")))
    completed = _complete(layer, needs=(spec("requests"), spec("certifi", ">=2")))
    assert completed.conda == (spec("boto3", "<2"), spec("certifi", ">=2"), spec("requests", "==2.28.2"))


def test_default_channels_stand_behind_and_count_once() -> None:
    assert _complete(SpecLayer(channels=(TEAM, FORGE, OTHER))).channels == (TEAM, FORGE, OTHER)
    assert _complete(SpecLayer(channels=(TEAM,))).channels == (TEAM, FORGE)


def test_python_among_the_packages_is_the_python_that_is_asked_for() -> None:
    completed = _complete(SpecLayer(conda=(spec("python", "3.12.*"), spec("numpy"))))
    assert completed.python == PythonConstraint(version="3.12.*")
    assert completed.conda == (spec("numpy"),)


def test_python_without_a_version_among_the_packages_is_the_default() -> None:
    assert _complete(SpecLayer(conda=(spec("python"),))) == _complete(SpecLayer())


def test_a_solver_is_asked_for_python_and_the_packages() -> None:
    completed = _complete(SpecLayer(conda=(spec("numpy", ">=1"),)))
    assert completed.match_specs == (spec("python", "3.10.*"), spec("numpy", ">=1"))


def test_the_canonical_form_is_what_request_keys_are_made_of_for_ever() -> None:
    layer = SpecLayer(
        conda=(
            spec("numpy", ">=1"),
            MatchSpec(name="b", version="==1", build="0", channel=TEAM),
        ),
        channels=(TEAM,),
    )
    assert _complete(layer).canonical() == {
        "python": "3.10.*",
        "conda": ["team::b ==1 0", "numpy >=1"],
        "channels": ["team", "conda-forge"],
        "channel_priority": "strict",
    }


def test_a_place_reads_as_owner_and_decorator() -> None:
    text = '@conda(libraries={"numpy": "1.26"})'
    assert str(Place(owner="step `train`", text=text)) == f"step `train`, {text}"


def test_a_channel_that_only_a_package_is_pinned_to_is_searched_last() -> None:
    pinned = MatchSpec(name="numpy", channel=OTHER)
    assert _complete(SpecLayer(conda=(pinned,), channels=(TEAM,))).channels == (TEAM, FORGE, OTHER)
    assert _complete(SpecLayer(conda=(pinned,), channels=(OTHER,))).channels == (OTHER, FORGE)
