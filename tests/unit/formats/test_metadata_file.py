"""The file in a code package that says which step runs in what."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mfenv.domain.assignment import Disabled, Locked
from mfenv.domain.digest import RequestKey
from mfenv.errors import LockError
from mfenv.formats import lock_json, metadata_file
from mfenv.formats.metadata_file import FlowMetadata

FOLDER = Path(__file__).parents[2] / "data" / "locks" / "v1"
GOLDEN = FOLDER / "conda_v2.cnd"
LOCK = lock_json.load((FOLDER / "two-packages.json").read_bytes())
METADATA = FlowMetadata(
    steps={
        "start": Locked(request=RequestKey("11" * 20), lock=LOCK.id, platform=LOCK.platform),
        "end": Disabled(),
    },
    locks={LOCK.id: LOCK},
)


def test_a_file_of_version_1_is_readable_for_ever() -> None:
    assert metadata_file.load(GOLDEN.read_bytes()) == METADATA


def test_a_file_is_written_as_it_always_was_in_whichever_order_steps_come() -> None:
    assert metadata_file.dump(METADATA) == GOLDEN.read_bytes()
    backwards = dict(reversed(METADATA.steps.items()))
    assert metadata_file.dump(FlowMetadata(steps=backwards, locks=METADATA.locks)) == GOLDEN.read_bytes()


def _only_lock(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["locks"][LOCK.id]
    return found


def _file_under(document: dict[str, Any], id_: str) -> None:
    document["locks"] = {id_: _only_lock(document)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d.update(schema="mfenv/metadata/2"),
            "conda_v2.cnd: the schema `mfenv/metadata/2` is not known here",
        ),
        (lambda d: d.pop("schema"), "conda_v2.cnd.schema: missing"),
        (lambda d: d.pop("steps"), "conda_v2.cnd.steps: missing"),
        (lambda d: d.update(steps=[]), "conda_v2.cnd.steps: expected dict, found `[]`"),
        (lambda d: d.pop("locks"), "conda_v2.cnd.locks: missing"),
        (
            lambda d: d["steps"].update(end=["a", "b"]),
            "conda_v2.cnd.steps.end: expected a request, a lock and a platform, found `['a', 'b']`",
        ),
        (
            lambda d: d["steps"].update(end=["a", "b", 1]),
            "conda_v2.cnd.steps.end: expected a request, a lock and a platform, found `['a', 'b', 1]`",
        ),
        (
            lambda d: d["steps"].update(end="abc"),
            "conda_v2.cnd.steps.end: expected a request, a lock and a platform, found `'abc'`",
        ),
        (
            lambda d: d["steps"].update(end=["a", "b", "amiga"]),
            "conda_v2.cnd.steps.end: `amiga` is not a platform",
        ),
        (
            lambda d: _file_under(d, "22" * 20),
            f"conda_v2.cnd.locks.{'22' * 20}: this is the lock `{LOCK.id}`, not `{'22' * 20}`",
        ),
        (
            lambda d: d["locks"].update({LOCK.id: [1]}),
            f"conda_v2.cnd.locks.{LOCK.id}: expected an object",
        ),
        (
            lambda d: _only_lock(d)["packages"][0]["file"].update(size=1.5),
            f"conda_v2.cnd.locks.{LOCK.id}.packages[0].file.size: expected int, found `1.5`",
        ),
    ],
)
def test_a_refusal_names_the_field(change: Callable[[dict[str, Any]], object], message: str) -> None:
    document = json.loads(GOLDEN.read_bytes())
    change(document)
    with pytest.raises(LockError) as caught:
        metadata_file.load(json.dumps(document).encode())
    assert caught.value.message == message


def test_a_lock_that_was_changed_is_refused() -> None:
    document = json.loads(GOLDEN.read_bytes())
    _only_lock(document)["packages"][0]["file"]["sha256"] = "ab" * 32
    with pytest.raises(LockError, match=rf"not `{LOCK.id}`$"):
        metadata_file.load(json.dumps(document).encode())
