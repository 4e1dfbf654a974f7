"""Where environments and package caches live on this machine, in one place.

::

    <root>/
      envs/<lock id>/             prefixes, ready to use; `micromamba -r <root>` and `conda --prefix` read them
      pkgs/                       extracted conda packages, in py-rattler's and conda's layout
      archives/<sha256>/<file>    package files as they were fetched, each checked on every use
      repodata/                   indexes of channels
      distributions/<sha256>.json what a conda package brings on the Python side
      uv/                         uv's cache
      wheels/<key>/<wheel>        wheels built here, by what they were built from
      staging/<lock id>.<random>/ prefixes in the making
      locks/                      files that OS locks are held on
      metadata/<digest>.cnd       what a flow's code package says of its environments
      code/<digest>/              links to Metaflow's own code, for tasks in other interpreters
      toolchain/<name>.json       which files make environments on remote machines

The shape of a folder is part of its name's meaning: another shape gets another name.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from mfenv.domain.digest import LockId


@dataclass(frozen=True, slots=True)
class LocalFolders:
    """The folders below one root."""

    root: Path

    def prefix(self, lock_id: LockId) -> Path:
        """Return the folder of an environment."""
        return self.root / "envs" / lock_id

    def prefix_lock(self, lock_id: LockId) -> Path:
        """Return the file whose OS lock the builder of an environment holds."""
        return self.root / "locks" / f"env-{lock_id}.lock"

    def use_lock(self, lock_id: LockId) -> Path:
        """Return the file whose OS lock every run that uses an environment holds, together with others."""
        return self.root / "locks" / f"use-{lock_id}.lock"

    def place_lock(self, path: Path) -> Path:
        """Return the file whose OS lock is held by who makes an environment at a place of the user's."""
        digest = hashlib.sha256(str(path.absolute()).encode(errors="surrogateescape")).hexdigest()[:40]
        return self.root / "locks" / f"at-{digest}.lock"

    def named(self, name: str) -> Path:
        """Return the folder of an environment that a user gave a name on this machine."""
        return self.root / "envs" / name

    @property
    def files_lock(self) -> Path:
        """The file whose OS lock everybody holds, together with others, who makes an environment of cached files."""
        return self.root / "locks" / "files.lock"

    def staging(self, lock_id: LockId) -> Path:
        """Return a new name for a prefix in the making."""
        return self.root / "staging" / f"{lock_id}.{secrets.token_hex(4)}"

    def stale_staging(self, lock_id: LockId) -> list[Path]:
        """Return what earlier builders of an environment left behind."""
        half_made = (self.root / "staging").glob(f"*{lock_id}.*")
        half_removed = (self.root / "envs").glob(f".*{lock_id}.*")
        return sorted([*half_made, *half_removed])

    @property
    def packages(self) -> Path:
        """The folder of extracted packages."""
        return self.root / "pkgs"

    @property
    def archives(self) -> Path:
        """The folder of package files."""
        return self.root / "archives"

    @property
    def repodata(self) -> Path:
        """The folder of channel indexes."""
        return self.root / "repodata"

    @property
    def uv_cache(self) -> Path:
        """uv's own cache: metadata of indexes, unpacked wheels."""
        return self.root / "uv"

    @property
    def wheels(self) -> Path:
        """The folder of wheels that were built here."""
        return self.root / "wheels"

    @property
    def distributions(self) -> Path:
        """What conda packages bring on the Python side, by the digest of their file."""
        return self.root / "distributions"

    @property
    def metadata(self) -> Path:
        """The folder of metadata files for code packages."""
        return self.root / "metadata"

    @property
    def toolchain(self) -> Path:
        """What makes environments on remote machines, by platform and versions."""
        return self.root / "toolchain"

    @property
    def code(self) -> Path:
        """The folder of links to Metaflow's own code."""
        return self.root / "code"
