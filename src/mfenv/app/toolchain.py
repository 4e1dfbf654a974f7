"""The toolchain in the store: what makes environments on a machine that has nothing but a Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.index import PackageIndex
from mfenv.domain.platform import Platform, Target
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import ResolvedPypiPackage
from mfenv.errors import ResolutionFailed, StoreError
from mfenv.hydrate.plan import archive_path
from mfenv.resolve.pypi import PypiRequest, PypiResolver
from mfenv.store.base import BlobStore
from mfenv.store.layout import Layout

TOOLS = ("py-rattler", "uv")
"""In the versions that this machine makes environments with: what is locked with them is linked with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """The wheels that make environments on a platform, by what they need in turn as well."""

    platform: Platform
    python: str
    """The minor version of Python that they are for; newer ones do as a rule."""
    wheels: tuple[LockedArtifact, ...]


@dataclass(frozen=True, kw_only=True)
class ToolchainPublisher:
    """Finds the wheels of the toolchain for a platform, and puts them into the store."""

    pypi: PypiResolver
    fetch: Callable[[list[LockedArtifact]], None]
    archives: Path
    shared: Callable[[], BlobStore | None]
    layout: Layout
    target: Callable[[Platform], Target]
    indexes: tuple[PackageIndex, ...] = ()
    default_index: PackageIndex | None = None

    def find(self, platform: Platform, *, python: str) -> Toolchain:
        """Return the toolchain for `platform` and a Python such as ``3.11``. Raises `ResolutionFailed`."""
        wanted = tuple(
            Requirement.from_text(f"{name}=={metadata.version(name)}", where="the toolchain") for name in TOOLS
        )
        request = PypiRequest(
            requirements=wanted,
            python=f"{python}.0",
            target=self.target(platform),
            indexes=self.indexes,
            default_index=self.default_index,
            may_build=False,
        )
        return Toolchain(
            platform=platform,
            python=python,
            wheels=tuple(map(_locked, self.pypi.resolve(request))),
        )

    def publish(self, toolchain: Toolchain) -> None:
        """Have a toolchain in the store; what is there is not sent again. Raises `StoreError`."""
        store = self.shared()
        if store is None:
            raise StoreError("there is no store that a toolchain could be in")
        keys = {self.layout.tool(toolchain.platform, one.sha256, one.file_name): one for one in toolchain.wheels}
        there = store.find(keys)
        missing = {key: one for key, one in keys.items() if key not in there or one.size not in {None, there[key].size}}
        if missing:
            self.fetch(list(missing.values()))
            store.upload({key: archive_path(one, self.archives) for key, one in missing.items()})


def _locked(package: ResolvedPypiPackage) -> LockedArtifact:
    wheel = package.wheel
    if wheel is None or wheel.sha256 is None:
        raise ResolutionFailed(
            f"`{package.name}` has no wheel with a sha256 for this platform", packages=[package.name]
        )
    return LockedArtifact(file_name=wheel.file_name, url=wheel.url, size=wheel.size, sha256=wheel.sha256)
