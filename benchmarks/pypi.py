"""How long it takes to resolve 60 PyPI packages and to make an environment of wheels, when all were here before.

Beside the times: uv alone on the same requirements (the floor), and a second run, for which the lock is there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from environments import settle_channel, wiring_in
from measure import Took, alternate, report, scratch, took, took_here

from mfenv.app.needs import metaflow_needs
from mfenv.app.wiring import Wiring
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import SpecLayer, complete
from mfenv.io.files import remove_tree
from mfenv.resolve.backends.uv import compile_arguments, find_uv
from mfenv.resolve.hybrid import pypi_request
from mfenv.testing.channel import built_channel

ROOTS = ("jupyterlab", "requests", "flask", "pandas", "boto3")
STACK = {"scikit-learn": "1.5.2", "pandas": "2.2.3", "matplotlib": "3.9.2", "scipy": "1.14.1", "numpy": "1.26.4"}


def request(wiring: Wiring, pypi: dict[str, str], conda: tuple[str, ...] = ()) -> ResolutionRequest:
    major, minor = map(int, built_channel().running.split("."))
    layer = SpecLayer(
        pypi=tuple(Requirement.parse(name, version, where="benchmark") for name, version in pypi.items()),
        conda=tuple(MatchSpec.parse(name, "", where="benchmark") for name in conda),
    )
    spec = complete(
        layer,
        default_python=PythonConstraint.minor(major, minor),
        default_channels=wiring.settings.channels,
        needs=metaflow_needs("local"),
    )
    return ResolutionRequest(spec=spec, target=wiring.settings.target(Platform.host()))


def uv_alone(wiring: Wiring, asked: ResolutionRequest) -> Took:
    """Have uv resolve the same requirements with the same cache, without conda's word."""
    answer = wiring.resolver.conda.resolve(asked)  # type: ignore[attr-defined]
    arguments = compile_arguments(pypi_request(asked, answer, (), may_build=True))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "requirements.in").write_text("".join(f"{wanted}\n" for wanted in asked.spec.pypi))
        environment = {**os.environ, "UV_CACHE_DIR": str(wiring.folders.uv_cache)}
        command = [find_uv(), *arguments, "--format", "pylock.toml", "-o", "pylock.toml", "requirements.in"]
        return took(command, environment, folder)


def resolve(wiring: Wiring, asked: ResolutionRequest) -> Took:
    return took_here(lambda: wiring.resolver.resolve(asked))


def known(wiring: Wiring, asked: ResolutionRequest) -> Took:
    assert wiring.locker("benchmark").known([asked])
    return took_here(lambda: wiring.locker("benchmark").known([asked]))


def locked(wiring: Wiring, asked: ResolutionRequest) -> LockedEnvironment:
    lock = wiring.locker("benchmark").resolve([asked])[asked]
    if isinstance(lock, Exception):
        raise lock
    return lock


def create(wiring: Wiring, lock: LockedEnvironment) -> Took:
    remove_tree(wiring.folders.prefix(lock.id))
    return took_here(lambda: wiring.hydrator.hydrate(lock))


def uv_install(wiring: Wiring, lock: LockedEnvironment, folder: Path) -> Took:
    """Have uv alone put the same wheels into a virtual environment, which is made before."""
    shutil.rmtree(folder, ignore_errors=True)
    environment = {**os.environ, "UV_CACHE_DIR": str(wiring.folders.uv_cache)}
    subprocess.run([find_uv(), "venv", "--quiet", str(folder)], env=environment, check=True)
    pinned = [f"{package.name}=={package.version}" for package in lock.pypi]
    command = [find_uv(), "pip", "install", "--quiet", "--no-deps", "--python", str(folder), *pinned]
    return took(command, environment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    settle_channel()
    with scratch() as folder:
        wiring = wiring_in(folder / "local", folder / "store")
        asked = request(wiring, dict.fromkeys(ROOTS, ""))
        lock = locked(wiring, asked)
        results = alternate(
            {
                "uv alone": lambda: uv_alone(wiring, asked),
                "resolve": lambda: resolve(wiring, asked),
                "second run": lambda: known(wiring, asked),
            },
            rounds=options.rounds,
        )
        report(f"{len(lock.pypi)} PyPI packages, caches warm", results, base="uv alone")
        stack = locked(wiring, request(wiring, STACK))
        size = sum(package.artifact.size or 0 for package in stack.pypi) / 1e6
        wiring.hydrator.hydrate(stack)
        made = alternate(
            {
                "uv alone, wheels only": lambda: uv_install(wiring, stack, folder / "venv"),
                "create": lambda: create(wiring, stack),
            },
            rounds=options.rounds,
        )
        report(
            f"An environment of {len(stack.pypi)} wheels ({size:.0f} MB packed), {len(stack.packages)} conda packages",
            made,
            base="uv alone, wheels only",
        )
        wiring.worker.close()


if __name__ == "__main__":
    main()
