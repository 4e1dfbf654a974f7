"""Environments of the existing product, taken over by name: each file fetched, hashed, and locked again."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mfenv.domain.artifact import Artifact, LockedArtifact
from mfenv.domain.digest import RequestKey
from mfenv.domain.group import LockGroup
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment, LockedPypiPackage
from mfenv.domain.platform import Platform, Target
from mfenv.domain.provenance import Provenance
from mfenv.domain.resolved import ResolvedPackage
from mfenv.errors import EnvironmentsError, InvalidSpec, LockError, StoreError
from mfenv.formats.fields import at
from mfenv.formats.legacy_json import LegacyEnvironment, LegacyFile, LegacyPackage, LegacyRef
from mfenv.formats.package_file import shown as safe
from mfenv.hydrate.plan import archive_path
from mfenv.store.legacy import LegacyStore
from mfenv.store.locks import LockStore

_AT_ONCE = 16
_CHUNK = 1 << 20
_KINDS = {32: "md5", 64: "sha256"}
"""By the length of a digest in hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Brought:
    """A package whose file is here."""

    package: LegacyPackage
    artifact: LockedArtifact
    is_served: bool
    """Whether the file is the one that the package's address serves."""


@dataclass(frozen=True, kw_only=True)
class LegacyImport:
    """Takes environments over from the store of the existing product."""

    legacy: LegacyStore
    archives: Path
    measure: Callable[[Sequence[Artifact]], Sequence[LockedArtifact]]
    """Brings files from their addresses, checked as far as anything is known of them."""
    records: Callable[..., Sequence[ResolvedPackage]]
    """Reads from conda packages what they say of themselves, and puts them in order."""
    locks: LockStore
    target: Callable[[Platform], Target]
    now: Callable[[], datetime]
    tell: Callable[[str], None] = lambda _line: None
    """Told of files that the store has not as they should be, and that were had in another way."""

    def take(self, name: str, platforms: Sequence[Platform] = ()) -> dict[Platform, LockedEnvironment] | None:
        """Lock anew what `name` stands for there, on `platforms` or all that there are; None for an unknown name.

        The locks are then in the project. Raises `EnvironmentsError`: of a file that is nowhere or not what it should
        be, of an environment that cannot be read, of a platform that there is none for.
        """
        ref = self.legacy.find(name)
        if ref is None:
            return None
        there = self.legacy.platforms(ref)
        missing = [platform.value for platform in platforms if platform not in there]
        if missing or not there:
            raise InvalidSpec(
                f"the existing product has no environment `{name}` for {', '.join(missing) or 'any platform'}",
                hint=f"It has one for {', '.join(one.value for one in there)}" if there else None,
            )
        taken = {platform: self._taken(name, ref, platform) for platform in platforms or there}
        if len(taken) > 1:
            self.locks.keep_group(LockGroup.of({platform: lock.id for platform, lock in taken.items()}))
        return taken

    def _taken(self, name: str, ref: LegacyRef, platform: Platform) -> LockedEnvironment:
        found = self.legacy.environment(ref, platform)
        where = f"`{name}` for {platform.value}"
        _refuse_sources(found, where)
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="mfenv-legacy") as pool:
            brought = list(pool.map(lambda package: self._brought(package, where), found.packages))
        conda = {_to_read(one): one.artifact for one in brought if one.package.is_conda}
        with at(where):
            lock = LockedEnvironment(
                platform=platform,
                packages=tuple(
                    LockedCondaPackage(record=read.record, artifact=conda[read.artifact])
                    for read in self.records(list(conda), shown=where)
                ),
                pypi=tuple(
                    sorted((_wheel(one) for one in brought if not one.package.is_conda), key=lambda one: one.name)
                ),
            )
        self.locks.keep(lock, self._provenance(ref, platform, found))
        return lock

    def _provenance(self, ref: LegacyRef, platform: Platform, found: LegacyEnvironment) -> Provenance:
        return Provenance(
            request=RequestKey(ref.request),
            target=self.target(platform),
            resolver="existing product",
            user=found.resolved_by,
            time=found.resolved_on or self.now(),
        )

    # ---------------------------------------------------------------- files

    def _brought(self, package: LegacyPackage, where: str) -> _Brought:
        """Have a package's file in the archives: from the store in any format, else from its address."""
        troubles = []
        files = [file for file in package.files if package.is_conda or file.name.endswith(".whl")]
        for bring, file in [(bring, file) for bring in (self._from_store, self._from_origin) for file in files]:
            try:
                artifact = bring(package, file)
            except EnvironmentsError as error:
                troubles.append(f"{error.message}{f' ({_first_line(error.output)})' if error.output else ''}")
                continue
            if artifact:
                if troubles:
                    self.tell(f"{where}: {'; '.join(troubles)}. The package was had in another way.")
                return _Brought(package=package, artifact=artifact, is_served=file.is_served)
        raise StoreError(
            f"{where}: the package file `{safe(files[0].name)}` cannot be taken over: "
            f"{'; '.join(troubles) or 'it is not in the store, and has no address'}",
            hint="Check METAFLOW_CONDA_LEGACY_ROOT, and that the package's origin can be reached; "
            "or resolve the environment anew",
        )

    def _from_store(self, package: LegacyPackage, file: LegacyFile) -> LockedArtifact | None:
        """Bring a file from the store; None when it need not be there. Raises `StoreError` for one that is another."""
        key = self.legacy.key(package, file)
        if key is None:
            return None
        try:
            self.archives.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".legacy-", dir=self.archives) as scratch:
                incoming = Path(scratch) / "file"
                if not self.legacy.blobs.download({key: incoming}):
                    if file.key:
                        raise StoreError(f"nothing is at `{self.legacy.address(key)}`")
                    return None
                found = _digests_of(incoming)
                self._refuse_another(key, file, found)
                # What is not at the package's own address is at least where it was found.
                url = package.url if file.is_served and package.has_address else self.legacy.address(key)
                artifact = LockedArtifact(
                    file_name=file.name, url=url, size=incoming.stat().st_size, sha256=found["sha256"]
                )
                place = archive_path(artifact, self.archives)
                place.parent.mkdir(parents=True, exist_ok=True)
                incoming.replace(place)
        except OSError as error:
            raise StoreError(
                f"`{safe(file.name)}` cannot be kept in `{self.archives}`: {error.strerror or error}",
                hint="Check the disk and the rights on that folder, or set METAFLOW_CONDA_LOCAL_PATH to another",
            ) from error
        return artifact

    def _refuse_another(self, key: str, file: LegacyFile, found: dict[str, str]) -> None:
        for digest in file.digests:
            kind = _KINDS[len(digest)]
            if found[kind] != digest:
                raise StoreError(
                    f"`{self.legacy.address(key)}` is not what it should be: its {kind} is {found[kind]} where "
                    f"{digest} was noted"
                )

    def _from_origin(self, package: LegacyPackage, file: LegacyFile) -> LockedArtifact | None:
        """Bring a file from the package's address; None when that serves none of this format."""
        if not file.is_served or not package.has_address:
            return None
        noted = {_KINDS[len(digest)]: digest for digest in reversed(file.digests)}
        wanted = Artifact(file_name=file.name, url=package.url, sha256=noted.get("sha256"), md5=noted.get("md5"))
        (artifact,) = self.measure([wanted])
        # A file is checked against its sha256 alone, where that is known; two cannot both be right.
        if others := {digest for digest in file.digests if len(digest) == 64} - {artifact.sha256}:
            raise StoreError(
                f"`{package.url}` is not what it should be: its sha256 is {artifact.sha256} where {min(others)} was "
                "noted"
            )
        return artifact


def _refuse_sources(found: LegacyEnvironment, where: str) -> None:
    """Refuse packages that would have to be built, before anything is fetched."""
    for package in found.packages:
        names = [file.name for file in package.files]
        if not package.is_conda and not any(name.endswith(".whl") for name in names):
            raise LockError(
                f"{where}: `{safe(names[0])}` is a source, and the store has no wheel that was built from it",
                hint="Resolve the environment anew, which builds the wheel once",
            )


def _digests_of(path: Path) -> dict[str, str]:
    """Return MD5 and SHA-256 of a file in hex, by their names."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            md5.update(chunk)
            sha256.update(chunk)
    return {"md5": md5.hexdigest(), "sha256": sha256.hexdigest()}


def _to_read(brought: _Brought) -> Artifact:
    """Return a conda package's file with the package's own address, which tells channel and subdir."""
    found = brought.artifact
    url = brought.package.url if brought.package.has_address else found.url
    return Artifact(file_name=found.file_name, url=url, size=found.size, sha256=found.sha256)


def _wheel(brought: _Brought) -> LockedPypiPackage:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    artifact = brought.artifact
    try:
        name, version, _, _ = parse_wheel_filename(artifact.file_name)
    except InvalidWheelFilename as error:
        raise LockError(f"`{safe(artifact.file_name)}` is not the name of a wheel") from error
    # Of one that was built nobody but a store has the file.
    is_built = not (brought.is_served and brought.package.has_address)
    return LockedPypiPackage(
        name=name, version=str(version), artifact=artifact, built_from=brought.package.url if is_built else ""
    )


def _first_line(text: str) -> str:
    return safe(text.strip().partition("\n")[0])
