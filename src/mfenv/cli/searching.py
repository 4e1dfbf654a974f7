"""Which versions of a package there are, for people and programs."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mfenv.app.progress import in_words
from mfenv.app.search import Release, on_channels, on_indexes, running_python, tried
from mfenv.app.wiring import Wiring
from mfenv.cli import render, showing
from mfenv.cli.finding import wired
from mfenv.cli.reporting import looking
from mfenv.domain.channel import Channel, credentials_in
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.requirement import Requirement
from mfenv.errors import EnvironmentsError, InvalidSpec, ResolutionFailed

_FEW = 3


def search_package(
    text: str,
    *,
    archs: Sequence[str],
    channels: Sequence[str],
    sides: Sequence[str],
    python: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Print which versions there are. Raises `EnvironmentsError`."""
    platforms = [Platform.parse(arch, where="--arch") for arch in archs] or [Platform.host()]
    places = [Channel.parse(channel, where="--channel") for channel in channels]
    secrets = [credentials_in(channel, place) for channel, place in zip(channels, places, strict=True)]
    if python and not re.fullmatch(r"\d+\.\d+(\.\d+)?", python):
        raise InvalidSpec(f"--python: `{python}` is not a version", hint="Write for example `3.11`")
    wiring = wired(credentials=[found for found in secrets if found])
    try:
        with looking(f"Looking for {text}"):
            rows, errors = _rows(wiring, text, platforms, places, sides, python or running_python())
    finally:
        wiring.close()
    if not errors and not any(row["releases"] for row in rows):
        errors = [_nothing(text, platforms)]
    _print(rows, errors, limit=limit, as_json=as_json)
    if errors:
        sys.exit(errors[0].exit_code)


def _rows(
    wiring: Wiring,
    text: str,
    platforms: Sequence[Platform],
    channels: Sequence[Channel],
    sides: Sequence[str],
    python: str,
) -> tuple[list[dict[str, Any]], list[EnvironmentsError]]:
    rows, errors = [], list[EnvironmentsError]()
    for platform in platforms:
        for side in sides:
            if side == "conda":
                wanted = MatchSpec.from_text(text, where="PACKAGE")
                releases, error = tried(lambda: on_channels(wiring, wanted, channels, platform))  # noqa: B023
            else:
                required = Requirement.from_text(text, where="PACKAGE")
                releases, error = tried(lambda: on_indexes(wiring, required, platform, python))  # noqa: B023
            rows.append({"arch": platform.value, "side": side, "releases": releases})
            errors += [error] if error else []
    return rows, errors


def _nothing(text: str, platforms: Sequence[Platform]) -> ResolutionFailed:
    named = ", ".join(platform.value for platform in platforms)
    return ResolutionFailed(
        f"nobody has `{text}` for {named}",
        hint="Check the spelling, or name the channel that has it with --channel",
    )


def _print(
    rows: Sequence[dict[str, Any]], errors: Sequence[EnvironmentsError], *, limit: int | None, as_json: bool
) -> None:
    if as_json:
        found = [{**row, "releases": [asdict(one) for one in row["releases"][:limit]]} for row in rows]
        failed = {"error": render.fields_of(errors[0])} if errors else {}
        showing.document({"found": found, **failed})
        return
    for row in rows:
        releases: list[Release] = row["releases"]
        if not releases:
            continue
        side = "conda" if row["side"] == "conda" else "PyPI"
        showing.say(f"### {side}, {row['arch']}: {len(releases)} versions")
        for one in releases[:limit]:
            showing.say(_line(one, shows_all=limit is None))
    for error in errors:
        render.tell_error(error)


def _line(one: Release, *, shows_all: bool) -> str:
    size = in_words(one.size) if one.size is not None else ""
    builds = one.builds if shows_all else one.builds[:_FEW]
    more = f" and {len(one.builds) - len(builds)} more" if len(builds) < len(one.builds) else ""
    note = f"  ({one.note})" if one.note else ""
    return f"  {one.version:<16} {one.time[:10]:<10} {size:>9}  {', '.join(builds)}{more}{note}".rstrip()
