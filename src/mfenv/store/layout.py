"""The names of keys in a store, in one place.

::

    mfenv/v1/
      packages/sha256/ab/<sha256>/<file>              package files; written once
      toolchain/<platform>/<sha256>/<file>            what a machine needs that has nothing
      locks/<lock id>.json                            canonical bytes; written once
      provenance/<lock id>/<time>-<user>.json         only ever added to
      requests/<request key>/<target>/<lock id>/<time>-<user>   empty; an index that can only grow
      bytecode/<lock id>/bytecode.tar.gz              compiled modules, behind their own sha256; written once
      groups/<lock id>/<group id>.json                the locks that were resolved together with this one
      runs/<flow>/<run>/<lock id>                     empty; what a run ran in
      aliases/<name>/<tag>.json                       the only thing that may change
      history/<name>/@<tag>/<time>-<random>.json      where a tag pointed; only ever added to
      clock                                           empty; written by who clears away, to learn the store's time

``v1`` is part of every key: another meaning would be ``v2``, beside it. ``packages`` has another name where
METAFLOW_CONDA_PACKAGES_DIRNAME gives one; with METAFLOW_CONDA_ENVS_DIRNAME, all but packages and toolchain are in a
folder of that name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.platform import Platform, Target
from mfenv.domain.provenance import Provenance
from mfenv.domain.reference import ByName

ROOT = "mfenv/v1"
DEPLOYED = "deployed"
"""What stands for all runs of a flow that was deployed, whose ids nobody knows yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The names of keys, with what may be set of them."""

    packages_folder: str = "packages"
    environments_folder: str = ""

    @property
    def environments(self) -> str:
        """The beginning of all keys but those of packages and toolchain, without a slash at its end."""
        return f"{ROOT}/{self.environments_folder}" if self.environments_folder else ROOT

    @property
    def packages(self) -> str:
        """The prefix of all package files."""
        return f"{ROOT}/{self.packages_folder}/sha256/"

    @property
    def locks(self) -> str:
        """The prefix of all locks."""
        return f"{self.environments}/locks/"

    @property
    def requests(self) -> str:
        """The prefix of all answers to requests."""
        return f"{self.environments}/requests/"

    @property
    def runs(self) -> str:
        """The prefix of what all runs ran in."""
        return f"{self.environments}/runs/"

    @property
    def aliases(self) -> str:
        """The prefix of all names."""
        return f"{self.environments}/aliases/"

    @property
    def clock(self) -> str:
        """The key of what is written to learn the store's time."""
        return f"{self.environments}/clock"

    @property
    def kept_prefixes(self) -> tuple[str, ...]:
        """The prefixes of all that leads to locks and of the locks themselves; without where names pointed once."""
        kinds = ("provenance", "groups", "bytecode")
        return (*(f"{self.environments}/{kind}/" for kind in kinds), self.requests, self.aliases, self.runs, self.locks)

    @property
    def toolchain(self) -> str:
        """The prefix of all tools."""
        return f"{ROOT}/toolchain/"

    def package(self, sha256: str, file_name: str) -> str:
        """Return the key of a package file."""
        return f"{self.packages}{sha256[:2]}/{sha256}/{file_name}"

    def tool(self, platform: Platform, sha256: str, file_name: str) -> str:
        """Return the key of a file of the toolchain."""
        return f"{self.toolchain}{platform.value}/{sha256}/{file_name}"

    def lock(self, lock_id: LockId) -> str:
        """Return the key of a lock."""
        return f"{self.locks}{lock_id}.json"

    def provenances(self, lock_id: LockId) -> str:
        """Return the prefix of all notes on how a lock came about."""
        return f"{self.environments}/provenance/{lock_id}/"

    def provenance(self, lock_id: LockId, made: Provenance) -> str:
        """Return the key of one note on how a lock came about."""
        user = re.sub(r"[^A-Za-z0-9._-]", "_", made.user) or "unknown"
        return f"{self.provenances(lock_id)}{stamp(made.time)}-{user}.json"

    def answers(self, key: RequestKey, target: Target) -> str:
        """Return the prefix of all locks that answer a request."""
        return f"{self.requests}{key}/{target.key}/"

    def answer(self, made: Provenance, lock_id: LockId) -> str:
        """Return the key that says: this lock answers this request, said so by this user at this time."""
        user = quote(made.user, safe="") or "unknown"
        return f"{self.answers(made.request, made.target)}{lock_id}/{stamp(made.time)}-{user}"

    def bytecode(self, lock_id: LockId) -> str:
        """Return the key of the compiled modules of an environment."""
        return f"{self.environments}/bytecode/{lock_id}/bytecode.tar.gz"

    def groups(self, lock_id: LockId) -> str:
        """Return the prefix of the groups that a lock belongs to."""
        return f"{self.environments}/groups/{lock_id}/"

    def group(self, lock_id: LockId, group_id: str) -> str:
        """Return the key of one group of locks, seen from one of them."""
        return f"{self.groups(lock_id)}{group_id}.json"

    def run(self, flow: str, run_id: str, lock_id: LockId) -> str:
        """Return the key that says: this run ran in this environment."""
        return f"{self.runs}{quote(flow, safe='')}/{quote(run_id, safe='')}/{lock_id}"

    def alias(self, ref: ByName) -> str:
        """Return the key of a name; it says what the name stands for."""
        return f"{self.aliases}{ref.name}/{ref.tag}.json"

    def history(self, ref: ByName) -> str:
        """Return the prefix of all notes on where a name pointed."""
        return f"{self.environments}/history/{ref.name}/@{ref.tag}/"


def stamp(time: datetime) -> str:
    """Return a time in UTC as it is written in keys, which sort by it.

    >>> from datetime import timezone
    >>> stamp(datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc))
    '20260102T030405000006Z'
    """
    return f"{time:%Y%m%dT%H%M%S%fZ}"
