"""Old spellings ask for the same as today's, and each has a line that says what to write."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mfenv.domain.base import NamedBase, PathspecBase
from mfenv.domain.channel import Channel
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import SpecLayer, complete
from mfenv.errors import InvalidSpec
from mfenv.metaflow.requirements import Reader, Reading


@dataclass
class Deco:
    name: str
    attributes: dict[str, Any] = field(default_factory=dict)
    statically_defined: bool = True


READER = Reader(owner="step `s`", folder=Path("/flows"))


def read(*decorators: Deco) -> Reading:
    # As Python applies them: from the bottom to the top.
    return READER.read(list(reversed(decorators)))


def key(layer: SpecLayer) -> str:
    spec = (
        complete(
            layer,
            default_python=PythonConstraint.minor(3, 11),
            default_channels=(Channel(location="conda-forge"),),
            needs=(MatchSpec(name="requests"),),
        )
        if not layer.base
        else None
    )
    return ResolutionRequest(spec=spec, target=baseline(Platform.LINUX_64)).key if spec else str(layer.base)


CASES = [
    # old, new, the lines that are said
    (
        [Deco("conda", {"libraries": {"a": "1"}, "pip_packages": {"b": "2"}, "pip_sources": ["https://i.example.org"]})],
        [Deco("conda", {"libraries": {"a": "1"}}), Deco("pypi", {"packages": {"b": "2"}, "extra_indices": ["https://i.example.org"]})],
        ["@conda(pip_packages=...) is deprecated, write @pypi(packages={...})", "@conda(pip_sources=...) is deprecated, write @pypi(extra_indices=[...])"],
    ),
    (
        [Deco("conda", {"pip_packages": ["tensorflow==2.10.0", "requests[socks]>=2,<3", "c", "d @ https://h.example.org/d-1.tar.gz", "e==1.*; os_name == 'posix'"]})],
        [Deco("pypi", {"packages": {"tensorflow": "2.10.0", "requests[socks]": ">=2,<3", "c": "", "d": "https://h.example.org/d-1.tar.gz", "e": "==1.*; os_name == 'posix'"}})],
        ["@conda(pip_packages=...) is deprecated, write @pypi(packages={...})"],
    ),
    (
        [Deco("conda_base", {"pip_packages": {"b": "2"}})],
        [Deco("pypi_base", {"packages": {"b": "2"}})],
        ["@conda_base(pip_packages=...) is deprecated, write @pypi_base(packages={...})"],
    ),
    (
        [Deco("conda", {"packages": {"a": ""}, "sources": ["x"], "channels": ["y"]})],
        [Deco("conda", {"packages": {"a": ""}, "channels": ["x", "y"]})],
        ["@conda(sources=...) is deprecated, write @conda(channels=[...])"],
    ),
    (
        [Deco("pypi", {"packages": {"a": ""}, "sources": ["https://x.example.org"], "extra_indices": ["https://y.example.org"]})],
        [Deco("pypi", {"packages": {"a": ""}, "extra_indices": ["https://x.example.org", "https://y.example.org"]})],
        ["@pypi(sources=...) is deprecated, write @pypi(extra_indices=[...])"],
    ),
    ([Deco("pip", {"packages": {"a": "1"}})], [Deco("pypi", {"packages": {"a": "1"}})], ["@pip is deprecated, write @pypi"]),
    ([Deco("pip_base", {"packages": {"a": "1"}})], [Deco("pypi_base", {"packages": {"a": "1"}})], ["@pip_base is deprecated, write @pypi_base"]),
    ([Deco("conda", {"name": "team/x"})], [Deco("named_env", {"name": "team/x"})], ["@conda(name=...) is deprecated, write @named_env(name=...)"]),
    ([Deco("pypi", {"pathspec": "F/1/a"})], [Deco("named_env", {"pathspec": "F/1/a"})], ["@pypi(pathspec=...) is deprecated, write @named_env(pathspec=...)"]),
    (
        [Deco("conda_base", {"name": "team/x", "fetch_at_exec": True})],
        [Deco("named_env_base", {"name": "team/x", "fetch_at_exec": True})],
        ["@conda_base(name=...) is deprecated, write @named_env_base(name=...)", "@conda_base(fetch_at_exec=...) is deprecated, write @named_env_base(fetch_at_exec=...)"],
    ),
    ([Deco("conda", {"packages": {"a": "1"}})], [Deco("conda", {"packages": {"a": "1"}})], []),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "lines"), CASES)
def test_an_old_spelling_asks_for_the_same(old: list[Deco], new: list[Deco], lines: list[str]) -> None:
    one, other = read(*old), read(*new)
    assert _without_places(one.layer) == _without_places(other.layer)
    assert key(one.layer) == key(other.layer)
    assert one.deprecations == tuple(f"step `s`: {line}" for line in lines)
    assert other.deprecations == ()


def _without_places(layer: SpecLayer) -> dict[str, object]:
    return {name: getattr(layer, name) for name in SpecLayer.__dataclass_fields__ if name != "places"}


def test_an_error_shows_what_the_user_wrote() -> None:
    with pytest.raises(InvalidSpec) as caught:
        read(Deco("conda", {"pip_packages": {"a b": "1"}}))
    assert caught.value.message.startswith('step `s`, @conda(pip_packages={"a b": "1"})')


@pytest.mark.parametrize("value", ["requests", 3, [1]])
def test_packages_of_pip_that_cannot_be_read_are_refused(value: object) -> None:
    with pytest.raises(InvalidSpec, match="expected names with versions"):
        read(Deco("conda", {"pip_packages": value}))


def test_what_a_file_parser_says_is_nobodys_spelling() -> None:
    assert read(Deco("conda", {"pip_packages": {"a": "1"}, "parsed_from": "environment.yml"})).deprecations == ()


def test_decorators_are_read_from_top_to_bottom_and_those_of_the_command_line_last() -> None:
    found = read(
        Deco("conda", {"channels": ["c"]}, statically_defined=False),
        Deco("conda", {"channels": ["a"]}),
        Deco("conda", {"channels": ["b"]}),
    )
    assert [str(channel) for channel in found.layer.channels] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("attributes", "layer"),
    [
        ({}, SpecLayer()),
        ({"name": "team/x:v1"}, SpecLayer(base=NamedBase(text="team/x:v1"))),
        ({"pathspec": "F/@{METAFLOW_RUN_ID}/a", "fetch_at_exec": True}, SpecLayer(base=PathspecBase(text="F/@{METAFLOW_RUN_ID}/a"), fetch_at_exec=True)),
        ({"disabled": True}, SpecLayer(disabled=True)),
    ],
)  # fmt: skip
def test_a_named_environment_is_read(attributes: dict[str, object], layer: SpecLayer) -> None:
    assert _without_places(read(Deco("named_env", attributes)).layer) == _without_places(layer)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"name": "a", "pathspec": "F/1/a"}, 'step `s`, @named_env(name="a", pathspec="F/1/a"): only one environment can be named'),
        ({"name": "A"}, 'step `s`, @named_env(name="A"): `A` is not the name of an environment'),
        ({"pathspec": "F"}, 'step `s`, @named_env(pathspec="F"): `F` does not name a step of a run'),
        ({"name": "a@{"}, 'step `s`, @named_env(name="a@{"): a `@{` in `a@{` has no `}`'),
        ({"fetch_at_exec": "maybe"}, "step `s`, @named_env(fetch_at_exec='maybe'): expected True or False"),
    ],
)  # fmt: skip
def test_a_named_environment_that_cannot_be_is_refused(attributes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        read(Deco("named_env", attributes))
    assert caught.value.message == message


def test_name_and_pathspec_in_two_decorators_are_refused_too() -> None:
    with pytest.raises(InvalidSpec, match="can be built upon one other only"):
        read(Deco("named_env", {"name": "a"}), Deco("conda", {"pathspec": "F/1/a"}))


def test_options_of_the_resolver_are_read_with_and_without_dashes() -> None:
    found = read(Deco("pypi", {"extras": ["pre", "--find-links ./w"]})).layer
    assert [str(flag) for flag in found.flags] == ["--prerelease=allow", "--find-links=file:///flows/w"]


@pytest.mark.parametrize("name", ["sys_packages", "sys_packages_base", "named_env", "conda", "pypi", "pip"])
def test_a_bare_decorator_says_nothing(name: str) -> None:
    assert read(Deco(name)).layer == SpecLayer()


def test_a_choice_without_a_file_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="there is no file to take them of"):
        read(Deco("pypi", {"groups": ["dev"]}))
