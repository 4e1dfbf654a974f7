"""requirements.txt as pip and uv read it: each PyPI package with its version and the digest of its wheel."""

from __future__ import annotations

from collections.abc import Iterator

from mfenv.domain.locked import LockedEnvironment
from mfenv.formats.writers.content import Content, lost_builds, lost_conda, lost_variables, published, python_of


def losses(lock: LockedEnvironment) -> Iterator[str]:
    """Say what the format cannot hold."""
    yield from lost_conda(lock)
    yield from lost_builds(lock)
    yield from lost_variables(lock)


def dump(content: Content) -> str:
    """Return the file."""
    lock = content.only
    title = " ".join(content.title.split())
    lines = [f"# {title} for {lock.platform.value}, Python {python_of(lock) or '?'}", *content.index_options]
    for package in published(lock):
        lines += [f"{package.name}=={package.version} \\", f"    --hash=sha256:{package.artifact.sha256}"]
    return "\n".join([*lines, ""])
