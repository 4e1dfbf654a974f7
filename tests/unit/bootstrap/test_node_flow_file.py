"""A code package's file as a node reads it: what it means, and that nothing in it is more than an error."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mfenv.bootstrap import flow_file
from mfenv.bootstrap.failure import BootstrapError
from mfenv.bootstrap.flow_file import File, FlowFile, Store

A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
HERE = flow_file.this_platform()
LOCK: dict[str, Any] = {
    "packages": [
        {"conda": {"name": "x"}, "file": {"name": "x.tar.bz2", "sha256": A}, "converted": {"name": "x.conda", "sha256": B}},
    ],
    "pypi": [{"file": {"name": "y.whl", "sha256": C, "size": 7}}],
}  # fmt: skip
STORE = {"kind": "s3", "root": "s3://b/f", "packages": "p/", "toolchain": "t/", "environments": "e"}
TOOLS = {"wheels": [{"name": "uv.whl", "sha256": D, "size": 1}], "runtime": {"name": "python.tar.gz", "sha256": A}}
DOCUMENT: dict[str, Any] = {
    "schema": "mfenv/metadata/1",
    "steps": {"start": ["request", "id", HERE], "off": None, "late": {"name": "team/x", "platform": HERE}},
    "locks": {"id": LOCK},
    "node": {"store": STORE, "toolchains": {HERE: TOOLS}, "compiling": ["osx-64"]},
}

Read = Callable[[Any], FlowFile]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(content: Any) -> FlowFile:
        path = tmp_path / "conda_v2.cnd"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return flow_file.read(str(path))

    return read


def test_a_node_reads_where_its_files_are(read: Read) -> None:
    flow = read(DOCUMENT)
    assert flow.store == Store("s3", "s3://b/f", "p/", "t/", "e")
    assert flow.compiling == ["osx-64"]
    assert flow.choices(flow.lock(flow.assignment("start"))) == [
        [File("x.conda", f"p/bb/{B}/x.conda", B, None), File("x.tar.bz2", f"p/aa/{A}/x.tar.bz2", A, None)],
        [File("y.whl", f"p/cc/{C}/y.whl", C, 7)],
    ]
    assert flow.wheels(HERE) == [File("uv.whl", f"t/{HERE}/{D}/uv.whl", D, 1)]
    assert flow.runtime(HERE) == File("python.tar.gz", f"t/{HERE}/{A}/python.tar.gz", A, None)
    assert flow.bytecode("id") == "e/bytecode/id/bytecode.tar.gz"
    assert [flow.assignment(step) for step in ("off", "late", "exit-hook")] == [
        None,
        DOCUMENT["steps"]["late"],
        DOCUMENT["steps"]["start"],
    ]


def test_a_flow_that_runs_nowhere_else_says_nothing_of_a_store(read: Read) -> None:
    flow = read({"schema": "mfenv/metadata/1", "steps": {}, "locks": {}})
    assert flow == FlowFile(steps={}, locks={}, store=None, toolchains={}, compiling=[])


def message(act: Callable[[], object]) -> str:
    with pytest.raises(BootstrapError) as caught:
        act()
    assert caught.value.hint
    return caught.value.message


def test_what_the_flow_was_not_launched_for_is_told(read: Read) -> None:
    flow = read(DOCUMENT)
    assert message(lambda: flow.wheels("osx-64")) == "this flow was not launched for osx-64"
    missing = read({**DOCUMENT, "locks": {}})
    said = message(lambda: missing.lock(missing.assignment("start")))
    assert said == "the code package does not have the environment `id`"
    other = "osx-64" if HERE != "osx-64" else "linux-64"
    assert message(lambda: flow_file.refuse_other_machines(other, LOCK)) == (
        f"the step's environment was locked for {other}, and this machine is {HERE}"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Expecting value: line 1 column 1 (char 0)"),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b"[" * 100_000, "RecursionError: "),
        (b"[]", "TypeError: "),
        (b"{}", "KeyError: 'schema'"),
        ({**DOCUMENT, "schema": "mfenv/metadata/9"}, "its schema is `mfenv/metadata/9`, not `mfenv/metadata/1`"),
        ({**DOCUMENT, "steps": [1]}, "AttributeError: "),
        ({**DOCUMENT, "steps": {"s": ["r", "id"]}}, "the environment of step `s` is malformed"),
        ({**DOCUMENT, "steps": {"s": "id"}}, "the environment of step `s` is malformed"),
        ({**DOCUMENT, "steps": {"s": {"name": 7, "platform": HERE}}}, "the environment of step `s` is malformed"),
        ({**DOCUMENT, "locks": {"id": 7}}, "the environment of step `start` is malformed"),
        ({**DOCUMENT, "node": {"store": {**STORE, "root": 7}}}, "`node` is malformed"),
        ({**DOCUMENT, "node": {"store": {**STORE, "more": "x"}}}, "TypeError: "),
        ({**DOCUMENT, "node": {"toolchains": []}}, "`node` is malformed"),
    ],
)
def test_a_file_of_another_shape_is_one_error(content: Any, said: str, read: Read) -> None:
    found = message(lambda: read(content))
    assert found.startswith(f"the code package's `conda_v2.cnd` cannot be read: {said}")


@pytest.mark.parametrize(
    "file",
    [
        {"name": "../../x", "sha256": A},
        {"name": "/etc/x", "sha256": A},
        {"name": "..", "sha256": A},
        {"name": ".", "sha256": A},
        {"name": "", "sha256": A},
        {"name": "a\0b", "sha256": A},
        {"name": "x", "sha256": "../" + A},
        {"name": "x", "sha256": A.upper()},
        {"name": "x", "sha256": A + "\n"},
        {"name": "x", "sha256": None},
        {"name": 7, "sha256": A},
        {"name": "x", "sha256": A, "size": "7"},
        {"name": "x"},
        None,
    ],
)
def test_a_file_that_would_be_elsewhere_is_refused(file: Any, read: Read) -> None:
    lock = {"packages": [{"conda": {"name": "x"}, "file": file}]}
    tools = {HERE: {"wheels": [file], "runtime": file}}
    flow = read({**DOCUMENT, "locks": {"id": lock}, "node": {"store": STORE, "toolchains": tools}})
    said = [message(act) for act in (lambda: flow.choices(lock), lambda: flow.wheels(HERE), lambda: flow.runtime(HERE))]
    assert [one.partition(" cannot be read: ")[0] for one in said] == [
        "the code package's lock",
        "the code package's toolchain",
        "the code package's toolchain",
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "sha256", "file", "conda", "x"]), inner),
    max_leaves=8,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the ways to all that is inside a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, inner in items for found in places(inner, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], other)
    return copy


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(places(DOCUMENT)), other=JSON)
def test_whatever_stands_there_is_one_kind_of_error(path: tuple[Any, ...], other: Any, read: Read) -> None:
    with contextlib.suppress(BootstrapError):
        flow = read(changed(DOCUMENT, path, other))
        for step in ("start", "off", "late", "other"):
            assignment = flow.assignment(step)
            if isinstance(assignment, list):
                lock = flow.lock(assignment)
                flow_file.refuse_other_machines(assignment[2], lock)
                if flow.store is not None:
                    flow.choices(lock)
        if flow.store is not None:
            flow.wheels(HERE)
            flow.runtime(HERE)
