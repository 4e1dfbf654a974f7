"""What a node does with nothing but a Python: from a code package's file and a store to an environment that is entered.

The store is a folder here; the stores of the clouds, and the schedulers, have tests of their own.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mfenv.app import settings
from mfenv.app.sharing import Publication
from mfenv.app.wiring import Wiring
from mfenv.bootstrap import bytecode
from mfenv.bootstrap.flow_file import this_platform
from mfenv.domain.alias import Alias
from mfenv.domain.assignment import Deferred, Disabled, Locked
from mfenv.domain.base import NamedBase
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.reference import ByName
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import EnvironmentSpec
from mfenv.formats import metadata_file
from mfenv.store.backends.local import LocalBlobStore
from mfenv.testing.channel import LocalChannel

SOURCE = Path(__file__).parents[2] / "src"
HOST = Platform.host()


@dataclass(frozen=True)
class Launched:
    """What a launch left: a store, and the file for code packages."""

    wiring: Wiring
    store: Path
    lock: LockedEnvironment
    metadata: metadata_file.FlowMetadata

    def package(self, folder: Path, **changes: Any) -> Path:
        """Lay out what an unpacked code package has of us."""
        content = metadata_file.dump(replace(self.metadata, **changes))
        (folder / ".mf_meta").mkdir(parents=True, exist_ok=True)
        (folder / ".mf_meta" / "conda_v2.cnd").write_bytes(content)
        return folder


@pytest.fixture(scope="module")
def launched(
    channel: LocalChannel, shared_local_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Launched]:
    root = tmp_path_factory.mktemp("launched")
    values = {"CONDA_LOCAL_PATH": str(shared_local_path), "CONDA_CHANNELS": str(channel.path())}
    here = settings.read(values.get, {"HOME": str(root), "PIP_CONFIG_FILE": os.devnull})
    wiring = Wiring(here, project=root / "project", open_store=lambda: LocalBlobStore(root / "store"))
    spec = EnvironmentSpec(
        python=PythonConstraint.minor(3, 11),
        conda=(MatchSpec(name="six"),),
        channels=here.channels,
        pypi=(Requirement.from_text("attrs==23.1.0", where="here"),),
    )
    request = ResolutionRequest(spec=spec, target=here.target(HOST))
    publication = Publication(wiring.sharer, wiring.toolchains, wiring.bytecode, [HOST])
    lock = wiring.locker("tester").resolve([request])[request]
    assert isinstance(lock, LockedEnvironment), lock
    publication.start("F", "1", [lock])
    publication.wait()
    publication.wait_for_bytecode()
    metadata = metadata_file.FlowMetadata(
        steps={
            "start": Locked(request=request.key, lock=lock.id, platform=HOST),
            "late": Deferred(base=NamedBase(text="team/@{METAFLOW_STEP_NAME}:v1"), platform=HOST),
            "off": Disabled(),
        },
        locks={lock.id: lock},
        store=wiring.store_location,
        toolchains=publication.toolchains(),
    )
    yield Launched(wiring=wiring, store=root / "store", lock=lock, metadata=metadata)
    publication.stop()
    wiring.close()


@dataclass(frozen=True)
class Entered:
    """What the shell was told, and what the task's log says."""

    lines: str
    log: str

    def run(self, command: str) -> str:
        """Evaluate the lines in a shell, and a command behind them; return what that prints."""
        done = subprocess.run(
            ["bash", "-c", f'eval "$LINES_"; {command}'],
            env={"PATH": os.environ["PATH"], "LINES_": self.lines},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr


def enter(package: Path, node: Path, *, step: str = "start", program: str = "", **variables: str) -> Entered:
    """Run the bootstrap as a remote task does."""
    logs = package / "logs"
    logs.mkdir(exist_ok=True)
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": str(SOURCE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MF_PATHSPEC": f"F/1/{step}/1",
        "MF_ATTEMPT": "0",
        "MFLOG_STDOUT": str(logs / "out"),
        "MFLOG_STDERR": str(logs / "err"),
        "TMPDIR": str(node),
        **variables,
    }
    node.mkdir(exist_ok=True)
    command = ["-c", program] if program else ["-m", "mfenv.bootstrap"]
    done = subprocess.run(
        [sys.executable, "-S", *command],
        cwd=package,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "Traceback" not in done.stderr, done.stderr
    texts = [path.read_text() for path in (logs / "out", logs / "err") if path.exists()]
    return Entered(lines=done.stdout, log=re.sub(r"^\[MFLOG[^\]]*\]", "", "".join(texts), flags=re.MULTILINE))


def test_the_platform_is_called_as_everywhere() -> None:
    assert this_platform() == HOST.value


def test_a_node_makes_the_environment_once_and_each_object_comes_once(launched: Launched, tmp_path: Path) -> None:
    package, node = launched.package(tmp_path / "package"), tmp_path / "node"
    with ThreadPoolExecutor(3) as pool:
        entered = list(pool.map(lambda _: enter(package, node), range(3)))
    for one in entered:
        facts = one.run(
            'python -W ignore -c "import six, attr, sys; print(six.__version__, attr.__version__, sys.prefix)"; '
            'echo "$METAFLOW_MFENV_ENVIRONMENT_ID"; echo "$PYTHONNOUSERSITE"; test "$METAFLOW_MFENV_PYTHON" -ef "$(which python)"; echo $?'
        ).split("\n")
        (prefix,) = (node / f"mfenv-{os.getuid()}" / "envs").iterdir()
        assert facts[0].split()[1:] == ["23.1.0", str(prefix)]
        key = launched.metadata.steps["start"].request  # type: ignore[union-attr]
        assert json.loads(facts[1]) == [key, launched.lock.id, HOST.value]
        assert facts[2:4] == ["1", "0"]
    # All three tasks write to one log here. What one of them fetched, the others did not.
    log = (package / "logs" / "out").read_text()
    counts = [int(count) for count in re.findall(r": (\d+) files of", log)]
    assert sum(counts) == len(launched.lock.artifacts) + 2
    # And once more, later: one look.
    again = enter(launched.package(tmp_path / "again"), node)
    assert again.log == f"Environment {launched.lock.id} is ready on this node.\n"


def test_modules_arrive_compiled(launched: Launched, tmp_path: Path) -> None:
    entered = enter(launched.package(tmp_path / "package"), tmp_path / "node")
    assert ", with bytecode" in entered.log
    told = entered.run('python -v -B -c "import attr, six, json" 2>&1')
    for module in ("attr", "json", "six"):
        assert re.search(
            rf"matches .*\b{module}\b.*\.py$|code object from '.*__pycache__/{module}", told, re.MULTILINE
        ) or (f"import '{module}'" in told)
        assert not re.search(rf"code object from .*/{module}(/__init__)?\.py$", told, re.MULTILINE), told


@pytest.mark.parametrize("harm", ["cut off", "not there", "another's"])
def test_bytecode_that_is_not_whole_is_left_out(launched: Launched, tmp_path: Path, harm: str) -> None:
    store = tmp_path / "store"
    shutil.copytree(launched.store, store, copy_function=os.link)
    (path,) = store.rglob("bytecode.tar.gz")
    content = path.read_bytes()
    path.unlink()
    if harm != "not there":
        path.write_bytes(content[:-1000] if harm == "cut off" else b"0" * 64 + content[64:])
    location = replace(launched.metadata.store, root=str(store))  # type: ignore[type-var]
    entered = enter(launched.package(tmp_path / "package", store=location), tmp_path / "node")
    assert "Environment ready" in entered.log
    assert "with bytecode" not in entered.log
    assert entered.run('python -c "import six; print(1)"') == "1\n"


def test_the_first_task_compiles_what_the_launch_could_not(launched: Launched, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(launched.store, store, copy_function=os.link)
    (path,) = store.rglob("bytecode.tar.gz")
    made_at_launch = path.read_bytes()
    path.unlink()
    location = replace(launched.metadata.store, root=str(store))  # type: ignore[type-var]
    first = enter(launched.package(tmp_path / "package", store=location, compiling=(HOST,)), tmp_path / "node")
    assert "with bytecode" not in first.log
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    # What is compiled twice is the same but for how it is written down.
    ours, theirs = (bytecode.members(content[65:]).keys() for content in (path.read_bytes(), made_at_launch))
    assert ours == theirs
    second = enter(launched.package(tmp_path / "package2", store=location, compiling=(HOST,)), tmp_path / "node2")
    assert "with bytecode" in second.log


def test_an_image_whose_python_is_too_old_gets_one_from_the_store(launched: Launched, tmp_path: Path) -> None:
    package, node = launched.package(tmp_path / "package"), tmp_path / "node"
    as_if_old = (
        "import os, runpy, sys; from mfenv.bootstrap import toolchain; toolchain.OLDEST_PYTHON = (9, 9); "
        "runpy.run_module('mfenv.bootstrap', run_name='__main__')"
    )
    entered = enter(package, node, program=as_if_old)
    assert entered.run('python -W ignore -c "import attr; print(attr.__version__)"') == "23.1.0\n"
    pythons = list((node / f"mfenv-{os.getuid()}" / "toolchain").glob("*/bin/python"))
    assert len(pythons) == 1


def test_a_step_without_an_environment_stays_in_the_image(launched: Launched, tmp_path: Path) -> None:
    entered = enter(launched.package(tmp_path / "package"), tmp_path / "node", step="off")
    assert (entered.lines, entered.log) == ("mfenv_standard\n", "")


def test_containers_of_no_step_run_in_what_start_runs_in(launched: Launched, tmp_path: Path) -> None:
    entered = enter(launched.package(tmp_path / "package"), tmp_path / "node", step="_run_heartbeat_daemon")
    assert launched.lock.id in entered.lines


def test_a_late_name_means_what_it_stands_for_by_now(launched: Launched, tmp_path: Path) -> None:
    aliases = launched.wiring.aliases()
    assert aliases
    note = launched.wiring.locks.notes(launched.lock.id)[-1]
    aliases.point(
        Alias(ref=ByName(name="team/late", tag="v1"), locks=((HOST, launched.lock.id),), user="tester", time=note.time)
    )
    entered = enter(launched.package(tmp_path / "package", locks={}), tmp_path / "node", step="late")
    assert f"The name `team/@{{METAFLOW_STEP_NAME}}:v1` stands for environment {launched.lock.id}." in entered.log
    assert entered.run('python -W ignore -c "import attr; print(attr.__version__)"') == "23.1.0\n"


def test_a_late_name_that_is_not_known_is_told(launched: Launched, tmp_path: Path) -> None:
    steps = {"late": Deferred(base=NamedBase(text="team/none:v1"), platform=HOST)}
    entered = enter(launched.package(tmp_path / "package", steps=steps), tmp_path / "node", step="late")
    assert refusal(entered) == (
        "step `late`, @named_env(fetch_at_exec=True): no environment is known by the name `team/none:v1`"
    )


def test_a_late_start_step_with_nothing_to_wait_in_is_told_what_it_lacks(launched: Launched, tmp_path: Path) -> None:
    steps = {"start": Deferred(base=NamedBase(text="team/@{METAFLOW_INIT_NAME}:v1"), platform=HOST)}
    entered = enter(launched.package(tmp_path / "package", steps=steps), tmp_path / "node", step="start")
    assert "METAFLOW_INIT_NAME" in refusal(entered)
    assert "Traceback" not in entered.log


def refusal(entered: Entered) -> str:
    """The sentence that the task fails with; a shell that evaluates the answer fails as well."""
    assert entered.run("echo $?").startswith("1"), entered
    (found,) = re.findall(r"The environment of step `\w+` cannot be made: (.*)", entered.log)
    return str(found)


def test_an_environment_that_an_image_brought_is_used_as_it_is(launched: Launched, tmp_path: Path) -> None:
    baked = tmp_path / "baked"
    enter(launched.package(tmp_path / "package"), tmp_path / "node", METAFLOW_CONDA_NODE_PATH=str(baked))
    (prefix,) = (baked / "envs").iterdir()
    for folder in [baked, *(path for path in baked.rglob("*") if path.is_dir() and not path.is_symlink())]:
        folder.chmod(0o555)
    # Nobody is asked for anything: there is no such store.
    nowhere = replace(launched.metadata.store, root=str(tmp_path / "nowhere"))  # type: ignore[type-var]
    package = launched.package(tmp_path / "again", store=nowhere)
    entered = enter(package, tmp_path / "other", METAFLOW_CONDA_NODE_PATH=str(baked))
    assert entered.log == f"Environment {launched.lock.id} is ready on this node.\n"
    assert entered.run("which python") == f"{prefix}/bin/python\n"


# ---------------------------------------------------------------- what goes wrong


def test_another_platform_is_refused_with_both_named(launched: Launched, tmp_path: Path) -> None:
    other = Platform.LINUX_AARCH64 if HOST is not Platform.LINUX_AARCH64 else Platform.LINUX_64
    steps = {"start": replace(launched.metadata.steps["start"], platform=other)}  # type: ignore[type-var]
    entered = enter(launched.package(tmp_path / "package", steps=steps), tmp_path / "node")
    assert refusal(entered) == (
        f"the step's environment was locked for {other.value}, and this machine is {HOST.value}"
    )
    assert not list((tmp_path / "node").rglob("archives"))


@pytest.mark.skipif(platform.system() != "Linux", reason="macOS has another C library")
def test_an_older_c_library_is_refused_with_both_named(launched: Launched, tmp_path: Path) -> None:
    first = launched.lock.packages[0]
    record = replace(first.record, depends=(*first.record.depends, "__glibc >=9.5,<10"))
    lock = replace(launched.lock, packages=(replace(first, record=record), *launched.lock.packages[1:]))
    steps = {"start": replace(launched.metadata.steps["start"], lock=lock.id)}  # type: ignore[type-var]
    entered = enter(launched.package(tmp_path / "package", steps=steps, locks={lock.id: lock}), tmp_path / "node")
    has = os.confstr("CS_GNU_LIBC_VERSION").split()[1]
    assert refusal(entered) == f"`{first.record.name}` needs glibc 9.5, and this machine has {has}"


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        ("gone", "`{key}` is not in {store} (404 no such file)"),
        ("changed", "`{key}` in {store} is damaged: it is not what was locked"),
        ("shorter", "`{key}` in {store} is damaged: it is not what was locked"),
    ],
)
def test_a_package_that_is_not_right_is_refused(launched: Launched, tmp_path: Path, harm: str, expected: str) -> None:
    store = tmp_path / "store"
    shutil.copytree(launched.store, store, copy_function=os.link)
    (path,) = store.rglob("attrs-23.1.0*.whl")
    content = path.read_bytes()
    path.unlink()
    if harm != "gone":
        path.write_bytes(bytes(len(content)) if harm == "changed" else content[:-1])
    location = replace(launched.metadata.store, root=str(store))  # type: ignore[type-var]
    root = tmp_path / "datastore"
    entered = enter(
        launched.package(tmp_path / "package", store=location),
        tmp_path / "node",
        MF_DATASTORE="local",
        MF_DATASTORE_ROOT=str(root),
    )
    assert refusal(entered) == expected.format(key=path.relative_to(store), store=store)
    # Metaflow shows its users what is there.
    logged = root / "F" / "1" / "start" / "1" / "0.task_stderr.log"
    assert expected.partition("{key}")[2].partition("{store}")[2] in logged.read_text()
    assert not list((tmp_path / "node").rglob("*.part"))
    assert not list((tmp_path / "node").rglob(".mfenv-ready"))


def test_a_disk_without_room_is_named(launched: Launched, tmp_path: Path) -> None:
    package = launched.package(tmp_path / "package")
    # Files of more than a megabyte do not fit.
    small = (
        "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20)); "
        "runpy.run_module('mfenv.bootstrap', run_name='__main__')"
    )
    told = refusal(enter(package, tmp_path / "node", program=small))
    assert re.fullmatch(r"`/.*`: File too large|File too large", told), told
    assert not list((tmp_path / "node").rglob("*.part"))


def test_a_code_package_that_cannot_be_read_is_told(launched: Launched, tmp_path: Path) -> None:
    package = launched.package(tmp_path / "package")
    (package / ".mf_meta" / "conda_v2.cnd").write_text("{")
    assert refusal(enter(package, tmp_path / "node")).startswith("the code package's `conda_v2.cnd` cannot be read")


def test_a_node_that_was_killed_leaves_nothing_that_is_taken_for_an_environment(
    launched: Launched, tmp_path: Path
) -> None:
    package, node = launched.package(tmp_path / "package"), tmp_path / "node"
    node.mkdir()
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": str(SOURCE),
        "MF_PATHSPEC": "F/1/start/1",
        "TMPDIR": str(node),
    }
    for wanted in ("archives", "toolchain", "staging"):
        process = subprocess.Popen(
            [sys.executable, "-S", "-m", "mfenv.bootstrap"],
            cwd=package,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while process.poll() is None and not list(node.glob(f"*/{wanted}/*")):
            pass
        os.killpg(process.pid, 9)
        process.wait()
    entered = enter(package, node)
    assert entered.run('python -W ignore -c "import attr, six; print(attr.__version__)"') == "23.1.0\n"
