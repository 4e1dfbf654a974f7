"""A rewritten flow asks for the same as before: read by Metaflow itself, and by `Reader` as a launch does."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metaflow.decorators import flow_decorators

from mfenv.domain.spec import SpecLayer
from mfenv.errors import InvalidSpec
from mfenv.metaflow.requirements import Reader
from mfenv.migrate.rewrite import rewrite

_NUMBERS = itertools.count()
STEP = "    @step\n    def start(self):\n        self.next(self.end)\n\n    @step\n    def end(self):\n        pass\n"

FLOWS = {
    "pip": "from metaflow import FlowSpec, pip, pip_base, step\n@pip_base(packages={'a': '1'})\nclass F(FlowSpec):\n    @pip(packages={'b[x]': '>=2'}, extra_indices=['https://i.example.org'])\n",
    "aliases": "from metaflow import FlowSpec, step, pip as p, conda as c\nclass F(FlowSpec):\n    @p(packages={'a': '1'})\n    @c(libraries={'b': ''}, sources=['x'])\n",
    "module": "import metaflow as mf\nfrom metaflow import FlowSpec, step\n@mf.conda_base(pip_packages={'a': '1'}, python='3.9')\nclass F(FlowSpec):\n    @mf.pip(name='team/a')\n",
    "star": "from metaflow import *\nclass F(FlowSpec):\n    @conda(pip_packages=['a==1', 'b'], libraries={'c': '1'})\n",
    "all of conda": "from metaflow import FlowSpec, conda, step\nclass F(FlowSpec):\n    @conda(libraries={'a': '1'}, pip_packages={'b': '2', 'c': ''}, pip_sources=['https://i.example.org', 'https://j.example.org'], sources=['x', 'y'], python='3.10', disabled=False, name='team/a', fetch_at_exec=False)\n",
    "list": "from metaflow import FlowSpec, conda_base, step\n@conda_base(pip_packages=['tensorflow==2.10.0', 'b[x] >=1,<2', 'c~=1.0', 'd==1.*', 'e===1.0', 'f; os_name == \"posix\"', 'g @ https://h.example.org/g-1.tar.gz'])\nclass F(FlowSpec):\n",
    "variables": "from metaflow import FlowSpec, conda, step\nP = {'a': '1'}\nP_ = dict(P, b='2')\nS = ['https://i.example.org']\nclass F(FlowSpec):\n    @conda(pip_packages=P, pip_sources=S)\n    @conda(pip_packages={**P_, 'c': '3'}, sources=['x'])\n",
    "dictionaries": "from metaflow import FlowSpec, conda, pip, step\nMORE = {'python': '3.9'}\nclass F(FlowSpec):\n    @pip(packages={'a': '1'}, **MORE)\n    @conda(**{'libraries': {'b': '1'}})\n",
    "a step of a run": "from metaflow import FlowSpec, pypi, pypi_base, step\n@pypi_base(packages={'a': '1'})\nclass F(FlowSpec):\n    @pypi(packages={'b': ''}, pathspec='F/1/start', sources=['https://i.example.org'])\n",
    "named on both": "from metaflow import FlowSpec, conda, pypi, named_env, step\nclass F(FlowSpec):\n    @conda(name='team/a:v1', libraries={'a': '1'})\n    @pypi(name='team/a:v1', packages={'b': '1'})\n    @named_env(fetch_at_exec=False)\n",
    "one half of a name": "from metaflow import FlowSpec, conda, named_env, step\nclass F(FlowSpec):\n    @named_env(name='team/a')\n    @conda(fetch_at_exec=True)\n",
    "nothing in it": "from metaflow import FlowSpec, conda, pip, step\nclass F(FlowSpec):\n    @pip\n    @conda(pip_packages=None, name=None, pathspec=None, fetch_at_exec=None)\n    @conda(pip_packages=[], pip_sources=[], sources=[])\n",
    "switched off": "from metaflow import FlowSpec, conda, conda_base, step\n@conda_base(pip_packages={'a': '1'})\nclass F(FlowSpec):\n    @conda(disabled=True, pip_packages={'a': '1'})\n",
    "today's": "from metaflow import FlowSpec, conda, pypi, step\nclass F(FlowSpec):\n    @conda(packages={'a': '1'})\n    @pypi(packages={'b': '1'})\n",
}  # fmt: skip
FLOWS_LEFT_AS_THEY_ARE = {"today's"}


def _without_places(layer: SpecLayer) -> dict[str, Any]:
    return {field.name: getattr(layer, field.name) for field in fields(layer) if field.name != "places"}


def asked(text: str, folder: Path) -> list[dict[str, Any]]:
    """What the flow and its step `start` ask for, in a file that Metaflow reads."""
    path = folder / f"flow_{next(_NUMBERS)}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[path.stem]
    reader = Reader(owner="it", folder=folder)
    return [_without_places(reader.layer(found)) for found in (flow_decorators(module.F), module.F.start.decorators)]


@pytest.mark.parametrize("name", FLOWS)
def test_metaflow_reads_the_same_from_the_rewritten_flow(name: str, tmp_path: Path) -> None:
    text = FLOWS[name] + STEP
    found = rewrite(text, shown="f.py")
    assert (found.text == text) == (name in FLOWS_LEFT_AS_THEY_ARE)
    assert found.notes == ()
    assert asked(found.text, tmp_path) == asked(text, tmp_path)


class _Written:
    statically_defined = True

    def __init__(self, name: str, attributes: dict[str, object]) -> None:
        self.name, self.attributes = name, attributes


def _read(text: str) -> dict[str, Any] | type[InvalidSpec]:
    """Read the decorators of the one step in a text without Metaflow, which is too slow for a property."""
    calls = [one for node in ast.walk(ast.parse(text)) for one in getattr(node, "decorator_list", ())]
    found = [
        _Written(call.func.id, {word.arg or "": ast.literal_eval(word.value) for word in call.keywords})
        for call in calls
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    ]
    try:
        return _without_places(Reader(owner="s", folder=Path("/")).layer(reversed(found)))
    except InvalidSpec:
        return InvalidSpec


_INDEXES = st.lists(st.sampled_from(["https://u.example.org", "https://v.example.org"]), max_size=2, unique=True)
_SHARED: dict[str, st.SearchStrategy[Any]] = {
    "python": st.sampled_from(["3.8", "3.11"]),
    "name": st.sampled_from(["team/a", "b:v1"]),
    "pathspec": st.just("F/1/start"),
    "fetch_at_exec": st.booleans(),
    "disabled": st.booleans(),
}
_PACKAGES = st.dictionaries(st.sampled_from(["c", "d[x]"]), st.sampled_from(["1", ">=2", ""]), max_size=2)
_CONDA = {
    **_SHARED,
    "libraries": st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["1", ">=1,<2", ""]), max_size=2),
    "pip_packages": st.one_of(
        _PACKAGES, st.lists(st.sampled_from(["c==1", "d[x]>=2", "e", "f==1.*", "g~=1.2"]), max_size=3, unique=True)
    ),
    "pip_sources": _INDEXES,
    "sources": st.lists(st.sampled_from(["x", "y"]), max_size=2, unique=True),
}
_PYPI = {**_SHARED, "packages": _PACKAGES, "sources": _INDEXES}
_NAMED = {key: _SHARED[key] for key in ("name", "fetch_at_exec")}


def _calls(names: Iterable[str], arguments: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[tuple[str, Any]]:
    return st.tuples(st.sampled_from(list(names)), st.fixed_dictionaries({}, optional=arguments))


_DECORATORS = st.lists(
    st.one_of(_calls(["conda"], _CONDA), _calls(["pypi", "pip"], _PYPI), _calls(["named_env"], _NAMED)),
    min_size=1,
    max_size=3,
)


@given(_DECORATORS, st.booleans())
def test_rewritten_decorators_ask_for_the_same_or_are_refused_the_same(
    decorators: list[tuple[str, dict[str, object]]], over_lines: bool
) -> None:
    start, between, end = ("\n        ", ",\n        ", ",\n    ") if over_lines else ("", ", ", "")
    text = "from metaflow import FlowSpec, conda, named_env, pip, pypi, step\n\nclass F(FlowSpec):\n"
    for name, arguments in decorators:
        written = between.join(f"{key}={value!r}" for key, value in arguments.items())
        text += f"    @{name}({start}{written}{end})\n" if arguments else f"    @{name}()\n"
    text += STEP
    found = rewrite(text, shown="f.py")
    assert {note.message for note in found.notes} <= {
        "`pip` is imported, and no decorator uses it: import `pypi` by hand"
    }
    assert _read(found.text) == _read(text)
    assert not {"pip_packages", "pip_sources", "sources"} & {
        word.arg for node in ast.walk(ast.parse(found.text)) if isinstance(node, ast.Call) for word in node.keywords
    }
    assert found.text.endswith(STEP)
    assert rewrite(found.text, shown="f.py").text == found.text
