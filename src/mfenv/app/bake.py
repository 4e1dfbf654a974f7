"""Images that bring environments: what a node would fetch is there already.

An image is made as a node makes environments: by `mfenv.bootstrap`, of files that lie beside it, without a network. So
what is in the image is what a task would have made there, and is recognised by the same look.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mfenv.app.oci_base import ARCHITECTURES, opened_base
from mfenv.app.oci_image import write_image
from mfenv.app.wiring import Wiring
from mfenv.domain.assignment import Locked
from mfenv.domain.digest import RequestKey
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.errors import EnvironmentsError, HydrationFailed, InvalidSpec
from mfenv.formats import metadata_file
from mfenv.formats.metadata_file import FlowMetadata
from mfenv.hydrate.plan import archive_path
from mfenv.hydrate.prefix import ready_prefix
from mfenv.hydrate.pypi import site_packages_of
from mfenv.io.files import remove_tree, write_atomically
from mfenv.store.backends.local import LocalBlobStore
from mfenv.store.packages import PackageStore

CONTEXT = "/mfenv-bake"
"""Where the files lie while an image is built; nothing of it stays."""
PATH = "/opt/mfenv"
"""Where environments are in an image, if nobody says otherwise."""
_NODE_PATH = "METAFLOW_CONDA_NODE_PATH"
# As after FROM, where a space or a line's end would begin something else.
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")


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

    It is built without a network, on any machine that can run `base`. Raises `InvalidSpec`, also for environments of
    several platforms, `HydrationFailed` and `StoreError`; then nothing of the folder is left.
    """
    platform = _platform_of(locks)
    _refuse_paths_that_are_not_plain(path)
    if not _IMAGE.fullmatch(base):
        raise InvalidSpec(f"--base: `{base}` is not the name of an image", hint="Give one such as python:3.12-slim")
    with _written(folder) as output:
        _fill(wiring, locks, platform, output / "context", location=f"{CONTEXT}/store")
        write_atomically(output / "Dockerfile", _dockerfile(len(locks), platform, base, path).encode())
    return Baked(folder=output, locks=tuple(locks), path=path)


def write_layout(
    wiring: Wiring, locks: Sequence[LockedEnvironment], folder: Path, *, base: Path | None, path: str = PATH
) -> Baked:
    """Write an image in the OCI layout to `folder`, upon the one in the layout at `base`, without Docker.

    The environments are made at `path` on this machine meanwhile. Raises `InvalidSpec`, also where that cannot be, and
    `HydrationFailed`; then nothing of the image is left.
    """
    platform = _platform_of(locks)
    _refuse_paths_that_are_not_plain(path)
    if platform is not Platform.host():
        raise InvalidSpec(
            f"an image for {platform.value} cannot be made on {Platform.host().value} without building it there",
            hint="Use --format dockerfile, which is built where such images run",
        )
    with (
        opened_base(base, platform) as below,
        _place(Path(path)) as place,
        _written(folder) as output,
        TemporaryDirectory(prefix="mfenv-bake-") as work,
    ):
        if output.resolve().is_relative_to(place.resolve()):
            raise InvalidSpec(f"`{folder}` is below --path, where the environments are", hint="Give another --output")
        trees = _make(wiring, locks, place, Path(work).resolve())
        variables = {_NODE_PATH: path}
        digest = write_image(output, place, trees, platform=platform, variables=variables, base=below)
    return Baked(folder=output, locks=tuple(locks), path=path, digest=digest)


def _make(wiring: Wiring, locks: Sequence[LockedEnvironment], place: Path, context: Path) -> list[Path]:
    """Make environments below `place`, as a node would, of files that are put into `context`; return their folders."""
    _fill(wiring, locks, Platform.host(), context, location=str(context / "store"))
    for number, lock in enumerate(locks):
        variables = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        done = subprocess.run(
            ["/bin/sh", "-c", _ENTER.format(python=shlex.quote(sys.executable))],
            env={"PATH": os.defpath, **variables, **_variables(number, str(context), str(place))},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode or ready_prefix(place / "envs" / lock.id, lock.id) is None:
            raise HydrationFailed(
                f"the environment `{lock.id}` could not be made at `{place}`",
                hint="Check the room there, or use --format dockerfile",
                output=done.stderr,
            )
    trees = [place / "envs" / lock.id for lock in locks]
    for tree, lock in zip(trees, locks, strict=True):
        _forget_times(tree / site_packages_of(lock))
    return trees


def _forget_times(site_packages: Path) -> None:
    """Take away what uv (0.13) notes of when a wheel came here, so that the same lock gives the same image."""
    for path in site_packages.glob("*.dist-info/uv_cache.json"):
        record = path.with_name("RECORD")
        named = f"{path.parent.name}/{path.name},".encode()
        lines = record.read_bytes().splitlines(keepends=True)
        write_atomically(record, b"".join(line for line in lines if not line.startswith(named)))
        path.unlink()


@contextlib.contextmanager
def _place(path: Path) -> Iterator[Path]:
    """Give an empty folder at `path`, and take it and all in it away afterwards. Raises `InvalidSpec`."""
    with _empty(path, option="--path", hint="Give a --path that you may write to, or use --format dockerfile"):
        try:
            yield path
        finally:
            # It may be theirs who may not make it anew.
            for one in path.iterdir():
                remove_tree(one)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[Path]:
    """Give an empty folder at `path` to write to; when that fails, nothing stays. Raises `InvalidSpec`."""
    path = path.absolute()
    with _empty(path, option="--output", hint="Give another --output"):
        try:
            yield path
        except BaseException:
            for one in path.iterdir():
                remove_tree(one)
            raise


@contextlib.contextmanager
def _empty(path: Path, *, option: str, hint: str) -> Iterator[None]:
    """Have an empty folder at `path`; what was made on the way there is taken away again if it is empty at the end."""
    missing = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
    try:
        if not missing and (not path.is_dir() or any(path.iterdir())):
            raise InvalidSpec(
                f"{option}: `{path}` is there already, and is not empty", hint=f"Remove it, or give another {option}"
            )
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise InvalidSpec(f"{option}: `{path}` cannot be written to: {error.strerror}", hint=hint) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for folder in missing:
                folder.rmdir()


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
    if not path.startswith("/") or shlex.quote(path) != path or os.path.normpath(path) != path or path == "/":
        raise InvalidSpec(
            f"--path: `{path}` is not a folder for environments", hint="Give an absolute path, such as /opt/mfenv"
        )


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
        _NODE_PATH: path,
    }


def _dockerfile(count: int, platform: Platform, base: str, path: str) -> str:
    """Return the build: made in one stage, and taken into another, where nothing of the files stays."""
    architecture = f"linux/{ARCHITECTURES[platform]}"
    lines = [
        "# Environments of Metaflow steps, ready to use: build it with `docker build .`, without a network.",
        f"FROM --platform={architecture} {base} AS made",
        # Images may have another user, who may not write there.
        "USER root",
        f"COPY context {CONTEXT}",
    ]
    for number in range(count):
        variables = " ".join(f"{name}={value}" for name, value in _variables(number, CONTEXT, path).items())
        python = "$(command -v python3 || command -v python)"
        lines.append(f"RUN export {variables}; {_ENTER.format(python=python)}")
    lines += [
        f"FROM --platform={architecture} {base}",
        f"COPY --from=made {path}/envs {path}/envs",
        f"ENV {_NODE_PATH}={path}",
    ]
    return "\n".join(lines) + "\n"
