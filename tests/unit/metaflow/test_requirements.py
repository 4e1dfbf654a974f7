"""What decorators ask for, as values; and errors that name where it was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mfenv.app.needs import metaflow_needs
from mfenv.domain.channel import Channel
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.python import PythonConstraint
from mfenv.domain.spec import Place, SpecLayer, override
from mfenv.errors import InvalidSpec
from mfenv.metaflow.boundary import EnvironmentException
from mfenv.metaflow.requirements import Reader


@dataclass
class Written:
    name: str
    attributes: dict[str, Any] = field(default_factory=dict)


READER = Reader(owner="step `train`", folder=Path("/flows"))


def layer(**attributes: Any) -> SpecLayer:
    return READER.layer([Written("retry", {"times": 3}), Written("conda", attributes)])


def test_a_level_that_says_nothing_asks_for_nothing() -> None:
    assert READER.layer([]) == READER.layer([Written("retry")]) == layer() == SpecLayer()


@pytest.mark.parametrize("key", ["packages", "libraries"])
@pytest.mark.parametrize(
    ("constraint", "version"), [("1.26", "==1.26"), (">=1,<2", "<2,>=1"), ("", "*"), (None, "*"), (1.5, "==1.5")]
)
def test_packages_are_read_with_their_place(key: str, constraint: object, version: str) -> None:
    assert layer(**{key: {"NumPy": constraint}}) == SpecLayer(
        conda=(MatchSpec(name="numpy", version=version),),
        places=(("numpy", Place(owner="step `train`", text=f'@conda({key}={{"NumPy": "{constraint}"}})')),),
    )


def test_packages_win_over_libraries_of_the_same_name() -> None:
    read = layer(packages={"a": "2"}, libraries={"a": "1", "b": "1"})
    assert set(read.conda) == {MatchSpec(name="a", version="==2"), MatchSpec(name="b", version="==1")}


@pytest.mark.parametrize(
    ("python", "version"), [("3.11", "3.11.*"), (3.11, "3.11.*"), (3.1, "3.10.*"), ("3.11.7", "==3.11.7")]
)
def test_python_is_read_from_text_and_from_numbers(python: object, version: str) -> None:
    read = layer(python=python)
    # No Metaflow runs on Python 3.1: it is what `--with conda:python=3.10` arrives as.
    shown = "3.10" if python == 3.1 else python
    assert read.python == PythonConstraint(version=version)
    assert dict(read.places) == {"python": Place(owner="step `train`", text=f'@conda(python="{shown}")')}


def test_a_python_among_the_packages_wins_over_the_flows_and_is_any_patch_release() -> None:
    step = layer(packages={"python": "3.12"})
    assert override(SpecLayer(python=PythonConstraint.minor(3, 11)), step).python == PythonConstraint.minor(3, 12)
    assert layer(packages={"python": "3.12"}, python="3.10").python == PythonConstraint.minor(3, 10)
    with pytest.raises(InvalidSpec, match="Metaflow does not run on Python"):
        layer(libraries={"python": "2.7"})


@pytest.mark.parametrize("channels", [["team"], ("team",), "team"])
def test_one_channel_need_not_be_a_list(channels: object) -> None:
    assert layer(channels=channels).channels == (Channel(location="team"),)


def test_channels_keep_their_order_and_paths_begin_at_the_flow() -> None:
    read = layer(channels=["https://me:secret@host/b", "./a"])
    assert read.channels == (Channel(location="https://host/b"), Channel(location="file:///flows/a"))
    assert "secret" not in repr(read)
    [found] = READER.read([Written("conda", {"channels": ["https://me:secret@host/b", "./a"]})]).channel_credentials
    assert (found.channel, found.secret_url) == (Channel(location="https://host/b"), "https://me:secret@host/b")


def test_the_channel_of_a_package_is_read_as_any_other() -> None:
    packages = {"https://me:secret@host/b::numpy": "", "./a::six": "", "team::attrs": ""}
    assert {spec.name: spec.channel for spec in layer(packages=packages).conda} == {
        "numpy": Channel(location="https://host/b"),
        "six": Channel(location="file:///flows/a"),
        "attrs": Channel(location="team"),
    }
    [found] = READER.read([Written("conda", {"packages": packages})]).channel_credentials
    assert (found.channel, found.secret_url) == (Channel(location="https://host/b"), "https://me:secret@host/b")


@pytest.mark.parametrize("package", [{"python": "3.11.7=h1_0"}, {"python": ">=3.11 *_cpython"}, {"team::python": ""}])
def test_a_build_or_a_channel_of_python_is_refused_and_not_forgotten(package: dict[str, str]) -> None:
    with pytest.raises(
        InvalidSpec, match=r"^step `train`, @conda\(packages=.*: for Python only the version can be chosen"
    ):
        layer(packages=package)


@pytest.mark.parametrize(
    ("value", "disabled"),
    [(None, None), (True, True), (False, False), ("true", True), ("False", False), (1, True), ("0", False)],
)
def test_disabled_is_a_truth_in_any_spelling(value: object, disabled: bool | None) -> None:
    assert layer(disabled=value).disabled is disabled


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {"libraries": {"numpy": "1.26,"}},
            'step `train`, @conda(libraries={"numpy": "1.26,"}): version `1.26,` ends with a comma',
        ),
        (
            {"packages": {"num py": "1"}},
            'step `train`, @conda(packages={"num py": "1"}): `num py` is not the name of a conda package',
        ),
        (
            {"packages": ["numpy"]},
            "step `train`, @conda(packages=...): expected names with versions, found `['numpy']`",
        ),
        ({"python": "2.7"}, 'step `train`, @conda(python="2.7"): Metaflow does not run on Python `2.7`'),
        (
            {"channels": ["no channel"]},
            "step `train`, @conda(channels=[...]): `no channel` is neither a channel name nor a URL",
        ),
        ({"disabled": "maybe"}, "step `train`, @conda(disabled='maybe'): expected True or False"),
        (
            {"packages": {"https://me:secret@host/c::numpy": "x"}},
            (
                'step `train`, @conda(packages={"https://host/c::numpy": "x"}): '
                "version `x` is not a version or a comparison with one"
            ),
        ),
    ],
)
def test_an_error_names_owner_decorator_key_and_text(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        layer(**attributes)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("datastore", "names"),
    [
        ("local", ["requests"]),
        ("s3", ["requests", "boto3"]),
        ("azure", ["requests", "azure-identity", "azure-storage-blob"]),
        ("gs", ["requests", "google-cloud-storage", "google-auth"]),
    ],
)
def test_metaflow_needs_what_its_datastore_does_in_any_version(datastore: str, names: list[str]) -> None:
    assert metaflow_needs(datastore) == tuple(MatchSpec(name=name) for name in names)


def test_an_unknown_datastore_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="do not know the datastore `tape`"):
        metaflow_needs("tape")


def test_metaflow_prints_asterisks_that_can_be_pasted_back() -> None:
    error = InvalidSpec("version `1.4.*`", hint="write `1.*`", output="* a")
    shown = EnvironmentException(error)
    assert "*" not in str(shown)
    assert (shown.headline, shown.error) == ("Invalid environment", error)
    assert str(shown).replace("\N{ASTERISK OPERATOR}", "*") == error.explain()
    text = str(shown).split("`")[1]
    assert MatchSpec.parse("a", text, where="here") == MatchSpec(name="a", version="1.4.*")


@pytest.mark.parametrize("channels", [5, True, {"conda-forge": 1}, [None], ["conda-forge", 1]])
def test_channels_that_are_no_list_of_texts_are_refused(channels: object) -> None:
    with pytest.raises(InvalidSpec) as caught:
        layer(channels=channels)
    assert caught.value.message == (
        f"step `train`, @conda(channels=...): expected a list of channels, found `{channels!r}`"
    )


def test_a_python_of_thousands_of_digits_is_left_to_the_solver() -> None:
    assert layer(python="9" * 5000).python == PythonConstraint(version="==" + "9" * 5000)
