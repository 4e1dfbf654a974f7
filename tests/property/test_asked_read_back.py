"""What was asked for is read back from notes as it was, and gives the same request again."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.channel import Channel
from mfenv.domain.digest import canonical_json
from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import PackageIndex
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import EnvironmentSpec, IndexStrategy, SolveOptions
from mfenv.errors import LockError
from mfenv.formats import spec_json

WHERE = "here"
UPON = LockedEnvironment(platform=Platform.LINUX_64, packages=())


def conda(name: str, constraint: str) -> MatchSpec:
    return MatchSpec.parse(name, constraint, where=WHERE)


def pypi(text: str) -> Requirement:
    return Requirement.from_text(text, where=WHERE)


_CONDA = st.sampled_from(
    [
        conda("numpy", ""),
        conda("numpy", "1.26"),
        conda("numpy", ">=1.26,<2|==1.4"),
        conda("numpy", "1.26.*=py311*"),
        conda("conda-forge::six", "1.16; platform_system == 'Linux'"),
        conda("https://example.org/team::zlib", "*=h1_0"),
        conda("./here::tool", ">=1 ; python_version < '3.12'"),
    ]
)
_PYPI = st.sampled_from(
    [
        pypi("requests[socks]>=2,<3"),
        pypi("Six ; os_name == 'posix'"),
        pypi("tool @ https://example.org/tool-1.whl#sha256=" + "a" * 64),
        pypi("repo @ git+https://example.org/repo.git@main ; python_version >= '3.9'"),
        Requirement(name="mine", index="https://example.org/simple", specifier="==1"),
        Requirement(name="hashed", specifier="==1", hashes=("sha256:" + "b" * 64,)),
        Requirement(name="folder", url="file:///somewhere/folder", is_editable=True),
    ]
)
_SPECS = st.builds(
    EnvironmentSpec,
    python=st.sampled_from([None, PythonConstraint.minor(3, 11), PythonConstraint(version=">=3.10,<3.12")]),
    conda=st.lists(_CONDA, max_size=3, unique_by=lambda one: one.name).map(tuple),
    channels=st.lists(
        st.sampled_from([Channel.parse(text, where=WHERE) for text in ("conda-forge", "./x", "https://example.org/c")]),
        unique=True,
    ).map(tuple),
    pypi=st.lists(_PYPI, max_size=4, unique_by=lambda one: one.name).map(tuple),
    conda_only=st.lists(_CONDA, max_size=2, unique_by=lambda one: one.name).map(tuple),
    indexes=st.lists(
        st.sampled_from([PackageIndex.parse(text, where=WHERE) for text in ("./wheels", "https://example.org/s")]),
        unique=True,
    ).map(tuple),
    default_index=st.sampled_from([None, PackageIndex.parse("https://example.org/d", where=WHERE)]),
    local_content=st.sampled_from([(), (("folder;", "abc"),)]),
    pypi_constraints=st.sampled_from([(), (pypi("idna<4"),)]),
    flags=st.sampled_from(
        [(), (ResolverFlag.parse("find-links=./w", where=WHERE), ResolverFlag.parse("pre", where=WHERE))]
    ).map(lambda flags: tuple(sorted(flags))),
    variables=st.sampled_from([(), (("A", "1"), ("B", ""))]),
    base=st.sampled_from([None, UPON]),
    needs=st.sampled_from([(), (MatchSpec(name="requests"),)]),
    options=st.builds(
        SolveOptions, index_strategy=st.sampled_from(IndexStrategy), exclude_newer=st.sampled_from(["", "2026-01-02"])
    ),
)


@given(_SPECS)
def test_what_is_read_back_gives_the_same_key(spec: EnvironmentSpec) -> None:
    asked = json.loads(canonical_json(spec.canonical()))
    upon = spec_json.base_in(asked)
    assert upon == (["lock", UPON.id] if spec.base else None)
    again = spec_json.load(asked, path="note", base_of=lambda base: UPON if base == ["lock", UPON.id] else None)
    assert again.canonical() == spec.canonical()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
)


@given(
    st.dictionaries(
        st.sampled_from(
            [*sorted(EnvironmentSpec.__dataclass_fields__), "hashes", "editable", "pinned_indexes", "constraints"]
        ),
        _JSON,
    )
)
def test_anything_else_is_one_of_our_errors(asked: dict[str, Any]) -> None:
    with contextlib.suppress(LockError):
        spec_json.load(asked, path="note")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ([], "note: expected an object"),
        ({"conda": "numpy"}, "note.conda: expected list, found `'numpy'`"),
        ({"conda": ["numpy ["]}, "note.conda"),
        ({"channel_priority": "loud"}, "note: 'loud' is not a valid ChannelPriority"),
        ({"variables": [["A"]]}, "note.variables: expected pairs of texts"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(asked: Any, words: str) -> None:
    with pytest.raises(LockError) as caught:
        spec_json.load(asked, path="note")
    assert caught.value.message.startswith(words)
