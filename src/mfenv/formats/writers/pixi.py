"""pixi.lock, version 6 (rattler_lock, as pixi 0.39 and later read it): both sides, all platforms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
    by_url: dict[tuple[str, str], dict[str, Any]] = {}
    packages: dict[str, list[dict[str, str]]] = {}
    for platform, lock in content.locks.items():
        rows = [_conda(package) for package in lock.packages] + [_wheel(one, content) for one in published(lock)]
        for row in rows:
            by_url.setdefault((next(iter(row)), next(iter(row.values()))), row)
        packages[platform.value] = [dict([next(iter(row.items()))]) for row in rows]
    environment = {
        "channels": [{"url": channel if channel.endswith("/") else f"{channel}/"} for channel in content.all_channels],
        "packages": packages,
    }
    document = {
        "version": 6,
        "environments": {"default": environment},
        "packages": [by_url[key] for key in sorted(by_url)],
    }
    return yaml_text(document)


def _conda(package: LockedCondaPackage) -> dict[str, Any]:
    record, artifact = package.record, package.artifact
    row: dict[str, Any] = {
        "conda": artifact.url,
        "sha256": artifact.sha256,
        "name": record.name,
        "version": record.version,
        "build": record.build,
        "build_number": record.build_number,
        "subdir": record.subdir,
        "noarch": record.noarch,
        "depends": list(record.depends),
        "constrains": list(record.constrains),
        "python_site_packages_path": record.python_site_packages_path,
        "license": record.license,
        "size": artifact.size,
        "channel": record.channel,
    }
    return {key: value for key, value in row.items() if value not in (None, [])}


def _wheel(package: LockedPypiPackage, content: Content) -> dict[str, Any]:
    metadata = content.metadata(package)
    row: dict[str, Any] = {
        "pypi": package.artifact.url,
        "name": package.name,
        "version": package.version,
        "sha256": package.artifact.sha256,
        "requires_dist": list(metadata.requires),
        "requires_python": metadata.requires_python,
    }
    return {key: value for key, value in row.items() if value not in ("", [])}
