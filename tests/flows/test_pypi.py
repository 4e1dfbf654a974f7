"""PyPI packages, alone and together with conda's, in real flows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows

TELL = """
import shutil
from importlib import metadata
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
def from_conda():
    return sorted({p.rsplit("-", 2)[0] for p in os.listdir(sys.prefix + "/conda-meta") if p.endswith(".json")})
def said(module):
    return getattr(__import__(module), "SAYS", None)
"""
BACKEND = """
import csv, base64, hashlib, io, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    stem = "{module}-{version}"
    members = {{
        "{module}.py": open("{module}.py").read(),
        stem + ".dist-info/METADATA": "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n",
        stem + ".dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        stem + ".dist-info/entry_points.txt": "[console_scripts]\\n{name}-says = {module}:main\\n",
    }}
    rows = []
    for name, text in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append([name, "sha256=" + digest, len(text)])
    record = io.StringIO()
    csv.writer(record).writerows([*rows, [stem + ".dist-info/RECORD", "", ""]])
    with zipfile.ZipFile(folder + "/" + stem + "-py3-none-any.whl", "w") as wheel:
        for name, text in members.items():
            wheel.writestr(name, text)
        wheel.writestr(stem + ".dist-info/RECORD", record.getvalue())
    return stem + "-py3-none-any.whl"
"""


@pytest.fixture
def flows(flows: Flows) -> Flows:
    """Runs flows that reach the package index as this machine is set up to: certificates, proxies, mirrors."""
    prefixes = ("UV_", "SSL_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    return flows.using(**{name: value for name, value in os.environ.items() if name.startswith(prefixes)})


def source(folder: Path, name: str, says: str, version: str = "1.0") -> Path:
    """A project whose module says something; building it needs nothing but Python."""
    module = name.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\nscripts = {{"{name}-says" = "{module}:main"}}\n'
    )
    (folder / "backend.py").write_text(BACKEND.format(module=module, name=name, version=version))
    (folder / f"{module}.py").write_text(f'SAYS = "{says}"\n\n\ndef main():\n    print(SAYS)\n')
    return folder


def flow(*steps: tuple[str, str, str], on_flow: str = "") -> str:
    """A flow of steps one after the other: name, decorators, and what to tell."""
    names = [name for name, _, _ in steps]
    lines = [TELL, on_flow, "class Packages(FlowSpec):"]
    for (name, decorators, told), following in zip(steps, [*names[1:], ""], strict=True):
        lines += [f"    {line}" for line in decorators.splitlines()]
        lines += ["    @step", f"    def {name}(self):", f"        tell({told})"]
        lines.append(f"        self.next(self.{following})" if following else "        pass")
    return "\n".join(lines)


def test_pypi_packages_alone(flows: Flows) -> None:
    """Extras, a source that is built, any version, another Python, an entry point, and steps without packages."""
    other = next(iter(flows.channel.pythons))
    ran = flows.run(
        flow(
            (
                "start",
                '@pypi(packages={"requests": ">=2.21", "pandas[excel]": "2.2.2", "numpy": ""})',
                """pandas=version('pandas'), odf=version('odfpy'), xlsx=version('openpyxl'), conda=from_conda(),
                odfload=__import__('odf.opendocument').__name__, meta=version('requests')""",
            ),
            (
                "older",
                f'@pypi(packages={{"tabulate": "0.9.0"}}, python="{other}")',
                "script=shutil.which('tabulate'), tabulate=version('tabulate'), requests=version('requests')",
            ),
            ("without", "@pypi(disabled=True)", "tabulate=version('odfpy')"),
            ("end", "", "requests=version('requests'), conda=from_conda()"),
        ),
        timeout=240,
    ).succeeded()
    start, older = ran.fact("start"), ran.fact("older")
    assert (start["pandas"], start["odf"], start["odfload"]) == ("2.2.2", "1.4.1", "odf")
    assert start["xlsx"] is not None
    assert start["meta"] is not None
    assert {"pandas", "numpy", "requests"} & set(start["conda"]) == set(), "all of it is from PyPI"
    assert older["python"] == flows.channel.pythons[other]
    assert (older["script"], older["tabulate"]) == (f"{older['prefix']}/bin/tabulate", "0.9.0")
    assert older["requests"] is not None, "what Metaflow needs is there too"
    assert ran.fact("without")["prefix"] == sys.prefix
    assert "requests" in ran.fact("end")["conda"], "a step that asks for nothing has a conda environment"


def test_conda_and_pypi_agree(flows: Flows) -> None:
    """conda's newest numpy is too new for that pandas: conda is asked again, and each thing is there once."""
    ran = flows.run(
        flow(
            (
                "start",
                '@conda(packages={"numpy": ""})\n@pypi(packages={"pandas": "2.1.4"})',
                """numpy=version('numpy'), pandas=version('pandas'), conda=from_conda(),
                sum=int(__import__('pandas').Series([1, 2]).sum())""",
            ),
            ("end", "@conda(disabled=True)", ""),
        ),
        timeout=240,
    ).succeeded()
    start = ran.fact("start")
    assert (start["numpy"].split(".")[:2], start["pandas"], start["sum"]) == (["1", "26"], "2.1.4", 3)
    assert "numpy" in start["conda"]
    assert "pandas" not in start["conda"]


def test_the_flows_and_the_steps_packages_add_up(flows: Flows) -> None:
    """`@pypi_base` with `@conda` on a step; a step's own word; a step without; an option for all steps."""
    text = flow(
        ("start", '@conda(packages={"itsdangerous": ""})', "a=version('toolz'), b=version('itsdangerous')"),
        ("middle", '@pypi(packages={"toolz": "0.12.0"})', "a=version('toolz'), b=version('itsdangerous')"),
        ("end", "@pypi(disabled=True)", "prefixed=sys.prefix"),
        on_flow='@pypi_base(packages={"toolz": "0.12.1"})',
    )
    ran = flows.run(text).succeeded()
    newest = flows.channel.package_versions("itsdangerous")[-1]
    assert [(ran.fact(s)["a"], ran.fact(s)["b"]) for s in ("start", "middle")] == [
        ("0.12.1", newest),
        ("0.12.0", None),
    ]
    assert ran.fact("end")["prefixed"] == sys.prefix


def test_packages_from_the_command_line(flows: Flows) -> None:
    text = flow(("start", "", "a=version('toolz')"), ("end", "", "a=version('toolz')"))
    ran = flows.run(text, "--with", 'pypi:packages={"toolz": "0.12.1"}', environment="pypi").succeeded()
    assert [ran.fact(step)["a"] for step in ("start", "end")] == ["0.12.1", "0.12.1"]
    assert ran.resolved == 1


def test_each_state_of_a_folder_has_an_environment_of_its_own(flows: Flows) -> None:
    """State A, state B under the same version, and A again, which is known."""
    folder = source(flows.folder / "lib", "mylib", "A")
    path = flows.write(
        flow(
            ("start", '@pypi(packages={"mylib": "./lib"})', "says=said('mylib'), script=shutil.which('mylib-says')"),
            ("end", '@conda(packages={"six": ""})\n@pypi(packages={"mylib": "-e ./lib"})', "says=said('mylib')"),
        )
    )

    def run() -> tuple[str, str, str, int]:
        ran = flows.run(path).succeeded()
        start = ran.fact("start")
        assert start["script"] == f"{start['prefix']}/bin/mylib-says"
        return start["says"], ran.fact("end")["says"], start["prefix"], ran.resolved

    first, second = run(), run()
    assert first[:2] == ("A", "A")
    assert second == (*first[:3], 0)
    source(folder, "mylib", "B")
    third = run()
    assert third[:2] == ("B", "B")
    assert third[2] != first[2]
    source(folder, "mylib", "A")
    assert run() == (*first[:3], 0)


def test_a_branch_stays_where_it_was_locked_until_it_is_forced(flows: Flows) -> None:
    repository = source(flows.folder / "repo", "branchlib", "first")

    def commit() -> None:
        for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "state"]):
            identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
            subprocess.run(["git", *identity, *command], cwd=repository, check=True)

    commit()
    path = flows.write(
        flow(
            ("start", f'@pypi(packages={{"branchlib": "git+file://{repository}@main"}})', "says=said('branchlib')"),
            ("end", "@pypi(disabled=True)", ""),
        )
    )
    assert flows.run(path).succeeded().fact("start")["says"] == "first"
    source(repository, "branchlib", "second")
    commit()
    pinned = flows.run(path).succeeded()
    assert (pinned.fact("start")["says"], pinned.resolved) == ("first", 0)
    moved = flows.run(path, before=("--force-rebuild-environments",)).succeeded()
    assert moved.fact("start")["says"] == "second"


def test_what_came_later_does_not_count(flows: Flows) -> None:
    """PyPI's toolz 1.1 is younger than that date; and conda's Pythons are, than one before they were published."""
    asked = '@conda(packages={{"six": ""}})\n@pypi(packages={{"toolz": ""}}, exclude_newer="{date}")'
    end = ("end", "@conda(disabled=True)", "")
    ran = flows.run(flow(("start", asked.format(date="2025-06-01"), "toolz=version('toolz')"), end)).succeeded()
    assert ran.fact("start")["toolz"] == "1.0.0"
    told = flows.run(flow(("start", asked.format(date="2024-06-01"), ""), end)).refused()
    assert "uploaded after the cutoff date of 2024-06-02" in told


def test_a_step_with_a_gpu(flows: Flows) -> None:
    """The target has ``__cuda``, and who installs a build for the CPU is told."""
    source(flows.folder / "lib", "tensorflow-cpu", "slow")
    asked = '@conda(packages={"needs-cuda": ""})\n@pypi(packages={"tensorflow-cpu": "./lib"})'
    steps = (("start", f"@resources(gpu=1)\n{asked}", "conda=from_conda()"), ("end", "@conda(disabled=True)", ""))
    path = flows.write(flow(*steps))
    ran = flows.call(*flows.command(path, "package", "list"), timeout=240)
    warning = "Warning: step start asks for a GPU, but tensorflow-cpu 1.0 is a build for the CPU only."
    assert warning in ran.text, ran.text
    without = flows.run(flow(("start", asked, ""), ("end", "@conda(disabled=True)", ""))).refused()
    assert "A package needs a GPU (this target has no __cuda)" in without


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("PYPI", "none", "PyPI packages are switched off here by METAFLOW_CONDA_PYPI_DEPENDENCY_RESOLVER"),
        (
            "MIXED",
            "none",
            "conda and PyPI packages together are switched off here by METAFLOW_CONDA_MIXED_DEPENDENCY_RESOLVER",
        ),
        ("PYPI", "pipx", "METAFLOW_CONDA_PYPI_DEPENDENCY_RESOLVER: `pipx` is not known"),
        ("MIXED", "pixi", "METAFLOW_CONDA_MIXED_DEPENDENCY_RESOLVER: `pixi` is not known"),
    ],
)
def test_resolvers_can_be_switched_off(flows: Flows, setting: str, value: str, expected: str) -> None:
    text = flow(
        ("start", '@conda(packages={"six": ""})\n@pypi(packages={"toolz": ""})', ""),
        ("end", "@conda(disabled=True)", ""),
    )
    told = flows.using(**{f"METAFLOW_CONDA_{setting}_DEPENDENCY_RESOLVER": value}).run(text).refused()
    assert expected in told


def test_an_unchanged_run_asks_nobody(
    flows: Flows, watched: Callable[[Flows], tuple[Flows, Callable[[], list[Any]]]]
) -> None:
    """Nothing is resolved, no program of ours is started, and no connection is made."""
    path = flows.write(
        flow(
            ("start", '@conda(packages={"six": ""})\n@pypi(packages={"toolz": "0.12.1"})', "a=version('toolz')"),
            ("end", '@pypi(packages={"toolz": "0.12.1"})', "a=version('toolz')"),
        )
    )
    flows.run(path).succeeded()
    watching, seen = watched(flows)
    ran = watching.run(path).succeeded()
    assert (ran.resolved, ran.created) == (0, [])
    told = seen()
    assert [event for event in told if event[0] != "subprocess.Popen"] == []
    assert [event for event in told if "uv" in event[1].split("'")[1] or "worker_main" in event[1]] == []


def test_a_conflict_names_the_places_of_both_sides(flows: Flows) -> None:
    text = flow(
        ("start", '@conda(packages={"numpy": "2.*"})\n@pypi(packages={"pandas": "2.1.4"})', ""),
        ("end", "@conda(disabled=True)", ""),
    )
    told = flows.run(text).refused()
    (line,) = [line for line in told.splitlines() if line.startswith("step `start`")]
    # Metaflow does not print asterisks in errors as they are.
    assert line.replace("\N{ASTERISK OPERATOR}", "*") == (
        'step `start`, @pypi(packages={"pandas": "2.1.4"}); step `start`, @conda(packages={"numpy": "2.*"}): '
        "`pandas` from PyPI needs `numpy>=1.23.2,<2`, but `numpy 2.*` is asked for from conda"
    )
    assert "hint: Loosen one of the two sides" in told
