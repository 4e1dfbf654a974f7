"""`metaflow environment create`, `run` and `shell`, as they are typed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbclient
import nbformat
import pexpect
import pytest
from tests.conftest import finished

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran


def call(flows: Flows, *arguments: str | Path) -> Ran:
    return flows.call(flows.python, "-m", "mfenv.cli", "environment", *arguments)


def made(flows: Flows, *arguments: str | Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(call(flows, "create", *arguments, "--json").succeeded().stdout)
    return document


@pytest.fixture
def named(flows: Flows) -> Flows:
    """A project with the environments ``team/env:v1`` and ``team/env:v2``, and its own folder of environments."""
    flows = flows.with_own_environments()
    call(flows, "resolve", "--conda-pkg", "six=1.16", "--alias", "team/env:v1").succeeded()
    call(flows, "resolve", "--conda-pkg", "six", "--alias", "team/env:v2").succeeded()
    return flows


def six_in(python: str | Path) -> str:
    done = subprocess.run(
        [python, "-c", "import six; print(six.__version__)"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_environment_that_steps_run_in_is_made_once(named: Flows) -> None:
    first = made(named, "team/env:v1")
    assert Path(first["path"]).name == first["full_id"]
    assert six_in(first["python"]) == "1.16.0"
    again = call(named, "create", "team/env:v1", "--quiet").succeeded()
    assert (again.stdout, "Creating" in again.stderr) == (first["python"] + "\n", False)


def test_one_of_ones_own_has_the_same_packages_and_another_place(named: Flows) -> None:
    mine = made(named, "team/env:v1", "--name", "mine")
    assert mine["path"] == str(named.local_path / "envs" / "mine")
    assert six_in(mine["python"]) == "1.16.0"
    shared = made(named, "team/env:v1")
    Path(mine["path"], "lib").joinpath("changed").write_text("by me")
    assert not Path(shared["path"], "lib", "changed").exists()
    ran = call(named, "run", "mine", "--", "python", "-c", "import sys; print(sys.prefix)").succeeded()
    assert ran.stdout.strip() == mine["path"]
    # Nobody clears it away: it is its user's.
    call(named, "gc", "--local", "--older-than", "1", "--delete").succeeded()
    assert six_in(mine["python"]) == "1.16.0"


def test_what_is_there_is_left_alone_unless_it_is_ours_and_that_is_wanted(named: Flows) -> None:
    mine = Path(made(named, "team/env:v1", "--name", "mine")["path"])
    ran = call(named, "create", "team/env:v1", "--name", "mine")
    assert (ran.code, "--exist-ok" in ran.stderr, "--force" in ran.stderr) == (2, True, True)
    made(named, "team/env:v1", "--name", "mine", "--exist-ok")
    other = call(named, "create", "team/env:v2", "--name", "mine", "--exist-ok")
    assert (other.code, "is asked for" in other.stderr) == (2, True)
    (mine / "note").write_text("gone with --force")
    made(named, "team/env:v2", "--name", "mine", "--force")
    assert (six_in(mine / "bin" / "python") == "1.16.0", (mine / "note").exists()) == (False, False)

    theirs = named.local_path / "envs" / "theirs"
    (theirs / "conda-meta").mkdir(parents=True)
    (theirs / "bin").mkdir()
    (theirs / "conda-meta" / "history").write_text("of conda")
    for options in ((), ("--force",), ("--exist-ok",)):
        ran = call(named, "create", "team/env:v1", "--name", "theirs", *options)
        assert (ran.code, "is not an environment that was made here" in ran.stderr) == (2, True)
    assert (theirs / "conda-meta" / "history").read_text() == "of conda"
    link = named.local_path / "envs" / "link"
    link.symlink_to(theirs)
    assert call(named, "create", "team/env:v1", "--name", "link", "--force").code == 2
    assert link.is_symlink()


@pytest.mark.parametrize("name", ["../out", "a/b", ".", "-x", "0" * 40, ".hidden"])
def test_a_name_is_a_plain_one(named: Flows, name: str) -> None:
    ran = call(named, "create", "team/env:v1", f"--name={name}")
    assert (ran.code, "cannot be the name of an environment" in ran.stderr) == (2, True)


def test_a_folder_has_to_be_empty(named: Flows, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("years of work")
    for options in ((), ("--force",)):
        ran = call(named, "create", "team/env:v1", "--into-dir", full, *options)
        assert (ran.code, "is not empty: it holds `thesis.txt`" in ran.stderr) == (2, True)
    assert [path.name for path in full.iterdir()] == ["thesis.txt"]
    empty = made(named, "team/env:v1", "--into-dir", tmp_path / "fresh")
    assert empty["path"] == str(tmp_path / "fresh" / "__conda_python")
    again = made(named, "team/env:v1", "--into-dir", tmp_path / "fresh", "--force")
    assert six_in(again["python"]) == "1.16.0"
    both = call(named, "create", "team/env:v1", "--into-dir", tmp_path / "x", "--name", "y")
    assert (both.code, "cannot be given together" in both.stderr) == (2, True)


def test_any_shell_can_activate_it(named: Flows, tmp_path: Path) -> None:
    where = tmp_path / "it's a place"
    activate = made(named, "team/env:v1", "--into-dir", where)["activate"]
    script = (
        f". {json.dumps(activate)}; which python; echo $CONDA_PREFIX; python -c 'import six; print(six.__version__)'"
    )
    for shell in ("sh", "bash"):
        done = subprocess.run([shell, "-euc", script], capture_output=True, text=True, check=True)
        prefix = str(where / "__conda_python")
        assert done.stdout.splitlines() == [f"{prefix}/bin/python", prefix, "1.16.0"]


def test_one_that_was_being_made_when_the_machine_stopped_is_made_anew(named: Flows) -> None:
    mine = Path(made(named, "team/env:v1", "--name", "mine")["path"])
    # As it is between the moment it has its name and the moment it is ready.
    marker = json.loads((mine / ".mfenv-ready").read_text())
    (mine / ".mfenv-ready").unlink()
    (mine / ".mfenv-making").write_text(json.dumps({"schema": marker["schema"], "lock": marker["lock"]}))
    shutil.rmtree(mine / "lib")
    again = made(named, "team/env:v1", "--name", "mine")
    assert six_in(again["python"]) == "1.16.0"
    assert not (mine / ".mfenv-making").exists()


def test_an_environment_for_another_platform_is_refused(named: Flows) -> None:
    ran = call(named, "create", "team/env:v1", "--arch", "osx-arm64")
    assert (ran.code, "has no environment for osx-arm64, only for linux-64" in ran.stderr) == (2, True)


# ---------------------------------------------------------------- run


def test_a_command_has_the_environment_and_its_code_is_passed_on(named: Flows) -> None:
    ran = call(
        named, "run", "team/env:v1", "--", "python", "-c", "import six, sys; print(six.__version__); sys.exit(3)"
    )
    assert (ran.code, ran.stdout) == (3, "1.16.0\n")
    options = call(named, "run", "team/env:v1", "python", "--version").succeeded()
    assert options.stdout.startswith("Python 3.")
    missing = call(named, "run", "team/env:v1", "--", "no-such-command")
    assert (missing.code, "`no-such-command` cannot be run" in missing.stderr) == (127, True)
    unknown = call(named, "run", "nobody:v1", "--", "true")
    assert (unknown.code, "nobody:v1" in unknown.stderr) == (2, True)


def test_other_pythons_do_not_get_in(named: Flows, tmp_path: Path) -> None:
    user = named.home / ".local" / "lib"
    user.mkdir(parents=True)
    ran = named.using(PYTHONHOME="/nowhere").call(
        "env", "-u", "PYTHONHOME", named.python, "-m", "mfenv.cli", "environment", "run", "team/env:v1", "--", "env"
    )
    variables = dict(line.partition("=")[::2] for line in ran.succeeded().stdout.splitlines())
    assert variables["PYTHONNOUSERSITE"] == "1"
    assert variables["CONDA_PREFIX"].startswith(str(named.local_path / "envs"))
    assert variables["PATH"].startswith(variables["CONDA_PREFIX"] + "/bin:")


def test_an_environment_in_use_is_not_cleared_away_and_signals_reach_the_command(named: Flows) -> None:
    program = "import time; print('here', flush=True); time.sleep(100)"
    process = named.start(
        named.python, "-m", "mfenv.cli", "environment", "run", "team/env:v1", "--", "python", "-c", program
    )
    assert process.stdout
    assert process.stdout.readline() == "here\n"
    from mfenv.io.filelock import unused

    (lock,) = (path for path in (named.local_path / "locks").glob("use-*.lock"))
    with unused(lock) as is_free:
        assert not is_free
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    with unused(lock) as is_free:
        assert is_free


# ---------------------------------------------------------------- shell


@pytest.mark.parametrize("shell", [name for name in ("bash", "sh", "zsh", "fish") if shutil.which(name)])
def test_a_shell_is_in_the_environment_whatever_its_own_files_say(named: Flows, shell: str) -> None:
    (named.home / ".bashrc").write_text("export PATH=/usr/bin:/bin\nexport MINE=yes\n")
    child = pexpect.spawn(
        sys.executable,
        ["-m", "mfenv.cli", "environment", "shell", "team/env:v1"],
        cwd=str(named.folder),
        env=named.using(SHELL=str(shutil.which(shell)), TERM="xterm").environment(),
        encoding="utf-8",
        timeout=60,
        dimensions=(40, 400),
    )
    child.expect_exact("(team/env:v1)")
    child.sendline("python -c 'import six; print(\"six\", six.__version__)'")
    child.expect_exact("six 1.16.0")
    if shell == "bash":
        child.sendline('echo "mine=$MINE"')
        child.expect_exact("mine=yes")
    child.sendline("exit 5")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 5
    assert named.leftovers() == []


# ---------------------------------------------------------------- Jupyter


def executed(flows: Flows, kernel: str, source: str) -> str:
    """What a cell prints in a kernel that this user's Jupyter knows."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    before = dict(os.environ)
    os.environ.update({"HOME": str(flows.home), "JUPYTER_DATA_DIR": str(flows.home / "jupyter")})
    try:
        nbclient.NotebookClient(notebook, kernel_name=kernel, timeout=60).execute(cwd=str(flows.tmp))
    finally:
        os.environ.clear()
        os.environ.update(before)
    return "".join(output.get("text", "") for output in notebook.cells[0].outputs if output.get("name") == "stdout")


def test_a_notebook_runs_in_the_kernel_of_an_environment(named: Flows) -> None:
    flows = named.using(JUPYTER_DATA_DIR=str(named.home / "jupyter"))
    mine = made(flows, "team/env:v1", "--name", "mine", "--install-notebook")
    assert mine["kernel"] == "mf_team_env_v1"
    folder = flows.home / "jupyter" / "kernels"
    assert [path.name for path in folder.iterdir()] == ["mf_team_env_v1"]
    assert json.loads((folder / "mf_team_env_v1" / "kernel.json").read_text())["display_name"] == "Metaflow team/env:v1"
    told = executed(flows, "mf_team_env_v1", "import six, sys; print(six.__version__, sys.prefix)")
    assert told.split() == ["1.16.0", mine["path"]]
    # Its packages are those that there were, and what the kernel needs.
    ran = call(flows, "diff", "team/env:v1", mine["full_id"], "--json").succeeded()
    assert {change["kind"] for change in json.loads(ran.stdout)["changes"]} == {"added"}
    made(flows, "team/env:v1", "--name", "mine", "--install-notebook", "--exist-ok")


def test_the_same_kernel_can_be_installed_by_several_at_once(named: Flows) -> None:
    flows = named.using(JUPYTER_DATA_DIR=str(named.home / "jupyter"))
    command = (flows.python, "-m", "mfenv.cli", "environment", "create", "team/env:v1", "--install-notebook", "--quiet")
    # What they wait for each other with is made: only kernels are left to be written.
    flows.call(*command).succeeded()
    ended = [finished(process).succeeded() for process in [flows.start(*command) for _ in range(4)]]
    assert len({ran.stdout for ran in ended}) == 1
    kernel = flows.home / "jupyter" / "kernels" / "mf_team_env_v1" / "kernel.json"
    assert json.loads(kernel.read_text())["display_name"] == "Metaflow team/env:v1"


def test_a_kernel_of_somebody_else_is_left_alone(named: Flows) -> None:
    flows = named.using(JUPYTER_DATA_DIR=str(named.home / "jupyter"))
    theirs = flows.home / "jupyter" / "kernels" / "mf_team_env_v1" / "kernel.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_text('{"argv": ["mine"], "display_name": "Mine", "language": "python"}')
    ran = call(flows, "create", "team/env:v1", "--name", "mine", "--install-notebook")
    assert (ran.code, "a kernel `mf_team_env_v1` is there already" in ran.stderr) == (2, True)
    assert json.loads(theirs.read_text())["display_name"] == "Mine"


def test_a_kernel_that_cannot_be_installed_is_one_error_and_the_environment_stays(named: Flows) -> None:
    blocked = named.home / "jupyter"
    blocked.write_text("a file where a folder should be")
    flows = named.using(JUPYTER_DATA_DIR=str(blocked))
    ran = call(flows, "create", "team/env:v1", "--name", "mine", "--install-notebook")
    assert (ran.code, "the kernel `mf_team_env_v1` cannot be installed" in ran.stderr) == (6, True)
    assert "Traceback" not in ran.stderr.partition("error: ")[2].partition("output")[0]
    assert six_in(named.local_path / "envs" / "mine" / "bin" / "python") == "1.16.0"


def test_the_code_of_a_step_is_importable_beside_its_environment(named: Flows, tmp_path: Path) -> None:
    flows = named.using(JUPYTER_DATA_DIR=str(named.home / "jupyter"))
    path = flows.write(
        """
ANSWER = 42

class Coded(FlowSpec):
    @conda(libraries={"six": "1.16"})
    @step
    def start(self):
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
""",
        "coded.py",
    )
    with_code = flows.using(METAFLOW_FEAT_ALWAYS_UPLOAD_CODE_PACKAGE="1")
    ran = with_code.run(path).succeeded()
    # The first task may be over before the package is there: another try has one.
    time.sleep(0)
    where = tmp_path / "step"
    mine = made(flows, f"Coded/{ran.run_id}/start", "--into-dir", where, "--install-notebook", "--no-strict")
    path.unlink()
    kernel = mine["kernel"]
    told = executed(flows, kernel, "import coded, metaflow, six; print(coded.ANSWER, six.__version__, coded.__file__)")
    assert told.split()[:2] == ["42", "1.16.0"]
    assert told.split()[2].startswith(str(where))
    script = f". {json.dumps(mine['activate'])}; python -c 'import coded; print(coded.ANSWER)'"
    done = subprocess.run(["sh", "-euc", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"
