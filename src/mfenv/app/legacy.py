"""Environments of the existing product, taken over by name: each file fetched, hashed, and locked again."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mfenv.domain.artifact import Artifact, LockedArtifact
from mfenv.domain.digest import RequestKey, is_id
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment, LockedPypiPackage
from mfenv.domain.platform import Platform, Target
from mfenv.domain.provenance import Provenance
from mfenv.domain.resolved import ResolvedPackage
from mfenv.errors import EnvironmentsError, InvalidSpec, LockError, StoreError
from mfenv.formats.legacy_json import LegacyEnvironment, LegacyFile, LegacyPackage
from mfenv.hydrate.plan import archive_path
from mfenv.io.files import sha256_of
from mfenv.store.legacy import LegacyRef, LegacyStore
from mfenv.store.locks import LockStore

_AT_ONCE = 16
_WEB = ("https://", "http://", "file://")


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
        return {platform: self._taken(name, ref, platform) for platform in platforms or there}

    def _taken(self, name: str, ref: LegacyRef, platform: Platform) -> LockedEnvironment:
        found = self.legacy.environment(ref, platform)
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="mfenv-legacy") as pool:
            brought = list(pool.map(self._brought, found.packages))
        conda = [one for one, package in zip(brought, found.packages, strict=True) if package.is_conda]
        wheels = [one for one, package in zip(brought, found.packages, strict=True) if not package.is_conda]
        by_digest = {artifact.sha256: artifact for artifact in conda}
        read = self.records([_unlocked(artifact) for artifact in conda], shown=name)
        lock = LockedEnvironment(
            platform=platform,
            packages=tuple(
                LockedCondaPackage(record=one.record, artifact=by_digest[one.artifact.sha256 or ""]) for one in read
            ),
            pypi=tuple(sorted(map(_wheel, wheels), key=lambda one: one.name)),
        )
        self.locks.keep(lock, self._provenance(ref, platform, found))
        return lock

    def _provenance(self, ref: LegacyRef, platform: Platform, found: LegacyEnvironment) -> Provenance:
        request = ref.request if is_id(ref.request) else "0" * 40
        return Provenance(
            request=RequestKey(request),
            target=self.target(platform),
            resolver="existing product",
            user=found.resolved_by,
            time=found.resolved_on or self.now(),
        )

    # ---------------------------------------------------------------- files

    def _brought(self, package: LegacyPackage) -> LockedArtifact:
        """Have a package's file in the archives: from the store in any format, else from its address."""
        troubles = []
        for file in package.files:
            if not package.is_conda and not file.name.endswith(".whl"):
                troubles.append(f"`{file.name}` is no wheel")
                continue
            for bring in (self._from_store, self._from_origin):
                try:
                    if artifact := bring(package, file):
                        return artifact
                except EnvironmentsError as error:
                    troubles.append(error.message)
        raise StoreError(
            f"the package of `{package.url}` cannot be taken over: {'; '.join(troubles) or 'it is nowhere'}",
            hint="Check METAFLOW_CONDA_LEGACY_ROOT, or resolve the environment anew",
        )

    def _from_store(self, package: LegacyPackage, file: LegacyFile) -> LockedArtifact | None:
        if file.key is None:
            return None
        self.archives.mkdir(parents=True, exist_ok=True)
        incoming = self.archives / f".{file.name}.{secrets.token_hex(4)}.part"
        try:
            if not self.legacy.blobs.download({file.key: incoming}):
                return None
            _check(file, incoming)
            sha256, size = sha256_of(incoming), incoming.stat().st_size
            artifact = LockedArtifact(file_name=file.name, url=package.url, size=size, sha256=sha256)
            place = archive_path(artifact, self.archives)
            place.parent.mkdir(parents=True, exist_ok=True)
            incoming.replace(place)
        finally:
            incoming.unlink(missing_ok=True)
        return artifact

    def _from_origin(self, package: LegacyPackage, file: LegacyFile) -> LockedArtifact | None:
        # A wheel that was built has an address that nobody serves.
        if not file.is_served or not package.url.startswith(_WEB) or "/_fake/" in package.url:
            return None
        digest = file.digest or ""
        wanted = Artifact(
            file_name=file.name,
            url=package.url,
            sha256=digest if len(digest) == 64 else None,
            md5=digest if len(digest) == 32 else None,
        )
        (artifact,) = self.measure([wanted])
        return artifact


def _check(file: LegacyFile, path: Path) -> None:
    """Refuse a file that is not what was noted of it; of some, nothing was."""
    digest = (file.digest or "").lower()
    kind = {32: "md5", 64: "sha256"}.get(len(digest))
    if kind is None:
        return
    found = hashlib.new(kind, path.read_bytes(), usedforsecurity=False).hexdigest()
    if found != digest:
        raise StoreError(f"`{file.key}` is not what it should be: its {kind} is {found} where {digest} was noted")


def _unlocked(artifact: LockedArtifact) -> Artifact:
    return Artifact(file_name=artifact.file_name, url=artifact.url, size=artifact.size, sha256=artifact.sha256)


def _wheel(artifact: LockedArtifact) -> LockedPypiPackage:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        name, version, _, _ = parse_wheel_filename(artifact.file_name)
    except InvalidWheelFilename as error:
        raise LockError(f"`{artifact.file_name}` is not the name of a wheel") from error
    # Of one that was built nobody but a store has the file.
    built_from = "" if artifact.url.startswith(_WEB) and "/_fake/" not in artifact.url else artifact.url
    return LockedPypiPackage(name=name, version=str(version), artifact=artifact, built_from=built_from)
