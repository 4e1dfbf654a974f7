"""How conda, mamba and micromamba are spoken to: what differs between them, as values.

Recorded from the real programs: conda 26.7, mamba 2.0 and 2.8, micromamba 1.5, 2.0 and 2.8. mamba 1.x is conda's
command line with libmamba's answers; micromamba and mamba 2.x are one program under two names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Target
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import ChannelPriority
from mfenv.errors import ResolutionFailed

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What one program, from one version on, wants to hear."""

    program: str
    since: Version
    """The first version that is spoken to so."""
    create: tuple[str, ...]
    """The words that ask for a dry run whose answer is JSON, without the packages."""
    strict: tuple[str, ...]
    """The words for strict channel priority."""
    disabled: tuple[str, ...]
    """The words for no channel priority."""
    platform: str = ""
    """The option that names a platform; empty: the variable CONDA_SUBDIR does."""
    prefix: str = "--prefix"


# Without `--override-channels` the user's own channels would be searched as well; `--yes` has nobody be asked anything.
# What else the user's files say (proxies, certificates, mirrors, logins) is why somebody stays with a program.
_CREATE = ("create", "--dry-run", "--json", "--yes", "--override-channels")

DIALECTS = (
    Dialect(
        program="conda",
        # The first with the solver that is quick enough for a command that is waited for (libmamba by default).
        since=(23, 10),
        create=_CREATE,
        strict=("--strict-channel-priority",),
        disabled=("--no-channel-priority",),
    ),
    Dialect(
        program="mamba",
        since=(1, 4),
        create=_CREATE,
        strict=("--strict-channel-priority",),
        disabled=("--no-channel-priority",),
    ),
    Dialect(
        program="mamba",
        since=(2, 0),
        create=_CREATE,
        strict=("--channel-priority", "strict"),
        disabled=("--channel-priority", "disabled"),
        platform="--platform",
    ),
    Dialect(
        program="micromamba",
        since=(1, 4),
        create=_CREATE,
        strict=("--channel-priority", "strict"),
        disabled=("--channel-priority", "disabled"),
        platform="--platform",
    ),
)

PROGRAMS = tuple(dict.fromkeys(dialect.program for dialect in DIALECTS))
"""The programs that can be chosen."""


def parse_version(text: str) -> Version | None:
    """Read what a program answers to ``--version``: its number alone, or behind its name.

    >>> parse_version("conda 26.7.1"), parse_version("mamba 1.5.8\\nconda 23.11.0"), parse_version("hello")
    ((26, 7, 1), (1, 5, 8), None)
    """
    found = re.search(r"(?:^|\s)(\d+(?:\.\d+)+)", text)
    return tuple(map(int, found[1].split("."))) if found else None


def dialect_of(program: str, version: Version) -> Dialect | None:
    """Return how a program of that version is spoken to; None for one that is too old."""
    known = [dialect for dialect in DIALECTS if dialect.program == program and dialect.since <= version]
    return max(known, key=lambda dialect: dialect.since, default=None)


def oldest(program: str) -> str:
    """Return the first version of a program that will do."""
    return ".".join(map(str, min(dialect.since for dialect in DIALECTS if dialect.program == program)))


def arguments(dialect: Dialect, request: ResolutionRequest, prefix: str) -> list[str]:
    """Return the words behind the program's name that ask for `request`; nothing is made at `prefix`.

    Channels stand there without credentials: an argument list can be read by everybody on the machine.
    """
    priority = request.spec.options.channel_priority
    return [
        *dialect.create,
        dialect.prefix,
        prefix,
        *(dialect.strict if priority is ChannelPriority.STRICT else dialect.disabled),
        *([dialect.platform, request.target.platform.value] if dialect.platform else []),
        *(word for channel in request.spec.channels for word in ("--channel", str(channel))),
        *specs(request),
    ]


def specs(request: ResolutionRequest) -> list[str]:
    """Return the packages that are asked for as match specs (CEP 29), those that are kept by their builds."""
    kept = [
        MatchSpec(name=each.record.name, version=f"=={each.record.version}", build=each.record.build)
        for each in request.kept
    ]
    return [spell(wanted) for wanted in (*request.match_specs, *kept)]


def spell(wanted: MatchSpec) -> str:
    """Write a match spec in the form that all of them read alike: what is asked for stands in brackets.

    >>> spell(MatchSpec(name="six", version="<2,>=1")), spell(MatchSpec(name="six", version="*"))
    ("six[version='<2,>=1']", 'six')
    """
    parts = [f"version='{wanted.version}'"] if wanted.version != "*" else []
    parts += [f"build='{wanted.build}'"] if wanted.build else []
    channel = f"{wanted.channel}::" if wanted.channel else ""
    return f"{channel}{wanted.name}[{','.join(parts)}]" if parts else f"{channel}{wanted.name}"


_OVERRIDES = {
    "__glibc": "GLIBC",
    "__linux": "LINUX",
    "__cuda": "CUDA",
    "__osx": "OSX",
    "__archspec": "ARCHSPEC",
}
# These are there, or not, by the platform alone.
_IMPLIED = frozenset({"__unix"})


def overrides(target: Target, program: str) -> dict[str, str]:
    """Return the variables that make a program take the target's facts for the machine's ("Managing virtual packages").

    An empty one takes a fact away. Raises `ResolutionFailed` for a fact that no variable tells.
    """
    found = dict.fromkeys((f"CONDA_OVERRIDE_{name}" for name in _OVERRIDES.values()), "")
    for package in target.virtual_packages:
        if package.name in _IMPLIED:
            continue
        if package.name not in _OVERRIDES:
            raise ResolutionFailed(
                f"`{program}` cannot be told that the machine has `{package.name}`",
                hint="Set METAFLOW_CONDA_DEPENDENCY_RESOLVER to `rattler`, which can",
            )
        # What `__archspec` says is its build.
        is_build = package.name == "__archspec" and package.build not in {"", "0"}
        found[f"CONDA_OVERRIDE_{_OVERRIDES[package.name]}"] = package.build if is_build else package.version
    return found
