"""Environment files: YAML is read as YAML, and what conda would do is done."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mfenv.domain.channel import Channel
from mfenv.domain.index import PackageIndex
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.python import PythonConstraint
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import Place, SpecLayer
from mfenv.errors import InvalidSpec
from mfenv.formats.environment_yml import load

FORGE = Channel(location="conda-forge")


def read(text: str) -> SpecLayer:
    return load(text, shown="environment.yml", folder=Path("/flows")).layer


def refused(text: str) -> str:
    with pytest.raises(InvalidSpec) as caught:
        read(text)
    return caught.value.message


def packages(*lines: str) -> tuple[MatchSpec, ...]:
    return read("dependencies:\n" + "\n".join(f"  {line}" for line in lines)).conda


def spec(name: str, version: str = "*", build: str | None = None) -> MatchSpec:
    return MatchSpec(name=name, version=version, build=build)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("- numpy", spec("numpy")),
        ("- numpy=1.26", spec("numpy", "1.26.*")),
        ("- numpy==1.26.4", spec("numpy", "==1.26.4")),
        ("- numpy >=1.26, <2", spec("numpy", "<2,>=1.26")),
        ("- numpy 1.26.*", spec("numpy", "1.26.*")),
        ("- numpy = >=1", spec("numpy", ">=1")),
        ("- numpy!=1.2", spec("numpy", "!=1.2")),
        ("- numpy~=1.26.2", spec("numpy", "~=1.26.2")),
        ("- numpy=1.26=py311_0", spec("numpy", "==1.26", "py311_0")),
        ("- numpy==1.26=py311*", spec("numpy", "==1.26", "py311*")),
        ("- numpy 1.26 py311_0", spec("numpy", "==1.26", "py311_0")),
        ("- 'numpy>=1'", spec("numpy", ">=1")),
        ('- "numpy>=1"', spec("numpy", ">=1")),
        ("- numpy>=1  # note", spec("numpy", ">=1")),
        ("- numpy[version='>=1,<2']", spec("numpy", "<2,>=1")),
        ('- numpy[version="1.26.*", build="py311*"]', spec("numpy", "1.26.*", "py311*")),
        ("- conda-forge::numpy=1", MatchSpec(name="numpy", version="1.*", channel=FORGE)),
        ('- numpy[channel=conda-forge]', MatchSpec(name="numpy", channel=FORGE)),
        ("- ffmpeg  # note", spec("ffmpeg")),
    ],
)  # fmt: skip
def test_a_package_is_read_as_conda_reads_it(line: str, wanted: MatchSpec) -> None:
    assert packages(line) == (wanted,)


def test_comments_end_nothing_and_are_no_packages() -> None:
    assert packages("- a", "    # indented", "- b") == (spec("a"), spec("b"))
    assert read("dependencies:\n  - a\n# at the first column\n  - b\n").conda == (spec("a"), spec("b"))


def test_lists_can_be_written_on_one_line() -> None:
    assert read("dependencies: [a, 'b>=1']").conda == (spec("a"), spec("b", ">=1"))


def test_what_stands_behind_the_list_for_pip_is_condas() -> None:
    found = read("dependencies:\n- a\n- pip:\n  - requests>=2\n- b\n")
    assert found == SpecLayer(
        conda=(spec("a"), spec("b")),
        pypi=(Requirement(name="requests", specifier=">=2"),),
        places=(
            ("a", Place(owner="environment.yml:2", text="a")),
            ("requests", Place(owner="environment.yml:4", text="requests>=2")),
            ("b", Place(owner="environment.yml:5", text="b")),
        ),
    )


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("a @ git+https://h.example.org/r@v=1", Requirement(name="a", url="git+https://h.example.org/r@v=1")),
        ("https://h.example.org/a_b-1.0-py3-none-any.whl", Requirement(name="a-b", url="https://h.example.org/a_b-1.0-py3-none-any.whl")),
        ("./a-1.0.tar.gz", Requirement(name="a", url="file:///flows/a-1.0.tar.gz")),
    ],
)  # fmt: skip
def test_addresses_for_pip_keep_their_form(line: str, wanted: Requirement) -> None:
    assert read(f"dependencies:\n- pip:\n  - {line}\n").pypi == (wanted,)


def test_options_for_pip_count() -> None:
    found = read("dependencies:\n- pip:\n  - --extra-index-url https://i.example.org\n  - --pre\n")
    assert (found.indexes, [str(flag) for flag in found.flags]) == (
        (PackageIndex(url="https://i.example.org"),),
        ["--prerelease=allow"],
    )


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("- python=3.11", "3.11.*"),
        ("- python 3.11", "3.11.*"),
        ("- python==3.11.7", "==3.11.7"),
        ("- python>=3.10,<3.12", "<3.12,>=3.10"),
        ("- python", None),
    ],
)
def test_a_python_can_be_asked_for(text: str, python: str | None) -> None:
    found = read(f"dependencies:\n{text}\n")
    assert (found.python, found.conda) == (PythonConstraint(version=python) if python else None, ())


def test_channels_keep_their_order() -> None:
    assert [str(channel) for channel in read("channels: [b, conda-forge, nodefaults, a]").channels] == [
        "b",
        "conda-forge",
        "a",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "sys: [__cuda==12.4]",
        "sys:\n- __cuda=12.4\n",
        "sys: {__cuda: 12.4}",
        "dependencies:\n- sys:\n  - __cuda==12.4\n",
        "dependencies:\n- sys: {__cuda: '12.4'}\n",
    ],
)
def test_facts_about_machines_are_read_in_either_place(text: str) -> None:
    assert read(text) == SpecLayer(system=(("__cuda", "12.4"),))


def test_variables_are_texts_as_they_are_written() -> None:
    assert read("variables:\n  A: 1.10\n  B: yes\n  C: 'x y'\n").variables == (
        ("A", "1.10"),
        ("B", "yes"),
        ("C", "x y"),
    )


@pytest.mark.parametrize("text", ["", "# only this\n", "\ufeffname: a\n", "name: a\nprefix: /b\n"])
def test_a_file_can_ask_for_nothing(text: str) -> None:
    assert load(text.removeprefix("\ufeff"), shown="e", folder=Path("/")).layer == SpecLayer()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dependencis: [a]", "environment.yml:1:1: the key `dependencis` is not known"),
        ("dependencies:\n- a\n- b c d e\n", "environment.yml:3:3: version `c d` is not a version or a comparison with one"),
        ("dependencies: a", "environment.yml:1:15: expected a list of `dependencies`, found `a`"),
        ("dependencies: {a: b}", "environment.yml:1:15: expected a list of `dependencies`, found a mapping"),
        ("- a\n- b\n", "environment.yml:1:1: expected keys such as `channels` and `dependencies`, found a list"),
        ("dependencies:\n- pip:\n  - ok\n  - not ok\n", "environment.yml:4:5: `not ok` is not a requirement"),
        ("dependencies:\n- pipp: [a]\n", "environment.yml:2:3: the key `pipp` is not known among the dependencies"),
        ("dependencies: [python=3.10, python=3.11]", "environment.yml:1:29: `python` is said twice and differently: `3.10.*` and `3.11.*`"),
        ("a: 1\na: 2\n", "environment.yml:2:1: the key `a` is there twice"),
        ("a:\n\t- b\n", "environment.yml:2:1: this is not YAML (found character '\\t' that cannot start any token)"),
        ("dependencies: [!!python/object:os.system a]", "environment.yml:1:16: the tag `tag:yaml.org,2002:python/object:os.system` means nothing here"),
        ("dependencies: ['https://h.example.org/noarch/a-1-0.conda']", "environment.yml:1:16: the address of a package cannot stand here"),
        ("variables: {a b: c}", "environment.yml:1:13: `a b` cannot be the name of a variable"),
        ("sys: [__cuda]", "environment.yml:1:7: `__cuda` is not one version of a virtual package"),
        ("---\na: 1\n---\nb: 2\n", "environment.yml:3:1: this is not YAML (but found another document)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_line_and_column(text: str, message: str) -> None:
    assert refused(text) == message


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert refused("chanels: []\ndependencies:\n- '?'\n- pip:\n  - a b\n").splitlines() == [
        "environment.yml:1:1: the key `chanels` is not known",
        "environment.yml:3:3: `?` is not a conda package with a version",
        "environment.yml:5:5: `a b` is not a requirement",
    ]


def test_a_file_that_stands_for_too_much_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "too large" in refused("\n".join(lines))
    assert refused("dependencies: " + "[" * 5000)


_PARTS = st.sampled_from(
    ["dependencies:", "- ", "\n", "  ", "pip:", "a", "=", ">=1", "[", "]", "{", "}", "&a ", "*a", "!x ", "'", '"', "\t", ": ", "#", "channels:", "sys:", "\x00", "é", "|\n", "<<: "]
)  # fmt: skip


@given(st.one_of(st.text(max_size=80), st.lists(_PARTS, max_size=20).map("".join)))
@example(": #\n|\n\n")
def test_whatever_the_text_only_our_errors_come(text: str) -> None:
    with contextlib.suppress(InvalidSpec):
        read(text)
