"""What is resolved for, and told of, the steps of a flow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from metaflow._vendor import click
from metaflow.util import get_username

from mfenv.app import facts
from mfenv.app.describe import Description, describe
from mfenv.app.environments import Environments
from mfenv.app.lock import Locker
from mfenv.app.resolve_files import Found, Planned, Upgrade, plan, resolve
from mfenv.cli import render, showing
from mfenv.cli.naming import give_name, read_name, share
from mfenv.cli.reporting import resolving
from mfenv.domain.base import LockFile, NamedBase, PathspecBase
from mfenv.domain.digest import LockId
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import SpecLayer
from mfenv.errors import EnvironmentsError, InvalidSpec
from mfenv.metaflow.failures import explained
from mfenv.metaflow.remote_steps import RemoteSteps
from mfenv.metaflow.wishes import FlowWishes
from mfenv.resolve.satisfies import satisfies

_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowOptions:
    """What `flow.py environment resolve` was told."""

    steps: Sequence[str] = ()
    names: Sequence[str] = ()
    archs: Sequence[str] = ()
    upgrade: Upgrade = field(default_factory=Upgrade)
    force: bool = False
    set_default: bool = True
    local_only: bool = False
    dry_run: bool = False
    output: str | None = None
    as_json: bool = False


Outcome = Sequence[Found] | Sequence[Planned] | EnvironmentsError


def tell(line: str, **_style: object) -> None:
    """Print a line that is not part of the answer."""
    click.echo(line, err=True)


def resolve_steps(state: Any, options: FlowOptions) -> None:
    """Lock the environments of steps, and print or write what came of it. Raises `EnvironmentsError`."""
    refs = [read_name(name, where="--alias") for name in options.names]
    platforms = list(dict.fromkeys(Platform.parse(text, where="--arch") for text in options.archs))
    wishes = FlowWishes(state.flow, state.flow_datastore.TYPE, tell, keeps_found=not options.dry_run)
    try:
        steps = _steps(wishes, options.steps, state.graph.sorted_nodes)
        asked = _asked(wishes, state.flow, steps, platforms)
        groups = list(dict.fromkeys(asked.values()))
        if refs and len(groups) != 1:
            raise InvalidSpec(
                f"--alias: {len(groups)} different environments cannot have one name",
                hint="Name the step whose environment is to have it",
            )
        locker = wishes.wiring.locker(get_username() or "unknown", tell=tell, is_dry=options.dry_run)
        with resolving(_missing(locker, groups, options)) as live:
            outcomes = _outcomes(replace(locker, on_answer=live.answered), groups, options)
            _raise_failures(outcomes, asked, wishes)
        found = {
            one.request: one
            for outcome in outcomes.values()
            if not isinstance(outcome, EnvironmentsError)
            for one in outcome
        }
        if not options.dry_run:
            _keep(wishes, [one for one in found.values() if isinstance(one, Found)], refs, options)
        _answer(wishes, steps, asked, found, options)
    finally:
        wishes.wiring.close()


def _steps(wishes: FlowWishes, named: Sequence[str], order: Sequence[str]) -> list[str]:
    """Return the steps that are named, or all in the flow's order. Raises `InvalidSpec` for one that it has not."""
    if unknown := [step for step in named if step not in wishes.layers]:
        raise InvalidSpec(
            f"the flow has no {'step' if len(unknown) == 1 else 'steps'} {', '.join(f'`{one}`' for one in unknown)}",
            hint=f"Its steps are {', '.join(f'`{one}`' for one in order if one in wishes.layers)}",
        )
    return list(dict.fromkeys(named)) or [step for step in order if step in wishes.layers]


def _asked(
    wishes: FlowWishes, flow: Any, steps: Sequence[str], platforms: Sequence[Platform]
) -> dict[str, tuple[ResolutionRequest, ...]]:
    """Return what is asked for each step that has an environment at launch: for `platforms`, else where it runs."""
    remote = RemoteSteps.of(flow, wishes)
    asked = {}
    for step in steps:
        found = [wishes.requests_of({step: one}) for one in platforms or [remote.platform(step)]]
        asked[step] = tuple(requests[step] for requests in found if requests)
    return {step: requests for step, requests in asked.items() if requests}


def _outcomes(
    locker: Locker, groups: Sequence[tuple[ResolutionRequest, ...]], options: FlowOptions
) -> dict[tuple[ResolutionRequest, ...], Outcome]:
    """Lock each environment, for all its platforms together; errors are values here, to be told of together."""

    def one(group: tuple[ResolutionRequest, ...]) -> Outcome:
        try:
            if options.dry_run:
                return plan(locker, group, force=options.force, upgrade=options.upgrade)
            return resolve(locker, group, force=options.force, upgrade=options.upgrade, set_default=options.set_default)
        except EnvironmentsError as error:
            return error

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return dict(zip(groups, pool.map(one, groups), strict=True))


def _missing(locker: Locker, groups: Sequence[tuple[ResolutionRequest, ...]], options: FlowOptions) -> int:
    """Return how many environments will have to be resolved."""
    is_new = options.force or options.upgrade
    known = {} if is_new else locker.known(asked for group in groups for asked in group)
    return sum(any(asked not in known for asked in group) for group in groups)


def _raise_failures(
    outcomes: Mapping[tuple[ResolutionRequest, ...], Outcome],
    asked: Mapping[str, Sequence[ResolutionRequest]],
    wishes: FlowWishes,
) -> None:
    failures = {group[0]: outcome for group, outcome in outcomes.items() if isinstance(outcome, EnvironmentsError)}
    if failures:
        raise explained(failures, {step: requests[0] for step, requests in asked.items()}, wishes.layers)


def _keep(wishes: FlowWishes, found: Sequence[Found], refs: Sequence[Any], options: FlowOptions) -> None:
    """Share what was locked, and name it."""
    if not options.local_only:
        share(wishes.wiring, dict.fromkeys(one.lock.id for one in found))
    locks: dict[Platform, LockId] = {one.lock.platform: one.lock.id for one in found}
    keys = {one.lock.platform: one.request.key for one in found}
    for ref in refs:
        give_name(wishes.wiring, ref, locks, requests=keys, local_only=options.local_only)


def _answer(
    wishes: FlowWishes,
    steps: Sequence[str],
    asked: Mapping[str, Sequence[ResolutionRequest]],
    found: Mapping[ResolutionRequest, Found | Planned],
    options: FlowOptions,
) -> None:
    environments = Environments(wishes.wiring, wishes.known())
    document: dict[str, dict[str, Any]] = {}
    for step in steps:
        for request in asked.get(step, ()):
            row = _row(environments, found[request], options)
            document.setdefault(step, {})[request.target.platform.value] = row
    if options.output:
        _write(options.output, document)
    if options.as_json:
        showing.document(document)
    elif not options.output:
        for step in steps:
            if step not in document:
                showing.say(f"{step}: {_without(wishes.layers[step])}")
            for arch, row in document.get(step, {}).items():
                new = " (new)" if row["newly_resolved"] else ""
                showing.say(f"{step}: {arch} {row['req_id']}:{row['full_id'] or 'not kept'}{new}")
                if options.dry_run and row["newly_resolved"]:
                    for change in row["changes"]:
                        showing.say(f"  {showing.changed(change)}")


def _row(environments: Environments, one: Found | Planned, options: FlowOptions) -> dict[str, Any]:
    if isinstance(one, Planned):
        row = facts.planned(one)
        return {key: row[key] for key in ("req_id", "full_id", "newly_resolved", "changes", "packages", "size")}
    described = describe(environments, one.lock, one.request.key, local_only=options.local_only)
    return {
        "req_id": one.request.key,
        "full_id": one.lock.id,
        "newly_resolved": one.is_new,
        "env": facts.description(described, shown=one.lock.id),
    }


def _without(layer: SpecLayer) -> str:
    """Say why a step has no environment before it runs."""
    return "disabled" if layer.disabled else f"looked up when its task starts: {layer.base}"


def _write(path: str, document: Mapping[str, Any]) -> None:
    try:
        # Not renamed into place: it may be a pipe that somebody reads from.
        Path(path).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InvalidSpec(f"--output: `{path}` cannot be written: {error.strerror or error}") from error


# ---------------------------------------------------------------- show


def show_steps(
    state: Any, named: Sequence[str], *, arch: str | None, local_only: bool, output: str | None, as_json: bool
) -> None:
    """Tell of the environment of each step. Raises `EnvironmentsError`."""
    chosen = Platform.parse(arch, where="--arch") if arch else None
    wishes = FlowWishes(state.flow, state.flow_datastore.TYPE, tell, keeps_found=False)
    try:
        remote = RemoteSteps.of(state.flow, wishes)
        environments = Environments(wishes.wiring, wishes.known())
        document = {}
        for step in _steps(wishes, named, state.graph.sorted_nodes):
            platform = chosen or remote.platform(step)
            row, found = _step_row(wishes, environments, step, platform, local_only=local_only)
            document[step] = row
            if not as_json and not output:
                _print_step(step, row, found)
    finally:
        wishes.wiring.close()
    if output:
        _write(output, document)
    if as_json:
        showing.document(document)


def _step_row(
    wishes: FlowWishes, environments: Environments, step: str, platform: Platform, *, local_only: bool
) -> tuple[dict[str, Any], Description | None]:
    layer = wishes.layers[step]
    row: dict[str, Any] = {
        "is_disabled": bool(layer.disabled),
        "error": None,
        "requested_hash": None,
        "requested_packages": [],
        "requested_sources": [],
        "from_env_name": str(layer.base) if isinstance(layer.base, NamedBase | PathspecBase) else None,
        "is_fetch_at_exec": bool(layer.fetch_at_exec),
        "env_id": None,
        "env": None,
        "state": [],
        "why": None,
    }
    if layer.disabled:
        return {**row, "state": ["disabled"]}, None
    if layer.fetch_at_exec:
        return {**row, "state": [f"fetch-at-exec of {layer.base}"]}, None
    state = [f"derived from {layer.base}"] if layer.base else []
    try:
        request = wishes.request(step, platform)
        lock, why = _lock_of(wishes, request)
    except EnvironmentsError as error:
        return {**row, "error": render.fields_of(error), "state": [*state, "error"]}, None
    spec = request.spec
    row |= {
        "requested_hash": request.key,
        "requested_packages": [str(one) for one in (*spec.match_specs, *spec.pypi)],
        "requested_sources": [str(one) for one in (*spec.channels, *spec.indexes)],
    }
    if lock is None:
        return {**row, "state": [*state, "unresolved"], "why": why}, None
    found = describe(environments, lock, request.key, local_only=local_only)
    state += ["compatible with base environment" if lock is spec.base else "resolved"]
    state += ["cached"] if found.is_shared else []
    state += ["locally present"] if found.prefix else []
    env = facts.description(found, shown=step)
    return {**row, "env_id": [request.key, lock.id, platform.value], "env": env, "state": state, "why": why}, found


def _lock_of(wishes: FlowWishes, request: ResolutionRequest) -> tuple[LockedEnvironment | None, str]:
    """Return what a run would use for a request, and why that."""
    base = request.spec.base
    if isinstance(base, LockedEnvironment) and satisfies(base, request.spec) is None:
        return base, "the environment that it builds upon has all that is asked for"
    reasons: list[str] = []
    locker = wishes.wiring.locker(get_username() or "unknown", tell=reasons.append, is_dry=True)
    lock = locker.known([request]).get(request)
    default = wishes.wiring.index.default(request.key, request.target)
    if lock is None:
        missing = "its lock is gone, or cannot be used here" if default else "nobody resolved this request here"
        return None, "; ".join([missing, *reasons])
    if default is None or default.lock != lock.id:
        return lock, "it is the latest that others got for this request"
    how = "was chosen" if default.is_chosen else "came"
    words = f"it {how} for this request on {default.time.astimezone():%Y-%m-%d %H:%M}, by {default.user}"
    return lock, f"{words}, from the lock file {base}" if isinstance(base, LockFile) else words


def _print_step(step: str, row: Mapping[str, Any], found: Description | None) -> None:
    click.secho(f"{step}: {', '.join(row['state'])}", bold=True)
    if row["why"]:
        showing.say(f"  {row['why']}")
    if row["error"]:
        showing.say(f"  {row['error']['message']}")
        if row["error"]["hint"]:
            showing.say(f"  hint: {row['error']['hint']}")
    if found is not None:
        showing.pretty(found, with_packages=False)
    elif row["requested_packages"]:
        showing.say(f"  asked for: {', '.join(row['requested_packages'])}")
