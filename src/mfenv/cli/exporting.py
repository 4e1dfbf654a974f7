"""From an environment to a file of another tool."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from metaflow._vendor import click

from mfenv.app.describe import describe
from mfenv.app.environments import Environments
from mfenv.app.export import FORMATS, Format, losses, notes, refuse_losses
from mfenv.app.known import Found
from mfenv.app.wheel_metadata import WheelMetadataReader
from mfenv.app.wiring import Wiring
from mfenv.cli import showing
from mfenv.cli.finding import environments, tell
from mfenv.cli.reporting import looking
from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.errors import InvalidSpec
from mfenv.formats.writers.content import Content
from mfenv.hydrate.plan import archive_path
from mfenv.io.files import write_atomically

# Those that tell who needs what.
_WITH_NEEDS = frozenset({"pylock.toml", "conda-lock.yml", "pixi.lock", "cyclonedx"})


def export_environment(
    text: str,
    kind: str,
    *,
    output: str | None,
    archs: Sequence[str],
    is_lossy: bool,
    is_pathspec: bool,
    local_only: bool,
    as_json: bool,
) -> None:
    """Write an environment as a file of `kind`. Raises `EnvironmentsError`."""
    wanted = FORMATS[kind]
    with environments(local_only=local_only) as found:
        known = found.look_up(text, where="ENV", is_pathspec=is_pathspec)
        locks = _locks(found, known, text, wanted, archs, is_pathspec=is_pathspec)
        content = _asked(found, known, Content(title=text, locks=locks))
        told = notes(wanted, content, () if archs else known.locks)
        lost = losses(wanted, content)
        if not is_lossy:
            refuse_losses(wanted, lost)
        for line in lost:
            tell(f"Warning: {wanted.name} loses {line}.")
        for line in told:
            tell(f"Note: {line}.")
        if kind in _WITH_NEEDS:
            reader = WheelMetadataReader(found.wiring)
            wheels = {sha256: said for lock in locks.values() for sha256, said in reader.of(lock).items()}
            content = replace(content, wheels=wheels)
        if kind == "conda-lock.yml":
            artifacts = [package.artifact for lock in locks.values() for package in lock.packages]
            content = replace(content, md5=_md5(found.wiring, artifacts))
        written = wanted.dump(content)
    is_file = output not in {None, "-"}
    if is_file:
        _write(output or "", written)
    if as_json:
        showing.document(
            {
                "env": text,
                "format": kind,
                "environments": {platform.value: lock.id for platform, lock in locks.items()},
                "lost": lost,
                "notes": told,
                "file": output if is_file else None,
                "content": None if is_file else written,
            }
        )
    elif is_file:
        tell(f"{output}: {kind} of {text} for {', '.join(platform.value for platform in locks)}")
    else:
        click.echo(written, nl=False)


def _locks(
    found: Environments, known: Found, text: str, wanted: Format, archs: Sequence[str], *, is_pathspec: bool
) -> Mapping[Platform, LockedEnvironment]:
    platforms = list(dict.fromkeys(Platform.parse(arch, where="--arch") for arch in archs))
    if len(platforms) > 1 and not wanted.holds_platforms:
        raise InvalidSpec(
            f"--arch: {wanted.name} holds one platform, not {len(platforms)}", hint="Write a file for each of them"
        )
    if not platforms and wanted.holds_platforms:
        locks = [found.lock(lock_id, where="ENV") for lock_id in known.locks.values()]
    else:
        wanted_platforms: list[Platform | None] = [*platforms] or [None]
        locks = [
            found.find(text, where="ENV", platform=platform, is_pathspec=is_pathspec) for platform in wanted_platforms
        ]
    return {lock.platform: lock for lock in sorted(locks, key=lambda lock: lock.platform.value)}


def _md5(wiring: Wiring, artifacts: Sequence[LockedArtifact]) -> dict[str, str]:
    """Return the MD5 of each file by its sha256; what is not here is brought, and checked."""
    with looking("Fetching packages") as live:
        wiring.supplier.supply(artifacts, live.fetched)
        wiring.installer.fetch(list(artifacts), live.fetched)
    paths = {artifact.sha256: archive_path(artifact, wiring.folders.archives) for artifact in artifacts}
    return {sha256: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() for sha256, path in paths.items()}


def _asked(found: Environments, known: Found, content: Content) -> Content:
    """Return `content` with what was asked for, where that is known."""
    described = [
        describe(found, lock, known.requests.get(platform), local_only=True) for platform, lock in content.locks.items()
    ]
    specs = [one.asked for one in described if one.asked]
    default = next((str(spec.default_index) for spec in specs if spec.default_index), "")
    return replace(
        content,
        channels=tuple(dict.fromkeys(str(channel) for spec in specs for channel in spec.channels)),
        indexes=tuple(dict.fromkeys(str(index) for spec in specs for index in spec.indexes)),
        default_index=default,
        extras={one.name: one.extras for spec in specs for one in spec.pypi},
    )


def _write(path: str, content: str) -> None:
    place = Path(path).absolute()
    try:
        if not place.parent.is_dir():
            raise InvalidSpec(f"-o: `{path}` cannot be written: there is no folder `{place.parent}`")
        if place.exists() and not place.is_file():
            # What somebody reads from, such as a pipe, is not replaced.
            place.write_text(content, encoding="utf-8")
        else:
            # A link to a file stays one.
            write_atomically(place.resolve(), content.encode())
    except OSError as error:
        raise InvalidSpec(f"-o: `{path}` cannot be written: {error.strerror or error}") from error
