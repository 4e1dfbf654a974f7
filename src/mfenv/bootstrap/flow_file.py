"""What the code package says of the flow's environments: the part of ``conda_v2.cnd`` that a node needs.

Python 3.8 and the standard library only: see `mfenv.bootstrap`. Who writes it, and its whole shape: see
`mfenv.formats.metadata_file`.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

from mfenv.bootstrap.failure import BootstrapError

_SCHEMA = "mfenv/metadata/1"


class File(NamedTuple):
    """A file in the store, by what is in it."""

    name: str
    key: str
    sha256: str
    size: Optional[int]


class Store(NamedTuple):
    """Where the store is, and how its keys begin."""

    kind: str
    root: str
    packages: str
    toolchain: str
    environments: str


class FlowFile(NamedTuple):
    """The steps of a flow, their locks, and what makes environments of them."""

    steps: Dict[str, Any]
    locks: Dict[str, Any]
    store: Optional[Store]
    toolchains: Dict[str, Any]
    compiling: List[str]
    """The platforms whose environments their first tasks compile."""

    def assignment(self, step: str) -> Any:
        """Return what a step runs in: None for the image's own Python, a list, or an object for a late name.

        Containers that belong to no step, such as a scheduler's exit hooks, run in what ``start`` runs in, or in what
        it runs in before its parameters are known.
        """
        if step in self.steps:
            return self.steps[step]
        return self.before_start or self.steps.get("start")

    @property
    def before_start(self) -> Any:
        """What a start step runs in whose environment waits for parameters."""
        return self.steps.get("_parameters")

    def lock(self, assignment: List[str]) -> Any:
        """Return the lock that a step is assigned. Raises `BootstrapError`."""
        if assignment[1] not in self.locks:
            raise BootstrapError(
                "the code package does not have the environment `%s`" % assignment[1],
                hint="Launch or deploy the flow again",
            )
        return self.locks[assignment[1]]

    def wheels(self, platform_name: str) -> List[File]:
        """Return the wheels that make environments on a platform. Raises `BootstrapError`."""
        with _understood("toolchain"):
            return [self._tool(file, platform_name) for file in self._toolchain(platform_name)["wheels"]]

    def runtime(self, platform_name: str) -> File:
        """Return the archive of a Python for a platform, for images whose own is too old. Raises `BootstrapError`."""
        with _understood("toolchain"):
            return self._tool(self._toolchain(platform_name)["runtime"], platform_name)

    def bytecode(self, lock_id: str) -> str:
        """Return the key of the compiled modules of an environment."""
        assert self.store is not None
        return "%s/bytecode/%s/bytecode.tar.gz" % (self.store.environments, lock_id)

    def _tool(self, file: Any, platform_name: str) -> File:
        assert self.store is not None
        return _file(file, "%s%s/" % (self.store.toolchain, platform_name))

    def _toolchain(self, platform_name: str) -> Any:
        if platform_name not in self.toolchains:
            raise BootstrapError(
                "this flow was not launched for %s" % platform_name,
                hint="Launch or deploy it again with the machines that it is to run on",
            )
        return self.toolchains[platform_name]

    def choices(self, lock: Any) -> List[List[File]]:
        """Return the files of a lock; for each, those that will do, the better ones first. Raises `BootstrapError`."""
        with _understood("lock"):
            conda = [[*([one["converted"]] if "converted" in one else []), one["file"]] for one in lock["packages"]]
            pypi = [[one["file"]] for one in lock.get("pypi", [])]
            return [[self._package(file) for file in files] for files in conda + pypi]

    def _package(self, file: Any) -> File:
        assert self.store is not None
        return _file(file, "%s%s/" % (self.store.packages, file["sha256"][:2]))


def _file(fields: Any, prefix: str) -> File:
    name, sha256, size = fields["name"], fields["sha256"], fields.get("size")
    # They become paths on this machine.
    if not re.fullmatch(r"[0-9a-f]{64}", sha256) or not re.fullmatch(r"[^/\0]*[^/\0.][^/\0]*", name):
        raise ValueError("`%s` of digest `%s` is no file's name or no SHA-256" % (name, sha256))
    if size is not None and not isinstance(size, int):
        raise ValueError("`%s` is no size" % (size,))
    return File(name=name, key="%s%s/%s" % (prefix, sha256, name), sha256=sha256, size=size)


def read(path: str) -> FlowFile:
    """Read the metadata file of a code package. Raises `BootstrapError`."""
    with _understood("`%s`" % os.path.basename(path)):
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        if document["schema"] != _SCHEMA:
            raise ValueError("its schema is `%s`, not `%s`" % (document["schema"], _SCHEMA))
        node = document.get("node") or {}
        store = node.get("store")
        return _checked(
            FlowFile(
                steps=document["steps"],
                locks=document["locks"],
                store=Store(**store) if store else None,
                toolchains=node.get("toolchains", {}),
                compiling=node.get("compiling", []),
            )
        )


def _checked(flow: FlowFile) -> FlowFile:
    for step, assignment in flow.steps.items():
        if not _is_assignment(assignment, flow.locks):
            raise ValueError("the environment of step `%s` is malformed" % step)
    is_store = flow.store is None or all(isinstance(one, str) for one in flow.store)
    if not is_store or not isinstance(flow.toolchains, dict) or not isinstance(flow.compiling, list):
        raise ValueError("`node` is malformed")
    return flow


def _is_assignment(assignment: Any, locks: Any) -> bool:
    if isinstance(assignment, dict):
        name = assignment.get("name", assignment.get("pathspec"))
        return isinstance(name, str) and isinstance(assignment.get("platform"), str)
    if isinstance(assignment, list):
        is_whole = len(assignment) == 3 and all(isinstance(one, str) for one in assignment)
        return is_whole and isinstance(locks.get(assignment[1], {}), dict)
    return assignment is None


@contextlib.contextmanager
def _understood(what: str) -> Iterator[None]:
    """Turn what comes of an unexpected shape into an error that names the thing."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        words = str(error) if isinstance(error, (OSError, ValueError)) else "%s: %s" % (type(error).__name__, error)
        raise BootstrapError(
            "the code package's %s cannot be read: %s" % (what, words), hint="Launch or deploy the flow again"
        ) from error


def this_platform() -> str:
    """Return what conda calls this machine's platform."""
    system = {"Linux": "linux", "Darwin": "osx"}.get(platform.system(), platform.system().lower())
    machine = platform.machine().lower()
    names = {"x86_64": "64", "amd64": "64", "arm64": "aarch64"} if system == "linux" else {"x86_64": "64"}
    return "%s-%s" % (system, names.get(machine, machine))


def refuse_other_machines(wanted: str, lock: Any) -> None:
    """Refuse a lock that is for another platform, or for a newer C library than this machine's.

    What is asked of `__glibc` is read from the packages themselves. Raises `BootstrapError` naming both sides.
    """
    here = this_platform()
    if wanted != here:
        raise BootstrapError(
            "the step's environment was locked for %s, and this machine is %s" % (wanted, here),
            hint="Set the architecture of the machines (METAFLOW_KUBERNETES_CONDA_ARCH, or the compute environment) "
            "and launch or deploy again",
        )
    if not wanted.startswith("linux"):
        return
    with _understood("lock"):
        needs = [
            (_glibc(depend), str(one["conda"]["name"]))
            for one in lock["packages"]
            for depend in one["conda"].get("depends", [])
        ]
    needed, name = max(needs, default=((0, 0), ""))
    has = _this_glibc()
    if needed > (has or (0, 0)):
        raise BootstrapError(
            "`%s` needs glibc %d.%d, and this machine has %s"
            % (name, needed[0], needed[1], "%d.%d" % has if has else "none"),
            hint="Use an image with a newer glibc, or lock it for an older one with @sys_packages",
        )


def _glibc(depend: str) -> "tuple[int, int]":
    found = re.match(r"__glibc\s*>=\s*(\d+)\.(\d+)", depend)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def _this_glibc() -> "Optional[tuple[int, int]]":
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return None
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found.group(1)), int(found.group(2))) if found and name == "glibc" else None
