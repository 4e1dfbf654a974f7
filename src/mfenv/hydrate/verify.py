"""Whether what is on disk is what a lock promises: package files, and every file of a prefix.

The lock is what is trusted. It has the sha256 of each package file; a package file that is in the cache and whole says
what its package puts into a prefix, and with which sha256 (conda: ``info/paths.json``, CEP 34; wheels: RECORD, PEP 376
and 427). The prefix's own records, ``conda-meta/*.json`` and RECORD, are taken only where there is nothing better,
since who changed a file can have changed them too; a report says how many files were compared so. Of commands that
installers write, only the presence is known.

conda writes the prefix's path into files, in place of a placeholder. Here the placeholder is put back, and the digest
is that of the package; see `_restored`. Where that leads nowhere (conda makes long first lines of scripts anew), the
record in ``conda-meta`` decides.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.digest import canonical_json
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment
from mfenv.errors import HydrationFailed
from mfenv.hydrate.checks import check_path
from mfenv.hydrate.plan import archive_path
from mfenv.hydrate.prefix import MAKING, MARKER
from mfenv.hydrate.pypi import site_packages_of
from mfenv.hydrate.wheels import read_wheel
from mfenv.io.files import sha256_of

_AT_ONCE = 8
VARIABLES = "etc/conda/env_vars.d/mfenv-variables.json"
"""The variables of a lock, below its prefix; see `mfenv.hydrate.activation`."""
_GENERATED = {MARKER, MAKING, "CACHEDIR.TAG", "conda-meta/history", "conda-meta/state"}
# Installers write these beside a wheel's own (PEP 376, 610; uv_cache.json is uv's).
_OF_INSTALLERS = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"}


class Kind(Enum):
    """How something on disk is other than locked."""

    MISSING = "missing"
    CHANGED = "changed"
    UNEXPECTED = "unexpected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One file that is not as locked."""

    kind: Kind
    path: str
    """Below the prefix; of a cached package file, its whole path."""
    package: str = ""
    """Whose file it is; empty for one that is nobody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was looked at, and what is not as locked."""

    files: int = 0
    """How many were compared."""
    size: int = 0
    """Their bytes."""
    differences: tuple[Deviation, ...] = ()
    by_record: tuple[str, ...] = ()
    """Files that only the prefix's own records tell of."""
    generated: int = 0
    """Files that no package holds, and that come about when one is installed or used."""
    absent: int = 0
    """Package files that are not in the cache, and need not be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expected:
    """A file as its package has it."""

    package: str
    sha256: str | None
    """Hex; None where nothing is known but that the file is there."""
    placeholder: str = ""
    """What the prefix's path stands in place of; empty where nothing was replaced."""
    is_text: bool = True
    is_link: bool = False
    recorded: str | None = None
    """The digest that the prefix's own record has."""
    is_by_record: bool = False


def verify_archives(lock: LockedEnvironment, archives: Path) -> Verified:
    """Hash the package files of `lock` that are in the cache."""
    stored = {one.sha256: one for one in (*lock.artifacts, *lock.stored_artifacts)}
    there = [one for one in stored.values() if archive_path(one, archives).is_file()]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="mfenv-verify") as pool:
        whole = list(pool.map(lambda one: _is_whole(one, archives), there))
    return Verified(
        files=len(there),
        size=sum(_size(archive_path(one, archives)) for one in there),
        differences=tuple(
            Deviation(kind=Kind.CHANGED, path=str(archive_path(one, archives)), package=one.file_name)
            for one, is_so in zip(there, whole, strict=True)
            if not is_so
        ),
        absent=len({one.sha256 for one in lock.stored_artifacts} - {one.sha256 for one in there}),
    )


def verify_prefix(lock: LockedEnvironment, prefix: Path, archives: Path, *, beside: Collection[str] = ()) -> Verified:
    """Compare every file below `prefix`, made of `lock`, with its package; `beside` are files that we put there.

    Raises `HydrationFailed` for a package file that cannot be read although it is what the lock has.
    """
    expected: dict[str, list[_Expected]] = {}
    extra = {*_GENERATED, *beside}
    differences = []
    for package in lock.packages:
        record = f"conda-meta/{package.name}-{package.version}-{package.record.build}.json"
        extra.add(record)
        if not (prefix / record).is_file():
            differences.append(Deviation(kind=Kind.MISSING, path=record, package=package.name))
        for path, one in _conda_files(package, lock, prefix, archives, extra):
            expected.setdefault(path, []).append(one)
    for path, one in _wheel_files(lock, prefix, archives, extra):
        expected.setdefault(path, []).append(one)
    if lock.variables:
        digest = hashlib.sha256(canonical_json(dict(lock.variables))).hexdigest()
        expected[VARIABLES] = [_Expected(package="", sha256=digest)]
    paths = sorted(expected)
    shares = [paths[start::_AT_ONCE] for start in range(_AT_ONCE)]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="mfenv-verify") as pool:
        shared = pool.map(lambda share: [_compare(prefix, path, expected) for path in share], shares)
        compared = [one for share in shared for one in share]
    differences += [one.deviation for one in compared if one.deviation]
    generated = 0
    for path in _files_below(prefix):
        if path not in expected:
            if path in extra or _comes_about(path, expected):
                generated += 1
            else:
                differences.append(Deviation(kind=Kind.UNEXPECTED, path=path))
    return Verified(
        files=len(paths),
        size=sum(one.size for one in compared),
        differences=tuple(sorted(differences, key=lambda one: (one.kind.value, one.path))),
        by_record=tuple(sorted(one.path for one in compared if one.is_by_record)),
        generated=generated,
    )


# -------------------------------------------------------------------- what is expected


def _conda_files(
    package: LockedCondaPackage, lock: LockedEnvironment, prefix: Path, archives: Path, extra: set[str]
) -> Iterator[tuple[str, _Expected]]:
    """Yield the files of a conda package; put into `extra` what its installation makes."""
    recorded = _recorded(package, prefix)
    archive = next((one for one in (package.converted, package.artifact) if one and _is_whole(one, archives)), None)
    info = _info_of(archive_path(archive, archives)) if archive else {}
    site_packages = site_packages_of(lock)
    listed = info.get("info/paths.json", {}).get("paths") or []
    for entry in listed if isinstance(listed, list) else ():
        if not isinstance(entry, dict) or not isinstance(entry.get("_path"), str):
            raise HydrationFailed(f"the package file `{package.artifact.file_name}` lists what is no file")
        path = _in_prefix(entry["_path"], package, site_packages)
        check_path(package.artifact.file_name, path)
        own = recorded.get(path, {})
        yield (
            path,
            _Expected(
                package=package.name,
                sha256=entry.get("sha256"),
                placeholder=str(entry.get("prefix_placeholder") or ""),
                is_text=entry.get("file_mode") != "binary",
                is_link=entry.get("path_type") == "softlink",
                recorded=own.get("sha256_in_prefix"),
            ),
        )
    if package.record.noarch == "python":
        noarch = info.get("info/link.json", {}).get("noarch") or {}
        extra |= {f"bin/{str(text).partition('=')[0].strip()}" for text in noarch.get("entry_points") or []}
    if not listed:
        for path, own in recorded.items():
            if own.get("path_type") in {"pyc_file", "unix_python_entry_point"}:
                extra.add(path)
                continue
            digest = own.get("sha256_in_prefix") or own.get("sha256")
            is_link = own.get("path_type") == "softlink"
            yield (
                path,
                _Expected(package=package.name, sha256=None if is_link else digest, is_link=is_link, is_by_record=True),
            )


def _recorded(package: LockedCondaPackage, prefix: Path) -> dict[str, dict[str, Any]]:
    """Return what the prefix's own record says of a package's files; nothing where that cannot be read."""
    path = prefix / "conda-meta" / f"{package.name}-{package.version}-{package.record.build}.json"
    try:
        entries = json.loads(path.read_bytes())["paths_data"]["paths"]
        found = {str(entry["_path"]): dict(entry) for entry in entries}
        for name in found:
            check_path(path.name, name)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, HydrationFailed):
        return {}
    return found


def _in_prefix(path: str, package: LockedCondaPackage, site_packages: str) -> str:
    """Return where a package's file is put (CEP 17 and conda's ``noarch: python``)."""
    if package.record.noarch == "python":
        for begin, place in (("site-packages/", f"{site_packages}/"), ("python-scripts/", "bin/")):
            if path.startswith(begin):
                return place + path.removeprefix(begin)
    return path


def _info_of(archive: Path) -> dict[str, dict[str, Any]]:
    """Return ``info/paths.json`` and ``info/link.json`` of a package file that was checked."""
    from conda_package_streaming.package_streaming import stream_conda_info

    wanted, found = {"info/paths.json", "info/link.json"}, {}
    try:
        for tar, member in stream_conda_info(archive):
            if member.name in wanted and (file := tar.extractfile(member)):
                content = json.loads(file.read())
                found[member.name] = content if isinstance(content, dict) else {}
            if member.name == "info/paths.json" and archive.name.endswith(".tar.bz2") and len(found) == len(wanted):
                break
    # All that tarfile, zipfile, bz2 and zstandard raise over what they are given have no base of their own.
    except Exception as error:
        raise HydrationFailed(
            f"the package file `{archive.name}` cannot be read",
            hint="It is what its channel serves, to the byte: tell whoever runs the channel",
            output=str(error),
        ) from error
    return found


def _wheel_files(
    lock: LockedEnvironment, prefix: Path, archives: Path, extra: set[str]
) -> Iterator[tuple[str, _Expected]]:
    site_packages = site_packages_of(lock)
    for package in lock.pypi:
        is_whole = _is_whole(package.artifact, archives)
        if is_whole:
            wheel = read_wheel(package.name, archive_path(package.artifact, archives), site_packages)
            digests: Mapping[str, str | None] = wheel.digests
        else:
            digests = _installed_record(package.name, prefix, site_packages)
        if not digests:
            record = f"{site_packages}/{package.name}-{package.version}.dist-info/RECORD"
            yield record, _Expected(package=package.name, sha256=None, is_by_record=True)
        for path, digest in digests.items():
            folder, _, name = path.rpartition("/")
            if folder.endswith(".dist-info"):
                extra |= {f"{folder}/{one}" for one in _OF_INSTALLERS}
                if name in _OF_INSTALLERS:
                    continue
            yield path, _Expected(package=package.name, sha256=_hex(digest), is_by_record=not is_whole)


def _installed_record(name: str, prefix: Path, site_packages: str) -> dict[str, str | None]:
    """Return what the RECORD in a prefix says of a distribution; nothing where there is none."""
    for path in sorted((prefix / site_packages).glob("*.dist-info/RECORD")):
        if re.sub(r"[-_.]+", "-", path.parent.name.split("-")[0]).lower() == name:
            try:
                rows = [row for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8"))) if len(row) > 1]
            except (OSError, ValueError, csv.Error):
                return {}
            found = {}
            for member, digest, *_ in rows:
                place = os.path.normpath(f"{site_packages}/{member}")
                if not place.startswith(("../", "/")):
                    found[place] = digest.removeprefix("sha256=") if digest.startswith("sha256=") else None
            return found
    return {}


def _hex(digest: str | None) -> str | None:
    """Return a RECORD's digest in hex."""
    try:
        return base64.urlsafe_b64decode(f"{digest}==").hex() if digest else None
    except ValueError:
        return ""


# -------------------------------------------------------------------- what is there


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    path: str
    size: int = 0
    deviation: Deviation | None = None
    is_by_record: bool = False


def _compare(prefix: Path, path: str, expected: Mapping[str, Sequence[_Expected]]) -> _Compared:
    choices = expected[path]
    owner = choices[-1].package
    place = prefix / path
    if not os.path.lexists(place):
        return _Compared(path=path, deviation=Deviation(kind=Kind.MISSING, path=path, package=owner))
    changed = _Compared(path=path, deviation=Deviation(kind=Kind.CHANGED, path=path, package=owner))
    if any(one.is_link for one in choices) and place.is_symlink():
        is_same = _leads_where_it_should(prefix, path, choices[-1], expected)
        return _Compared(path=path, is_by_record=choices[-1].is_by_record) if is_same else changed
    try:
        # A link in place of a file may lead anywhere: what is read there is compared all the same.
        content = place.read_bytes()
    except OSError:
        return changed
    digest = hashlib.sha256(content).hexdigest()
    for one in choices:
        if one.sha256 in {None, digest} or (one.placeholder and _is_restored(content, one, prefix)):
            return _Compared(path=path, size=len(content), is_by_record=one.is_by_record)
        if one.placeholder and one.recorded == digest:
            return _Compared(path=path, size=len(content), is_by_record=True)
    return changed


def _leads_where_it_should(
    prefix: Path, path: str, one: _Expected, expected: Mapping[str, Sequence[_Expected]]
) -> bool:
    """Tell whether a link leads to what its package's leads to, or to a file of the environment, compared by itself."""
    target = os.path.normpath(Path(path).parent / (prefix / path).readlink())
    if target.startswith(("/", "../")):
        return False
    if not (prefix / target).is_file():
        # To a folder, or to nothing: packages have such links.
        return True
    digests = {other.sha256 for other in expected.get(target, ())}
    return one.sha256 is None or one.sha256 in digests or sha256_of(prefix / target) == one.sha256


def _is_restored(content: bytes, one: _Expected, prefix: Path) -> bool:
    restored = _restored(content, one.placeholder.encode(), os.fsencode(prefix), is_text=one.is_text)
    return hashlib.sha256(restored).hexdigest() == one.sha256


def _restored(content: bytes, placeholder: bytes, prefix: bytes, *, is_text: bool) -> bytes:
    r"""Return a file as it was before `placeholder` was replaced by `prefix`.

    In binary files conda keeps the length: as many zero bytes as were saved stand behind the text that ends there.

    >>> _restored(b"x/p/lib:/p/bin\0\0\0\0\0\0\0y", b"/long", b"/p", is_text=False)
    b'x/long/lib:/long/bin\x00y'
    """
    if is_text:
        return content.replace(prefix, placeholder)
    saved = len(placeholder) - len(prefix)

    def put_back(found: re.Match[bytes]) -> bytes:
        text, zeros = found[1], found[2]
        return text.replace(prefix, placeholder) + zeros[saved * text.count(prefix) :]

    return re.sub(rb"(" + re.escape(prefix) + rb"[^\0]*)(\0*)", put_back, content)


def _files_below(prefix: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(prefix):
        begin = os.path.relpath(folder, prefix)
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in (*files, *links):
            yield name if begin == "." else f"{begin}/{name}"


def _comes_about(path: str, expected: Mapping[str, object]) -> bool:
    """Tell whether a file is one that Python or an installer makes of files that packages have."""
    if match := re.fullmatch(r"(.*/|)__pycache__/([^/]+)\.[a-z]+-\d+(\.opt-\d)?\.pyc", path):
        return f"{match[1]}{match[2]}.py" in expected
    # py-rattler's names for files that two packages have.
    return "__clobber-from-" in path


def _is_whole(artifact: LockedArtifact, archives: Path) -> bool:
    try:
        return sha256_of(archive_path(artifact, archives)) == artifact.sha256
    except OSError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
