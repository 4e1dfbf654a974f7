"""The metadata file of a code package (``conda_v2.cnd``): which step runs in what, and the locks for that.

It holds this flow's environments and nothing else, so that the code package of an unchanged flow stays the
same. Version 1::

    {"schema": "mfenv/metadata/1",
     "steps": {"start": ["<request key>", "<lock id>", "linux-64"], "end": null},
     "locks": {"<lock id>": {...}}}

A step that is null is disabled. One whose environment is looked up when its task starts has, instead of the list, how
the user wrote its name (with ``@{...}`` in it)::

     "train": {"name": "team/env:stable", "platform": "linux-64"}, "score": {"pathspec": "Flow/7/train", ...}

A flow with steps on other machines has, under ``node``, what those need to make environments: where the store is, and
the files of the toolchain for each platform::

     "node": {"store": {"kind": "s3", "root": "s3://bucket/folder", "packages": "mfenv/v1/packages/sha256/", ...},
               "toolchains": {"linux-64": {"wheels": [{"name", "sha256", "size"}], "runtime": {...}}},
              "compiling": []}

Its reader there is `mfenv.bootstrap.flow_file`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.assignment import Deferred, Disabled, Locked, StepAssignment
from mfenv.domain.base import NamedBase, PathspecBase
from mfenv.domain.digest import Json, LockId, RequestKey, canonical_json
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.toolchain import StoreLocation, Toolchain
from mfenv.errors import LockError
from mfenv.formats import fields, lock_json
from mfenv.formats.fields import Fields

SCHEMA = "mfenv/metadata/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMetadata:
    """The steps of a flow and the locks that they name."""

    steps: Mapping[str, StepAssignment]
    locks: Mapping[LockId, LockedEnvironment]
    store: StoreLocation | None = None
    """Where other machines find packages; None for a flow without steps there."""
    toolchains: tuple[Toolchain, ...] = ()
    """What makes environments on those machines."""
    compiling: tuple[Platform, ...] = ()
    """The platforms whose environments their first tasks compile, since the launching machine cannot."""


def dump(metadata: FlowMetadata) -> bytes:
    """Return the canonical bytes of `metadata`."""
    node: dict[str, Json] = {"node": _node(metadata.store, metadata)} if metadata.store else {}
    locks: dict[str, Json] = {id_: json.loads(lock_json.dump(lock)) for id_, lock in metadata.locks.items()}
    return canonical_json(
        {
            "schema": SCHEMA,
            "steps": {step: _dump_step(assignment) for step, assignment in metadata.steps.items()},
            "locks": locks,
            **node,
        }
    )


_STORE = ("kind", "root", "packages", "toolchain", "environments")


def _node(store: StoreLocation, metadata: FlowMetadata) -> Json:
    return {
        "store": {name: getattr(store, name) for name in _STORE},
        "toolchains": {
            one.platform.value: {"wheels": [_tool(wheel) for wheel in one.wheels], "runtime": _tool(one.runtime)}
            for one in metadata.toolchains
        },
        "compiling": [one.value for one in metadata.compiling],
    }


def _tool(artifact: LockedArtifact) -> Json:
    # Without its origin: nobody is to go there from a node.
    return {"name": artifact.file_name, "sha256": artifact.sha256, "size": artifact.size}


def _dump_step(assignment: StepAssignment) -> Json:
    match assignment:
        case Disabled():
            return None
        case Locked():
            return [assignment.request, assignment.lock, assignment.platform.value]
        case Deferred():
            key = "name" if isinstance(assignment.base, NamedBase) else "pathspec"
            return {key: assignment.base.text, "platform": assignment.platform.value}


def load(content: bytes, *, path: str = "conda_v2.cnd") -> FlowMetadata:
    """Read a metadata file; every lock must have the id that it is filed under. Raises `LockError`."""
    document = Fields.parse(content, path=path)
    schema = document.required("schema", str)
    if schema != SCHEMA:
        raise LockError(f"{path}: the schema `{schema}` is not known here")
    steps = {step: _step(value, f"{path}.steps.{step}") for step, value in document.required("steps", dict).items()}
    locks = {
        LockId(id_): lock_json.read(_object(value, f"{path}.locks.{id_}"), expected=LockId(id_))
        for id_, value in document.required("locks", dict).items()
    }
    if "node" not in document.values:
        return FlowMetadata(steps=steps, locks=locks)
    node = _object(document.required("node", dict), f"{path}.node")
    store, toolchains = _read_node(node)
    compiling = tuple(fields.platform(name, path=f"{node.path}.compiling") for name in node.strings("compiling"))
    return FlowMetadata(steps=steps, locks=locks, store=store, toolchains=toolchains, compiling=compiling)


def _read_node(node: Fields) -> tuple[StoreLocation, tuple[Toolchain, ...]]:
    where = _object(node.required("store", dict), f"{node.path}.store")
    store = StoreLocation(**{name: where.required(name, str) for name in _STORE})
    tools = _object(node.required("toolchains", dict), f"{node.path}.toolchains")
    return store, tuple(
        _toolchain(name, _object(value, f"{tools.path}.{name}")) for name, value in tools.values.items()
    )


def _toolchain(name: str, tools: Fields) -> Toolchain:
    return Toolchain(
        platform=fields.platform(name, path=tools.path),
        wheels=tuple(map(_tool_file, tools.objects("wheels"))),
        runtime=_tool_file(_object(tools.required("runtime", dict), f"{tools.path}.runtime")),
    )


def _tool_file(file: Fields) -> LockedArtifact:
    with fields.at(file.path):
        return LockedArtifact(
            file_name=file.required("name", str),
            url="",
            size=file.optional("size", int),
            sha256=file.required("sha256", str),
        )


def _object(value: object, path: str) -> Fields:
    if not isinstance(value, dict):
        raise LockError(f"{path}: expected an object")
    return Fields(values=value, path=path)


def _step(value: object, path: str) -> StepAssignment:
    match value:
        case None:
            return Disabled()
        case [str() as request, str() as lock, str() as platform]:
            return Locked(
                request=RequestKey(request),
                lock=LockId(lock),
                platform=fields.platform(platform, path=path),
            )
        case {"name": str() as text, "platform": str() as platform}:
            return Deferred(base=NamedBase(text=text), platform=fields.platform(platform, path=path))
        case {"pathspec": str() as text, "platform": str() as platform}:
            return Deferred(base=PathspecBase(text=text), platform=fields.platform(platform, path=path))
    raise LockError(f"{path}: expected a request, a lock and a platform, found `{value!r}`")
