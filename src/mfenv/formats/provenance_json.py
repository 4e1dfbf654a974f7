"""Notes on how a lock came about, as they are kept beside it: canonical JSON, version 1."""

from __future__ import annotations

from datetime import datetime

from mfenv.domain.digest import RequestKey, canonical_json, is_id
from mfenv.domain.platform import Target, VirtualPackage
from mfenv.domain.provenance import Provenance
from mfenv.errors import InvalidSpec, LockError
from mfenv.formats import fields
from mfenv.formats.fields import Fields

SCHEMA = "mfenv/provenance/1"


def dump(made: Provenance) -> bytes:
    """Return the canonical bytes of a note."""
    return canonical_json(
        {
            "schema": SCHEMA,
            "request": made.request,
            "asked": made.asked,
            "target": {
                "platform": made.target.platform.value,
                "virtual_packages": [str(package) for package in made.target.virtual_packages],
            },
            "resolver": made.resolver,
            "user": made.user,
            "time": made.time.isoformat(),
            # Left out where there is none, as before there was any.
            **({"policy": made.policy} if made.policy is not None else {}),
        }
    )


def load(content: bytes, *, path: str) -> Provenance:
    """Read a note. Raises `LockError`."""
    document = Fields.parse(content, path=path)
    schema = document.required("schema", str)
    if schema != SCHEMA:
        raise LockError(f"{path}: the schema `{schema}` is not known here")
    request = document.required("request", str)
    if not is_id(request):
        raise LockError(f"{path}.request: `{request}` is not an id")
    target = Fields(values=document.required("target", dict), path=f"{path}.target")
    packages = target.required("virtual_packages", list)
    return Provenance(
        request=RequestKey(request),
        target=Target(
            platform=fields.platform(target.required("platform", str), path=target.path),
            virtual_packages=tuple(_virtual_package(text, f"{target.path}.virtual_packages") for text in packages),
        ),
        asked=document.optional("asked", dict),
        resolver=document.required("resolver", str),
        user=document.required("user", str),
        time=_time(document.required("time", str), f"{path}.time"),
        policy=document.optional("policy", dict),
    )


def _virtual_package(text: object, path: str) -> VirtualPackage:
    name, _, rest = str(text).partition("=")
    version, _, build = rest.partition("=")
    try:
        return VirtualPackage(name=name, version=version, build=build)
    except InvalidSpec as error:
        raise LockError(f"{path}: {error.message}", hint=error.hint) from error


def _time(text: str, path: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise LockError(f"{path}: `{text}` is not a time") from error
    if time.tzinfo is None:
        raise LockError(f"{path}: `{text}` is a time without its zone")
    return time
