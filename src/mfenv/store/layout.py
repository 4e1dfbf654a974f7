"""The names of keys in a store, in one place.

::

    mfenv/v1/
      locks/<lock id>.json                            canonical bytes; written once
      provenance/<lock id>/<time>-<user>.json         only ever added to
      requests/<request key>/<target>/<lock id>       empty; an index that can only grow
      defaults/<request key>/<target>                 the lock that this project uses now; may change

``v1`` is part of every key: another meaning would be ``v2``, beside it.
"""

from __future__ import annotations

import re

from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.platform import Target
from mfenv.domain.provenance import Provenance

ROOT = "mfenv/v1"


def lock(lock_id: LockId) -> str:
    """Return the key of a lock."""
    return f"{ROOT}/locks/{lock_id}.json"


def provenance(lock_id: LockId, made: Provenance) -> str:
    """Return the key of one note on how a lock came about."""
    user = re.sub(r"[^A-Za-z0-9._-]", "_", made.user) or "unknown"
    return f"{ROOT}/provenance/{lock_id}/{made.time:%Y%m%dT%H%M%S%fZ}-{user}.json"


def request(key: RequestKey, target: Target, lock_id: LockId) -> str:
    """Return the key that says: this lock answers this request."""
    return f"{ROOT}/requests/{key}/{target.key}/{lock_id}"


def default(key: RequestKey, target: Target) -> str:
    """Return the key of the pointer to the lock that is used for a request."""
    return f"{ROOT}/defaults/{key}/{target.key}"
