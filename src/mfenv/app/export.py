"""Environments as files of other tools: which formats there are, and what each cannot hold."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.errors import InvalidSpec
from mfenv.formats.writers.content import Content, published, python_of

_MOST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format that environments can be written in."""

    name: str
    module: str
    """Where its writer is; loaded when it is needed."""
    holds_platforms: bool = False
    """Whether environments for several platforms go into one file."""
    has_addresses: bool = True
    """Whether it says where each file is."""
    has_python: bool = True
    """Whether it has conda packages, and with them Python itself."""

    def losses(self, lock: LockedEnvironment) -> Iterator[str]:
        """Say what of `lock` it cannot hold."""
        tell = cast("Callable[[LockedEnvironment], Iterator[str]]", importlib.import_module(self.module).losses)
        return tell(lock)

    def dump(self, content: Content) -> str:
        """Return the file."""
        write = cast("Callable[[Content], str]", importlib.import_module(self.module).dump)
        return write(content)


_WRITERS = "mfenv.formats.writers"

FORMATS: Mapping[str, Format] = {
    found.name: found
    for found in (
        Format(name="pylock.toml", module=f"{_WRITERS}.pylock", has_python=False),
        Format(name="requirements.txt", module=f"{_WRITERS}.requirements", has_addresses=False, has_python=False),
        Format(name="environment.yml", module=f"{_WRITERS}.environment_yml", has_addresses=False),
        Format(name="conda-lock.yml", module=f"{_WRITERS}.conda_lock", holds_platforms=True),
        Format(name="pixi.lock", module=f"{_WRITERS}.pixi", holds_platforms=True),
        Format(name="explicit", module=f"{_WRITERS}.explicit"),
        Format(name="cyclonedx", module=f"{_WRITERS}.cyclonedx"),
    )
}


def losses(wanted: Format, content: Content) -> list[str]:
    """Return what `wanted` cannot hold of `content`, each once."""
    return list(dict.fromkeys(line for lock in content.locks.values() for line in wanted.losses(lock)))


def notes(wanted: Format, content: Content, others: Iterable[Platform] = ()) -> list[str]:
    """Return what is to be known of the file, though nothing is lost: what it leaves to others.

    `others` are the platforms that the environment has besides.
    """
    return [
        line
        for line in (
            _on_other_platforms(content, others),
            _without_python(content) if not wanted.has_python else "",
            _on_this_machine(wanted, content) if wanted.has_addresses else "",
        )
        if line
    ]


def _on_other_platforms(content: Content, others: Iterable[Platform]) -> str:
    left = sorted(platform.value for platform in {*others} - {*content.locks})
    return f"{content.title} is there for {', '.join(left)}, too: --arch chooses" if left else ""


def _without_python(content: Content) -> str:
    python = python_of(content.only)
    return f"Python {python} itself has to be there already" if python else ""


def _on_this_machine(wanted: Format, content: Content) -> str:
    locks = content.locks.values()
    artifacts = [package.artifact for lock in locks for package in published(lock)]
    if wanted.has_python:
        artifacts += [package.artifact for lock in locks for package in lock.packages]
    files = dict.fromkeys(one.file_name for one in artifacts if urlsplit(one.url).scheme == "file")
    if not files:
        return ""
    shown = ", ".join(list(files)[:_MOST]) + (f" and {len(files) - _MOST} more" if len(files) > _MOST else "")
    return f"other machines cannot reach the addresses (file:) of {shown}"


def refuse_losses(wanted: Format, lost: list[str]) -> None:
    """Refuse to lose something silently. Raises `InvalidSpec` that says what."""
    if lost:
        other = ", or choose conda-lock.yml or pixi.lock, which hold packages from both sides"
        raise InvalidSpec(
            f"{wanted.name} cannot hold {'; '.join(lost)}",
            hint=f"Add --lossy to write the rest{'' if wanted.holds_platforms else other}",
        )
