"""Every cell of the combination rules: two decorators of one level, and a step over its flow."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.base import BaseWish, LockFile, LockFileKind, NamedBase, PathspecBase
from mfenv.domain.channel import Channel
from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import PackageIndex
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.python import PythonConstraint
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import Place, SpecLayer, check_fetch_at_exec, combine, override
from mfenv.errors import InvalidSpec
from mfenv.testing import strategies as ours

A, B = Channel(location="a"), Channel(location="b")
INDEX_A, INDEX_B = PackageIndex(url="https://a.example.org"), PackageIndex(url="https://b.example.org")
NAME, OTHER, PATH = NamedBase(text="team/x"), NamedBase(text="team/y"), PathspecBase(text="Flow/1/start")
LOCK = LockFile(kind=LockFileKind.UV, digest="1", path=Path("/a/uv.lock"))
LOCK_2 = LockFile(kind=LockFileKind.UV, digest="2", path=Path("/b/uv.lock"))


def python(text: str) -> PythonConstraint:
    return PythonConstraint.parse(text, where="here")


def conda(text: str) -> MatchSpec:
    name, _, version = text.partition(" ")
    return MatchSpec.parse(name, version, where="here")


def pypi(text: str) -> Requirement:
    return Requirement.from_text(text, where="here")


def flag(text: str) -> ResolverFlag:
    return ResolverFlag.parse(text, where="here")


def layer(**fields: object) -> SpecLayer:
    return SpecLayer(**fields)  # type: ignore[arg-type]


AGREES = [
    # field, one, other, both
    ("python", None, None, None),
    ("python", python("3.8"), None, python("3.8")),
    ("python", None, python("3.8"), python("3.8")),
    ("python", python("3.8"), python("3.8.*"), python("3.8")),
    ("python", python(">=3.8,<3.9"), python("<3.9, >=3.8"), python(">=3.8,<3.9")),
    ("base", NAME, None, NAME),
    ("base", None, PATH, PATH),
    ("base", NAME, NAME, NAME),
    ("base", LOCK, None, LOCK),
    ("fetch_at_exec", None, True, True),
    ("fetch_at_exec", False, None, False),
    ("disabled", None, None, None),
    ("disabled", True, None, True),
    ("disabled", None, False, False),
    ("disabled", True, True, True),
    ("exclude_newer", "2025-01-31", "", "2025-01-31"),
    ("default_index", None, INDEX_A, INDEX_A),
    ("conda", (conda("n >=1"),), (conda("n <3"),), (conda("n >=1,<3"),)),
    ("conda", (conda("n 1.0"),), (conda("n"),), (conda("n 1.0"),)),
    ("conda", (conda("n"),), (conda("n 1.0"),), (conda("n 1.0"),)),
    ("conda", (conda("n 1.*|2.*"),), (conda("n >=1.5"),), (conda("n 1.*,>=1.5|2.*,>=1.5"),)),
    ("conda", (conda("n 1.0=b"),), (conda("n"),), (conda("n 1.0=b"),)),
    ("conda", (conda("a::n"),), (conda("n >=1"),), (conda("a::n >=1"),)),
    ("conda", (conda("m"),), (conda("n"),), (conda("m"), conda("n"))),
    ("conda_only", (conda("n >=1"),), (conda("n <3"),), (conda("n >=1,<3"),)),
    ("pypi", (pypi("n>=1"),), (pypi("n<3"),), (pypi("n>=1,<3"),)),
    ("pypi", (pypi("n[a]"),), (pypi("n[b]==1"),), (pypi("n[a,b]==1"),)),
    ("pypi", (pypi("n==1"),), (pypi("n"),), (pypi("n==1"),)),
    ("pypi", (pypi("n @ https://h/n.whl"),), (pypi("n"),), (pypi("n @ https://h/n.whl"),)),
    ("pypi", (pypi("n<1; os_name=='a'"),), (pypi("n>1; os_name=='b'"),), (pypi("n<1; os_name=='a'"), pypi("n>1; os_name=='b'"))),
    ("channels", (A,), (B, A), (A, B)),
    ("indexes", (INDEX_B,), (INDEX_A,), (INDEX_B, INDEX_A)),
    ("flags", (flag("pre"),), (flag("no-index"),), (flag("pre"), flag("no-index"))),
    ("flags", (flag("pre"),), (flag("--pre"),), (flag("pre"),)),
    ("flags", (flag("find-links=https://a"),), (flag("find-links=https://b"),), (flag("find-links=https://a"), flag("find-links=https://b"))),
    ("flags", (flag("no-binary=a"),), (flag("no-binary=b"),), (flag("no-binary=a"), flag("no-binary=b"))),
    ("constraints", (pypi("n<3"),), (pypi("m<3"),), (pypi("n<3"), pypi("m<3"))),
    ("system", (("__cuda", "12.4"),), (("__glibc", "2.31"),), (("__cuda", "12.4"), ("__glibc", "2.31"))),
    ("variables", (("A", "1"),), (("A", "1"),), (("A", "1"),)),
    ("requires_python", python(">=3.8"), python("<3.12"), python(">=3.8,<3.12")),
]  # fmt: skip


@pytest.mark.parametrize(("field", "one", "other", "both"), AGREES)
def test_decorators_of_one_level_add_up(field: str, one: object, other: object, both: object) -> None:
    assert combine(layer(**{field: one}), layer(**{field: other}), owner="step `s`") == layer(**{field: both})


@pytest.mark.parametrize(
    ("field", "one", "other", "message"),
    [
        ("python", python("3.8"), python("3.9"), "step `s`: `python` is said twice and differently: `3.8.*` and `3.9.*`"),
        ("base", NAME, OTHER, "step `s`: `name` is said twice and differently: `team/x` and `team/y`"),
        ("base", PATH, PathspecBase(text="F/2/a"), "step `s`: `pathspec` is said twice and differently: `Flow/1/start` and `F/2/a`"),
        ("base", NAME, PATH, "step `s`: an environment can be built upon one other only, but `name` says `team/x` and `pathspec` says `Flow/1/start`"),
        ("base", LOCK, NAME, "step `s`: an environment can be built upon one other only, but `file` says `uv.lock` and `name` says `team/x`"),
        ("base", LOCK, LOCK_2, "step `s`: an environment can be built upon one other only, but `file` says `uv.lock` and `file` says `uv.lock`"),
        ("fetch_at_exec", True, False, "step `s`: `fetch_at_exec` is said twice and differently: `True` and `False`"),
        ("disabled", True, False, "step `s`: `disabled` is said twice and differently: `True` and `False`"),
        ("exclude_newer", "2025-01-31", "2025-02-01", "step `s`: `exclude_newer` is said twice and differently: `2025-01-31` and `2025-02-01`"),
        ("default_index", INDEX_A, INDEX_B, "step `s`: `index-url` is said twice and differently: `https://a.example.org` and `https://b.example.org`"),
        ("conda", (conda("n 1.0"),), (conda("n 2.0"),), "step `s`: `n` is said twice and differently: `==1.0` and `==2.0`"),
        ("conda", (conda("n 1.0=a"),), (conda("n 1.0=b"),), "step `s`: `the build of n` is said twice and differently: `a` and `b`"),
        ("conda", (conda("a::n"),), (conda("b::n"),), "step `s`: `the channel of n` is said twice and differently: `a` and `b`"),
        ("conda_only", (conda("n 1.0"),), (conda("n 1.0;os_name=='posix'"),), "step `s`: `the marker of n` is said twice and differently: `` and `os_name == \"posix\"`"),
        ("pypi", (pypi("n==1"),), (pypi("n==2"),), "step `s`: `n` is said twice and differently: `==1` and `==2`"),
        ("pypi", (pypi("n @ https://h/n.whl"),), (pypi("n==2"),), "step `s`: `n` is said twice and differently: `n @ https://h/n.whl` and `n==2`"),
        ("flags", (flag("pre"),), (flag("prerelease=disallow"),), "step `s`: `extras=prerelease` is said twice and differently: `--prerelease=allow` and `--prerelease=disallow`"),
        ("system", (("__cuda", "12.4"),), (("__cuda", "11.8"),), "step `s`: `__cuda` is said twice and differently: `12.4` and `11.8`"),
        ("variables", (("A", "1"),), (("A", "2"),), "step `s`: `A` is said twice and differently: `1` and `2`"),
    ],
)  # fmt: skip
def test_decorators_of_one_level_must_agree(field: str, one: object, other: object, message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        combine(layer(**{field: one}), layer(**{field: other}), owner="step `s`")
    assert caught.value.message == message


OVERRIDES = [
    # field, the flow's, the step's, what counts
    ("python", python("3.10"), None, python("3.10")),
    ("python", python("3.10"), python("3.11"), python("3.11")),
    ("requires_python", python(">=3.10"), python(">=3.8"), python(">=3.8")),
    ("base", NAME, None, NAME),
    ("base", NAME, OTHER, OTHER),
    ("base", NAME, PATH, PATH),
    ("base", PATH, NAME, NAME),
    ("base", LOCK, NAME, NAME),
    ("fetch_at_exec", True, None, True),
    ("fetch_at_exec", True, False, False),
    ("exclude_newer", "2025-01-31", "", "2025-01-31"),
    ("exclude_newer", "2025-01-31", "2025-02-01", "2025-02-01"),
    ("default_index", INDEX_A, None, INDEX_A),
    ("default_index", INDEX_A, INDEX_B, INDEX_B),
    ("conda", (conda("m"), conda("n >=1")), (conda("n 2.0"),), (conda("m"), conda("n 2.0"))),
    ("conda_only", (conda("m"),), (conda("m 1"),), (conda("m 1"),)),
    ("pypi", (pypi("m"), pypi("n>=1")), (pypi("n==2"),), (pypi("m"), pypi("n==2"))),
    ("pypi", (pypi("n<1; os_name=='a'"), pypi("n>1; os_name=='b'")), (pypi("n==2"),), (pypi("n==2"),)),
    ("constraints", (pypi("n<3"),), (pypi("n<4"),), (pypi("n<4"),)),
    ("channels", (A,), (B,), (B, A)),
    ("indexes", (INDEX_A,), (INDEX_B,), (INDEX_B, INDEX_A)),
    ("flags", (flag("pre"), flag("find-links=https://a")), (flag("prerelease=disallow"), flag("find-links=https://b")), (flag("prerelease=disallow"), flag("find-links=https://b"), flag("find-links=https://a"))),
    ("system", (("__cuda", "12.4"),), (("__cuda", "11.8"),), (("__cuda", "11.8"),)),
    ("variables", (("A", "1"), ("B", "1")), (("A", "2"),), (("A", "2"), ("B", "1"))),
]  # fmt: skip


@pytest.mark.parametrize(("field", "flow", "step", "both"), OVERRIDES)
def test_the_steps_word_is_put_over_the_flows(field: str, flow: object, step: object, both: object) -> None:
    merged = override(layer(**{field: flow}), layer(**{field: step}))
    assert getattr(merged, field) == both


def test_every_field_has_a_row_in_both_tables() -> None:
    fields = set(SpecLayer.__dataclass_fields__) - {"places"}
    assert {row[0] for row in AGREES} == fields
    # Who is disabled is a table of its own: see test_spec.
    assert {row[0] for row in OVERRIDES} == fields - {"disabled"}


def test_sides_are_independent() -> None:
    flow = SpecLayer(conda=(conda("numpy"), conda("pandas")))
    merged = override(flow, SpecLayer(pypi=(pypi("scikit-learn"),)))
    assert (merged.conda, merged.pypi) == (flow.conda, (pypi("scikit-learn"),))


def test_where_something_was_written_goes_along() -> None:
    one = SpecLayer(conda=(conda("n >=1"),), places=(("n", Place(owner="flow", text="x")),))
    other = SpecLayer(conda=(conda("n <3"),), places=(("n", Place(owner="step", text="y")),))
    assert combine(one, other, owner="s").places == other.places
    assert override(one, other).places == other.places


@given(ours.spec_layers(), ours.spec_layers())
def test_what_says_nothing_changes_nothing(one: SpecLayer, other: SpecLayer) -> None:
    assert combine(one, SpecLayer(), owner="s") == combine(SpecLayer(), one, owner="s") == one
    assert override(SpecLayer(), SpecLayer()) == SpecLayer()


VERSIONS = st.sampled_from([">=1", "<3", "!=2", "1.*", "2.*|3.*", "*", "==1.5", "~=1.2"])


@given(VERSIONS, VERSIONS, VERSIONS)
def test_putting_constraints_together_is_associative_and_commutative(a: str, b: str, c: str) -> None:
    specs = [SpecLayer(conda=(conda(f"n {text}"),)) for text in (a, b, c)]

    def parts(layer: SpecLayer) -> set[frozenset[str]]:
        return {frozenset(alternative.split(",")) for alternative in layer.conda[0].version.split("|")}

    one, two, three = specs
    left = combine(combine(one, two, owner="s"), three, owner="s")
    right = combine(one, combine(three, two, owner="s"), owner="s")
    assert parts(left) == parts(right)


@pytest.mark.parametrize("base", [NAME, PATH])
def test_an_environment_can_be_fetched_when_the_task_starts(base: BaseWish) -> None:
    check_fetch_at_exec(SpecLayer(base=base, fetch_at_exec=True, system=(("__cuda", "12"),)), owner="step `s`")
    check_fetch_at_exec(SpecLayer(fetch_at_exec=True, disabled=True), owner="step `s`")
    check_fetch_at_exec(SpecLayer(base=base, conda=(conda("n"),)), owner="step `s`")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"python": python("3.11")}, "python are asked for"),
        ({"conda": (conda("n"),)}, "conda packages are asked for"),
        ({"pypi": (pypi("n"),), "indexes": (INDEX_A,)}, "PyPI packages, indexes are asked for"),
        ({"channels": (A,)}, "channels are asked for"),
        ({"base": LOCK}, "needs the environment that is to be fetched"),
        ({"base": None}, "needs the environment that is to be fetched"),
    ],
)
def test_nothing_can_be_built_upon_what_is_fetched_when_the_task_starts(more: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        check_fetch_at_exec(layer(**{"base": NAME, "fetch_at_exec": True, **more}), owner="step `s`")
    assert words in caught.value.message
