"""Packages as conda's files spell them: py-rattler, asked in the same words, has the same package in mind."""

from __future__ import annotations

import pytest
import rattler
from hypothesis import given, settings
from hypothesis import strategies as st
from rattler.exceptions import InvalidMatchSpecError

from mfenv.domain.matchspec import MatchSpec
from mfenv.errors import InvalidSpec
from mfenv.resolve.backends import rattler_worker
from mfenv.testing import strategies as ours

Meaning = tuple[str, frozenset[frozenset[str]], str, str]


def meaning(spec: rattler.MatchSpec) -> Meaning:
    """Name, version as alternatives of comparisons, build and channel; what takes anything is left out."""
    alternatives = str(spec.version or "*").split("|")
    version = frozenset(frozenset(part.split(",")) - {"*"} for part in alternatives)
    build = str(spec.build or "*")
    assert spec.name is not None
    return (
        spec.name.normalized,
        frozenset() if version == {frozenset()} else version,
        "" if build == "*" else build,
        spec.channel.base_url if spec.channel else "",
    )


def as_the_solver_gets_it(spec: MatchSpec) -> Meaning:
    return meaning(rattler.MatchSpec(str(spec), strict=True))


@pytest.mark.parametrize(
    "text",
    [
        # Versions.
        "numpy",
        "NumPy",
        "_libgcc_mutex",
        "ruamel.yaml",
        "__glibc",
        "__glibc>=2.17",
        "numpy=1.26",
        "numpy =1.26",
        "numpy= 1.26",
        "numpy = 1.26",
        "numpy==1.26.4",
        "numpy ==1.26.4",
        "numpy == 1.26.4",
        "numpy 1.26.4",
        "numpy 1.26.*",
        "numpy 1.26*",
        "numpy=1.26*",
        "numpy=1.26.*",
        "numpy==1.26.*",
        "numpy *",
        "numpy=*",
        "numpy==*",
        "numpy<2",
        "numpy <2",
        "numpy< 2",
        "numpy<=2",
        "numpy>1",
        "numpy>=1.26",
        "numpy >= 1.26",
        "numpy >=1.*",
        "numpy!=1.26.3",
        "numpy != 1.26.3",
        "numpy!=1.26.*",
        "numpy!=1.26*",
        "numpy~=1.26.2",
        "numpy ~=1.26",
        "numpy>=1.26,<2",
        "numpy >=1.26, <2",
        "numpy >=1.26 , <2",
        "numpy  >=1.26  ,  <2",
        "numpy\t>=1.26",
        "numpy>=1.26,<2,!=1.26.3",
        "numpy >=1.26,*",
        "numpy=1.26,<1.26.4",
        "numpy=1.26,!=1.26.3",
        "numpy=1.26|=1.24",
        "numpy=1.26|1.24",
        "numpy 1.26.4|1.24.2",
        "numpy 1.26.*|1.24.*",
        "numpy>=2|<1,!=0.9",
        "numpy=1!2.0",
        "numpy==1!2.0",
        "numpy==2.0RC1",
        "numpy=2.0.post1",
        "numpy 2.0.dev1",
        "numpy==1.0+cuda.11",
        "numpy=1.0+cuda",
        "numpy=2023a",
        "numpy=1_2",
        "numpy=v1",
        "numpy 1.2.3-1",
        # Builds.
        "numpy=1.26=py311_0",
        "numpy =1.26=py311_0",
        "numpy=1.26 py311_0",
        "numpy =1.26 py311_0",
        "numpy==1.26=py311_0",
        "numpy==1.26 py311_0",
        "numpy 1.26 py311_0",
        "numpy 1.26=py311_0",
        "numpy=1.26=py311*",
        "numpy=1.26=*_0",
        "numpy=1.26=*",
        "numpy=1.26.*=py311*",
        "numpy =1.26.* py311_0",
        "numpy 1.26.* py311*",
        "numpy=*=py311*",
        "numpy * py311*",
        "numpy 1.26 *",
        "numpy >=1.26 py311_0",
        "numpy>=1.26=py311_0",
        "numpy >=1.26,<2 py311_0",
        "numpy >= 1.26 , < 2 py311_0",
        "numpy>=1.26,<2=py311_0",
        "numpy=1.26,!=1.26.3 py311_0",
        "numpy>=1.26|<1 py311_0",
        "_libgcc_mutex=0.1=conda_forge",
        # Channels.
        "conda-forge::numpy",
        "conda-forge::numpy>=1",
        "conda-forge::numpy =1.26=py311_0",
        "conda-forge/label/dev::numpy",
        "https://conda.example.org/team::numpy>=1",
        # Brackets.
        "numpy[]",
        "numpy[version='>=1.26']",
        'numpy[version=">=1.26,<2"]',
        "numpy[version=1.26.4]",
        "numpy[version='1.26.4']",
        "numpy[version='=1.26']",
        "numpy[version='1.26.*', build=py311_0]",
        'numpy[version=">=1",build="py311*"]',
        "numpy[ version = '>=1' ]",
        "numpy [version=>=1]",
        "numpy[version='1.24.*|1.26.*']",
        "numpy[build='*']",
        "numpy>=1[build=py311*]",
        "numpy 1.26[build=py311*]",
        "numpy=1.26[version=1.24.1]",
        "numpy[channel=conda-forge]",
        "conda-forge::numpy[version='>=1']",
        # Comments.
        "numpy # a note",
        "numpy #a note",
    ],
)
def test_a_package_means_what_py_rattler_reads(text: str) -> None:
    assert as_the_solver_gets_it(MatchSpec.from_text(text, where="here")) == meaning(
        rattler.MatchSpec(text, strict=False)
    )


@pytest.mark.parametrize(
    ("text", "here", "there"),
    [
        # A build that has a space before its equals sign: py-rattler keeps the sign.
        ("numpy=1.26 = py311_0", "numpy ==1.26 py311_0", "= py311_0"),
        # conda too takes `>1.26.*` as `>1.26`.
        ("numpy>1.26.*", "numpy >1.26", ">=1.26"),
        # Nobody who writes an asterisk means the one version without it.
        ("numpy==1.26.*=py311_0", "numpy 1.26.* py311_0", "==1.26"),
    ],
)
def test_where_another_meaning_is_taken_it_is_the_likelier_one(text: str, here: str, there: str) -> None:
    spec = MatchSpec.from_text(text, where="here")
    theirs = rattler.MatchSpec(text, strict=False)
    assert (str(spec), there in (str(theirs.version), str(theirs.build))) == (here, True)
    assert as_the_solver_gets_it(spec) != meaning(theirs)


_SPACE = st.sampled_from(("", "", " ", "  "))
_OPERATORS = st.sampled_from(("=", "==", "!=", ">=", "<=", ">", "<", "~="))


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """Packages in every spelling there is of them."""
    compared = st.builds("".join, st.tuples(_SPACE, _OPERATORS, _SPACE, ours.versions(), _SPACE))
    conjunction = st.lists(compared, min_size=1, max_size=3).map(",".join)
    version = draw(st.lists(conjunction, min_size=1, max_size=2).map("|".join))
    bare = f" {draw(ours.versions())}{draw(st.sampled_from(('', '.*')))}"
    version = draw(st.sampled_from((version, bare)))
    build = draw(st.none() | ours.builds() | st.just("py311*"))
    if draw(st.booleans()):
        quote = draw(st.sampled_from("'\""))
        # py-rattler knows no spaces behind operators there.
        fields = [f"version={quote}{version.replace(' ', '')}{quote}", *([f"build={build}"] if build else [])]
        rest = f"[{', '.join(fields)}]"
    else:
        rest = version.rstrip() + (f"{draw(st.sampled_from('= '))}{build}" if build else "")
    channel = draw(st.sampled_from(("", "conda-forge::", "https://conda.example.org/team::")))
    return f"{channel}{draw(ours.names())}{rest}"


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(spellings())
def test_every_combination_of_spellings_means_what_py_rattler_reads(text: str) -> None:
    assert as_the_solver_gets_it(MatchSpec.from_text(text, where="here")) == meaning(
        rattler.MatchSpec(text, strict=False)
    )


_WORDS = st.sampled_from(
    [*"=<>!~,| []'\"*#;:()", "==", ">=", "::", "1", "1.26", ".4", "2.*", "py311_0", "numpy", "b", "version=", "build="]
)


@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(st.lists(_WORDS, max_size=8).map(lambda words: "numpy" + "".join(words)))
def test_what_is_accepted_the_solver_can_read(text: str) -> None:
    try:
        spec = MatchSpec.from_text(text, where="here")
    except InvalidSpec as error:
        assert error.message.startswith("here: ")  # noqa: PT017  (most of it is read)
        return
    assert as_the_solver_gets_it(spec)[0] == spec.name
    # Its printed form is one of its spellings.
    assert MatchSpec.from_text(str(spec), where="here") == spec


@pytest.mark.parametrize(
    "text",
    [
        "numpy[build_number=3]",
        "numpy[subdir=linux-64]",
        "numpy[url='https://conda.example.org/numpy-1-0.conda']",
        "numpy[sha256=" + "0" * 64 + "]",
        "numpy[license=MIT]",
        "conda-forge/linux-64::numpy",
        "conda-forge:namespace:numpy",
        "numpy (>=1,<2)|3",
        "numpy >=1 <2",
        "https://conda.example.org/linux-64/numpy-1-0.conda",
    ],
)
def test_what_py_rattler_takes_and_cannot_be_kept_here_is_refused(text: str) -> None:
    rattler.MatchSpec(text, strict=False)
    with pytest.raises(InvalidSpec):
        MatchSpec.from_text(text, where="here")


@pytest.mark.parametrize("text", ["", "*", "^num.*$", "num*", "numpy===1.26", "numpy=", "numpy>=", "numpy[version]"])
def test_what_py_rattler_refuses_is_refused_here(text: str) -> None:
    with pytest.raises(InvalidMatchSpecError):
        rattler.MatchSpec(text, strict=False)
    with pytest.raises(InvalidSpec):
        MatchSpec.from_text(text, where="here")


@pytest.mark.parametrize(
    ("wanted", "version", "build"),
    [
        ({"version": "1.26.*", "build": "py311_0"}, "1.26.*", "py311_0"),
        # Without brackets it would be a part of the version.
        ({"version": None, "build": "h1.2_0"}, "*", "h1.2_0"),
        ({"version": ">=1,<2", "build": "*_cuda12.4*"}, ">=1,<2", "*_cuda12.4*"),
        ({"version": "1.26.*", "build": None}, "1.26.*", None),
    ],
)
def test_builds_reach_the_solver_whatever_they_hold(
    wanted: dict[str, str | None], version: str, build: str | None
) -> None:
    spec = rattler_worker._match_spec({"name": "numpy", "channel": None, **wanted})
    assert (str(spec.version or "*"), spec.build and str(spec.build)) == (version, build)
