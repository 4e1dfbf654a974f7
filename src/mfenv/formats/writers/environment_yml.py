"""environment.yml as conda and its kin read it: each package by name, version and build, wheels in a `pip` section.

The format has no digests: who resolves it may get other files of the same names.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML

from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment
from mfenv.formats.writers.content import Content, is_channel, lost_builds, published


def losses(lock: LockedEnvironment) -> Iterator[str]:
    """Say what the format cannot hold."""
    yield from lost_builds(lock)


def dump(content: Content) -> str:
    """Return the file."""
    lock = content.only
    channels = list(content.all_channels)
    dependencies: list[Any] = [_spec(package, channels) for package in sorted(lock.packages, key=lambda one: one.name)]
    if wheels := published(lock):
        requirements = [f"{package.name}=={package.version}" for package in wheels]
        dependencies.append({"pip": [*content.index_options, *requirements]})
    # What is asked for is all there is.
    document: dict[str, Any] = {"channels": [*channels, "nodefaults"], "dependencies": dependencies}
    if lock.variables:
        document["variables"] = dict(lock.variables)
    return yaml_text(document)


def _spec(package: LockedCondaPackage, channels: list[str]) -> str:
    record = package.record
    if record.name == "python":
        # Of Python, such files choose the version only, also here.
        return f"python={record.version}"
    spec = f"{record.name}={record.version}={record.build}"
    if len(channels) < 2:
        return spec
    channel = next(name for name in channels if is_channel(name, record.channel))
    return f"{channel}::{spec}"


def yaml_text(document: Any) -> str:
    """Return a document as YAML, the same text for the same document."""
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 1_000_000
    yaml.indent(mapping=2, sequence=2, offset=0)
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()
