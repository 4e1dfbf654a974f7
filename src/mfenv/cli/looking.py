"""Finding what `show`, `list`, `get` and `diff` tell of; nothing here loads a solver."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from metaflow._vendor import click
from metaflow.util import get_username

from mfenv.app import facts
from mfenv.app.describe import Listed, describe, listed
from mfenv.app.environments import Environments
from mfenv.app.files import FileWish
from mfenv.app.progress import in_words
from mfenv.app.request import request_of
from mfenv.app.resolve_files import plan, read_files
from mfenv.cli import render, showing
from mfenv.cli.finding import environments, tell
from mfenv.cli.reporting import looking
from mfenv.cli.scope import current_scope
from mfenv.domain.base import LockFile
from mfenv.domain.difference import Held, compare, held_in
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.errors import EnvironmentsError, InvalidSpec
from mfenv.formats import lock_json
from mfenv.metaflow.known import steps_of_run
from mfenv.store.project_index import Default


def platform_of(arch: str | None) -> Platform | None:
    """Return the platform that ``--arch`` names. Raises `InvalidSpec`."""
    return Platform.parse(arch, where="--arch") if arch else None


def for_this_machine(found: Environments, text: str, *, arch: str | None, is_pathspec: bool) -> LockedEnvironment:
    """Return the environment that is to be used on this machine. Raises `InvalidSpec` for one that cannot be."""
    host = Platform.host()
    lock = found.find(text, where="ENV", platform=platform_of(arch) or host, is_pathspec=is_pathspec)
    if lock.platform is not host:
        raise InvalidSpec(
            f"`{text}` is for {lock.platform.value}, and this machine is {host.value}",
            hint="Use it on such a machine, or resolve it for this one with `resolve --from`",
        )
    return lock


def show_environments(
    envs: Sequence[str], *, arch: str | None, is_pathspec: bool, local_only: bool, as_json: bool
) -> int:
    """Show environments; return the exit code: that of the first error."""
    platform, quiet = platform_of(arch), current_scope().is_quiet
    rows, errors = [], list[EnvironmentsError]()
    with environments(local_only=local_only) as found:
        for text in envs:
            try:
                known = found.look_up(text, where="ENV", is_pathspec=is_pathspec)
                lock = found.find(text, where="ENV", platform=platform, is_pathspec=is_pathspec)
                one = describe(found, lock, known.requests.get(lock.platform), local_only=local_only)
            except EnvironmentsError as error:
                errors.append(error)
                shown_arch = (platform or Platform.host()).value
                if quiet:
                    showing.say(f"{text}@{shown_arch} NOT_FOUND")
                elif as_json:
                    rows.append({"env": text, "arch": shown_arch, "error": render.fields_of(error)})
                else:
                    render.tell_error(error)
                continue
            rows.append(facts.description(one, shown=text))
            if quiet:
                showing.say(showing.quiet_line(one))
            elif not as_json:
                showing.pretty(one)
    if as_json:
        first = {"error": render.fields_of(errors[0])} if errors else {}
        showing.document({"environments": rows, **first})
    return errors[0].exit_code if errors else 0


def list_environments(
    *,
    local: bool,
    store: bool,
    only_named: bool,
    text: str | None,
    sort: str,
    arch: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List environments. Raises `EnvironmentsError`."""
    platform = platform_of(arch)
    with environments(local_only=not store) as found, looking("Looking for environments"):
        rows = [
            one
            for one in listed(found, local=local, store=store)
            if (platform is None or one.lock.platform is platform)
            and (one.names or not only_named)
            and (not text or _has(one, text))
        ]
    rows = sorted(rows, key=_ORDERS[sort])[:limit]
    if as_json:
        showing.document({"environments": [facts.listed(one) for one in rows]})
    elif current_scope().is_quiet:
        for one in rows:
            showing.say(f"{one.lock.id} {one.lock.platform.value} {','.join(str(n.ref) for n in one.names) or 'NONE'}")
    else:
        showing.table(rows)
        size = sum(facts.listed(one)["size"] for one in rows)
        click.echo(f"{len(rows)} environments, {in_words(size)} of packages, counted for each.", err=True)


_ORDERS = {
    "time": lambda one: (-(one.time.timestamp() if one.time else 0), one.lock.id),
    "name": lambda one: (not one.names, str(one.names[0].ref) if one.names else "", one.lock.id),
    "size": lambda one: (-sum(held.size or 0 for held in held_in(one.lock)), one.lock.id),
}


def _has(one: Listed, text: str) -> bool:
    words = [one.lock.id, one.lock.platform.value, one.user, *(str(name.ref) for name in one.names)]
    return any(text in word for word in words) or any(
        text in f"{held.name}=={held.version}" for held in held_in(one.lock)
    )


def get_environment(text: str, *, sets_default: bool, arch: str | None, is_pathspec: bool, as_json: bool) -> None:
    """Take an environment into this project. Raises `EnvironmentsError`."""
    with environments(keeps_found=True) as found:
        known = found.look_up(text, where="ENV", is_pathspec=is_pathspec)
        lock = found.find(text, where="ENV", platform=platform_of(arch), is_pathspec=is_pathspec)
        one = describe(found, lock, known.requests.get(lock.platform))
        if sets_default and one.made:
            default = Default(
                request=one.made.request,
                target=one.made.target.key,
                platform=lock.platform,
                lock=lock.id,
                group="",
                user=get_username() or "unknown",
                time=datetime.now(timezone.utc),
                is_chosen=True,
            )
            found.wiring.index.set_defaults([default])
            one = describe(found, lock, one.made.request)
        elif sets_default:
            tell(f"It is not known which request {lock.id} answered: it is here now, and used for none.")
        if as_json:
            showing.document({"environments": [facts.description(one, shown=text)]})
        elif current_scope().is_quiet:
            showing.say(showing.quiet_line(one))
        else:
            showing.pretty(one, with_packages=False)


# ---------------------------------------------------------------- diff


def compare_environments(before: str, after: str, *, arch: str | None, as_json: bool) -> None:
    """Show what two environments, or the steps of two runs, differ in. Raises `EnvironmentsError`."""
    platform = platform_of(arch)
    with environments() as found:
        runs = [_steps(text) for text in (before, after)]
        if runs[0] is not None and runs[1] is not None:
            _compare_runs(found, (before, runs[0]), (after, runs[1]), platform, as_json=as_json)
            return
        if alone := next((text for text, steps in zip((before, after), runs, strict=True) if steps is not None), None):
            raise InvalidSpec(f"`{alone}` is a whole run, and can be compared with another run only")
        first, host = _held(found, before, platform)
        second, other = _held(found, after, platform or host)
        if host is not other:
            raise InvalidSpec(
                f"`{before}` is for {host.value}, and `{after}` for {other.value}",
                hint="Choose a platform that both have with --arch",
            )
        showing.difference(compare(first, second), before=before, after=after, platform=host, as_json=as_json)


def _steps(text: str) -> list[str] | None:
    """Return the steps of a run, when `text` names one."""
    parts = text.split("/")
    if len(parts) != 2 or not all(parts) or ":" in text or Path(text).exists() or text == text.lower():
        return None
    return steps_of_run(parts[0], parts[1], where="ENV")


def _compare_runs(
    found: Environments,
    before: tuple[str, list[str]],
    after: tuple[str, list[str]],
    platform: Platform | None,
    *,
    as_json: bool,
) -> None:
    documents = []
    for step in dict.fromkeys([*before[1], *after[1]]):
        ends = [_of_step(found, f"{run}/{step}", platform) if step in steps else None for run, steps in (before, after)]
        changes = compare(*(held_in(end) if end else () for end in ends))
        ids = [end.id if end else None for end in ends]
        documents.append(showing.step_difference(step, ids, changes, is_printed=not as_json))
    if as_json:
        showing.document({"before": before[0], "after": after[0], "steps": documents})


def _of_step(found: Environments, pathspec: str, platform: Platform | None) -> LockedEnvironment | None:
    """Return the environment of a step; None when it had none."""
    try:
        return found.find(pathspec, where="ENV", platform=platform, is_pathspec=True)
    except InvalidSpec as error:
        tell(f"{pathspec}: {error.message}")
        return None


def _held(found: Environments, text: str, platform: Platform | None) -> tuple[tuple[Held, ...], Platform]:
    """Return the packages of an environment or a lock file, and the platform that they are for."""
    path = Path(text)
    if not path.is_file():
        lock = found.find(text, where="ENV", platform=platform)
        return held_in(lock), lock.platform
    if path.suffix == ".json":
        try:
            lock = lock_json.load(path.read_bytes(), path=text)
        except OSError as error:
            raise InvalidSpec(f"`{text}` cannot be read: {error.strerror or error}") from error
        return held_in(lock), lock.platform
    wanted = platform or Platform.host()
    return _held_by_file(found, text, wanted), wanted


def _held_by_file(found: Environments, text: str, platform: Platform) -> tuple[Held, ...]:
    written = read_files([FileWish(path=Path(text), shown=text)], None, platform)
    if not isinstance(written.layer.base, LockFile):
        raise InvalidSpec(f"`{text}` is not a lock file", hint="Resolve it, and compare what comes of it")
    request = request_of(
        written.layer,
        found.wiring.settings,
        platform,
        default_python=PythonConstraint.minor(*sys.version_info[:2]),
        needs=(),
        base=written.layer.base,
    )
    (planned,) = plan(found.wiring.locker("", tell=tell, is_dry=True), [request])
    return held_in(planned.after)
