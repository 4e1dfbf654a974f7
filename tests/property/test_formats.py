"""What is written is read back as it was, and written again as the same bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.digest import canonical_json
from mfenv.domain.locked import LockedEnvironment
from mfenv.errors import LockError
from mfenv.formats import lock_json, metadata_file
from mfenv.formats.metadata_file import FlowMetadata
from mfenv.testing import strategies as ours

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(ours.locks())
def test_locks_round_trip_byte_for_byte(lock: LockedEnvironment) -> None:
    content = lock_json.dump(lock)
    again = lock_json.load(content, expected=lock.id)
    assert again == lock
    assert lock_json.dump(again) == content


@given(ours.flow_metadata())
def test_metadata_files_round_trip_byte_for_byte(metadata: FlowMetadata) -> None:
    content = metadata_file.dump(metadata)
    again = metadata_file.load(content)
    assert again == metadata
    assert metadata_file.dump(again) == content


@given(ours.locks(), st.data())
def test_a_truncated_lock_is_always_refused(lock: LockedEnvironment, data: st.DataObject) -> None:
    content = lock_json.dump(lock)
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(LockError, match=r"^lock: this is not JSON"):
        lock_json.load(content[:cut])


@given(ours.locks(min_size=1, max_size=2), st.data())
def test_whatever_stands_in_a_field_a_lock_is_read_or_refused_by_name(
    lock: LockedEnvironment, data: st.DataObject
) -> None:
    document = json.loads(lock_json.dump(lock))
    places = [document, document["packages"][0], *document["packages"][0].values()]
    place = data.draw(st.sampled_from(places))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(_JSON)
    for load, wrapped in (
        (lock_json.load, document),
        (
            metadata_file.load,
            {"schema": metadata_file.SCHEMA, "steps": {}, "locks": {lock.id: document}},
        ),
    ):
        try:
            load(json.dumps(wrapped).encode(), path="here")
        except LockError as error:
            assert error.message.startswith("here")  # noqa: PT017  (it may just as well be read)


@given(_JSON)
def test_canonical_json_is_json_with_one_spelling(value: object) -> None:
    try:
        content = canonical_json(value)  # type: ignore[arg-type]
    except ValueError:
        assert "." in repr(value) or "n" in repr(value)  # a float, perhaps nan or inf
    else:
        assert json.loads(content) == value
        assert canonical_json(json.loads(content)) == content
