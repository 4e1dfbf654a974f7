"""`metaflow environment export` and `import`, held against the tools that own the formats."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mfenv.app.export import FORMATS as WRITERS
from mfenv.cli.commands.export import FORMATS
from mfenv.formats.toml_text import tomllib
from mfenv.resolve.backends.uv import find_uv

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran


def call(flows: Flows, *arguments: str) -> Ran:
    return flows.call(flows.python, "-m", "mfenv.cli", "environment", *arguments)


def resolve(flows: Flows, *arguments: str) -> str:
    ran = call(flows, "resolve", *arguments, "--json").succeeded()
    return str(json.loads(ran.stdout)["environments"][0]["full_id"])


@pytest.fixture
def mixed(flows: Flows) -> tuple[Flows, str]:
    """An environment of both sides, called ``team/mixed``."""
    packages = ("--conda-pkg", "six=1.16", "--pypi-pkg", "attrs", "--pypi-pkg", "jinja2")
    return flows, resolve(flows, *packages, "--alias", "team/mixed")


@pytest.fixture
def pypi_only(flows: Flows) -> tuple[Flows, str]:
    """An environment of PyPI packages, called ``team/pypi``."""
    (flows.folder / "requirements.txt").write_text("jinja2\n")
    return flows, resolve(flows, "-r", "requirements.txt", "--alias", "team/pypi")


def export(flows: Flows, name: str, kind: str, file: str, *options: str) -> Path:
    call(flows, "export", name, "--format", kind, "-o", file, *options).succeeded()
    return flows.folder / file


def packages_of(flows: Flows, name: str) -> list[dict[str, Any]]:
    rows = json.loads(call(flows, "show", name, "--json").succeeded().stdout)["environments"]
    return list(rows[0]["packages"])


def test_the_command_has_the_formats_that_can_be_written() -> None:
    assert tuple(WRITERS) == FORMATS


def test_uv_installs_what_a_pylock_file_has(pypi_only: tuple[Flows, str]) -> None:
    flows, _ = pypi_only
    path = export(flows, "team/pypi", "pylock.toml", "pylock.toml")
    wheels = {p["name"]: p["version"] for p in packages_of(flows, "team/pypi") if p["side"] == "pypi"}
    assert {p["name"]: p["version"] for p in tomllib.loads(path.read_text())["packages"]} == wheels
    said = _uv(flows, "pip", "install", "--dry-run", "--target", "there", "-r", "pylock.toml")
    assert {line.removeprefix(" + ") for line in said.splitlines() if line.startswith(" + ")} == {
        f"{name}=={version}" for name, version in wheels.items()
    }


def test_packagings_reader_accepts_a_pylock_file(pypi_only: tuple[Flows, str]) -> None:
    from packaging.pylock import Pylock

    flows, _ = pypi_only
    document = tomllib.loads(export(flows, "team/pypi", "pylock.toml", "pylock.toml").read_text())
    Pylock.from_dict(document).validate()


def test_uv_installs_what_requirements_say_by_their_hashes(pypi_only: tuple[Flows, str]) -> None:
    flows, _ = pypi_only
    export(flows, "team/pypi", "requirements.txt", "exported.txt")
    said = _uv(
        flows, "pip", "install", "--dry-run", "--target", "there", "--require-hashes", "--no-deps", "-r", "exported.txt"
    )
    assert {line.removeprefix(" + ") for line in said.splitlines() if line.startswith(" + ")} == {
        f"{p['name']}=={p['version']}" for p in packages_of(flows, "team/pypi") if p["side"] == "pypi"
    }
    text = (flows.folder / "exported.txt").read_text()
    assert all(p["sha256"] in text for p in packages_of(flows, "team/pypi") if p["side"] == "pypi")


def _uv(flows: Flows, *arguments: str) -> str:
    ran = flows.call(find_uv(), *arguments, "--python", sys.executable, timeout=120).succeeded()
    return ran.stderr


def test_conda_lock_reads_its_file(mixed: tuple[Flows, str]) -> None:
    flows, _ = mixed
    path = export(flows, "team/mixed", "conda-lock.yml", "conda-lock.yml")
    program = (
        "import json, sys, pathlib\n"
        "from conda_lock.lockfile import parse_conda_lock_file\n"
        "lock = parse_conda_lock_file(pathlib.Path(sys.argv[1]))\n"
        "rows = [[p.name, p.version, p.manager, p.url, p.hash.sha256, p.platform] for p in lock.package]\n"
        "print(json.dumps(rows))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, path], capture_output=True, text=True, check=True
    )
    there = {(row[0], row[1], row[2], row[4], row[5]) for row in json.loads(done.stdout)}
    assert there == {
        (p["name"], p["version"], "conda" if p["side"] == "conda" else "pip", p["sha256"], "linux-64")
        for p in packages_of(flows, "team/mixed")
    }


def test_conda_lock_renders_what_it_read(mixed: tuple[Flows, str]) -> None:
    flows, _ = mixed
    export(flows, "team/mixed", "conda-lock.yml", "conda-lock.yml")
    flows.call(
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "conda_lock",
        "render",
        "--kind",
        "explicit",
        "-p",
        "linux-64",
        "conda-lock.yml",
    ).succeeded()
    rendered = (flows.folder / "conda-linux-64.lock").read_text()
    assert all(p["file"] in rendered for p in packages_of(flows, "team/mixed") if p["side"] == "conda")


def test_rattler_reads_a_pixi_lock(mixed: tuple[Flows, str]) -> None:
    flows, _ = mixed
    path = export(flows, "team/mixed", "pixi.lock", "pixi.lock")
    program = (
        "import json, sys\n"
        "from rattler import LockFile\n"
        "environment = LockFile.from_path(sys.argv[1]).default_environment()\n"
        "rows = [[str(p.name.normalized if hasattr(p.name, 'normalized') else p.name), str(p.version), p.location,\n"
        "         p.hashes.sha256.hex() if p.hashes and p.hashes.sha256 else None]\n"
        "        for platform in environment.platforms() for p in environment.packages(platform)]\n"
        "print(json.dumps(rows))\n"
        "sys.stdout.flush()\n"
        "import os; os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {(row[0], row[1], row[3]) for row in json.loads(done.stdout)} == {
        (p["name"], p["version"], p["sha256"]) for p in packages_of(flows, "team/mixed")
    }


def test_a_bill_of_materials_is_valid_and_names_everything(mixed: tuple[Flows, str]) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    flows, lock_id = mixed
    text = export(flows, "team/mixed", "cyclonedx", "bom.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    packages = packages_of(flows, "team/mixed")
    assert {(c["name"], c["version"], c["hashes"][0]["content"]) for c in document["components"]} == {
        (p["name"], p["version"], p["sha256"]) for p in packages
    }
    assert document["metadata"]["component"]["version"] == lock_id
    needs = {row["ref"].split("@")[0]: row.get("dependsOn", []) for row in document["dependencies"]}
    assert any("markupsafe" in one for one in needs["pkg:pypi/jinja2"])
    assert any("pkg:conda/python@" in one for one in needs["pkg:conda/six"])


@pytest.mark.parametrize(("kind", "file"), [("pixi.lock", "pixi.lock"), ("conda-lock.yml", "conda-lock.yml")])
def test_what_is_exported_is_imported_as_the_same_environment(mixed: tuple[Flows, str], kind: str, file: str) -> None:
    flows, lock_id = mixed
    export(flows, "team/mixed", kind, file)
    ran = call(flows, "import", file, "--alias", "team/back", "--json").succeeded()
    (row,) = json.loads(ran.stdout)["imported"]
    assert (row["environments"], row["aliases"]) == ({"linux-64": lock_id}, ["team/back"])


def test_an_explicit_list_is_imported_as_the_same_environment(flows: Flows) -> None:
    lock_id = resolve(flows, "--conda-pkg", "six=1.16", "--alias", "team/conda")
    export(flows, "team/conda", "explicit", "explicit.txt")
    ran = call(flows, "import", "explicit.txt", "--json").succeeded()
    assert json.loads(ran.stdout)["imported"][0]["environments"] == {"linux-64": lock_id}


def test_a_pylock_file_is_imported_with_the_same_wheels(pypi_only: tuple[Flows, str]) -> None:
    flows, _ = pypi_only
    export(flows, "team/pypi", "pylock.toml", "pylock.toml")
    call(flows, "import", "pylock.toml", "--alias", "team/back").succeeded()

    def wheels(name: str) -> set[str]:
        return {p["sha256"] for p in packages_of(flows, name) if p["side"] == "pypi"}

    assert wheels("team/back") == wheels("team/pypi")


def test_a_lock_of_ours_is_imported_elsewhere(mixed: tuple[Flows, str], tmp_path: Path) -> None:
    flows, lock_id = mixed
    own = flows.folder / ".metaflow" / "conda_v2.locks" / "mfenv" / "v1" / "locks" / f"{lock_id}.json"
    there = tmp_path / "there"
    there.mkdir()
    command = (flows.python, "-m", "mfenv.cli", "environment", "import", own, "--alias", "team/x:v1", "--json")
    (row,) = json.loads(flows.call(*command, cwd=there).succeeded().stdout)["imported"]
    assert row["environments"] == {"linux-64": lock_id}
    damaged = tmp_path / "damaged.json"
    damaged.write_text(own.read_text()[:-20])
    ran = flows.call(flows.python, "-m", "mfenv.cli", "environment", "import", damaged)
    assert (ran.code, "damaged.json" in ran.stderr, "Traceback" in ran.text) == (4, True, False)


def test_environment_yml_names_each_package_by_version_and_build(mixed: tuple[Flows, str]) -> None:
    flows, _ = mixed
    path = export(flows, "team/mixed", "environment.yml", "exported.yml")
    again = resolve(flows, "-f", str(path), "--skip-metaflow-deps")
    found = {(p["name"], p["version"], p["build"]) for p in packages_of(flows, again)}
    assert found == {(p["name"], p["version"], p["build"]) for p in packages_of(flows, "team/mixed")}


@pytest.mark.parametrize("kind", ["pylock.toml", "requirements.txt", "explicit"])
def test_what_a_format_cannot_hold_is_refused_by_name(mixed: tuple[Flows, str], kind: str) -> None:
    flows, _ = mixed
    file = flows.folder / "out"
    ran = call(flows, "export", "team/mixed", "--format", kind, "-o", "out")
    assert (ran.code, file.exists(), "Traceback" in ran.text) == (2, False, False)
    assert ("attrs" if kind == "explicit" else "six") in ran.stderr
    assert "--lossy" in ran.stderr
    lossy = call(flows, "export", "team/mixed", "--format", kind, "-o", "out", "--lossy").succeeded()
    assert f"Warning: {kind} loses" in lossy.stderr
    assert file.stat().st_size


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_environment_is_the_same_file(mixed: tuple[Flows, str], kind: str) -> None:
    flows, _ = mixed
    first, second = (
        call(flows, "export", "team/mixed", "--format", kind, "--lossy").succeeded().stdout for _ in range(2)
    )
    assert first == second
    told = json.loads(call(flows, "export", "team/mixed", "--format", kind, "--lossy", "--json").succeeded().stdout)
    assert told["content"] == first


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("import", "gone.lock"), 2, "there is no file `gone.lock`"),
        (("import", "requirements.txt"), 2, "`requirements.txt` is not a lock file"),
        (("import", "a.lock", "b.lock", "--alias", "x"), 2, "2 files cannot have one name"),
        (("import", "--legacy", "x", "--alias", "y"), 2, "--legacy takes environments over as they are"),
        (("export", "nobody", "--format", "pixi.lock"), 2, "no environment is known by the name `nobody:latest`"),
        (("export", "nobody", "--format", "word.doc"), 2, "invalid choice"),
    ],
)
def test_what_cannot_be_is_refused(flows: Flows, arguments: tuple[str, ...], code: int, words: str) -> None:
    (flows.folder / "requirements.txt").write_text("six\n")
    ran = call(flows, *arguments)
    assert (ran.code, "Traceback" in ran.text) == (code, False)
    assert words in ran.stderr


def test_two_platforms_are_refused_where_a_format_holds_one(mixed: tuple[Flows, str]) -> None:
    flows, _ = mixed
    ran = call(
        flows, "export", "team/mixed", "--format", "explicit", "--arch", "linux-64", "--arch", "osx-64", "--lossy"
    )
    assert (ran.code, "explicit holds one platform, not 2" in ran.stderr) == (2, True)
    unwritable = call(
        flows, "export", "team/mixed", "--format", "pixi.lock", "-o", "no/such/folder\0/x".replace("\0", "")
    )
    assert unwritable.code in {0, 2}


def test_what_a_file_leaves_to_others_is_noted(pypi_only: tuple[Flows, str]) -> None:
    flows, _ = pypi_only
    ran = call(flows, "export", "team/pypi", "--format", "requirements.txt", "--json").succeeded()
    document = json.loads(ran.stdout)
    assert document["lost"] == []
    assert [note.partition(" ")[0] for note in document["notes"]] == ["Python"]
    assert "itself has to be there already" in ran.stderr
    local = call(flows, "export", "team/pypi", "--format", "pixi.lock", "-o", "pixi.lock").succeeded()
    # The channel of these tests is a folder.
    assert "Note: other machines cannot reach the addresses (file:) of" in local.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--python", "3.11"), "is a lock of this package, which leaves nothing open"),
        (("--arch", "osx-64"), "is a lock for linux-64, and for no other platform"),
    ],
)
def test_a_lock_of_ours_leaves_nothing_to_choose(flows: Flows, arguments: tuple[str, ...], words: str) -> None:
    lock_id = resolve(flows, "--conda-pkg", "six=1.16")
    own = flows.folder / ".metaflow" / "conda_v2.locks" / "mfenv" / "v1" / "locks" / f"{lock_id}.json"
    ran = call(flows, "import", str(own), *arguments)
    assert (ran.code, words in ran.stderr) == (2, True)
    (flows.folder / "other.json").write_text("{}")
    other = call(flows, "import", "other.json")
    assert (other.code, "`other.json` is not a lock file" in other.stderr) == (2, True)
