"""What an environment was asked to be, read back from the form that request keys are made of.

The form is that of `mfenv.domain.spec.EnvironmentSpec.canonical`: what a note on how a lock came about holds. What is
read gives the same key again. Relative paths come back as they were written, for the working directory of who reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from mfenv.domain.base import LockFile
from mfenv.domain.channel import Channel
from mfenv.domain.digest import Json
from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import PackageIndex
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.python import PythonConstraint
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import ChannelPriority, EnvironmentSpec, IndexStrategy, SolveOptions
from mfenv.errors import InvalidSpec, LockError
from mfenv.formats.fields import Fields

Base = LockFile | LockedEnvironment | None
_NAMES = ("conda", "channels", "pypi", "editable", "conda_only", "indexes", "default_index", "constraints", "flags")


def load(asked: Json, *, path: str, base_of: Callable[[Json], Base] = lambda _base: None) -> EnvironmentSpec:
    """Read a spec in its canonical form.

    `base_of` gives what it was built upon, from how that is noted; None leaves it out. Raises `LockError`.
    """
    if not isinstance(asked, dict):
        raise LockError(f"{path}: expected an object")
    try:
        return _spec(Fields(values=asked, path=path), base_of)
    except InvalidSpec as error:
        raise LockError(error.message, hint=error.hint) from error


def base_in(asked: Json) -> Json:
    """Return how it is noted what an environment was built upon: ``["lock", <id>]``, or kind and digest of a file."""
    base = asked.get("base") if isinstance(asked, dict) else None
    return base[0] if isinstance(base, list) and base else None


def _spec(fields: Fields, base_of: Callable[[Json], Base]) -> EnvironmentSpec:
    path = fields.path
    texts = {name: fields.strings(name) for name in _NAMES}
    python = fields.optional("python", str)
    indexes = [PackageIndex.parse(text, where=f"{path}.indexes") for text in texts["indexes"]]
    defaults = [PackageIndex.parse(text, where=f"{path}.default_index") for text in texts["default_index"]]
    base = base_in(dict(fields.values))
    return EnvironmentSpec(
        python=None if python is None else PythonConstraint(version=python),
        conda=_match_specs(texts["conda"], f"{path}.conda"),
        channels=tuple(Channel.parse(text, where=f"{path}.channels") for text in texts["channels"]),
        pypi=_requirements(fields, texts["pypi"], set(texts["editable"])),
        conda_only=_match_specs(texts["conda_only"], f"{path}.conda_only"),
        indexes=tuple(indexes),
        default_index=defaults[0] if defaults else None,
        local_content=_pairs(fields, "local_content"),
        pypi_constraints=_hashed(fields, (Requirement.from_text(t, where=path) for t in texts["constraints"])),
        flags=tuple(sorted(ResolverFlag.parse(text, where=f"{path}.flags") for text in texts["flags"])),
        variables=_pairs(fields, "variables"),
        base=base_of(base) if base else None,
        needs=_match_specs(fields.strings("needs"), f"{path}.needs"),
        options=_options(fields),
    )


def _options(fields: Fields) -> SolveOptions:
    try:
        return SolveOptions(
            channel_priority=ChannelPriority(fields.optional("channel_priority", str) or "strict"),
            index_strategy=IndexStrategy(fields.optional("index_strategy", str) or "first-index"),
            exclude_newer=fields.optional("exclude_newer", str) or "",
        )
    except ValueError as error:
        raise LockError(f"{fields.path}: {error}") from error


def _match_specs(texts: Iterable[str], path: str) -> tuple[MatchSpec, ...]:
    return tuple(_match_spec(text, path) for text in texts)


def _match_spec(text: str, path: str) -> MatchSpec:
    """Read ``channel::name version build ; marker``, each part in its normal form."""
    body, _, marker = text.partition(" ; ")
    name, _, constraint = body.partition(" ")
    return MatchSpec.parse(name, f"{constraint}; {marker}" if marker else constraint, where=path)


def _requirements(fields: Fields, texts: Iterable[str], editable: set[str]) -> tuple[Requirement, ...]:
    found = [Requirement.from_text(text, where=f"{fields.path}.pypi") for text in texts]
    indexes = {row[0]: row[1] for row in _rows(fields, "pinned_indexes") if len(row) == 2}
    return _hashed(
        fields,
        (replace(one, is_editable=one.name in editable, index=indexes.get(one.name, "")) for one in found),
    )


def _hashed(fields: Fields, requirements: Iterable[Requirement]) -> tuple[Requirement, ...]:
    hashes = {row[0]: tuple(row[1:]) for row in _rows(fields, "hashes") if row}
    return tuple(replace(one, hashes=hashes.get(one.identity, ())) for one in requirements)


def _rows(fields: Fields, key: str) -> list[list[str]]:
    rows: list[Any] = fields.optional(key, list) or []
    if not all(isinstance(row, list) and all(isinstance(text, str) for text in row) for row in rows):
        raise LockError(f"{fields.path}.{key}: expected lists of texts")
    return rows


def _pairs(fields: Fields, key: str) -> tuple[tuple[str, str], ...]:
    rows = _rows(fields, key)
    if not all(len(row) == 2 for row in rows):
        raise LockError(f"{fields.path}.{key}: expected pairs of texts")
    return tuple((row[0], row[1]) for row in rows)
