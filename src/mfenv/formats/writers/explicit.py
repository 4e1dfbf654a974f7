"""@EXPLICIT lists (CEP 23), as conda, mamba and micromamba install them; wheels in comments, which conda-lock reads."""

from __future__ import annotations

from collections.abc import Iterator

from mfenv.domain.locked import LockedEnvironment
from mfenv.formats.writers.content import Content, lost_builds, lost_conversions, lost_variables, published


def losses(lock: LockedEnvironment) -> Iterator[str]:
    """Say what the format cannot hold."""
    if names := [package.name for package in published(lock)]:
        yield f"the PyPI packages {', '.join(names)} (they are written as comments, which conda does not read)"
    yield from lost_builds(lock)
    yield from lost_conversions(lock)
    yield from lost_variables(lock)


def dump(content: Content) -> str:
    """Return the file."""
    lock = content.only
    lines = [f"# platform: {lock.platform.value}", "@EXPLICIT"]
    lines += [f"{package.artifact.url}#sha256:{package.artifact.sha256}" for package in lock.packages]
    lines += [
        f"# pip {package.name} @ {package.artifact.url} --hash=sha256:{package.artifact.sha256}"
        for package in published(lock)
    ]
    return "\n".join([*lines, ""])
