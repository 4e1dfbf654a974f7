"""Images that bring environments, from the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaflow.util import get_username

from mfenv.app.bake import Baked, write_context, write_layout
from mfenv.app.resolve_files import resolve
from mfenv.app.wiring import Wiring
from mfenv.cli import showing
from mfenv.cli.finding import environments, tell
from mfenv.cli.reporting import working
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.errors import InvalidSpec
from mfenv.metaflow.requirements import remote_platform
from mfenv.metaflow.wishes import FlowWishes


@dataclass(frozen=True, slots=True, kw_only=True)
class BakeOptions:
    """What the image is to be."""

    output: str
    kind: str
    """``dockerfile`` or ``oci``."""
    base: str | None
    base_layout: str | None
    path: str
    arch: str | None
    as_json: bool

    @property
    def platform(self) -> Platform | None:
        """The platform that was chosen. Raises `InvalidSpec`."""
        return Platform.parse(self.arch, where="--arch") if self.arch else None

    def check(self) -> None:
        """Raise `InvalidSpec` for what does not go together."""
        if self.base and self.kind == "oci":
            raise InvalidSpec("--base names an image in a registry, which nobody asks here", hint="Give --base-layout")
        if self.base_layout and self.kind == "dockerfile":
            raise InvalidSpec("--base-layout is for --format oci", hint="Give --base, as after FROM in a Dockerfile")


def bake_environments(texts: Sequence[str], options: BakeOptions, *, is_pathspec: bool, local_only: bool) -> None:
    """Write an image of environments, and print what it is. Raises `EnvironmentsError`."""
    options.check()
    with environments(local_only=local_only) as found:
        chosen = [found.find(text, where="ENV", platform=options.platform, is_pathspec=is_pathspec) for text in texts]
        _bake(found.wiring, chosen, options)


def bake_steps(state: Any, named: Sequence[str], options: BakeOptions) -> None:
    """Write an image of the environments of a flow's steps: those named, else those that run on other machines.

    What is not known is resolved. Raises `EnvironmentsError`.
    """
    options.check()
    wishes = FlowWishes(state.flow, state.flow_datastore.TYPE, tell)
    try:
        commands = wishes.wiring.settings.remote_commands
        elsewhere = {step.__name__: remote_platform(step.decorators, commands) for step in state.flow}
        steps = list(named) or [step for step, platform in elsewhere.items() if platform] or list(elsewhere)
        if unknown := [step for step in steps if step not in elsewhere]:
            raise InvalidSpec(f"the flow has no step `{unknown[0]}`", hint=f"Its steps are {', '.join(elsewhere)}")
        platforms = {step: options.platform or elsewhere[step] or Platform.host() for step in steps}
        requests = list(wishes.requests_of(platforms).values())
        if not requests:
            raise InvalidSpec("none of these steps has an environment that is known by now", hint="Name other steps")
        locker = wishes.wiring.locker(get_username() or "unknown", tell=tell)
        found = [one for request in dict.fromkeys(requests) for one in resolve(locker, [request])]
        _bake(wishes.wiring, [one.lock for one in found], options)
    finally:
        wishes.wiring.close()


def _bake(wiring: Wiring, chosen: Sequence[LockedEnvironment], options: BakeOptions) -> None:
    locks = list({lock.id: lock for lock in chosen}.values())
    with working(f"Baking {len(locks)} environment{'' if len(locks) == 1 else 's'}"):
        baked = _written(wiring, locks, options)
    if options.as_json:
        ids = [lock.id for lock in locks]
        found = {"folder": str(baked.folder), "full_ids": ids, "path": baked.path, "digest": baked.digest or None}
        showing.document(found)
        return
    for lock in locks:
        showing.say(f"{lock.id} at {baked.path}/envs/{lock.id}")
    if options.kind == "dockerfile":
        tell(f"Build it, without a network: docker build --network=none {options.output}")
    else:
        showing.say(f"{options.output}: {baked.digest}")


def _written(wiring: Wiring, locks: Sequence[LockedEnvironment], options: BakeOptions) -> Baked:
    output = Path(options.output)
    if options.kind == "oci":
        base_layout = Path(options.base_layout) if options.base_layout else None
        return write_layout(wiring, locks, output, base=base_layout, path=options.path)
    base = options.base or f"python:{sys.version_info.major}.{sys.version_info.minor}"
    return write_context(wiring, locks, output, base=base, path=options.path)
