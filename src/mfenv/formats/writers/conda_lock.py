"""conda-lock's unified lock file, version 1 (its published schema, ``conda-lock-v1``): both sides, all platforms."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from mfenv.domain.dependencies import Key, Need
from mfenv.domain.difference import Side
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment, LockedPypiPackage
from mfenv.formats.writers.content import Content, lost_builds, lost_conversions, lost_variables, published
from mfenv.formats.writers.environment_yml import yaml_text


def losses(lock: LockedEnvironment) -> Iterator[str]:
    """Say what the format cannot hold."""
    yield from lost_builds(lock)
    yield from lost_conversions(lock)
    yield from lost_variables(lock)


def dump(content: Content) -> str:
    """Return the file."""
    packages = []
    for lock in content.locks.values():
        needs = content.needs(lock)
        packages += [_conda(package, lock, content) for package in lock.packages]
        packages += [_wheel(package, lock, needs) for package in published(lock)]
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


def _wheel(
    package: LockedPypiPackage, lock: LockedEnvironment, needs: Mapping[Key, tuple[Need, ...]]
) -> dict[str, Any]:
    return {
        "name": package.name,
        "version": package.version,
        "manager": "pip",
        "platform": lock.platform.value,
        "dependencies": {
            # conda-lock looks for what a wheel needs among the wheels.
            need.package[1]: need.constraint or "*"
            for need in needs[Side.PYPI, package.name]
            if need.package[0] is Side.PYPI
        },
        "url": package.artifact.url,
        "hash": {"sha256": package.artifact.sha256},
        "category": "main",
        "optional": False,
    }
