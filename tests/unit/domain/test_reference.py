"""Names of environments: which there can be, and what stands for the variables in them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.reference import (
    ByLock,
    ByName,
    ByPathspec,
    EnvironmentRef,
    check_form,
    is_late,
    parse_pathspec,
    parse_reference,
    substitute,
    variable_of_parameter,
    variables_in,
)
from mfenv.errors import InvalidSpec

ID, OTHER = "a" * 40, "b" * 40


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("env", ByName(name="env", tag="latest")),
        ("team/project/env:v1.2", ByName(name="team/project/env", tag="v1.2")),
        ("a_b-c:candidate", ByName(name="a_b-c", tag="candidate")),
        (f"{ID}:{OTHER}", ByLock(request=RequestKey(ID), lock=LockId(OTHER))),
        (ID, ByLock(lock=LockId(ID))),
        ("step:MyFlow/12/train", ByPathspec(flow="MyFlow", run="12", step="train")),
        ("step:MyFlow/12/train/3", ByPathspec(flow="MyFlow", run="12", step="train", task="3")),
    ],
)
def test_a_name_is_read(text: str, ref: EnvironmentRef) -> None:
    assert parse_reference(text, where="here") == ref


@pytest.mark.parametrize("tag", ["latest", "candidate", "stable"])
def test_three_tags_can_be_moved(tag: str) -> None:
    assert ByName(name="a", tag=tag).is_mutable
    assert not ByName(name="a", tag="v1").is_mutable


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "here: `` is not the name of an environment"),
        ("Team/env", "here: `Team/env` is not the name of an environment"),
        ("/env", "here: `/env` is not the name of an environment"),
        ("env/", "here: `env/` is not the name of an environment"),
        ("a//b", "here: `a//b` is not the name of an environment"),
        ("a b", "here: `a b` is not the name of an environment"),
        ("env:", "here: `` in `env:` is not a tag"),
        ("env:V1", "here: `V1` in `env:V1` is not a tag"),
        ("env:a/b", "here: `a/b` in `env:a/b` is not a tag"),
        ("env:a:b", "here: `a:b` in `env:a:b` is not a tag"),
        ("env:..", "here: `..` in `env:..` is not a tag"),
    ],
)
def test_what_is_no_name_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_reference(text, where="here")
    assert caught.value.message == message


def test_a_pathspec_in_place_of_a_name_is_recognised() -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_reference("MyFlow/12/train", where="here")
    assert caught.value.hint == 'For the environment of a step of a run, write `pathspec="MyFlow/12/train"`'


@pytest.mark.parametrize("text", ["MyFlow", "MyFlow/1", "MyFlow/1/a/2/3", "MyFlow//start", "My Flow/1/a"])
def test_what_is_no_step_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec, match="does not name a step of a run"):
        parse_pathspec(text, where="here")


def test_values_take_the_place_of_variables() -> None:
    values = {"A": "x", "METAFLOW_RUN_ID": "12"}
    assert substitute("team/@{A}-@{METAFLOW_RUN_ID}:@{A}", values.get, where="here") == "team/x-12:x"
    assert variables_in("@{A}/@{B}@{A}", where="here") == ("A", "B")


def test_all_variables_that_are_not_known_are_named() -> None:
    with pytest.raises(InvalidSpec) as caught:
        substitute("@{A}@{B}@{C}", {"B": ""}.get, where="here")
    assert caught.value.message == "here: nothing is known of the variables `A`, `C` in `@{A}@{B}@{C}`"


def test_run_task_and_parameters_are_only_known_late() -> None:
    late = ["METAFLOW_RUN_ID", "METAFLOW_RUN_ID_BASE", "METAFLOW_TASK_ID", variable_of_parameter("my-alpha")]
    assert [is_late(name) for name in (*late, "METAFLOW_STEP_NAME", "HOME")] == [True] * 4 + [False] * 2
    assert late[3] == "METAFLOW_INIT_MY_ALPHA"


@pytest.mark.parametrize("text", ["@{A", "@{}", "@{A B}", "x@{@{A}}"])
def test_broken_variables_are_refused(text: str) -> None:
    with pytest.raises(InvalidSpec):
        variables_in(text, where="here")


def test_the_form_of_a_name_with_variables_is_checked_before_they_are_known() -> None:
    check_form("team/@{A}:@{B}", is_pathspec=False, where="here")
    check_form("Flow/@{METAFLOW_RUN_ID}/start", is_pathspec=True, where="here")
    with pytest.raises(InvalidSpec) as caught:
        check_form("Team/@{A}", is_pathspec=False, where="here")
    assert caught.value.message == "here: `Team/@{A}` is not the name of an environment"


@given(st.text(max_size=20))
def test_whatever_the_text_only_our_errors_come(text: str) -> None:
    for read in (parse_reference, parse_pathspec, variables_in):
        with contextlib.suppress(InvalidSpec):
            read(text, where="here")


@given(st.from_regex(r"\A[a-z0-9_-]{1,5}(/[a-z0-9_-]{1,5}){0,2}(:[a-z0-9_-][a-z0-9._-]{0,5})?\Z"))
def test_a_name_reads_back_as_it_prints(text: str) -> None:
    ref = parse_reference(text, where="here")
    assert parse_reference(str(ref), where="here") == ref
