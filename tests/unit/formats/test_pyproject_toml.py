"""Project files in the words of the standard, uv, Poetry and pixi."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.index import IndexSecret, PackageIndex
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.spec import SpecLayer
from mfenv.errors import InvalidSpec
from mfenv.formats.pyproject_toml import load
from mfenv.formats.written import Written

LINUX, MAC = Platform.LINUX_64, Platform.OSX_ARM64
STANDARD = """
[project]
name = "Shop"
requires-python = ">=3.10"
dependencies = ["requests>=2.21", "numpy ; sys_platform == 'linux'"]

[project.optional-dependencies]
plot = ["matplotlib"]
all = ["shop[plot]", "rich"]

[dependency-groups]
test = ["pytest>=8"]
dev = [{include-group = "test"}, "ruff"]
"""


def read(
    text: str,
    platform: Platform = LINUX,
    folder: Path = Path("/shop"),
    shown: str = "pyproject.toml",
    **take: tuple[str, ...],
) -> Written:
    return load(text, shown=shown, folder=folder, platform=platform, **take)


def wanted(text: str, **more: object) -> list[str]:
    return [str(requirement) for requirement in read(text, **more).layer.pypi]  # type: ignore[arg-type]


def refused(text: str, **more: object) -> str:
    with pytest.raises(InvalidSpec) as caught:
        read(text, **more)  # type: ignore[arg-type]
    return caught.value.message


@pytest.mark.parametrize(
    ("take", "names"),
    [
        ({}, ["requests>=2.21", 'numpy ; sys_platform == "linux"']),
        ({"optional": ("plot",)}, ["requests>=2.21", 'numpy ; sys_platform == "linux"', "matplotlib"]),
        ({"optional": ("All",)}, ["requests>=2.21", 'numpy ; sys_platform == "linux"', "rich", "matplotlib"]),
        ({"groups": ("dev",)}, ["requests>=2.21", 'numpy ; sys_platform == "linux"', "pytest>=8", "ruff"]),
    ],
)
def test_what_is_asked_for_is_taken_and_nothing_else(take: dict[str, tuple[str, ...]], names: list[str]) -> None:
    assert wanted(STANDARD, **take) == names


def test_requires_python_is_a_bound_and_no_choice() -> None:
    layer = read(STANDARD).layer
    assert (layer.python, layer.requires_python) == (None, PythonConstraint(version=">=3.10"))


def test_groups_alone_are_enough() -> None:
    assert wanted('[dependency-groups]\na = ["x"]', groups=("a",)) == ["x"]


UV = """
[project]
name = "shop"
dependencies = ["torch", "lib[x]", "tool", "plain"]
[tool.uv]
prerelease = "allow"
exclude-newer = "2025-01-31"
constraint-dependencies = ["plain<3"]
[[tool.uv.index]]
name = "first"
url = "https://me:pw@first.example.org/simple"
[[tool.uv.index]]
name = "cpu"
url = "https://cpu.example.org/whl"
explicit = true
[[tool.uv.index]]
name = "main"
url = "https://main.example.org/simple"
default = true
[tool.uv.sources]
torch = [{ index = "cpu", marker = "sys_platform == 'linux'" }]
lib = { git = "https://git.example.org/lib", tag = "v1", subdirectory = "python" }
tool = { path = "../tool", editable = true }
"""


def test_uvs_indexes_and_sources_count() -> None:
    found = read(UV)
    layer = found.layer
    assert [(str(one), one.index, one.is_editable) for one in layer.pypi] == [
        ("torch", "https://cpu.example.org/whl", False),
        ("lib[x] @ git+https://git.example.org/lib@v1#subdirectory=python", "", False),
        ("tool @ file:///tool", "", True),
        ("plain", "", False),
    ]
    assert [str(index) for index in layer.indexes] == ["https://first.example.org/simple"]
    assert str(layer.default_index) == "https://main.example.org/simple"
    assert [str(flag) for flag in layer.flags] == ["--prerelease=allow"]
    assert (layer.exclude_newer, [str(one) for one in layer.constraints]) == ("2025-01-31", ["plain<3"])
    index = PackageIndex(url="https://first.example.org/simple")
    assert found.index_secrets == (IndexSecret(index=index, secret_url="https://me:pw@first.example.org/simple"),)


def test_a_source_for_another_platform_does_not_count() -> None:
    assert read(UV, platform=MAC).layer.pypi[0].index == ""


def test_a_member_of_the_workspace_is_found(tmp_path: Path) -> None:
    for name in ("app", "lib"):
        (tmp_path / "packages" / name).mkdir(parents=True)
        (tmp_path / "packages" / name / "pyproject.toml").write_text(f'[project]\nname = "my-{name}"\n')
    (tmp_path / "pyproject.toml").write_text(
        '[tool.uv.workspace]\nmembers = ["packages/*"]\n[project]\nname = "root"\n'
    )
    text = '[project]\nname = "my-app"\ndependencies = ["my-lib"]\n[tool.uv.sources]\nmy-lib = { workspace = true }\n'
    assert wanted(text, folder=tmp_path / "packages" / "app") == [
        f"my-lib @ {(tmp_path / 'packages' / 'lib').as_uri()}"
    ]


POETRY = """
[tool.poetry]
name = "shop"
[tool.poetry.dependencies]
python = "^3.10"
requests = "^2.21"
six = "*"
exact = "1.4.0"
tilde = "~1.2.3"
both = {version = ">=1,!=1.5", extras = ["x"], markers = "sys_platform == 'linux'"}
repo = {git = "https://git.example.org/r", branch = "main"}
folder = {path = "../lib", develop = true}
rich = {version = "^13", optional = true}
bound = {version = "^1", python = "<3.12"}
private = {version = "*", source = "mine"}
[tool.poetry.extras]
pretty = ["rich"]
[tool.poetry.group.test.dependencies]
pytest = "^8.0"
[[tool.poetry.source]]
name = "mine"
url = "https://mine.example.org/simple"
priority = "explicit"
"""
POETRY_WANTED = [
    "requests<3.0,>=2.21",
    "six",
    "exact==1.4.0",
    "tilde<1.3.0,>=1.2.3",
    'both[x]!=1.5,>=1 ; sys_platform == "linux"',
    "repo @ git+https://git.example.org/r@main",
    "folder @ file:///lib",
    'bound<2,>=1 ; python_version < "3.12"',
    "private",
]


def test_a_project_of_poetrys_is_read_as_poetry_reads_it() -> None:
    layer = read(POETRY).layer
    assert [str(one) for one in layer.pypi] == POETRY_WANTED
    assert layer.requires_python == PythonConstraint(version="<4.0,>=3.10")
    assert (layer.pypi[-1].index, layer.indexes) == ("https://mine.example.org/simple", ())
    assert next(one for one in layer.pypi if one.name == "folder").is_editable


def test_poetrys_groups_and_extras_are_taken_when_asked_for() -> None:
    assert wanted(POETRY, optional=("pretty",), groups=("test",)) == [
        *POETRY_WANTED[:7], "rich<14,>=13", *POETRY_WANTED[7:], "pytest<9.0,>=8.0"
    ]  # fmt: skip


PIXI = """
[workspace]
channels = ["conda-forge", "bioconda"]
[dependencies]
python = "3.11.*"
numpy = ">=1.26,<2"
bare = "1.2"
built = { version = "1.*", build = "py311*", channel = "bioconda" }
[pypi-dependencies]
requests = { version = ">=2.21", extras = ["socks"] }
local = { path = "./lib", editable = true }
[target.linux-64.dependencies]
only-linux = "*"
[target.osx.dependencies]
only-mac = "*"
[system-requirements]
cuda = "12"
libc = { family = "glibc", version = "2.31" }
[activation.env]
MODE = "fast"
[feature.test.dependencies]
pytest = "8.*"
[environments]
test = ["test"]
"""


def test_a_manifest_of_pixis_is_read_as_pixi_reads_it() -> None:
    layer = read(PIXI, shown="pixi.toml").layer
    assert layer == SpecLayer(
        python=PythonConstraint(version="3.11.*"),
        conda=layer.conda,
        channels=layer.channels,
        pypi=layer.pypi,
        system=(("__cuda", "12"), ("__glibc", "2.31")),
        variables=(("MODE", "fast"),),
        places=layer.places,
    )
    assert [str(one) for one in layer.conda] == [
        "numpy <2,>=1.26",
        "bare 1.2.*",
        "bioconda::built 1.* py311*",
        "only-linux",
    ]
    assert [str(one) for one in layer.channels] == ["conda-forge", "bioconda"]
    assert [str(one) for one in layer.pypi] == ["requests[socks]>=2.21", "local @ file:///shop/lib"]


def test_pixis_environments_and_platforms_are_told_apart() -> None:
    found = read(PIXI, shown="pixi.toml", platform=MAC, groups=("test",)).layer
    assert [one.name for one in found.conda] == ["numpy", "bare", "built", "only-mac", "pytest"]


def test_pixi_in_a_pyproject_has_the_projects_own_dependencies_too() -> None:
    text = '[project]\nname = "a"\ndependencies = ["x"]\n' + PIXI.replace("[", "[tool.pixi.").replace(
        '[tool.pixi."', '["'
    )
    text = text.replace('= [tool.pixi."', '= ["').replace("[tool.pixi.project]", "[project]", 1)
    text = text.replace('ies = [tool.pixi."x"]', 'ies = ["x"]').replace("extras = [tool.pixi.", "extras = [")
    names = [one.name for one in read(text.replace("[tool.pixi.project]", "[project]")).layer.pypi]
    assert names == ["requests", "local", "x"]


@pytest.mark.parametrize(
    ("text", "take", "message"),
    [
        ("a = ", {}, "pyproject.toml: this is not TOML (Invalid value (at end of document))"),
        ("[tool.black]", {}, "pyproject.toml:1:1: this file asks for nothing: it has no `project`, `dependency-groups`, `tool.poetry` or `tool.pixi`"),
        ('[project]\nname = "a"\ndependencies = [\n  "ok",\n  "not ok",\n]', {}, "pyproject.toml:5:4: `not ok` is not a requirement"),
        ('[project]\ndependencies = ["python>=3"]', {}, "pyproject.toml:2:18: Python is not one of the dependencies"),
        ('[project]\ndependencies = "a b"', {}, "pyproject.toml:2:17: `a b` is not a requirement"),
        ("[project]\ndependencies = 1", {}, "pyproject.toml:2:1: expected a list in `project.dependencies`, found `1`"),
        ('[project]\ndynamic = ["dependencies"]', {}, "pyproject.toml:2:1: the dependencies of this project are made when it is built"),
        (STANDARD, {"optional": ("nope",)}, "pyproject.toml:7:10: there are no optional dependencies `nope`"),
        (STANDARD, {"groups": ("nope",)}, "pyproject.toml:11:1: the dependency group `nope` cannot be taken (Dependency group 'nope' not found)"),
        (PIXI, {"groups": ("nope",), "shown": "pixi.toml"}, "pixi.toml:23:1: there is no environment `nope`"),
        ('[tool.poetry.dependencies]\na = "^x"\nb = "<1 || >2"\n', {}, "pyproject.toml:2:1: `^x` is not a constraint of Poetry's\npyproject.toml:3:1: alternatives cannot be asked for of a package: `<1 || >2`"),
        ('[project]\ndependencies = ["a"]\n[tool.uv]\noverride-dependencies = ["a==1"]', {}, "pyproject.toml:4:1: `tool.uv.override-dependencies` cannot be honoured"),
        ('[project]\ndependencies = ["a"]\n[tool.uv.sources]\na = { index = "gone" }', {}, "pyproject.toml:4:1: there is no index `gone`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(text: str, take: dict[str, object], message: str) -> None:
    assert refused(text, **take) == message


_KEYS = st.sampled_from(
    [
        "project",
        "dependencies",
        "name",
        "tool",
        "uv",
        "poetry",
        "pixi",
        "sources",
        "index",
        "dependency-groups",
        "a",
        "group",
        "extras",
        "workspace",
        "channels",
        "python",
        "dynamic",
        "environments",
    ]
)
_TREES = st.recursive(
    st.one_of(st.text(max_size=8), st.integers(0, 9), st.booleans(), st.sampled_from(["a>=1", "^1", ">=3.9"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=4)),
    max_leaves=12,
)  # fmt: skip


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {_toml(one)}' for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    return '"' + "".join(c if c.isalnum() or c in "><=^.~ " else "_" for c in str(value)) + '"'


@given(st.dictionaries(_KEYS, _TREES, max_size=4), st.booleans())
def test_whatever_the_tables_only_our_errors_come(tree: dict[str, object], is_pixi: bool) -> None:
    text = "\n".join(f'"{key}" = {_toml(value)}' for key, value in tree.items())
    with contextlib.suppress(InvalidSpec):
        read(text, shown="pixi.toml" if is_pixi else "pyproject.toml", groups=("a",), optional=("a",))
