"""PEP 751 lock files: those of any tool, and uv's answers, which are in the same format.

`packaging.pylock` reads them too, but it came with packaging 26, and many a library that data scientists have installed
beside Metaflow wants an older packaging; the getters that our own formats use are enough.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from mfenv.domain.artifact import Artifact
from mfenv.domain.base import LockFileContent, LockFilePypiPackage
from mfenv.domain.channel import without_credentials
from mfenv.domain.platform import Target
from mfenv.domain.requirement import without_user_info
from mfenv.domain.resolved import BuildSource, ResolvedPypiPackage
from mfenv.errors import LockError
from mfenv.formats import package_file
from mfenv.formats.fields import Fields
from mfenv.formats.lock_markers import settled
from mfenv.formats.package_file import shown as safe
from mfenv.formats.pypi_file import checked_specifier, checked_version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # the same, before it went into the standard library


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelChoice:
    """Which of several wheels fits best: its tags in order of preference (PEP 425), as text."""

    tags: tuple[str, ...]

    def best(self, wheels: Iterable[Artifact]) -> Artifact | None:
        """Return the wheel whose tags come first, or None when none fits."""
        rank = {tag: index for index, tag in enumerate(self.tags)}
        ranked = [(min(found), wheel.file_name, wheel) for wheel in wheels if (found := _ranks(wheel.file_name, rank))]
        return min(ranked, key=lambda found: found[:2])[2] if ranked else None


def _ranks(file_name: str, rank: dict[str, int]) -> list[int]:
    # The file name convention of PEP 427: compressed sets of tags are joined by dots (PEP 425).
    parts = file_name.removesuffix(".whl").split("-")
    if len(parts) not in {5, 6}:
        return []
    pythons, abis, platforms = (part.split(".") for part in parts[-3:])
    tags = (f"{python}-{abi}-{platform}" for python in pythons for abi in abis for platform in platforms)
    return [rank[tag] for tag in tags if tag in rank]


def load(
    content: bytes,
    choice: WheelChoice,
    *,
    folder: Path = Path("/"),
    path: str = "pylock.toml",
    hashes: Mapping[str, Collection[str]] | None = None,
) -> tuple[ResolvedPypiPackage, ...]:
    """Read the packages of a lock file, each with its best wheel or what a wheel has to be built from.

    Relative paths in it are relative to `folder`. A project in `hashes` can have files with these digests
    (``sha256:...``) only; one that is left without any has neither a wheel nor a source.

    Raises `LockError` naming the field at fault.
    """
    try:
        document = _document(content.decode(), path)
    except UnicodeDecodeError as error:
        raise LockError(f"{path}: this is not TOML ({error})") from error
    if "packages" not in document.values:
        return ()
    return tuple(_package(fields, choice, folder, hashes or {}) for fields in document.objects("packages"))


def read(
    text: str,
    *,
    shown: str,
    folder: Path,
    target: Target,
    groups: Collection[str] = (),
    extras: Collection[str] = (),
) -> LockFileContent:
    """Read a lock file of any tool (PEP 751): what it has for `target`, with `groups` and `extras`.

    The groups that the file names as its default ones are always installed: they stand for what a project itself
    needs. Relative paths are relative to `folder`. Raises `LockError` naming the field at fault, or the groups,
    extras and environments there are.
    """
    document = _document(text, shown)
    version = document.required("lock-version", str)
    if version.partition(".")[0] != "1":
        raise LockError(
            f"{shown}.lock-version: the version `{safe(version)}` is not known here", hint="Known is version `1.0`"
        )
    wanted_groups = {*document.strings("default-groups"), *_known(document, "dependency-groups", groups)}
    wanted_extras = _known(document, "extras", extras)
    found = []
    for fields in document.objects("packages"):
        package = _locked_package(fields, folder)
        # Only when all of it is read: what is wrong with a file does not depend on the target.
        marker = settled(
            package.marker,
            groups=set(map(_normal, wanted_groups)),
            extras=set(map(_normal, wanted_extras)),
            target=target,
            where=f"{fields.path}.marker",
        )
        if marker is not None:
            found.append(replace(package, marker=marker))
    return LockFileContent(
        pypi=tuple(found),
        requires_python=_specifier(document, "requires-python"),
        environments=_environments(document, target),
    )


def _document(text: str, path: str) -> Fields:
    try:
        return Fields(values=tomllib.loads(text), path=path)
    # A text may also be nested too deep, or hold half of a surrogate pair.
    except (ValueError, RecursionError) as error:
        raise LockError(f"{path}: this is not TOML ({safe(str(error))})") from error


def _known(document: Fields, key: str, chosen: Collection[str]) -> tuple[str, ...]:
    """Return `chosen`, all of which the document must know. Raises `LockError` naming those it knows."""
    known = document.strings(key)
    unknown = [name for name in chosen if _normal(name) not in map(_normal, known)]
    if unknown:
        kind = "extra" if key == "extras" else "group"
        listed = ", ".join(f"`{safe(name)}`" for name in known)
        raise LockError(
            f"{document.path}: there is no {kind} `{safe(unknown[0])}`",
            hint=f"The file has {listed}" if listed else f"The file has no {kind}s: leave them out",
        )
    return tuple(chosen)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _specifier(fields: Fields, key: str) -> str:
    return checked_specifier(fields.optional(key, str) or "", where=f"{fields.path}.{key}")


def _environments(document: Fields, target: Target) -> tuple[str, ...]:
    """Return the markers, one of which must hold for the Python; none when any will do.

    Raises `LockError` when none holds on `target`, whichever the Python.
    """
    markers = document.strings("environments")
    path = f"{document.path}.environments"
    rests = [settled(marker, groups=(), extras=(), target=target, where=path) for marker in markers]
    possible = [marker for marker in rests if marker is not None]
    if markers and not possible:
        raise LockError(
            f"{path}: nothing is locked for {target.platform.value}, only for "
            + ", ".join(f"`{safe(marker)}`" for marker in markers[:5]),
            hint=f"Lock again with {target.platform.value} among the environments",
        )
    return () if "" in possible else tuple(possible)


_SOURCES = ("vcs", "directory", "archive")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def _locked_package(fields: Fields, folder: Path) -> LockFilePypiPackage:
    name = fields.required("name", str)
    if not _NAME.fullmatch(name):
        raise LockError(f"{fields.path}.name: `{safe(name)}` is not the name of a project")
    version = checked_version(fields.optional("version", str) or "", where=f"{fields.path}.version")
    kinds = [key for key in (*_SOURCES, "wheels", "sdist") if fields.values.get(key)]
    if not kinds:
        raise LockError(f"{fields.path}: `{name}` has neither wheels nor a source")
    if len(kinds) > 1 and set(kinds) != {"wheels", "sdist"}:
        raise LockError(f"{fields.path}: `{name}` has both `{kinds[0]}` and `{kinds[1]}`, and only one can count")
    wheels, build = _files(fields, folder)
    for wheel in wheels:
        if _normal(wheel.file_name.partition("-")[0]) != _normal(name):
            raise LockError(f"{fields.path}.wheels: `{safe(wheel.file_name)}` is not a wheel of `{name}`")
    return LockFilePypiPackage(
        name=_normal(name),
        version=version,
        wheels=wheels,
        build=build,
        marker=fields.optional("marker", str) or "",
        requires_python=_specifier(fields, "requires-python"),
    )


def _files(fields: Fields, folder: Path) -> tuple[tuple[Artifact, ...], BuildSource | None]:
    """Return the wheels of a package, and what one is built from when none of them fits."""
    if vcs := _child(fields, "vcs"):
        return (), _repository(vcs, folder)
    if directory := _child(fields, "directory"):
        path = directory.required("path", str)
        try:
            url = package_file.file_url(path, folder)
        except ValueError as error:
            raise LockError(f"{directory.path}.path: `{safe(path)}` is not a path") from error
        inner = package_file.inner_folder(directory.optional("subdirectory", str), where=directory.path)
        return (), BuildSource(url=url, subdirectory=inner)
    wheels = [_file(wheel, folder) for wheel in fields.objects("wheels")] if fields.values.get("wheels") else []
    for wheel in wheels:
        if not wheel.file_name.endswith(".whl"):
            raise LockError(f"{fields.path}.wheels: `{safe(wheel.file_name)}` is not a wheel")
    archive = _child(fields, "archive") or _child(fields, "sdist")
    if archive is None:
        return tuple(wheels), None
    found = _file(archive, folder)
    if found.file_name.endswith(".whl"):
        return (*wheels, found), None
    source = package_file.source(found, where=archive.path, subdirectory=archive.optional("subdirectory", str))
    return tuple(wheels), source


def _repository(vcs: Fields, folder: Path) -> BuildSource:
    kind = vcs.required("type", str)
    if kind != "git":
        raise LockError(f"{vcs.path}.type: only repositories of git can be used, not of `{safe(kind)}`")
    url = vcs.optional("url", str) or package_file.url_of(vcs.required("path", str), folder=folder, where=vcs.path)
    return package_file.repository(
        url,
        vcs.required("commit-id", str),
        where=vcs.path,
        subdirectory=vcs.optional("subdirectory", str),
    )


def _file(fields: Fields, folder: Path) -> Artifact:
    # A file has one or both: an address can be reached from everywhere.
    address = fields.optional("url", str) or fields.optional("path", str) or fields.required("url", str)
    sha256, md5 = package_file.digests(fields.optional("hashes", dict) or {}, where=f"{fields.path}.hashes")
    return package_file.artifact(
        address,
        folder=folder,
        where=fields.path,
        sha256=sha256,
        md5=md5,
        size=fields.optional("size", int),
        name=fields.optional("name", str),
    )


def _package(
    fields: Fields, choice: WheelChoice, folder: Path, hashes: Mapping[str, Collection[str]]
) -> ResolvedPypiPackage:
    name = fields.required("name", str)
    allowed = hashes.get(name)
    wheel = choice.best(wheel for wheel in _wheels(fields, folder) if _is_allowed(wheel.sha256, allowed))
    source = None if wheel else _source(fields, folder)
    return ResolvedPypiPackage(
        name=name,
        version=fields.optional("version", str) or "",
        wheel=wheel,
        build=source if source and _is_allowed(source.sha256, allowed) else None,
    )


def _is_allowed(sha256: str | None, allowed: Collection[str] | None) -> bool:
    return not allowed or f"sha256:{sha256}" in allowed


def _wheels(fields: Fields, folder: Path) -> Iterator[Artifact]:
    if "wheels" in fields.values:
        yield from (_artifact(wheel, folder) for wheel in fields.objects("wheels"))
    archive = _child(fields, "archive")
    if archive and (artifact := _artifact(archive, folder)).file_name.endswith(".whl"):
        yield artifact


def _artifact(fields: Fields, folder: Path) -> Artifact:
    url = fields.optional("url", str) or _file_url(fields.required("path", str), folder)
    hashes: dict[str, Any] = fields.optional("hashes", dict) or {}
    return Artifact(
        file_name=unquote(urlsplit(url).path.rsplit("/", 1)[-1]),
        url=without_credentials(url),
        size=fields.optional("size", int),
        sha256=hashes.get("sha256"),
        md5=hashes.get("md5"),
    )


def _source(fields: Fields, folder: Path) -> BuildSource | None:
    if vcs := _child(fields, "vcs"):
        kind = vcs.required("type", str)
        return BuildSource(
            url=f"{kind}+{without_user_info(vcs.optional('url', str) or '')}",
            commit=vcs.required("commit-id", str),
            subdirectory=vcs.optional("subdirectory", str),
        )
    if directory := _child(fields, "directory"):
        return BuildSource(
            url=_file_url(directory.required("path", str), folder),
            subdirectory=directory.optional("subdirectory", str),
        )
    for key in ("archive", "sdist"):
        if archive := _child(fields, key):
            artifact = _artifact(archive, folder)
            return BuildSource(
                url=artifact.url, sha256=artifact.sha256, subdirectory=archive.optional("subdirectory", str)
            )
    return None


def _file_url(path: str, folder: Path) -> str:
    # What the user asks for has an absolute path; what a local package needs of others has one relative to the lock.
    return f"file://{quote(os.path.normpath(folder / path))}"


def _child(fields: Fields, key: str) -> Fields | None:
    values = fields.optional(key, dict)
    return None if values is None else Fields(values=values, path=f"{fields.path}.{key}")
