"""Our canonical lock: JSON, the same bytes for the same value, versioned.

Version 1::

    {"schema": "mfenv/lock/1", "platform": "linux-64", "packages": [{"conda": {...}, "file": {...}}, ...]}

Packages are in install order. One that is kept in another format than its channel serves has that file as well, under
`converted`. Fields that are empty are left out, as are `pypi` (the wheels) and `variables` (an
object of texts).
"""

from __future__ import annotations

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.digest import Json, LockId, canonical_json
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment, LockedPypiPackage, check_variables
from mfenv.domain.resolved import CondaRecord
from mfenv.errors import LockError
from mfenv.formats.fields import Fields, at

SCHEMA = "mfenv/lock/1"


def dump(lock: LockedEnvironment) -> bytes:
    """Return the canonical bytes of `lock`."""
    document: dict[str, Json] = {
        "schema": SCHEMA,
        "platform": lock.platform.value,
        "packages": [dump_package(package) for package in lock.packages],
    }
    if lock.pypi:
        document["pypi"] = [dump_wheel(package) for package in lock.pypi]
    if lock.variables:
        document["variables"] = dict(lock.variables)
    return canonical_json(document)


def dump_package(package: LockedCondaPackage) -> dict[str, Json]:
    """Return one package as it stands in a lock."""
    fields: dict[str, Json] = {"conda": dump_record(package.record), "file": dump_file(package.artifact)}
    return {**fields, "converted": dump_file(package.converted)} if package.converted else fields


def dump_wheel(package: LockedPypiPackage) -> dict[str, Json]:
    """Return one PyPI package as it stands in a lock."""
    fields: dict[str, Json] = {"name": package.name, "version": package.version}
    if package.built_from:
        fields["built_from"] = package.built_from
    return {"pypi": fields, "file": dump_file(package.artifact)}


def dump_file(artifact: LockedArtifact) -> dict[str, Json]:
    """Return a package file; a size that is not known is left out."""
    fields: dict[str, Json] = {"name": artifact.file_name, "url": artifact.url, "sha256": artifact.sha256}
    return fields if artifact.size is None else {**fields, "size": artifact.size}


def dump_record(record: CondaRecord) -> dict[str, Json]:
    """Return a conda record without its empty fields."""
    fields: dict[str, Json] = {
        "name": record.name,
        "version": record.version,
        "build": record.build,
        "build_number": record.build_number,
        "subdir": record.subdir,
        "channel": record.channel,
        "depends": list(record.depends),
        "constrains": list(record.constrains),
        "noarch": record.noarch,
        "python_site_packages_path": record.python_site_packages_path,
        "license": record.license,
    }
    return {key: value for key, value in fields.items() if value not in (None, [])}


def load(content: bytes, *, expected: LockId | None = None, path: str = "lock") -> LockedEnvironment:
    """Read a lock; with `expected`, only the lock that has this id.

    Raises `LockError` naming the field at fault, an unknown schema, or an id that is not the expected one.
    """
    return read(Fields.parse(content, path=path), expected=expected)


def read(document: Fields, *, expected: LockId | None = None) -> LockedEnvironment:
    """Do as `load` with a document that is parsed already."""
    path = document.path
    schema = document.required("schema", str)
    if schema != SCHEMA:
        raise LockError(
            f"{path}: the schema `{schema}` is not known here",
            hint="The lock was written by a later version of metaflow-netflix-extensions: update this one",
        )
    platform = document.platform("platform")
    packages = tuple(_package(fields) for fields in document.objects("packages"))
    pypi = tuple(_wheel(fields) for fields in document.objects("pypi")) if "pypi" in document.values else ()
    variables = document.texts("variables")
    with at(f"{path}.variables"):
        check_variables(variables)
    with at(f"{path}.packages"):
        lock = LockedEnvironment(platform=platform, packages=packages, pypi=pypi, variables=variables)
    if expected is not None and lock.id != expected:
        raise LockError(f"{path}: this is the lock `{lock.id}`, not `{expected}`")
    return lock


def _package(fields: Fields) -> LockedCondaPackage:
    record = Fields(values=fields.required("conda", dict), path=f"{fields.path}.conda")
    # conda's indexes always tell the size.
    Fields(values=fields.required("file", dict), path=f"{fields.path}.file").required("size", int)
    converted = _file(fields, "converted") if "converted" in fields.values else None
    return LockedCondaPackage(record=load_record(record), artifact=_file(fields), converted=converted)


def _wheel(fields: Fields) -> LockedPypiPackage:
    pypi = Fields(values=fields.required("pypi", dict), path=f"{fields.path}.pypi")
    return LockedPypiPackage(
        name=pypi.required("name", str),
        version=pypi.required("version", str),
        artifact=_file(fields),
        built_from=pypi.optional("built_from", str) or "",
    )


def _file(fields: Fields, key: str = "file") -> LockedArtifact:
    file = Fields(values=fields.required(key, dict), path=f"{fields.path}.{key}")
    with at(file.path):
        return LockedArtifact(
            file_name=file.required("name", str),
            url=file.required("url", str),
            size=file.optional("size", int),
            sha256=file.required("sha256", str),
        )


def load_record(fields: Fields) -> CondaRecord:
    """Read a conda record; raises `LockError` naming the field at fault."""
    with at(fields.path):
        return _record(fields)


def _record(fields: Fields) -> CondaRecord:
    return CondaRecord(
        name=fields.required("name", str),
        version=fields.required("version", str),
        build=fields.required("build", str),
        build_number=fields.required("build_number", int),
        subdir=fields.required("subdir", str),
        channel=fields.required("channel", str),
        depends=fields.strings("depends"),
        constrains=fields.strings("constrains"),
        noarch=fields.optional("noarch", str),
        python_site_packages_path=fields.optional("python_site_packages_path", str),
        license=fields.optional("license", str),
    )
