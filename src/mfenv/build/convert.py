"""Conda packages in the format that is preferred: the same content in another container.

conda-package-streaming converts; py-rattler 0.28 reads both formats and writes neither.
"""

from __future__ import annotations

import bz2
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment
from mfenv.hydrate.plan import archive_path
from mfenv.io.files import sha256_of

FORMATS = (".conda", ".tar.bz2")
_AT_ONCE = 4
# What `zstd` itself takes by default: others take many times as long for some percent.
_LEVEL = 3
_CHUNK = 1 << 20
# As APPNOTE.TXT of ZIP, 4.4.2.2, numbers it.
_UNIX = 3


def converted(
    lock: LockedEnvironment,
    preferred: str,
    archives: Path,
    *,
    fetch: Callable[[list[LockedArtifact]], None],
    tell: Callable[[str], None],
) -> LockedEnvironment:
    """Return `lock` with the converted files of all conda packages that are not in the format `preferred`.

    `fetch` has files in `archives`, checked; the converted ones are put there, too. A package that cannot be converted
    stays as it is, and `tell` hears of it. With ``none``, and where there is nothing to convert, `lock` itself.
    """
    others = [package for package in lock.packages if _is_in_another_format(package, preferred)]
    if not others:
        return lock
    fetch([package.artifact for package in others])
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="mfenv-convert") as pool:
        made = dict(zip(others, pool.map(lambda one: _converted(one, preferred, archives, tell), others), strict=True))
    return replace(lock, packages=tuple(replace(package, converted=made.get(package)) for package in lock.packages))


def _is_in_another_format(package: LockedCondaPackage, preferred: str) -> bool:
    name = package.artifact.file_name
    return preferred in FORMATS and name.endswith(FORMATS) and not name.endswith(preferred)


def _converted(
    package: LockedCondaPackage, preferred: str, archives: Path, tell: Callable[[str], None]
) -> LockedArtifact | None:
    source = archive_path(package.artifact, archives)
    archives.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".converting-", dir=archives) as scratch:
        try:
            path = _convert(source, preferred, Path(scratch))
        except Exception as error:  # noqa: BLE001
            # Whatever is wrong with it: its own format is read by a better reader, which will say so.
            tell(f"{package.artifact.file_name} stays in its format: it cannot be converted ({error}).")
            return None
        made = LockedArtifact(
            file_name=path.name, url=package.artifact.url, size=path.stat().st_size, sha256=sha256_of(path)
        )
        place = archive_path(made, archives)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
    return made


def _convert(source: Path, preferred: str, folder: Path) -> Path:
    from conda_package_streaming import transmute

    path: Path
    if preferred == ".tar.bz2":
        with zipfile.ZipFile(source) as parts:
            if damaged := parts.testzip():
                raise ValueError(f"{damaged} in it is damaged")
        path = transmute.transmute_tar_bz2(str(source), str(folder))
    else:
        with bz2.open(source) as content:
            made = transmute.transmute_stream(
                source.name.removesuffix(".tar.bz2"),
                str(folder),
                compression_level=_LEVEL,
                package_stream=_members(content),
            )
        path = _without_time(made)
    return path


def _without_time(path: Path) -> Path:
    """Write a package of the newer format anew, so that it tells neither when nor on which system it was made.

    conda-package-streaming 0.13 writes the time into it, and with it every digest and every lock id would be another.
    """
    anew = path.parent / "anew" / path.name
    anew.parent.mkdir()
    with zipfile.ZipFile(path) as parts, zipfile.ZipFile(anew, "x") as written:
        for part in parts.infolist():
            # 1980, and stored, unless told otherwise.
            plain = zipfile.ZipInfo(part.filename)
            plain.create_system = _UNIX
            # Parts of more than 2 GiB have other headers.
            plain.file_size = part.file_size
            with parts.open(part) as content, written.open(plain, "w") as copy:
                shutil.copyfileobj(content, copy, _CHUNK)
    return anew


def _members(content: bz2.BZ2File) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Yield what is in a package of the older format; raises `ValueError` where the newer one cannot hold it."""
    from conda_package_streaming.package_streaming import tar_generator

    has_index = False
    for tar, member in tar_generator(content):
        # The newer format keeps `info/` in an archive of its own.
        if member.islnk() and _is_info(member.name) != _is_info(member.linkname):
            raise ValueError(f"{member.name} is a hard link to {member.linkname}")
        has_index = has_index or member.name == "info/index.json"
        yield tar, member
    if not has_index:
        raise ValueError("it has no info/index.json")
    # tarfile takes a damaged header for the end: the sums of what comes behind tell.
    while content.read(_CHUNK):
        pass


def _is_info(name: str) -> bool:
    return name.startswith("info/")
