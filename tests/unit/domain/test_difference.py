"""What two environments differ in."""

from __future__ import annotations

import pytest

from mfenv.domain.difference import Change, Held, Kind, Side, compare
from mfenv.domain.reference import ByLock, ByName, ByPathspec, Typed, parse_typed
from mfenv.errors import InvalidSpec

ID = "0123456789abcdef0123456789abcdef01234567"


def conda(name: str, version: str, build: str = "0", size: int | None = 10, sha256: str = "a") -> Held:
    return Held(side=Side.CONDA, name=name, version=version, build=build, size=size, sha256=sha256)


def pypi(name: str, version: str, size: int | None = 10) -> Held:
    return Held(side=Side.PYPI, name=name, version=version, size=size, sha256="a")


@pytest.mark.parametrize(
    ("before", "after", "kind", "growth"),
    [
        (None, conda("a", "1"), Kind.ADDED, 10),
        (conda("a", "1"), None, Kind.REMOVED, -10),
        (conda("a", "1.9"), conda("a", "1.10", size=15), Kind.UPGRADED, 5),
        (conda("a", "1.10"), conda("a", "1.9"), Kind.DOWNGRADED, 0),
        (conda("a", "1"), conda("a", "1", build="1"), Kind.REBUILT, 0),
        (conda("a", "1"), conda("a", "1", sha256="b"), Kind.REBUILT, 0),
        (conda("a_b", "1"), pypi("a-b", "1"), Kind.MOVED, 0),
        (conda("a", "1"), pypi("a", "2", size=None), Kind.UPGRADED, None),
        (conda("a", "not a version!"), conda("a", "not a version?"), Kind.UPGRADED, 0),
    ],
)
def test_each_package_that_is_not_the_same_has_a_kind(
    before: Held | None, after: Held | None, kind: Kind, growth: int | None
) -> None:
    (change,) = compare([before] if before else [], [after] if after else [])
    assert change == Change(before=before, after=after)
    assert (change.kind, change.growth) == (kind, growth)


def test_what_is_the_same_is_no_change_and_the_rest_is_sorted() -> None:
    same = [conda("same", "1"), pypi("same", "1")]
    changes = compare([*same, conda("z", "1"), pypi("b", "1")], [*same, conda("z", "2"), pypi("a", "1")])
    assert [change.name for change in changes] == ["a", "b", "z"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("team/env:v1", Typed(text="team/env:v1", candidates=(ByName(name="team/env", tag="v1"),))),
        (ID, Typed(text=ID, candidates=(ByLock(lock=ID),), digits=ID)),  # type: ignore[arg-type]
        ("0123456", Typed(text="0123456", candidates=(ByName(name="0123456"),), digits="0123456")),
        ("01234", Typed(text="01234", candidates=(ByName(name="01234"),))),
        (
            "MyFlow/1/start",
            Typed(text="MyFlow/1/start", candidates=(ByPathspec(flow="MyFlow", run="1", step="start"),)),
        ),
        (
            "flow/1/start",
            Typed(
                text="flow/1/start",
                candidates=(ByName(name="flow/1/start"), ByPathspec(flow="flow", run="1", step="start")),
            ),
        ),
        (
            " step:f/1/s ",
            Typed(text="step:f/1/s", candidates=(ByPathspec(flow="f", run="1", step="s"),)),
        ),
    ],
)
def test_what_is_typed_is_a_name_first(text: str, expected: Typed) -> None:
    assert parse_typed(text, where="ENV") == expected


def test_a_step_that_is_said_to_be_one_is_no_name() -> None:
    found = parse_typed("flow/1/start", where="ENV", is_pathspec=True)
    assert found.candidates == (ByPathspec(flow="flow", run="1", step="start"),)
    with pytest.raises(InvalidSpec, match="does not name a step"):
        parse_typed("team/env", where="ENV", is_pathspec=True)
