"""Making environments on this machine, and telling how they are used."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from metaflow.util import get_username

from mfenv.app.create import existing, make, named_place, place_in, write_activation
from mfenv.app.environments import Environments
from mfenv.app.jupyter import install_kernel, kernel_name, with_ipykernel
from mfenv.app.known import Found
from mfenv.app.wiring import Wiring
from mfenv.cli import showing
from mfenv.cli.finding import environments, tell
from mfenv.cli.looking import for_this_machine
from mfenv.cli.reporting import hydration
from mfenv.cli.scope import current_scope
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.reference import ByPathspec
from mfenv.errors import InvalidSpec
from mfenv.hydrate.prefix import Prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """What `metaflow environment create` was told."""

    name: str | None = None
    into_dir: str | None = None
    arch: str | None = None
    force: bool = False
    exist_ok: bool = False
    install_notebook: bool = False
    strict: bool = True
    is_quiet: bool = False
    is_pathspec: bool = False
    local_only: bool = False
    as_json: bool = False


def create_environment(text: str, options: CreateOptions) -> None:
    """Make an environment, and tell where it is. Raises `EnvironmentsError`."""
    if options.name is not None and options.into_dir is not None:
        raise InvalidSpec("--name and --into-dir cannot be given together", hint="They are two places")
    if options.into_dir == "":
        raise InvalidSpec("--into-dir: `` is not a folder", hint="Name a folder that is empty or not there yet")
    with environments(local_only=options.local_only) as found:
        known = found.look_up(text, where="ENV", is_pathspec=options.is_pathspec)
        lock = for_this_machine(found, text, arch=options.arch, is_pathspec=options.is_pathspec)
        if options.install_notebook:
            lock = with_ipykernel(found.wiring, lock, user=get_username() or "unknown")
        prefix, activate, variables = _made(found, known, lock, options)
        kernel = None
        if options.install_notebook:
            shown = text.removeprefix("step:")
            kernel = install_kernel(
                prefix,
                name=kernel_name(shown),
                display_name=f"Metaflow {shown}",
                variables=variables,
                force=options.force,
                runner=found.wiring.runner,
            )
    _print(text, lock, prefix, activate, kernel, options)


def _made(
    found: Environments, known: Found, lock: LockedEnvironment, options: CreateOptions
) -> tuple[Prefix, Path | None, dict[str, str]]:
    """Make the environment, and its code beside it where that is asked for."""
    wiring = found.wiring
    if options.name is None and options.into_dir is None:
        return wiring.hydrator.ready(lock) or _hydrated(wiring, lock), None, {}
    place = place_in(Path(options.into_dir)) if options.into_dir else named_place(wiring.folders, options.name or "")
    prefix = existing(lock, place, force=options.force, exist_ok=options.exist_ok)
    if prefix is None:
        with hydration(lock) as events:
            prefix = make(wiring, lock, place, events=events)
    variables = {}
    if options.into_dir and isinstance(known.ref, ByPathspec):
        from mfenv.metaflow.past_code import unpack_code

        code = unpack_code(known.ref, place.folder, strict=options.strict, where="ENV")
        variables = {**code.variables, "PYTHONPATH": os.pathsep.join(map(str, (place.folder, *code.python_path)))}
    return prefix, write_activation(prefix, place, variables), variables


def _hydrated(wiring: Wiring, lock: LockedEnvironment) -> Prefix:
    with hydration(lock) as events:
        return wiring.hydrator.hydrate(lock, events)


def _print(
    text: str,
    lock: LockedEnvironment,
    prefix: Prefix,
    activate: Path | None,
    kernel: Path | None,
    options: CreateOptions,
) -> None:
    if options.as_json:
        showing.document(
            {
                "env": text,
                "full_id": lock.id,
                "arch": lock.platform.value,
                "path": str(prefix.path),
                "python": str(prefix.python),
                "activate": str(activate) if activate else None,
                "kernel": kernel.name if kernel else None,
            }
        )
        return
    if options.is_quiet or current_scope().is_quiet:
        showing.say(str(prefix.python))
        return
    showing.say(f"{text} is at {prefix.path}")
    showing.say(f"  python:   {prefix.python}")
    if activate:
        showing.say(f"  activate: . {activate}")
    else:
        tell("  It is shared: make one of your own with --name or --into-dir before you change it.")
        showing.say(f"  use:      metaflow environment run {text} -- python")
    if kernel:
        showing.say(f"  kernel:   {kernel.name} (Metaflow {text.removeprefix('step:')})")
