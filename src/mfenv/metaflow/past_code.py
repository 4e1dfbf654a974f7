"""The code that a task of an earlier run had: its flow, its Metaflow, its extensions.

Metaflow unpacks such a package with whatever is in it. It comes from a store that others write to, and lands in a
folder that the user names: here, nothing but files and folders below that folder is made.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from metaflow.client.core import Run, Task
from metaflow.client.filecache import FileCache
from metaflow.exception import MetaflowException
from metaflow.metaflow_environment import MetaflowEnvironment
from metaflow.packaging_sys import ContentType, MetaflowCodeContent
from metaflow.packaging_sys.v1 import MetaflowCodeContentV1

from mfenv.domain.reference import ByPathspec
from mfenv.errors import HydrationFailed, InvalidSpec, StoreError
from mfenv.metaflow.known import task_of

_INFO = (".mf_meta/INFO", "INFO")
_OF_METAFLOW = ContentType.CODE_CONTENT.value | ContentType.MODULE_CONTENT.value | ContentType.OTHER_CONTENT.value
_DAMAGED = (
    MetaflowException,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    StopIteration,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastCode:
    """Code of a task, in a folder."""

    folder: Path
    """Absolute."""
    flow_file: Path
    python_path: tuple[Path, ...]
    """Where Python finds the flow's modules, Metaflow and its extensions."""
    variables: Mapping[str, str]
    """What else a process needs to have Metaflow find its package."""
    files: tuple[str, ...]
    """What was put into the folder, relative to it."""
    is_package: bool
    """Whether it is what the run had; otherwise it is the flow's file as it is now, and the Metaflow at hand."""


def unpack_code(ref: ByPathspec, folder: Path, *, strict: bool, where: str) -> PastCode:
    """Put the code of a step's task, as named at `where`, into `folder`, which is made where it is not there.

    Metaflow keeps a code package of runs with remote steps, and of all runs where it is configured to. Of other runs,
    unless `strict`, this gives the flow's file where it was (not copied), and the Metaflow and extensions of this
    process. Raises `InvalidSpec` for a task that is not there or has no code, `StoreError` for a package that cannot
    be read or holds what would land outside of `folder`, `HydrationFailed` for a folder that cannot be written.
    """
    task = task_of(ref, where=where)
    folder = folder.absolute()
    package = _package_of(task, where)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if package is not None:
            return _unpacked(package, folder, ref, where)
        if strict:
            raise InvalidSpec(
                f"{where}: the run `{ref.flow}/{task.path_components[1]}` kept no code package",
                hint="Metaflow keeps one of runs with remote steps, and of each run that is started with "
                "METAFLOW_FEAT_ALWAYS_UPLOAD_CODE_PACKAGE=1",
            )
        return _as_it_is_now(task, folder, ref, where)
    except OSError as error:
        raise HydrationFailed(f"{where}: code cannot be put into `{folder}`", output=str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Package:
    """A code package, as it lies in the store."""

    content: bytes
    version: int
    """Of its layout."""


def _package_of(task: Task, where: str) -> _Package | None:
    """Return the package of a task; that of its run where only other tasks noted it."""
    try:
        noted = task.metadata_dict.get("code-package") or _noted_in_run(task)
        if not noted:
            return None
        found = json.loads(noted)
        # Metaflow 2.16.0 has no other way: its `Task.code` cannot read its own packages.
        _, content = FileCache().get_data(found["ds_type"], task.path_components[0], found["location"], found["sha"])
        layout = json.loads(found.get("metadata") or "{}")
        return _Package(content=content, version=int(layout.get("mfcontent_version", 0)))
    except (*_DAMAGED, OSError) as error:
        raise StoreError(
            f"{where}: the code package of `{task.pathspec}` cannot be read",
            hint="Check that the datastore of the run can be reached",
            output=f"{type(error).__name__}: {error}",
        ) from error


def _noted_in_run(task: Task) -> str | None:
    run = Run("/".join(task.path_components[:2]), _namespace_check=False)
    tasks = (next(iter(step), None) for step in run)
    return next((noted for one in tasks if one and (noted := one.metadata_dict.get("code-package"))), None)


def _unpacked(package: _Package, folder: Path, ref: ByPathspec, where: str) -> PastCode:
    try:
        with tarfile.open(fileobj=io.BytesIO(package.content), mode="r:gz") as archive:
            members = archive.getmembers()
            for member in members:
                _check(member, where)
            script = _script(archive)
            _check_name(script, where)
            for member in members:
                _write(archive, member, folder)
        if not (folder / script).is_file():
            raise KeyError(script)
        files = tuple(sorted(str(PurePosixPath(member.name)) for member in members if member.isfile()))
        return _in(folder, folder / script, package.version, files, is_package=True)
    except _DAMAGED as error:
        raise StoreError(
            f"{where}: the code package of `{ref}` is damaged", output=f"{type(error).__name__}: {error}"
        ) from error


def _script(archive: tarfile.TarFile) -> str:
    """Return the name of the flow's file."""
    name = next(name for name in _INFO if name in archive.getnames())
    content = archive.extractfile(name)
    if content is None:
        raise KeyError(name)
    return str(json.load(content)["script"])


def _check(member: tarfile.TarInfo, where: str) -> None:
    _check_name(member.name, where)
    if not (member.isfile() or member.isdir()):
        # Metaflow packs what links point to.
        raise StoreError(f"{where}: the code package holds `{member.name}`, which is neither a file nor a folder")


def _check_name(name: str, where: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name or not name:
        raise StoreError(f"{where}: the code package holds `{name!r}`, which lies outside of it")


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    target = folder / member.name
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    assert content is not None
    # A link that somebody put there is replaced and not followed.
    target.unlink(missing_ok=True)
    target.write_bytes(content.read())
    if member.mode & 0o100:
        target.chmod(0o755)


def _in(folder: Path, flow_file: Path, version: int, files: tuple[str, ...], *, is_package: bool) -> PastCode:
    """Tell how code in `folder`, laid out by a version of Metaflow's packages, is used."""
    variables = MetaflowCodeContent.get_post_extract_env_vars(version, str(folder))
    metaflow = Path(variables.pop("PYTHONPATH", str(folder)))
    return PastCode(
        folder=folder,
        flow_file=flow_file,
        python_path=tuple(dict.fromkeys((metaflow, flow_file.parent))),
        variables={name.removesuffix(":"): value for name, value in variables.items()},
        files=files,
        is_package=is_package,
    )


def _as_it_is_now(task: Task, folder: Path, ref: ByPathspec, where: str) -> PastCode:
    places = _flow_files(task)
    flow_file = next((place for place in places if place.is_file()), None)
    if flow_file is None:
        looked = ", ".join(f"`{place}`" for place in places) or "nowhere: the task does not tell its file's name"
        raise InvalidSpec(
            f"{where}: the run of `{ref}` kept no code package, and its flow's file is not there any more",
            hint=f"Call this where the flow's file is (looked at {looked}), or start runs with "
            "METAFLOW_FEAT_ALWAYS_UPLOAD_CODE_PACKAGE=1",
        )
    content = MetaflowCodeContentV1(criteria=_goes_with_metaflow)
    info = MetaflowEnvironment(None).get_environment_info(include_ext_info=True)
    content.add_info({**info, "script": flow_file.name})
    content.add_config({})
    files = []
    for value, name in content.contents(_OF_METAFLOW):
        files.append(name)
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_bytes(value if isinstance(value, bytes) else Path(value).read_bytes())
    return _in(folder, flow_file, 1, tuple(sorted(files)), is_package=False)


def _goes_with_metaflow(module: Any) -> bool:
    """Tell whether a module asks to be packed together with Metaflow, as this package does."""
    return bool(getattr(module, "__dict__", {}).get("METAFLOW_PACKAGE_POLICY") == "include")


def _flow_files(task: Task) -> list[Path]:
    """Return where the file of a task's flow may be: where it was, then here."""
    found: list[str] = []
    try:
        step = task["_graph_info"].data["steps"][task.path_components[2]]
        found.append(step.get("source_file") or "")
        found.append(task["_graph_info"].data.get("file") or "")
    except (MetaflowException, KeyError, TypeError, AttributeError):
        # A task that was killed left nothing; and not all versions of Metaflow note this.
        pass
    found.append(task.metadata_dict.get("script-name") or "")
    return [Path(name).absolute() for name in dict.fromkeys(found) if name.endswith(".py")]
