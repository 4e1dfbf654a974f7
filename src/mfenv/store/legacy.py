"""The store of the existing product, as far as environments are found there by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

from mfenv.domain.digest import is_id
from mfenv.domain.platform import Platform
from mfenv.domain.reference import parse_pathspec
from mfenv.errors import InvalidSpec, LockError
from mfenv.formats import legacy_json
from mfenv.formats.legacy_json import LegacyEnvironment, LegacyFile, LegacyManifest, LegacyPackage, LegacyRef
from mfenv.formats.package_file import shown
from mfenv.store.base import BlobStore

_NAME = re.compile(r"[a-z0-9_-]+(/[a-z0-9_-]+)*(:[a-z0-9_-]+)?")


class LegacyStore:
    """Finds environments below ``<root>/<envs>/`` and packages below ``<root>/<packages>/``; writes nothing.

    What a project of the existing product knows by itself counts after the store, which others move names in.
    """

    def __init__(
        self,
        blobs: BlobStore,
        *,
        packages: str = "packages",
        envs: str = "envs",
        manifest: Callable[[], LegacyManifest | None] = lambda: None,
    ) -> None:
        """Look in `blobs`, which begins at the root of the existing product's store.

        `manifest` gives what the project knows, when the store has not what is asked for.
        """
        self.blobs = blobs
        self._packages = packages
        self._envs = envs
        self._manifest = manifest

    def find(self, name: str) -> LegacyRef | None:
        """Return what a name stands for, or None.

        ``name``, ``name:tag``, ``request id:environment's id``, the latter alone, or ``step:Flow/Run/Step``, which only
        the project knows. Raises `InvalidSpec` for what can be no name there, and `LockError` for a damaged one.
        """
        manifest = self._manifest
        if name.startswith("step:"):
            step = parse_pathspec(name, where="NAME")
            known = manifest()
            return known.steps.get(f"{step.flow}/{step.run}/{step.step}") if known else None
        base, _, tag = name.partition(":")
        if is_id(base) and is_id(tag):
            return LegacyRef(request=base, full=tag)
        if is_id(name):
            return self._alias(f"{self._envs}/aliases/full-id/{name}")
        if not _NAME.fullmatch(name):
            raise InvalidSpec(
                f"`{shown(name)}` is not a name of the existing product",
                hint="Those have lower-case letters, digits, `-`, `_` and `/`, and perhaps a tag behind a colon",
            )
        place = f"{base}/{tag or 'latest'}"
        found = self._alias(f"{self._envs}/aliases/generic/{place}")
        if found is None and (known := manifest()):
            found = known.names.get(place)
        return found

    def platforms(self, ref: LegacyRef) -> list[Platform]:
        """Return the platforms that there are environments for."""
        keys = {platform: self._key(ref, platform) for platform in Platform}
        found = self.blobs.find(keys.values())
        known = self._manifest() if len(found) < len(keys) else None
        own = known.environments if known else {}
        return [platform for platform, key in keys.items() if key in found or (platform.value, ref) in own]

    def environment(self, ref: LegacyRef, platform: Platform) -> LegacyEnvironment:
        """Return an environment. Raises `LockError`."""
        key = self._key(ref, platform)
        content = self.blobs.get(key)
        if content is not None:
            return legacy_json.load_environment(content, path=key)
        known = self._manifest()
        found = known.environments.get((platform.value, ref)) if known else None
        if found is None:
            raise LockError(f"{key}: there is no such environment")
        return found

    def names(self) -> Iterator[str]:
        """Yield all names."""
        prefix = f"{self._envs}/aliases/generic/"
        places = {info.key.removeprefix(prefix) for info in self.blobs.list(prefix)}
        known = self._manifest()
        for place in places | set(known.names if known else ()):
            name, _, tag = place.rpartition("/")
            if name:
                yield f"{name}:{tag}"

    def key(self, package: LegacyPackage, file: LegacyFile) -> str | None:
        """Return where a file is: as was noted, else where it would be; None where that cannot be told.

        Whoever filled the store later did not note it with the environment.
        """
        if file.key or not (package.has_address and file.is_served and file.digests):
            return file.key
        parts = urlsplit(package.url)
        kind = "conda" if package.is_conda else "pypi"
        # Without a host, for paths on a machine, there is nothing between the slashes.
        place = "/".join(part for part in (parts.netloc, *parts.path.split("/")) if part not in {"", ".", ".."})
        return f"{self._packages}/{kind}/{place}/{file.digests[0]}/{file.name}"

    def address(self, key: str) -> str:
        """Return the URL of what is under `key`."""
        location = self.blobs.location
        if "://" not in location:
            return Path(location).absolute().joinpath(*key.split("/")).as_uri()
        return f"{location}/{quote(key)}"

    def _alias(self, key: str) -> LegacyRef | None:
        # Where `a:b` is a name as well as `a/b`, a folder has the name of one of them.
        content = self.blobs.get(key) if self.blobs.find([key]) else None
        return None if content is None else legacy_json.load_alias(content, path=key)

    def _key(self, ref: LegacyRef, platform: Platform) -> str:
        return f"{self._envs}/{platform.value}/{ref.request}/{ref.full}/env"
