"""Images that bring environments: what a node would fetch is there already.

An image is made as a node makes environments: by `mfenv.bootstrap`, of files that lie beside it, without a network. So
what is in the image is what a task would have made there, and is recognised by the same look.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mfenv.app.wiring import Wiring
from mfenv.domain.assignment import Locked
from mfenv.domain.digest import RequestKey
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.errors import EnvironmentsError, HydrationFailed, InvalidSpec
from mfenv.formats import metadata_file
from mfenv.formats.metadata_file import FlowMetadata
from mfenv.hydrate.plan import archive_path
from mfenv.io.files import write_atomically
from mfenv.store.backends.local import LocalBlobStore
from mfenv.store.packages import PackageStore

CONTEXT = "/mfenv-bake"
"""Where the files lie while an image is built; nothing of it stays."""
PATH = "/opt/mfenv"
"""Where environments are in an image, if nobody says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baked:
    """What was written."""

    folder: Path
    locks: tuple[LockedEnvironment, ...]
    path: str
    """Where the environments are, or will be, in the image."""
    digest: str = ""
    """The image's, where it was made here."""


def write_context(
    wiring: Wiring, locks: Sequence[LockedEnvironment], folder: Path, *, base: str, path: str = PATH
) -> Baked:
    """Write a folder from which ``docker build`` makes an image upon `base`, with environments below `path`.

    It is built without a network, on any machine that can run `base`. Raises `InvalidSpec` for environments of several
    platforms, `HydrationFailed` and `StoreError`.
    """
    platform = _platform_of(locks)
    _refuse_paths_that_are_not_plain(path)
    folder = _fresh(folder)
    _fill(wiring, locks, platform, folder / "context", location=f"{CONTEXT}/store")
    write_atomically(folder / "Dockerfile", _dockerfile(len(locks), platform, base, path).encode())
    return Baked(folder=folder, locks=tuple(locks), path=path)


def make_here(wiring: Wiring, locks: Sequence[LockedEnvironment], path: Path, work: Path) -> list[Path]:
    """Make environments below `path` on this machine, as a node would, of files that are put below `work`.

    Return their folders. Raises `HydrationFailed`.
    """
    platform = _platform_of(locks)
    _refuse_paths_that_are_not_plain(str(path))
    if platform is not Platform.host():
        raise InvalidSpec(
            f"an image for {platform.value} cannot be made on {Platform.host().value} without building it there",
            hint="Use --format dockerfile, which is built where such images run",
        )
    context = _fresh(work)
    _fill(wiring, locks, platform, context, location=str(context / "store"))
    for number, lock in enumerate(locks):
        done = subprocess.run(
            ["/bin/sh", "-c", _ENTER.format(python=shlex.quote(sys.executable))],
            env={"PATH": os.environ.get("PATH", os.defpath), **_variables(number, str(context), str(path))},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise HydrationFailed(
                f"the environment `{lock.id}` could not be made at `{path}`",
                hint="Give a --path that you may write to on this machine, or use --format dockerfile",
                output=done.stderr,
            )
    return [path / "envs" / lock.id for lock in locks]


def _platform_of(locks: Sequence[LockedEnvironment]) -> Platform:
    platforms = {lock.platform for lock in locks}
    if len(platforms) != 1:
        named = ", ".join(sorted(one.value for one in platforms))
        raise InvalidSpec(f"an image is for one platform, and these environments are for {named}", hint="Use --arch")
    (platform,) = platforms
    if not platform.is_linux:
        raise InvalidSpec(
            f"there are no images for {platform.value}", hint="Choose an environment for linux-64 or linux-aarch64"
        )
    return platform


def _refuse_paths_that_are_not_plain(path: str) -> None:
    if not path.startswith("/") or shlex.quote(path) != path or path.rstrip("/") == "":
        raise InvalidSpec(
            f"--path: `{path}` is not a folder for environments", hint="Give an absolute path, such as /opt/mfenv"
        )


def _fresh(folder: Path) -> Path:
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidSpec(f"`{folder}` is there already, and is not empty", hint="Give another --output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidSpec(f"`{folder}` cannot be made: {error.strerror}", hint="Give another --output") from error
    return folder


def _fill(
    wiring: Wiring, locks: Sequence[LockedEnvironment], platform: Platform, folder: Path, *, location: str
) -> None:
    """Write all that the bootstrap needs into `folder`, which will be seen with its store at `location`."""
    store = LocalBlobStore(folder / "store")
    packages = {artifact: None for lock in locks for artifact in lock.artifacts}
    wiring.supplier.supply(list(packages))
    wiring.installer.fetch(list(packages))
    PackageStore(store, wiring.layout).put({one: archive_path(one, wiring.folders.archives) for one in packages})
    tools = wiring.toolchains.find(platform)
    replace(wiring.toolchains, shared=lambda: store).publish(tools)
    compiler = replace(wiring.bytecode, shared=lambda: store)
    for lock in locks:
        # Without it, only first imports are slower.
        try:
            compiler.publish(lock)
        except EnvironmentsError:
            continue
    key = RequestKey("0" * 40)
    metadata = FlowMetadata(
        steps={str(n): Locked(request=key, lock=lock.id, platform=platform) for n, lock in enumerate(locks)},
        locks={lock.id: lock for lock in locks},
        store=replace(wiring.location_of(store), root=location),
        toolchains=(tools,),
    )
    write_atomically(folder / ".mf_meta" / "conda_v2.cnd", metadata_file.dump(metadata))
    source = Path(__file__).parents[1]
    shutil.copytree(source, folder / "code" / "mfenv", ignore=shutil.ignore_patterns("__pycache__", "testing", "*.pyc"))


_ENTER = 'E=$({python} -m mfenv.bootstrap) && eval "$E"'


def _variables(number: int, context: str, path: str) -> dict[str, str]:
    return {
        "MF_PATHSPEC": f"bake/1/{number}/1",
        "METAFLOW_EXTRACTED_ROOT": context,
        "PYTHONPATH": f"{context}/code",
        "METAFLOW_CONDA_NODE_PATH": path,
    }


def _dockerfile(count: int, platform: Platform, base: str, path: str) -> str:
    """Return the build: made in one stage, and taken into another, where nothing of the files stays."""
    architecture = {"linux-64": "linux/amd64", "linux-aarch64": "linux/arm64"}[platform.value]
    lines = [
        "# Environments of Metaflow steps, ready to use: build it with `docker build .`, without a network.",
        f"FROM --platform={architecture} {base} AS made",
        f"COPY context {CONTEXT}",
    ]
    for number in range(count):
        variables = " ".join(f"{name}={value}" for name, value in _variables(number, CONTEXT, path).items())
        python = "$(command -v python3 || command -v python)"
        lines.append(f"RUN export {variables}; {_ENTER.format(python=python)}")
    lines += [
        f"FROM --platform={architecture} {base}",
        f"COPY --from=made {path}/envs {path}/envs",
        f"ENV METAFLOW_CONDA_NODE_PATH={path}",
    ]
    return "\n".join(lines) + "\n"
