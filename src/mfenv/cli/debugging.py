"""Making a folder in which a task of an earlier run is looked at."""

from __future__ import annotations

import json
import os
from pathlib import Path

from metaflow._vendor import click
from metaflow.util import get_username

from mfenv.app.environments import Environments
from mfenv.cli.finding import environments, tell
from mfenv.cli.reporting import hydration, looking
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.errors import InvalidSpec
from mfenv.hydrate.prefix import Prefix
from mfenv.metaflow.debugging.folder import claim, fill
from mfenv.metaflow.debugging.notebook import Kernel
from mfenv.metaflow.debugging.past_task import PastTask, past_task
from mfenv.metaflow.known import ids_of_task
from mfenv.metaflow.past_code import PastCode, unpack_code

_FOLDER_OPTION = "--metaflow-root-dir"


def debug_task(
    pathspec: str,
    *,
    folder: str,
    inspects: bool,
    environment: str | None,
    of_step: str | None,
    with_notebook: bool,
    as_json: bool,
) -> None:
    """Make a script and, if wanted, a notebook for a task, and tell where they are. Raises `EnvironmentsError`."""
    if environment and of_step:
        raise InvalidSpec(
            "--override-env and --override-env-from-pathspec both name an environment", hint="Use one of them"
        )
    root = Path(os.path.abspath(Path(folder).expanduser()))  # noqa: PTH100
    with environments() as found:
        with looking(f"Looking for {pathspec}"):
            task = past_task(pathspec, where="PATHSPEC")
        if inspects and not task.has_ended:
            raise InvalidSpec(
                f"PATHSPEC: the task `{task.pathspec}` did not end, so that there is no state after it",
                hint="Leave --inspect away to see the state before it",
            )
        lock = _environment(found, task, environment, of_step)
        claim(root, where=_FOLDER_OPTION)
        with looking("Fetching the code of the run"):
            code = unpack_code(task.ref, root, strict=False, where="PATHSPEC")
        if not code.is_package:
            tell(f"The run kept no code package: {code.flow_file} is used as it is now, with this Metaflow.")
        prefix, kernel = _with_kernel(found, lock, task, code) if with_notebook else (_prefix(found, lock), None)
        made = fill(root, task, code, inspects=inspects, kernel=kernel, where="PATHSPEC")
    if as_json:
        click.echo(
            json.dumps(
                {
                    "pathspec": task.pathspec,
                    "inspect": inspects,
                    "folder": str(root),
                    "script": str(made.script),
                    "notebook": str(made.notebook) if made.notebook else None,
                    "kernel": kernel.name if kernel else None,
                    "python": str(prefix.python),
                    "environment": prefix.lock_id,
                    "flow_file": str(code.flow_file),
                    "code_package": code.is_package,
                },
                indent=2,
            )
        )
        return
    click.echo(f"{task.pathspec} as it was {'after' if inspects else 'before'} it ran:")
    if made.notebook and kernel:
        click.echo(f"  notebook  {made.notebook}  (kernel {kernel.display_name})")
    click.echo(f"  script    {made.script}")
    click.echo(f"  python    {prefix.python}")


def _environment(
    found: Environments, task: PastTask, environment: str | None, of_step: str | None
) -> LockedEnvironment:
    if environment:
        return found.find(environment, where="--override-env", platform=Platform.host())
    if of_step:
        where = "--override-env-from-pathspec"
        return found.find(of_step, where=where, platform=Platform.host(), is_pathspec=True)
    if ids_of_task(task.pathspec) is None:
        raise InvalidSpec(
            f"PATHSPEC: the task `{task.pathspec}` did not run in an environment of this package",
            hint="Name one with --override-env or --override-env-from-pathspec",
        )
    return found.find(task.pathspec, where="PATHSPEC", platform=Platform.host(), is_pathspec=True)


def _prefix(found: Environments, lock: LockedEnvironment) -> Prefix:
    hydrator = found.wiring.hydrator
    if hydrator.ready(lock):
        return hydrator.hydrate(lock)
    with hydration(lock) as events:
        return hydrator.hydrate(lock, events)


def _with_kernel(found: Environments, lock: LockedEnvironment, task: PastTask, code: PastCode) -> tuple[Prefix, Kernel]:
    from mfenv.app.jupyter import install_kernel, kernel_name, with_ipykernel

    prefix = _prefix(found, with_ipykernel(found.wiring, lock, user=get_username() or "unknown"))
    kernel = Kernel(name=kernel_name(f"debug_{task.pathspec}"), display_name=f"Metaflow debug {task.pathspec}")
    variables = {
        **task.variables,
        **code.variables,
        # For a notebook that is not run where it is.
        "PYTHONPATH": os.pathsep.join(map(str, dict.fromkeys((code.folder, *code.python_path)))),
        "PYTHONNOUSERSITE": "1",
    }
    install_kernel(prefix, name=kernel.name, display_name=kernel.display_name, variables=variables)
    return prefix, kernel
