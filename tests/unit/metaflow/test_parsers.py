"""Files of requirements as arguments of decorators: they ask for the same as the files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from mfenv.domain.platform import Platform
from mfenv.domain.spec import SpecLayer
from mfenv.formats import environment_yml, pyproject_toml, requirements_txt
from mfenv.metaflow.decorators import CondaStepDecorator, PyPIStepDecorator
from mfenv.metaflow.parsers import UnreadableConfig, req_parser, toml_parser, yml_parser
from mfenv.metaflow.requirements import Reader

REQUIREMENTS = """
python>=3.10,<3.13
requests[socks]>=2.21 ; sys_platform == "linux"
numpy==1.26.4
lib @ git+https://h.example.org/lib@v1
--extra-index-url https://i.example.org/simple
--pre
--conda-pkg ffmpeg>=6
"""
ENVIRONMENT = """
channels: [b, a]
dependencies:
- python=3.11
- numpy=1.26
- c::x=1.2=build
- pip:
  - requests>=2.21
  - --extra-index-url https://i.example.org/simple
"""
PROJECT = """
[project]
name = "a"
requires-python = ">=3.9"
dependencies = ["requests>=2.21", "numpy"]
[[tool.uv.index]]
url = "https://i.example.org/simple"
"""


def read(decorator: type, arguments: dict[str, Any]) -> dict[str, object]:
    # Metaflow refuses arguments that a decorator does not have.
    found = decorator(attributes=arguments, statically_defined=True)  # type: ignore[call-arg]
    return _asked(Reader(owner="s", folder=Path.cwd()).layer([found]))


def _asked(layer: SpecLayer) -> dict[str, object]:
    skipped = {"places", "requires_python", "exclude_newer"}
    fields = {name: getattr(layer, name) for name in SpecLayer.__dataclass_fields__ if name not in skipped}
    return {**fields, "pypi": sorted(layer.pypi, key=str), "conda": sorted(layer.conda, key=str)}


def test_a_requirements_file_asks_for_the_same_by_either_way() -> None:
    layer = requirements_txt.load(REQUIREMENTS, shown="r", folder=Path.cwd()).layer
    assert read(PyPIStepDecorator, req_parser(REQUIREMENTS)) == _asked(layer)


def test_an_environment_file_asks_for_the_same_by_either_way() -> None:
    layer = environment_yml.load(ENVIRONMENT, shown="e", folder=Path.cwd()).layer
    assert read(CondaStepDecorator, yml_parser(ENVIRONMENT)) == _asked(layer)


def test_a_project_file_asks_for_the_same_by_either_way() -> None:
    layer = pyproject_toml.load(PROJECT, shown="p", folder=Path.cwd(), platform=Platform.host()).layer
    assert read(PyPIStepDecorator, toml_parser(PROJECT)) == _asked(layer)


def test_options_are_a_list_as_the_decorator_has_it() -> None:
    assert req_parser("--pre")["extras"] == ["--prerelease=allow"]


def test_a_bound_on_python_is_said_only_where_the_launching_one_is_outside() -> None:
    bound = f">={sys.version_info[0]}.{sys.version_info[1] + 1}"
    assert "python" not in toml_parser(PROJECT)
    assert toml_parser(PROJECT.replace(">=3.9", bound))["python"] == bound


@pytest.mark.parametrize(
    ("parser", "text", "message"),
    [
        (req_parser, "a b", "requirements.txt:1:1: `a b` is not a requirement"),
        (
            req_parser,
            "--sys-pkg __cuda==12",
            "requirements.txt: it has system, for which the decorator has no argument",
        ),
        (req_parser, f"a==1 --hash=sha256:{'a' * 64}", "requirements.txt: it has hashes, for which"),
        (yml_parser, "sys: [__cuda==12]", "environment.yml: it has system, for which"),
        (yml_parser, "dependencies: a", "environment.yml:1:15: expected a list"),
        (toml_parser, "=", "pyproject.toml: this is not TOML"),
    ],
)
def test_what_has_no_argument_is_refused(parser: Any, text: str, message: str) -> None:
    with pytest.raises(UnreadableConfig) as caught:
        parser(text)
    assert str(caught.value).startswith(message)
