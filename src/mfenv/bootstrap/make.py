"""An environment on a node: its files from the store, put together by a second process.

That process is the ordinary `mfenv.hydrate` on a Python that can run it: the image's own, or one from the store. It
starts when the toolchain is here, and links while later files still arrive. Python 3.8 and the standard library only:
see `mfenv.bootstrap`.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from mfenv.bootstrap import activate, bytecode, flow_file, toolchain
from mfenv.bootstrap.failure import BootstrapError
from mfenv.bootstrap.fetch import Fetcher
from mfenv.bootstrap.flow_file import FlowFile
from mfenv.bootstrap.objects import open_objects
from mfenv.bootstrap.task_log import TaskLog

_START = (
    "import sys, json; job = json.loads(sys.argv[1]); sys.path.extend(job['paths']); "
    "from mfenv.node.__main__ import main; main(job)"
)


class Node(NamedTuple):
    """Where environments are on this node."""

    baked: Optional[str]
    """A folder whose environments may be used; an image may have brought them."""
    root: str
    """The folder that environments are made in."""
    environ: Mapping[str, str]

    @classmethod
    def here(cls, environ: Mapping[str, str]) -> Node:
        """Find the folders: what METAFLOW_CONDA_NODE_PATH says, if that can be written to, else a temporary one."""
        chosen = environ.get("METAFLOW_CONDA_NODE_PATH") or None
        if chosen is None:
            return cls(baked=None, root=_own_folder(), environ=environ)
        chosen = os.path.abspath(chosen)
        try:
            os.makedirs(chosen, exist_ok=True)
            usable = os.access(chosen, os.W_OK)
        except OSError:
            usable = False
        return cls(baked=chosen, root=chosen if usable else _own_folder(), environ=environ)

    def ready(self, lock_id: str) -> Optional[Dict[str, Any]]:
        """Return the marker of an environment that is ready here."""
        for root in (self.baked, self.root):
            marker = activate.ready(os.path.join(root, "envs", lock_id), lock_id) if root else None
            if marker:
                return marker
        return None


def _own_folder() -> str:
    """Return the folder of this user below the temporary one, where others may have put something of that name."""
    path = os.path.join(os.path.realpath(tempfile.gettempdir()), "mfenv-%d" % os.getuid())
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return path if is_own else tempfile.mkdtemp(prefix="mfenv-")


def environment(flow: FlowFile, lock: Any, identity: List[str], node: Node, log: TaskLog) -> Dict[str, Any]:
    """Return the marker of the environment of a lock, made if need be. Raises `BootstrapError` and `ObjectError`."""
    _, lock_id, platform = identity
    marker = node.ready(lock_id)
    if marker:
        log.say("Environment %s is ready on this node." % lock_id)
        return marker
    flow_file.refuse_other_machines(platform, lock)
    fetcher = _fetcher(flow, node)
    try:
        log.say(_make(flow, lock, identity, node, fetcher, log))
    finally:
        fetcher.close()
    marker = node.ready(lock_id)
    if marker is None:
        raise BootstrapError(
            "the environment `%s` vanished as soon as it was made" % lock_id, hint="Run the task again"
        )
    return marker


def _make(flow: FlowFile, lock: Any, identity: List[str], node: Node, fetcher: Fetcher, log: TaskLog) -> str:
    """Make an environment, and return what is to be said of how that went."""
    _, lock_id, platform = identity
    began = time.monotonic()
    choices = flow.choices(lock)
    log.say("Making environment %s: %d packages from %s ..." % (lock_id, len(choices), _place(flow)))
    # The toolchain first: it puts the others in place.
    tools = _Tools(flow, fetcher, node, platform, with_uv=bool(lock.get("pypi")))
    coming = fetcher.begin(choices)
    modules = fetcher.begin_bytecode(flow.bytecode(lock_id))
    maker = _Maker(tools, lock, lock_id, node)
    try:
        fetcher.wait(coming)
        fetched = time.monotonic()
        path = maker.finish()
    finally:
        maker.end()
    compiled = modules.result()
    with contextlib.suppress(OSError):
        # Without them, Python compiles itself.
        bytecode.put(compiled, path)
        if not compiled and platform in flow.compiling:
            _compile_beside(flow, lock_id, path, node)
    ended = time.monotonic()
    text = "Environment ready in %.1f seconds: %d files of %.1f MB in %.1f s, put in place %.1f s later%s."
    numbers = (ended - began, fetcher.files, fetcher.size / 1e6, fetched - began, ended - fetched)
    return text % (*numbers, ", with bytecode" if compiled else "")


def _compile_beside(flow: FlowFile, lock_id: str, path: str, node: Node) -> None:
    """Begin to compile an environment for the tasks that come after; it ends when it is done, or with the container."""
    assert flow.store is not None
    store = (flow.store.kind, flow.store.root, flow.bytecode(lock_id))
    subprocess.Popen(
        [sys.executable, "-m", "mfenv.bootstrap.publish", path, *store],
        env=dict(node.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def late(flow: FlowFile, wanted: Any, node: Node, log: TaskLog, *, may_wait: bool) -> Optional[Tuple[Any, List[str]]]:
    """Return the lock, and its identity, of an environment whose name is looked up now.

    With `may_wait`, None where a parameter in the name is not known yet.

    Raises `BootstrapError` and `ObjectError`.
    """
    platform = wanted["platform"]
    fetcher = _fetcher(flow, node)
    try:
        tools = _Tools(flow, fetcher, node, platform, with_uv=False)
        job = {
            "task": "find",
            "wanted": wanted,
            "may_wait": may_wait,
            "store": flow.store._asdict() if flow.store else None,
        }
        found = _ask(tools.python, {**job, "paths": tools.paths}, node)
    finally:
        fetcher.close()
    if "waits" in found:
        return None
    log.say(
        "The name `%s` stands for environment %s."
        % (wanted.get("name") or wanted.get("pathspec"), found["identity"][1])
    )
    return found["lock"], found["identity"]


def _fetcher(flow: FlowFile, node: Node) -> Fetcher:
    if flow.store is None:
        raise BootstrapError(
            "the code package does not say where the environments are", hint="Launch or deploy the flow again"
        )
    os.makedirs(node.root, exist_ok=True)
    return Fetcher(open_objects(flow.store.kind, flow.store.root, node.environ), node.root)


def _place(flow: FlowFile) -> str:
    assert flow.store is not None
    return flow.store.root


class _Tools:
    """The toolchain on this node; asking for a part of it waits until that is here."""

    def __init__(self, flow: FlowFile, fetcher: Fetcher, node: Node, platform: str, *, with_uv: bool) -> None:
        wheels = [file for file in flow.wheels(platform) if with_uv or not file.name.startswith("uv-")]
        runtime = [flow.runtime(platform)] if toolchain.needs_runtime() else []
        self._fetcher = fetcher
        self._root = node.root
        self._wheels = fetcher.begin([[file] for file in wheels])
        self._runtime = fetcher.begin([[file] for file in runtime])

    @property
    def python(self) -> str:
        """The interpreter that can make environments."""
        if not self._runtime:
            return sys.executable
        return toolchain.unpack_runtime(self._fetcher.wait(self._runtime)[0], self._fetcher.path, self._root)

    @property
    def wheels(self) -> str:
        """The folder of unpacked wheels."""
        return toolchain.unpack_wheels(self._fetcher.wait(self._wheels), self._fetcher.path, self._root)

    @property
    def paths(self) -> List[str]:
        """Where that interpreter imports from: this very code, and the wheels."""
        return [os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), self.wheels]


def _ask(python: str, job: Dict[str, Any], node: Node) -> Dict[str, Any]:
    """Run a job to its end, and return its answer. Raises `BootstrapError`."""
    process = _start(python, job, node)
    out, _ = process.communicate()
    return _answer(out, process.returncode)


def _start(python: str, job: Dict[str, Any], node: Node) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [python, "-I", "-S", "-c", _START, json.dumps(job)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        universal_newlines=True,
        env=dict(node.environ),
    )


def _answer(output: str, code: int) -> Dict[str, Any]:
    last = output.strip().rpartition("\n")[2]
    try:
        answer: Dict[str, Any] = json.loads(last)
    except ValueError:
        raise BootstrapError(
            "the process that makes the environment ended with code %d" % code, hint="Run it again"
        ) from None
    if "error" in answer:
        error = answer["error"]
        raise BootstrapError(error["message"], hint=error.get("hint"), output=error.get("output"))
    return answer


class _Maker:
    """The process that puts an environment together."""

    def __init__(self, tools: _Tools, lock: Any, lock_id: str, node: Node) -> None:
        uv = toolchain.uv_in(tools.wheels) if lock.get("pypi") else ""
        job = {"task": "hydrate", "lock": lock_id, "root": node.root, "uv": uv, "paths": tools.paths}
        self._process = _start(tools.python, job, node)
        assert self._process.stdin is not None
        # One that has ended already says why in `finish`.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(lock) + "\n")
            # It begins with the lock while packages still arrive.
            self._process.stdin.flush()

    def finish(self) -> str:
        """Return where the environment is when it is ready. Raises `BootstrapError`."""
        try:
            out, _ = self._process.communicate("all is here\n")
        except BrokenPipeError:
            out = self._process.stdout.read() if self._process.stdout else ""
        return str(_answer(out, self._process.wait())["path"])

    def end(self) -> None:
        """End the process, if it still lives."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
