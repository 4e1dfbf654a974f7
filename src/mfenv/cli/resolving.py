"""From the options of `metaflow environment resolve` to locks, and to what is printed of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from metaflow.util import get_username

from mfenv.app import facts
from mfenv.app.environments import Environments
from mfenv.app.files import FileWish, read_file
from mfenv.app.lock import Locker
from mfenv.app.needs import metaflow_needs
from mfenv.app.request import request_of
from mfenv.app.resolve_files import Upgrade, asked_again, plan, plus, read_files, resolve
from mfenv.cli.finding import datastore, tell, wired
from mfenv.cli.naming import give_name, read_name, share
from mfenv.cli.reporting import resolving
from mfenv.domain.base import LockFile
from mfenv.domain.channel import Channel, credentials_in
from mfenv.domain.cutoff import check_cutoff
from mfenv.domain.digest import Json, LockId
from mfenv.domain.index import secrets_in
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.reference import ByName
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import SpecLayer
from mfenv.errors import InvalidSpec, LockError
from mfenv.formats import spec_json
from mfenv.formats.written import Written
from mfenv.metaflow.known import known_environments
from mfenv.store.aliases import taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `metaflow environment resolve` was told."""

    plain: Sequence[str] = ()
    """Files that need no choice: requirements.txt, environment.yml."""
    projects: Sequence[str] = ()
    lock_files: Sequence[str] = ()
    groups: Sequence[str] = ()
    """Belong to project files and lock files, as `optional` does."""
    optional: Sequence[str] = ()
    conda_packages: Sequence[str] = ()
    pypi_packages: Sequence[str] = ()
    channels: Sequence[str] = ()
    python: str | None = None
    exclude_newer: str | None = None
    using: str | None = None
    """An environment to build upon."""
    again: str | None = None
    """An environment whose request is answered again."""
    archs: Sequence[str] = ()
    names: Sequence[str] = ()
    upgrade: Upgrade = field(default_factory=Upgrade)
    force: bool = False
    local_only: bool = False
    dry_run: bool = False
    set_default: bool = True
    with_needs: bool = True
    """Whether what Metaflow imports in a task is in it, too."""


def one_of(name: str, text: str | None, pathspec: str | None) -> str | None:
    """Return which environment ``--<name>`` or ``--<name>-pathspec`` names. Raises `InvalidSpec` when both do."""
    if text and pathspec:
        raise InvalidSpec(
            f"--{name} and --{name}-pathspec cannot be given together", hint="They name one environment in two ways"
        )
    # What names a step says so, whatever its flow is called.
    return f"step:{pathspec.removeprefix('step:')}" if pathspec else text


def resolve_environments(options: Options) -> list[dict[str, Any]]:
    """Lock what is asked for, on each platform; return what is to be printed. Raises `EnvironmentsError`."""
    _check(options)
    refs = [read_name(name, where="--alias") for name in options.names]
    platforms = [Platform.parse(text, where="--arch") for text in options.archs] or [Platform.host()]
    platforms = list(dict.fromkeys(platforms))
    written = {} if options.again else {platform: _written(options, platform) for platform in platforms}
    wiring = wired(
        keeps_found=not options.dry_run,
        # Names and locks of others are looked up all the same.
        credentials=[found for one in written.values() for found in one.channel_credentials],
        index_secrets=[found for one in written.values() for found in one.index_secrets],
    )
    try:
        known = Environments(wiring, known_environments(wiring, tell))
        requests = [_request(options, known, written.get(platform), platform) for platform in platforms]
        _refuse_taken(options, known, refs, requests)
        locker = wiring.locker(get_username() or "unknown", tell=tell, is_dry=options.dry_run)
        missing = _missing(options, locker, requests)
        if options.dry_run:
            with resolving(missing) as live:
                locker = replace(locker, on_answer=live.answered)
                planned = plan(locker, requests, force=options.force, upgrade=options.upgrade)
            return [{**facts.planned(one), "aliases": [str(ref) for ref in refs]} for one in planned]
        with resolving(missing) as live:
            locker = replace(locker, on_answer=live.answered)
            found = resolve(
                locker, requests, force=options.force, upgrade=options.upgrade, set_default=options.set_default
            )
        if not options.local_only:
            share(wiring, [one.lock.id for one in found])
        locks = {one.lock.platform: one.lock.id for one in found}
        keys = {one.lock.platform: one.request.key for one in found}
        for ref in refs:
            give_name(wiring, ref, locks, requests=keys, local_only=options.local_only)
    finally:
        wiring.close()
    return [
        {**facts.row(one.request.key, one.lock, is_new=one.is_new), "aliases": [str(ref) for ref in refs]}
        for one in found
    ]


def _missing(options: Options, locker: Locker, requests: Sequence[ResolutionRequest]) -> int:
    """Return how many environments will have to be resolved."""
    known = {} if options.force or options.upgrade else replace(locker, is_dry=True).known(requests)
    return len(requests) if len(requests) > 1 and len(known) < len(requests) else len(requests) - len(known)


def _refuse_taken(
    options: Options, known: Environments, refs: Sequence[ByName], requests: Sequence[ResolutionRequest]
) -> None:
    """Refuse a name that cannot be moved before anything is solved for it. Raises `AliasExistsError`."""
    for ref in (ref for ref in refs if not ref.is_mutable):
        aliases = None if options.local_only else known.wiring.aliases(tell=tell)
        before = aliases.get(ref) if aliases else known.wiring.index.alias(ref)
        if before is None:
            continue
        there = {} if options.force or options.upgrade else known.wiring.locker("").known(requests)
        if {request.target.platform: lock.id for request, lock in there.items()} != dict(before.locks):
            raise taken(before)


def _check(options: Options) -> None:
    """Refuse options that contradict each other. Raises `InvalidSpec`."""
    files = [*options.plain, *options.projects, *options.lock_files]
    packages = [*options.conda_packages, *options.pypi_packages]
    if options.using and options.again:
        raise InvalidSpec(
            "--using and --from cannot be given together",
            hint="--using builds upon an environment, --from answers its request again",
        )
    if options.again and (files or packages or options.channels or options.python):
        raise InvalidSpec(
            "--from takes the request of an environment as it was, and nothing can be asked for besides",
            hint="Build upon the environment with --using, or leave --from out",
        )
    if options.using and options.python:
        raise InvalidSpec(
            "--python: an environment that builds upon another has that one's Python", hint="Leave --python out"
        )
    if not (files or packages or options.using or options.again):
        raise InvalidSpec(
            "there is nothing to resolve",
            hint="Name a file with -r, -f, -p or --lock, a package with --conda-pkg or --pypi-pkg, or an environment "
            "with --using or --from",
        )
    if options.exclude_newer:
        check_cutoff(options.exclude_newer, where="--exclude-newer")


def _written(options: Options, platform: Platform) -> Written:
    """Return what files and options ask for, on `platform`."""
    wishes = [FileWish(path=Path(name), shown=name) for name in options.plain]
    wishes += [
        FileWish(
            path=Path(name),
            shown=name,
            groups=tuple(options.groups),
            optional_dependencies=tuple(options.optional),
        )
        for name in (*options.projects, *options.lock_files)
    ]
    for wish in wishes[len(wishes) - len(options.lock_files) :]:
        if not isinstance(read_file(wish, platform).layer.base, LockFile):
            raise InvalidSpec(
                f"--lock: `{wish.shown}` is not a lock file",
                hint="Name a file that leaves versions open with -r, -f or -p",
            )
    channels = [Channel.parse(text, where="--channel") for text in options.channels]
    layer = SpecLayer(
        conda=tuple(MatchSpec.from_text(text, where="--conda-pkg") for text in options.conda_packages),
        pypi=tuple(Requirement.from_text(text, where="--pypi-pkg") for text in options.pypi_packages),
        channels=tuple(channels),
        exclude_newer=options.exclude_newer or "",
    )
    secrets = [credentials_in(text, channel) for text, channel in zip(options.channels, channels, strict=True)]
    return plus(
        read_files(wishes, options.python, platform),
        layer,
        [found for found in secrets if found],
        [found for text in options.pypi_packages for found in secrets_in(text)],
    )


def _request(options: Options, known: Environments, written: Written | None, platform: Platform) -> ResolutionRequest:
    if options.again:
        return _asked_before(options.again, known, platform, options.exclude_newer or "")
    assert written is not None
    layer = written.layer
    base: LockedEnvironment | LockFile | None = layer.base if isinstance(layer.base, LockFile) else None
    if options.using:
        if base:
            raise InvalidSpec(
                f"--using: an environment can be built upon one other only, and `{base}` is a lock file",
                hint="Leave --using or --lock out",
            )
        base = known.find(options.using, where="--using", platform=platform)
        _check_python(layer, base, options.using)
    return request_of(
        layer,
        known.wiring.settings,
        platform,
        default_python=PythonConstraint.minor(*sys.version_info[:2]),
        needs=metaflow_needs(datastore()) if options.with_needs else (),
        base=base,
    )


def _check_python(layer: SpecLayer, base: LockedEnvironment, shown: str) -> None:
    python = base.find("python")
    found = tuple(map(int, python.version.split(".")[:2])) if python else ()
    if layer.python and len(found) == 2 and not layer.python.admits_minor(*found):
        raise InvalidSpec(
            f"a file asks for Python `{layer.python}`, and `{shown}`, which is built upon, has "
            f"{python.version if python else 'none'}",
            hint="Leave the version of Python out of the file, or build upon another environment",
        )


def _asked_before(text: str, known: Environments, platform: Platform, exclude_newer: str) -> ResolutionRequest:
    """Return the request that an environment answered, for `platform`."""
    found = known.look_up(text, where="--from")
    lock_id = found.locks.get(platform) or next(iter(found.locks.values()))
    notes = [note for note in known.wiring.locks.notes(lock_id) if note.asked]
    of_request = [note for note in notes if note.request in found.requests.values()]
    note = next(iter(reversed(of_request or notes)), None)
    if note is None:
        raise InvalidSpec(
            f"--from: it is not known what `{text}` was asked to be",
            hint="Build upon it with --using, or resolve its files again",
        )

    def base_of(noted: Json) -> LockFile | LockedEnvironment:
        match noted:
            case ["lock", str() as base_id]:
                lock = known.wiring.locks.get(LockId(base_id))
                if lock and lock.platform is not platform:
                    sibling = known.wiring.locks.sibling(lock.id, platform)
                    lock = known.wiring.locks.get(sibling) if sibling else None
                if lock is None:
                    raise LockError(
                        f"--from: `{text}` builds upon the environment `{base_id}`, which is not there for "
                        f"{platform.value}"
                    )
                return lock
        kind = noted[0] if isinstance(noted, list) and noted else "lock file"
        raise LockError(
            f"--from: `{text}` was made from a {kind}, which is not kept", hint="Name that file again with --lock"
        )

    spec = spec_json.load(note.asked, path=f"what `{text}` was asked to be", base_of=base_of)
    return asked_again(spec, note.target, known.wiring.settings, platform, exclude_newer=exclude_newer)
