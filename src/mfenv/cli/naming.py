"""Names of environments, from the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone

from metaflow._vendor import click
from metaflow.util import get_username

from mfenv.app.environments import Environments
from mfenv.app.reporting import Live
from mfenv.app.wiring import Wiring
from mfenv.cli.finding import tell, wired
from mfenv.domain.alias import Alias
from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.platform import Platform
from mfenv.domain.reference import ByName, parse_reference
from mfenv.errors import InvalidSpec
from mfenv.metaflow.known import known_environments
from mfenv.store.aliases import taken


def read_name(text: str, *, where: str) -> ByName:
    """Read a name that an environment is to have, as written at `where`. Raises `InvalidSpec`."""
    ref = parse_reference(text, where=where)
    if not isinstance(ref, ByName):
        raise InvalidSpec(
            f"{where}: `{text}` is not a name, but an environment or a step itself",
            hint="Write a name, such as `team/project/env:v1`",
        )
    return ref


def name_environment(
    source: str, name: str, *, is_pathspec: bool, archs: Sequence[str] = (), local_only: bool
) -> Alias:
    """Give the environments that `source` names a name: on all their platforms, or on `archs` alone.

    Raises `EnvironmentsError`.
    """
    where = "SOURCE"
    target = read_name(name, where="ALIAS")
    platforms = [Platform.parse(text, where="--arch") for text in archs]
    wiring = wired()
    try:
        known = Environments(wiring, known_environments(wiring, tell))
        found = known.look_up(source, where=where, is_pathspec=is_pathspec)
        locks, requests = found.locks, found.requests
        if missing := [platform.value for platform in platforms if platform not in locks]:
            raise InvalidSpec(
                f"--arch: `{source}` has no environment for {', '.join(missing)}, only for "
                f"{', '.join(sorted(platform.value for platform in locks))}",
                hint=f"Resolve it for {', '.join(missing)} as well, and name all of them together",
            )
        chosen = {platform: locks[platform] for platform in platforms or locks}
        return give_name(wiring, target, chosen, requests=requests, local_only=local_only)
    finally:
        wiring.close()


def give_name(
    wiring: Wiring,
    ref: ByName,
    locks: Mapping[Platform, LockId],
    *,
    requests: Mapping[Platform, RequestKey] | None = None,
    local_only: bool,
) -> Alias:
    """Have `ref` stand for `locks`: in the shared store, which has them first, or in this project alone.

    Raises `AliasExistsError` for a name that cannot be moved, and `StoreError`.
    """
    user, now = get_username() or "unknown", datetime.now(timezone.utc)
    known = {platform: key for platform, key in (requests or {}).items() if platform in locks}
    alias = Alias.of(ref, locks, user=user, time=now, requests=known)
    aliases = None if local_only else wiring.aliases(tell=tell)
    if aliases is None:
        before = wiring.index.alias(ref)
        if before and not ref.is_mutable and before.locks != alias.locks:
            raise taken(before)
        wiring.index.set_alias(alias)
        return alias
    share(wiring, locks.values())
    pointed = aliases.point(alias)
    # What everybody is told counts from now on here, too.
    wiring.index.forget_alias(ref)
    return pointed


def share(wiring: Wiring, lock_ids: Iterable[LockId]) -> None:
    """Have environments in the shared store, and tell how far it is. Raises `EnvironmentsError`."""
    live = Live("Caching packages", noun="files")
    try:
        with live:
            shared = wiring.sharer.share(lock_ids, live.passed)
    except BaseException:
        if live.files:
            live.ended("stopped")
        raise
    if live.files:
        live.ended()
    elif shared:
        click.echo(f"All packages already cached in {shared.kind}.", err=True)


def history_of(name: str) -> tuple[list[Alias], Alias | None]:
    """Return what a name stood for in the shared store, the latest first, and what it is in this project alone.

    Raises `InvalidSpec` for a name that nothing ever had.
    """
    ref = read_name(name, where="ALIAS")
    wiring = wired()
    try:
        own, aliases = wiring.index.alias(ref), wiring.aliases(tell=tell)
        found = aliases.history(ref) if aliases else []
        if not found and not own:
            # Whoever said it was stopped before the note, or nobody did.
            known = known_environments(wiring, tell)
            found = [known.alias(ref, where="ALIAS")]
        return found, own
    finally:
        wiring.close()
