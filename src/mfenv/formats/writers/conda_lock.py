"""conda-lock's unified lock file, version 1 (its published schema, ``conda-lock-v1``): both sides, all platforms."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment, LockedPypiPackage
from mfenv.formats.writers.content import Content, lost_builds, lost_variables, published
from mfenv.formats.writers.environment_yml import yaml_text

_NEED = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?", re.DOTALL)


def losses(lock: LockedEnvironment) -> Iterator[str]:
    """Say what the format cannot hold."""
    yield from lost_builds(lock)
    yield from lost_variables(lock)


def dump(content: Content) -> str:
    """Return the file."""
    packages = []
    for lock in content.locks.values():
        names = {package.name for package in lock.pypi}
        packages += [_conda(package, lock, content) for package in lock.packages]
        packages += [_wheel(package, lock, content, names) for package in published(lock)]
    document: dict[str, Any] = {
        "version": 1,
        "metadata": {
            # Of conda-lock's own inputs, which there are none of: the id of the lock tells the content.
            "content_hash": {
                platform.value: hashlib.sha256(lock.id.encode()).hexdigest() for platform, lock in content.locks.items()
            },
            "channels": [{"url": channel, "used_env_vars": []} for channel in content.all_channels],
            "platforms": [platform.value for platform in content.locks],
            "sources": [],
        },
        "package": packages,
    }
    return yaml_text(document)


def _conda(package: LockedCondaPackage, lock: LockedEnvironment, content: Content) -> dict[str, Any]:
    pairs = (text.partition(" ") for text in package.record.depends)
    return {
        "name": package.name,
        "version": package.version,
        "manager": "conda",
        "platform": lock.platform.value,
        "dependencies": {name: constraint.strip() for name, _, constraint in pairs},
        "url": package.artifact.url,
        "hash": _hash(package.artifact.sha256, content),
        "category": "main",
        "optional": False,
    }


def _hash(sha256: str, content: Content) -> dict[str, str]:
    """Return the digests of a file; conda-lock 4 refuses conda packages without their MD5."""
    md5 = content.md5.get(sha256)
    return {"md5": md5, "sha256": sha256} if md5 else {"sha256": sha256}


def _wheel(package: LockedPypiPackage, lock: LockedEnvironment, content: Content, names: set[str]) -> dict[str, Any]:
    needs = {}
    for text in content.metadata(package).requires:
        found = _NEED.fullmatch(text)
        name = re.sub(r"[-_.]+", "-", found[1]).lower() if found else ""
        # Those of extras, and of other machines, are not there.
        if found and name in names and "extra" not in (found[3] or ""):
            needs[name] = found[2].strip() or "*"
    return {
        "name": package.name,
        "version": package.version,
        "manager": "pip",
        "platform": lock.platform.value,
        "dependencies": needs,
        "url": package.artifact.url,
        "hash": {"sha256": package.artifact.sha256},
        "category": "main",
        "optional": False,
    }
