"""Kernels: an environment with what Jupyter needs in it, and the note by which Jupyter finds it.

The note is written by ipykernel and jupyter_client of the environment itself, which know where this user's Jupyter
looks (JUPYTER_DATA_DIR and so on) and how a kernel is started.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mfenv.app.request import request_of
from mfenv.app.resolve_files import resolve
from mfenv.app.wiring import Wiring
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.python import PythonConstraint
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import SpecLayer
from mfenv.errors import HydrationFailed, InvalidSpec, ResolutionFailed
from mfenv.hydrate.prefix import Prefix
from mfenv.io.process import ProcessRunner, SystemProcessRunner
from mfenv.resolve.satisfies import may_hold_python

KERNEL = "ipykernel"
_TIME_LIMIT = 120.0

# Run by the environment's own Python (3.7 and later); it answers with one line of JSON.
_INSTALL = """
import fcntl, json, os, sys
asked = json.loads(sys.argv[1])
from jupyter_client.kernelspec import KernelSpecManager
from ipykernel.kernelspec import install
kernels = KernelSpecManager().user_kernel_dir
os.makedirs(kernels, exist_ok=True)
folder = os.path.join(kernels, asked["name"])
try:
    # Two that write the same kernel at once would find each other's files half there; ends with this process.
    fcntl.flock(os.open(kernels, os.O_RDONLY), fcntl.LOCK_EX)
except OSError:
    pass
path = os.path.join(folder, "kernel.json")
try:
    with open(path, encoding="utf-8") as file:
        there = json.load(file)
except (OSError, ValueError):
    there = None
if os.path.lexists(folder) and not asked["force"]:
    if "mfenv" not in ((there or {}).get("metadata") or {}):
        print(json.dumps({"taken": folder}))
        sys.exit()
install(user=True, kernel_name=asked["name"], display_name=asked["display_name"])
with open(path, encoding="utf-8") as file:
    spec = json.load(file)
spec["env"] = dict(spec.get("env") or {}, **asked["env"])
spec["metadata"] = dict(spec.get("metadata") or {}, mfenv=asked["mfenv"])
with open(path + ".new", "w", encoding="utf-8") as file:
    json.dump(spec, file, indent=1, sort_keys=True)
os.replace(path + ".new", path)
print(json.dumps({"folder": folder}))
"""


def kernel_name(shown: str) -> str:
    """Return the name of the kernel of an environment that is called `shown`.

    >>> kernel_name("team/env:v1.2")
    'mf_team_env_v1_2'
    """
    return "mf_" + re.sub(r"[^a-z0-9_]", "_", shown.lower())


def with_ipykernel(wiring: Wiring, lock: LockedEnvironment, *, user: str) -> LockedEnvironment:
    """Return an environment that a kernel can run in: `lock`, or what builds upon it and has ipykernel besides.

    What is in `lock` stays as it is. ipykernel comes from the side that the other Python packages are from, or else
    from the other. Raises `EnvironmentsError`.
    """
    if lock.find(KERNEL) or any(package.name == KERNEL for package in lock.pypi):
        return lock
    has_modules = any(may_hold_python(package.record) and package.name not in _BARE for package in lock.packages)
    conda = SpecLayer(conda=(MatchSpec(name=KERNEL),))
    pypi = SpecLayer(pypi=(Requirement(name=KERNEL),))
    first, second = (conda, pypi) if has_modules or not lock.pypi else (pypi, conda)
    try:
        return _upon(wiring, lock, first, user)
    except ResolutionFailed as failure:
        try:
            return _upon(wiring, lock, second, user)
        except ResolutionFailed:
            raise failure from None


_BARE = frozenset({"python", "python_abi", "pip", "setuptools", "wheel"})


def _upon(wiring: Wiring, lock: LockedEnvironment, layer: SpecLayer, user: str) -> LockedEnvironment:
    request = request_of(
        layer,
        wiring.settings,
        lock.platform,
        default_python=PythonConstraint.minor(*sys.version_info[:2]),
        needs=(),
        base=lock,
    )
    (found,) = resolve(wiring.locker(user), [request])
    return found.lock


def install_kernel(
    prefix: Prefix,
    *,
    name: str,
    display_name: str,
    variables: Mapping[str, str] | None = None,
    force: bool = False,
    runner: ProcessRunner | None = None,
) -> Path:
    """Let this user's Jupyter know of the kernel in `prefix`; return the folder of the note.

    The kernel has the environment's own variables, and `variables` over them. Raises `InvalidSpec` when a kernel of
    that name is there that somebody else made, unless `force`, and `HydrationFailed` when it cannot be written.
    """
    environment = {**prefix.environment({}), **(variables or {})}
    asked = {
        "name": name,
        "display_name": display_name,
        # Lists of folders are told whole, since Jupyter replaces what is there.
        "env": {**environment, "PATH": f"{environment.get('PATH', str(prefix.path / 'bin'))}:${{PATH}}"},
        "mfenv": {"lock": prefix.lock_id, "prefix": str(prefix.path)},
        "force": force,
    }
    done = (runner or SystemProcessRunner()).run(
        [str(prefix.python), "-I", "-c", _INSTALL, json.dumps(asked)],
        environment=dict(prefix.environment({})),
        folder=prefix.path,
        timeout=_TIME_LIMIT,
    )
    answer = _answer(done.output)
    if taken := answer.get("taken"):
        raise InvalidSpec(
            f"a kernel `{name}` is there already, and was not made by this package: `{taken}`",
            hint="Add --force to replace it, or remove it with `jupyter kernelspec uninstall`",
        )
    if done.code or done.timed_out or "folder" not in answer:
        last = done.errors.strip().splitlines()[-1:] or ["it did not end in time" if done.timed_out else "no answer"]
        raise HydrationFailed(
            f"the kernel `{name}` cannot be installed: {last[0]}",
            hint="Check the rights on Jupyter's data folder (JUPYTER_DATA_DIR); the environment itself is there: "
            f"`{prefix.path}`",
        )
    return Path(answer["folder"])


def _answer(output: str) -> dict[str, Any]:
    try:
        found = json.loads(output.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {}
    return found if isinstance(found, dict) else {}
