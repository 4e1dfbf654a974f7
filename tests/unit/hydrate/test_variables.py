"""The variables of a lock: kept with it, and there for whatever runs in its environment."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.app.lock import lock_of
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.machine import Machine
from mfenv.domain.platform import Platform
from mfenv.domain.resolved import ResolvedEnvironment
from mfenv.errors import HydrationFailed, LockError
from mfenv.formats import lock_json
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.service import Hydrator
from mfenv.testing.fakes import FakeInstaller, FakePackage, fake_lock
from mfenv.testing.pypi import FakePypiInstaller, build_nothing

A = FakePackage("a")
PLAIN = fake_lock(A)
VARIABLES = (("MFENV_TEST_A", "one two"), ("MFENV_TEST_B", "é='\"$HOME`\\\n"), ("MFENV_TEST_C", ""))
WITH = replace(PLAIN, variables=VARIABLES)
THEIRS = "etc/conda/env_vars.d/zz-package.json"

_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="=\0"), min_size=1, max_size=8)
_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


def hydrated(lock: LockedEnvironment, folder: Path, *packages: FakePackage) -> dict[str, str]:
    """Return the variables of a process in the environment of `lock`."""
    folders = LocalFolders(folder)
    hydrator = Hydrator(
        folders,
        FakeInstaller(folders, packages),
        wheels=FakePypiInstaller(),
        machine=Machine.here(),
        lock_timeout=60.0,
        link_scripts=True,
    )
    prefix = hydrator.hydrate(lock)
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    environment = {"PATH": "/usr/bin", "MFENV_TEST_A": "of the launch", "LC_ALL": "C.UTF-8"}
    environment |= prefix.environment(environment)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True, timeout=60)
    seen: dict[str, str] = json.loads(done.stdout)
    return seen


def test_a_process_in_the_environment_has_them(tmp_path: Path) -> None:
    seen = hydrated(WITH, tmp_path, A)
    assert {name: seen[name] for name, _ in VARIABLES} == dict(VARIABLES)


def test_without_them_nothing_is_set_and_nothing_is_written(tmp_path: Path) -> None:
    assert hydrated(PLAIN, tmp_path, A)["MFENV_TEST_A"] == "of the launch"
    assert not (LocalFolders(tmp_path).prefix(PLAIN.id) / "etc").exists()


def test_they_count_more_than_those_of_packages(tmp_path: Path) -> None:
    package = FakePackage("b", {THEIRS: '{"MFENV_TEST_A": "theirs", "MFENV_TEST_D": "theirs"}'})
    seen = hydrated(replace(fake_lock(package), variables=VARIABLES), tmp_path, package)
    assert (seen["MFENV_TEST_A"], seen["MFENV_TEST_D"]) == ("one two", "theirs")


def test_a_packages_file_of_the_same_name_is_replaced_and_not_written_into(tmp_path: Path) -> None:
    cached = tmp_path / "cached.json"
    cached.write_text("{}")
    folders = LocalFolders(tmp_path / "mfenv")
    installer = FakeInstaller(folders, [A])

    def link_a_file(staging: Path, _prefix: Path) -> None:
        (staging / "etc/conda/env_vars.d").mkdir(parents=True)
        (staging / "etc/conda/env_vars.d/mfenv-variables.json").hardlink_to(cached)

    assert hydrator_after_link(folders, installer, link_a_file).hydrate(WITH).environment({})["MFENV_TEST_A"] == (
        "one two"
    )
    assert cached.read_text() == "{}"


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folders = LocalFolders(tmp_path / "mfenv")
    installer = FakeInstaller(folders, [A])
    hydrator = hydrator_after_link(folders, installer, lambda staging, _: (staging / "etc").symlink_to(outside))
    with pytest.raises(HydrationFailed, match=r"^a package has a link at `etc/conda/env_vars\.d` that leads out"):
        hydrator.hydrate(WITH)
    assert list(outside.iterdir()) == []


def hydrator_after_link(folders: LocalFolders, installer: FakeInstaller, then: object) -> Hydrator:
    """Return a hydrator whose installer does `then` with staging folder and prefix when it has linked."""
    link = installer.link

    def link_and_then(lock: LockedEnvironment, staging: Path, prefix: Path) -> None:
        link(lock, staging, prefix)
        then(staging, prefix)  # type: ignore[operator]

    installer.link = link_and_then  # type: ignore[method-assign]
    return Hydrator(
        folders,
        installer,
        wheels=FakePypiInstaller(),
        machine=Machine.here(),
        lock_timeout=60.0,
        link_scripts=True,
    )


def test_other_variables_are_another_lock() -> None:
    others = [PLAIN, WITH, replace(PLAIN, variables=VARIABLES[:1]), replace(PLAIN, variables=(("MFENV_TEST_A", "1"),))]
    assert len({lock.id for lock in others}) == len(others)


def test_a_lock_without_any_is_written_and_called_as_before_there_were_any() -> None:
    assert b"variables" not in lock_json.dump(PLAIN)


@given(st.dictionaries(_NAMES, _TEXTS, max_size=4))
def test_they_come_back_as_they_were_written(variables: dict[str, str]) -> None:
    lock = replace(PLAIN, variables=tuple(sorted(variables.items())))
    assert lock_json.load(lock_json.dump(lock), expected=lock.id) == lock


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ([], "L.variables: expected dict, found `[]`"),
        ("x", "L.variables: expected dict, found `'x'`"),
        ({"A": 1}, "L.variables.A: expected str, found `1`"),
        ({"A": None}, "L.variables.A: expected str, found `None`"),
        (
            {"": "x"},
            "L.variables: no process can have the variable `` so: a name has neither `=` nor NUL in it, a value no NUL",
        ),
        (
            {"A=B": "x"},
            "L.variables: no process can have the variable `A=B` so: a name has neither `=` nor NUL in it, a value no NUL",
        ),
        (
            {"A": "x\0"},
            "L.variables: no process can have the variable `A` so: a name has neither `=` nor NUL in it, a value no NUL",
        ),
    ],
)
def test_what_no_process_can_have_is_refused(variables: object, message: str) -> None:
    document = {**json.loads(lock_json.dump(PLAIN)), "variables": variables}
    with pytest.raises(LockError) as caught:
        lock_json.load(json.dumps(document).encode(), path="L")
    assert caught.value.message == message


def test_a_lock_has_them_sorted() -> None:
    with pytest.raises(LockError, match=r"^the variables are not sorted by name, each once$"):
        replace(PLAIN, variables=(("B", ""), ("A", "")))
    with pytest.raises(LockError, match=r"^the variables are not sorted by name, each once$"):
        replace(PLAIN, variables=(("A", ""), ("A", "")))


def test_those_that_are_asked_for_are_put_over_those_of_the_answer() -> None:
    answer = ResolvedEnvironment(
        platform=Platform.host(), packages=(A.resolved,), resolver="fake 1.0", variables=(("B", "base"), ("A", "base"))
    )
    lock = lock_of(answer, lambda _: (), build_nothing, variables=(("C", "asked"), ("A", "asked")))
    assert lock == replace(PLAIN, variables=(("A", "asked"), ("B", "base"), ("C", "asked")))
