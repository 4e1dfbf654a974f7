"""What an id depends on, and what it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from mfenv.domain.channel import Channel
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment
from mfenv.domain.matchspec import MatchSpec, parse_version_spec
from mfenv.domain.platform import Target
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import SpecLayer, complete, override
from mfenv.testing import strategies as ours

DEFAULT = PythonConstraint.minor(3, 11)
FORGE = Channel(location="conda-forge")


def request(layer: SpecLayer, target: Target) -> ResolutionRequest:
    spec = complete(layer, default_python=DEFAULT, default_channels=(FORGE,), needs=(MatchSpec(name="requests"),))
    return ResolutionRequest(spec=spec, target=target)


@given(ours.spec_layers(), ours.targets(), st.randoms(use_true_random=False))
def test_the_order_of_packages_never_matters(layer: SpecLayer, target: Target, random: st.random.Random) -> None:
    shuffled = list(layer.conda)
    random.shuffle(shuffled)
    assert request(replace(layer, conda=tuple(shuffled)), target) == request(layer, target)


@given(ours.spec_layers(), ours.targets(), st.data())
def test_the_order_of_channels_always_matters(layer: SpecLayer, target: Target, data: st.DataObject) -> None:
    asked = request(layer, target)
    channels = asked.spec.channels
    other = tuple(data.draw(st.permutations(channels)))
    key = replace(asked, spec=replace(asked.spec, channels=other)).key
    assert (key == asked.key) == (other == channels)


@given(ours.spec_layers(), ours.targets(), ours.targets())
def test_the_machine_and_the_target_are_no_part_of_it(layer: SpecLayer, one: Target, other: Target) -> None:
    assert request(layer, one).key == request(layer, other).key


@given(ours.environment_specs(), ours.environment_specs(), ours.targets())
def test_different_wishes_have_different_keys_and_equal_ones_the_same(
    one: object, other: object, target: Target
) -> None:
    keys = [ResolutionRequest(spec=spec, target=target).key for spec in (one, other)]  # type: ignore[arg-type]
    assert (keys[0] == keys[1]) == (one == other)


@given(ours.requests(), st.data())
def test_any_single_difference_changes_the_key(asked: ResolutionRequest, data: st.DataObject) -> None:
    spec = asked.spec
    changes: dict[str, st.SearchStrategy[object]] = {
        "python": ours.python_constraints(),
        "options": ours.solve_options(),
        "conda": ours.match_specs().map(lambda added: (added, *spec.conda)),
        "channels": ours.channels().map(lambda added: (*spec.channels, added)),
    }
    field = data.draw(st.sampled_from(sorted(changes)))
    changed = replace(spec, **{field: data.draw(changes[field])})
    assume(changed != spec)
    assert replace(asked, spec=changed).key != asked.key


@given(ours.channels(), st.sampled_from(("me:pw@", "me@", "a:b:c@")))
def test_credentials_never_matter(channel: Channel, user: str) -> None:
    location = channel.location
    assume(location.startswith("https://"))
    with_user = location.replace("https://", f"https://{user}")
    with_token = location.replace("https://conda.example.org", "https://conda.example.org/t/tok-1")
    for written in (with_user, with_token, f"{location}?token=1", f"{location}/"):
        assert Channel.parse(written, where="here") == channel


@st.composite
def _spellings(draw: st.DrawFn, constraint: str) -> str:
    """Write a normal form in another way that means the same."""
    alternatives = []
    for alternative in constraint.split("|"):
        parts = draw(st.permutations(alternative.split(",")))
        written = []
        for part in parts:
            space = draw(st.sampled_from(("", " ")))
            if part.startswith("=="):
                part = draw(st.sampled_from(("{0}", "=={0}", "== {0}"))).format(part[2:])
            elif part.endswith(".*") and part[0].isdigit():
                part = draw(st.sampled_from(("{0}.*", "={0}", "{0}*", "==={0}"[2:] + ".*"))).format(part[:-2])
            written.append(f"{space}{part}{space}")
        alternatives.append(",".join([*written, *draw(st.lists(st.sampled_from(written), max_size=1))]))
    return "|".join(alternatives)


@given(ours.version_constraints().flatmap(lambda normal: st.tuples(st.just(normal), _spellings(normal))))
def test_spelling_never_matters(pair: tuple[str, str]) -> None:
    normal, written = pair
    assert parse_version_spec(written, where="here") == normal


@given(ours.match_specs())
def test_a_normal_form_is_its_own_normal_form(spec: MatchSpec) -> None:
    name = f"{spec.channel}::{spec.name}" if spec.channel else spec.name
    constraint = f"{spec.version} {spec.build}" if spec.build else spec.version
    assert MatchSpec.parse(name, constraint, where="here") == spec


@given(ours.match_specs(), ours.match_specs())
def test_packages_that_print_the_same_are_the_same(one: MatchSpec, other: MatchSpec) -> None:
    assert (str(one) == str(other)) == (one == other)


@given(ours.spec_layers(), ours.spec_layers())
def test_the_steps_word_always_wins(flow: SpecLayer, step: SpecLayer) -> None:
    merged = override(flow, step)
    assert merged.channels[: len(step.channels)] == step.channels
    assert set(step.conda) <= set(merged.conda)
    assert merged.python == (step.python or (None if flow.disabled else flow.python))
    assert override(merged, SpecLayer()).conda == (() if merged.disabled else merged.conda)


@given(ours.locks(), st.randoms(use_true_random=False))
def test_order_and_address_are_no_part_of_a_lock_id(lock: LockedEnvironment, random: st.random.Random) -> None:
    packages = [
        LockedCondaPackage(
            record=replace(package.record, channel="mirror"),
            artifact=replace(package.artifact, url=f"https://mirror.example.org/{package.artifact.file_name}"),
            converted=package.converted and replace(package.converted, url="https://mirror.example.org/other"),
        )
        for package in lock.packages
    ]
    random.shuffle(packages)
    assert LockedEnvironment(platform=lock.platform, packages=tuple(packages)).id == lock.id


@given(ours.locks(min_size=1), st.data())
def test_whatever_is_installed_is_part_of_a_lock_id(lock: LockedEnvironment, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(lock.packages) - 1))
    package = lock.packages[index]
    other = data.draw(ours.locked_packages(platform=lock.platform, name=package.name))
    assume((package.artifact.sha256, package.artifact.file_name) != (other.artifact.sha256, other.artifact.file_name))
    packages = (*lock.packages[:index], other, *lock.packages[index + 1 :])
    assert LockedEnvironment(platform=lock.platform, packages=packages).id != lock.id
    assert LockedEnvironment(platform=lock.platform, packages=lock.packages[:-1]).id != lock.id


_PROGRAM = """
from mfenv.domain.channel import Channel
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import SpecLayer, complete
wanted = {MatchSpec(name=name, version="==1") for name in "abcdefgh"}
spec = complete(
    SpecLayer(conda=tuple(wanted)), default_python=PythonConstraint.minor(3, 11),
    default_channels=[Channel(location="conda-forge")], needs=[])
print(ResolutionRequest(spec=spec, target=baseline(Platform.OSX_ARM64)).key)
"""


def test_a_key_is_the_same_in_every_process_and_was_so_from_the_beginning() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for seed, zone in (("0", "UTC"), ("77", "Asia/Tokyo"))
    }
    assert found == {"b86613fa2ac8093152cc3cf117f7a60c4f78bb8d"}
