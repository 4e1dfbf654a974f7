"""Stand-ins for what is behind the seams: quick, in memory as far as that goes, and honest to the contracts.

A store in memory is `mfenv.store.backends.memory.MemoryBlobStore`; it is no fake.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mfenv.domain.artifact import Artifact, LockedArtifact
from mfenv.domain.digest import Json
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import CondaRecord, ResolvedEnvironment, ResolvedPackage
from mfenv.errors import HydrationFailed, ResolutionFailed, StoreError
from mfenv.hydrate.checks import check_path
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.plan import archive_path
from mfenv.io.files import write_atomically
from mfenv.io.worker import OnEvent
from mfenv.store.base import BlobStore, OnTransfer

PREFIX = "{prefix}"
"""What stands for the environment's folder in the files of a `FakePackage`."""


class ScriptedCalls:
    """A worker (`mfenv.io.worker.Calls`) that gives prepared answers and remembers what it was asked."""

    def __init__(self, **answers: Any) -> None:
        """Answer each operation with its value; an exception is raised, a function is called with the payload."""
        self.answers: dict[str, Any] = answers
        self.calls: list[tuple[str, dict[str, Json]]] = []
        self.events: list[dict[str, Any]] = []
        """Told to whoever calls next, before the answer."""

    def call(self, operation: str, payload: Mapping[str, Json], on_event: OnEvent | None = None) -> Any:
        """See `Calls.call`."""
        self.calls.append((operation, dict(payload)))
        for event in self.events if on_event else ():
            assert on_event is not None
            on_event(event)
        answer = self.answers[operation]
        if callable(answer) and not isinstance(answer, BaseException):
            answer = answer(payload)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class FailingBlobStore:
    """A store that goes out of reach at a certain write, as a crash would have it."""

    kind = "local"

    def __init__(self, store: BlobStore, *, writes: int) -> None:
        """Hand the first `writes` writes on to `store`, and fail from then on; each file of an upload is one."""
        self._store = store
        self._left = writes
        self.location = store.location
        self.get = store.get
        self.list = store.list
        self.find = store.find
        self.download = store.download
        self.touch = store.touch

    def put(self, key: str, content: bytes) -> bool:
        """See `BlobStore.put`."""
        self._count(key)
        return self._store.put(key, content)

    def replace(self, key: str, content: bytes) -> None:
        """See `BlobStore.replace`."""
        self._count(key)
        self._store.replace(key, content)

    def upload(self, files: Mapping[str, Path], on_transfer: OnTransfer | None = None) -> None:
        """See `BlobStore.upload`."""
        for key, path in files.items():
            self._count(key)
            self._store.upload({key: path}, on_transfer)

    def delete(self, keys: Iterable[str]) -> None:
        """See `BlobStore.delete`."""
        for key in keys:
            self._count(key)
            self._store.delete([key])

    def _count(self, key: str) -> None:
        if self._left <= 0:
            raise StoreError(f"`{key}` cannot be written: this store fails on purpose")
        self._left -= 1


class FakeResolver:
    """A resolver (`mfenv.resolve.base.Resolver`) that knows one version of some packages."""

    name = "fake"

    def __init__(self, packages: Iterable[ResolvedPackage] = (), *, delay: Callable[[], None] | None = None) -> None:
        """Know `packages`; `delay` is called in each `resolve`."""
        self._packages = {package.record.name: package for package in packages}
        self._delay = delay
        self._lock = threading.Lock()
        self.requests: list[ResolutionRequest] = []

    def resolve(self, request: ResolutionRequest) -> ResolvedEnvironment:
        """Return what is kept, the requested packages and what they need; `ResolutionFailed` when one is not known."""
        with self._lock:
            self.requests.append(request)
        if self._delay:
            self._delay()
        chosen = {package.record.name: package for package in request.kept}
        for spec in request.match_specs:
            self._add(spec.name, chosen, request.target.platform)
        return ResolvedEnvironment(
            platform=request.target.platform, packages=tuple(chosen.values()), resolver="fake 1.0"
        )

    def _add(self, name: str, chosen: dict[str, ResolvedPackage], platform: Platform) -> None:
        if name in chosen:
            return
        if name not in self._packages:
            raise ResolutionFailed(f"there is no package `{name}` for {platform.value}", packages=[name])
        for depend in self._packages[name].record.depends:
            if not depend.startswith("__"):
                self._add(depend.split()[0], chosen, platform)
        chosen[name] = self._packages[name]


class FakePackage:
    """A package file for `FakeInstaller`: a record, and the text of its files by path; `PREFIX` is replaced."""

    def __init__(
        self, name: str, files: Mapping[str, str] | None = None, *, version: str = "1.0", depends: Iterable[str] = ()
    ) -> None:
        """Make a noarch package; without `files` it has one of its own."""
        self.record = CondaRecord(
            name=name,
            version=version,
            build="0",
            build_number=0,
            subdir="noarch",
            channel="https://conda.example.org/fake",
            depends=tuple(depends),
            noarch="generic",
        )
        self.files = dict(files) if files is not None else {f"share/{name}.txt": f"{name} {version} in {PREFIX}\n"}

    @property
    def content(self) -> bytes:
        """The bytes of the package file."""
        return json.dumps({"name": self.record.name, "version": self.record.version, "files": self.files}).encode()

    @property
    def artifact(self) -> LockedArtifact:
        """The package file as a lock names it."""
        file_name = f"{self.record.name}-{self.record.version}-{self.record.build}.conda"
        return LockedArtifact(
            file_name=file_name,
            url=f"{self.record.channel}/noarch/{file_name}",
            size=len(self.content),
            sha256=hashlib.sha256(self.content).hexdigest(),
        )

    @property
    def locked(self) -> LockedCondaPackage:
        """The package in a lock."""
        return LockedCondaPackage(record=self.record, artifact=self.artifact)

    @property
    def resolved(self) -> ResolvedPackage:
        """The package in a resolver's answer."""
        artifact = self.artifact
        return ResolvedPackage(
            record=self.record,
            artifact=Artifact(
                file_name=artifact.file_name, url=artifact.url, size=artifact.size, sha256=artifact.sha256
            ),
        )


def fake_lock(*packages: FakePackage, platform: Platform | None = None) -> LockedEnvironment:
    """Return the lock of some fake packages, by default for this machine."""
    return LockedEnvironment(
        platform=platform or Platform.host(), packages=tuple(package.locked for package in packages)
    )


class FakeInstaller:
    """A conda installer (`mfenv.hydrate.conda.CondaInstaller`) for `FakePackage`s; starts nothing, needs no network."""

    def __init__(
        self, folders: LocalFolders, packages: Iterable[FakePackage] = (), *, served: Mapping[str, bytes] | None = None
    ) -> None:
        """Serve `packages`; `served` puts other bytes behind a URL than those that are locked."""
        self._folders = folders
        self._served = {**{package.artifact.url: package.content for package in packages}, **(served or {})}
        self._lock = threading.Lock()
        self.linked: list[LockedEnvironment] = []
        """What was linked, in the order in which that began."""
        self.before_link: Callable[[Path, Path], None] | None = None
        """Called with staging folder and prefix before anything is linked, for example to fail."""

    def fetch(self, artifacts: list[LockedArtifact], on_event: OnEvent | None = None) -> None:
        """See `CondaInstaller.fetch`."""
        for artifact in artifacts:
            how = self._bring(artifact)
            if on_event:
                on_event({how: artifact.file_name, "bytes": artifact.size})

    def _bring(self, artifact: LockedArtifact) -> str:
        path = archive_path(artifact, self._folders.archives)
        here = path.read_bytes() if path.exists() else None
        if here is not None and _digest(here) == artifact.sha256:
            return "cached"
        content = self._served.get(artifact.url)
        if content is None:
            raise HydrationFailed(f"the package file `{artifact.file_name}` cannot be downloaded")
        if _digest(content) != artifact.sha256:
            raise HydrationFailed(f"the package file `{artifact.file_name}` is refused: its sha256 is another")
        write_atomically(path, content)
        return "fetched" if here is None else "healed"

    def measure(self, artifacts: Sequence[Artifact]) -> Sequence[LockedArtifact]:
        """Tell sha256 and size of what is served."""
        return [
            LockedArtifact(
                file_name=artifact.file_name,
                url=artifact.url,
                size=len(self._served[artifact.url]),
                sha256=_digest(self._served[artifact.url]),
            )
            for artifact in artifacts
        ]

    def link(self, lock: LockedEnvironment, staging: Path, prefix: Path) -> None:
        """See `CondaInstaller.link`."""
        with self._lock:
            self.linked.append(lock)
        if self.before_link:
            self.before_link(staging, prefix)
        contents = [self._files(package) for package in lock.packages]
        staging.mkdir(parents=True)
        for files in contents:
            for path, text in files.items():
                (staging / path).parent.mkdir(parents=True, exist_ok=True)
                (staging / path).write_text(text.replace(PREFIX, str(prefix)), encoding="utf-8")

    def _files(self, package: LockedCondaPackage) -> Mapping[str, str]:
        content = archive_path(package.artifact, self._folders.archives).read_bytes()
        files: Mapping[str, str] = json.loads(content)["files"]
        for path in files:
            check_path(package.artifact.file_name, path)
        return files


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
