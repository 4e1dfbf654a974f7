"""Environments as files of other tools: which formats there are, and what each cannot hold."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from mfenv.domain.locked import LockedEnvironment
from mfenv.errors import InvalidSpec
from mfenv.formats.writers.content import Content


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format that environments can be written in."""

    name: str
    module: str
    """Where its writer is; loaded when it is needed."""
    holds_platforms: bool = False
    """Whether environments for several platforms go into one file."""

    def losses(self, lock: LockedEnvironment) -> Iterator[str]:
        """Say what of `lock` it cannot hold."""
        tell = cast("Callable[[LockedEnvironment], Iterator[str]]", importlib.import_module(self.module).losses)
        return tell(lock)

    def dump(self, content: Content) -> str:
        """Return the file."""
        write = cast("Callable[[Content], str]", importlib.import_module(self.module).dump)
        return write(content)


def _format(name: str, module: str, *, holds_platforms: bool = False) -> Format:
    return Format(name=name, module=f"mfenv.formats.writers.{module}", holds_platforms=holds_platforms)


FORMATS: Mapping[str, Format] = {
    found.name: found
    for found in (
        _format("pylock.toml", "pylock"),
        _format("requirements.txt", "requirements"),
        _format("environment.yml", "environment_yml"),
        _format("conda-lock.yml", "conda_lock", holds_platforms=True),
        _format("pixi.lock", "pixi", holds_platforms=True),
        _format("explicit", "explicit"),
        _format("cyclonedx", "cyclonedx"),
    )
}


def losses(wanted: Format, content: Content) -> list[str]:
    """Return what `wanted` cannot hold of `content`, each once."""
    return list(dict.fromkeys(line for lock in content.locks.values() for line in wanted.losses(lock)))


def refuse_losses(wanted: Format, lost: list[str]) -> None:
    """Refuse to lose something silently. Raises `InvalidSpec` that says what."""
    if lost:
        raise InvalidSpec(
            f"{wanted.name} cannot hold {'; '.join(lost)}",
            hint="Add --lossy to write the rest, or choose a format that can: conda-lock.yml and pixi.lock hold "
            "packages from both sides",
        )
