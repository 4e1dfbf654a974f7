"""Old spellings become today's; everything else stays byte for byte."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.errors import InvalidSpec
from mfenv.metaflow.requirements import Reader
from mfenv.migrate.rewrite import Note, rewrite
from mfenv.migrate.settings import changed_settings

FLOW = """{imports}
{before}

class F(FlowSpec):
{decorators}
    @step
    def start(self):
        pass  # untouched
"""


def flow(decorators: str, imports: str, before: str = "") -> str:
    return FLOW.format(
        decorators="\n".join(f"    {line}" for line in decorators.splitlines()), imports=imports, before=before
    )


START = "from metaflow import FlowSpec, step"
CASES = [
    # old decorators, old import, today's decorators, today's import
    ('@pip(packages={"a": "1"})', f"{START}, pip", '@pypi(packages={"a": "1"})', f"{START}, pypi"),
    ("@pip", f"{START}, pip", "@pypi", f"{START}, pypi"),
    ("@p(packages=X)", f"{START}, pip as p", "@p(packages=X)", f"{START}, pypi as p"),
    ('@pip(packages=X)\n@pypi(packages=Y)', f"{START}, pip, pypi", "@pypi(packages=X)\n@pypi(packages=Y)", f"{START}, pypi"),
    ('@mf.pip(packages=X)', f"import metaflow as mf\n{START}", "@mf.pypi(packages=X)", f"import metaflow as mf\n{START}"),
    ('@mf.conda(name="a")', f"import metaflow as mf\n{START}", '@mf.named_env(name="a")', f"import metaflow as mf\n{START}"),
    ('@conda(sources=["a"], libraries={"b": "1"})', f"{START}, conda", '@conda(channels=["a"], libraries={"b": "1"})', f"{START}, conda"),
    ('@pypi(sources=["a"])', f"{START}, pypi", '@pypi(extra_indices=["a"])', f"{START}, pypi"),
    ('@conda(libraries={"b": "1"}, pip_packages={"a": "2"})  # why', f"{START}, conda", '@conda(libraries={"b": "1"})  # why\n@pypi(packages={"a": "2"})', f"{START}, conda, pypi"),
    ('@conda(pip_packages={"a": "2"}, pip_sources=["u"])', f"{START}, conda", '@pypi(packages={"a": "2"}, extra_indices=["u"])', f"{START}, conda, pypi"),
    ("@conda(pip_packages=['a==2.0', \"b[x]>=1\", 'c', 'd==1.*'])", f"{START}, conda", '@pypi(packages={"a": "2.0", "b[x]": ">=1", "c": "", "d": "==1.*"})', f"{START}, conda, pypi"),
    ('@conda(name="team/x", fetch_at_exec=True)', f"{START}, conda", '@named_env(name="team/x", fetch_at_exec=True)', f"{START}, conda, named_env"),
    ('@pypi(packages=X, pathspec="F/1/a")', f"{START}, pypi", '@pypi(packages=X)\n@named_env(pathspec="F/1/a")', f"{START}, pypi, named_env"),
    ('@conda(\n    libraries={\n        "a": "1",  # one\n    },\n    name="x",\n)', f"{START}, conda", '@conda(\n    libraries={\n        "a": "1",  # one\n    },\n)\n@named_env(name="x")', f"{START}, conda, named_env"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "imports", "new", "new_imports"), CASES)
def test_an_old_spelling_is_rewritten(old: str, imports: str, new: str, new_imports: str) -> None:
    found = rewrite(flow(old, imports), shown="f.py")
    assert (found.text, found.notes) == (flow(new, new_imports), ())
    assert rewrite(found.text, shown="f.py").text == found.text


def test_flows_are_decorated_too() -> None:
    old = "from metaflow import FlowSpec, conda_base\n\n@conda_base(pip_packages=P, python='3.8')\nclass F(FlowSpec): pass\nP = {}\n"
    assert rewrite(old, shown="f").text == (
        "from metaflow import FlowSpec, conda_base, pypi_base\n\n@conda_base(python='3.8')\n@pypi_base(packages=P)\n"
        "class F(FlowSpec): pass\nP = {}\n"
    )


def test_imports_over_several_lines_keep_their_lines() -> None:
    old = "from metaflow import (\n    FlowSpec,\n    pip,\n    step,\n)\n\nclass F(FlowSpec):\n    @pip(name='a')\n    @step\n    def start(self): ...\n"
    assert rewrite(old, shown="f").text.startswith(
        "from metaflow import (\n    FlowSpec,\n    pip,\n    step,\n    named_env,\n)\n"
    ) or ("named_env" in rewrite(old, shown="f").text)
    ast.parse(rewrite(old, shown="f").text)


@pytest.mark.parametrize(
    ("decorator", "before", "why"),
    [
        ("@conda(pip_packages=UNKNOWN)", "", "whether `pip_packages` is a dictionary cannot be seen here"),
        ("@conda(pip_packages=[X])", "", "an item of `pip_packages` is no plain text"),
        ("@conda(pip_packages=['a @ https://h/a.whl'])", "", "has an address or a marker"),
        ("@conda(name='a', **more)", "", "what `**` brings cannot be seen here"),
        ("@conda({}, name='a')", "", "it has an argument without a name"),
        ("@conda(sources=['a'], channels=['b'])", "", "it has both `sources` and `channels`"),
        ("@conda(\n    # of the name\n    name='a',\n)", "", "there are comments between its arguments"),
        ("@conda(name='a')", "named_env = 1", "the file has a `named_env` of its own"),
    ],
)
def test_what_is_not_sure_is_left_and_said(decorator: str, before: str, why: str) -> None:
    text = flow(decorator, f"{START}, conda", before)
    found = rewrite(text, shown="f.py")
    assert found.text == text
    [note] = found.notes
    assert why in note.message
    assert (note.line, note.column) == (5, 5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = 1\n",
        "from other import pip\n\n@pip(name='a')\ndef f(): ...\n",
        "def pip(**k): ...\n\n@pip(name='a')\ndef f(): ...\n",
        flow('@conda(libraries={"a": "1"}, python="3.8")', f"{START}, conda"),
        flow('@conda(packages={"a": "1"})\n@pypi(packages={"b": "1"})', f"{START}, conda, pypi"),
        flow("@conda(**cfg)", f"{START}, conda"),
        flow("@conda\n@retry(times=3)", f"{START}, conda, retry"),
    ],
)
def test_what_is_todays_or_nobodys_stays_byte_for_byte(text: str) -> None:
    assert rewrite(text, shown="f.py").text == text
    assert rewrite(text, shown="f.py").notes == ()


def test_ends_of_lines_stay() -> None:
    old, new = (
        flow(text, START + name).replace("\n", "\r\n")
        for text, name in (
            ("@pip(name='a', packages=X)", ", pip"),
            ("@pypi(packages=X)\n@named_env(name='a')", ", pypi, named_env"),
        )
    )
    assert rewrite(old, shown="f").text == new


def test_a_file_that_is_not_python_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidSpec) as caught:
        rewrite("x = 1\ndef f(:\n", shown="f.py")
    assert caught.value.message.startswith("f.py:2:")


class _Deco:
    statically_defined = True

    def __init__(self, name: str, attributes: dict[str, object]) -> None:
        self.name, self.attributes = name, attributes


def _asked(text: str) -> object:
    """Read the decorators of the one step in a text as the launch does."""
    calls = [d for node in ast.walk(ast.parse(text)) for d in getattr(node, "decorator_list", ())]
    found = [
        _Deco(call.func.id, {word.arg or "": ast.literal_eval(word.value) for word in call.keywords})
        for call in calls
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    ]
    layer = Reader(owner="s", folder=Path("/")).layer(reversed(found))
    return {name: getattr(layer, name) for name in type(layer).__dataclass_fields__ if name != "places"}


_VALUES = {
    "libraries": st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["1", ">=1,<2", ""]), max_size=2),
    "python": st.sampled_from(["3.8", "3.11"]),
    "pip_packages": st.one_of(
        st.dictionaries(st.sampled_from(["c", "d[x]"]), st.sampled_from(["1", ">=2", ""]), max_size=2),
        st.lists(st.sampled_from(["c==1", "d[x]>=2", "e", "f==1.*", "g~=1.2"]), max_size=3, unique=True),
    ),
    "pip_sources": st.lists(
        st.sampled_from(["https://u.example.org", "https://v.example.org"]), max_size=2, unique=True
    ),
    "sources": st.lists(st.sampled_from(["x", "y"]), max_size=2, unique=True),
    "name": st.sampled_from(["team/a", "b:v1"]),
    "fetch_at_exec": st.just(False),
    "disabled": st.booleans(),
}


@given(st.fixed_dictionaries({}, optional=_VALUES), st.booleans())
def test_the_rewritten_flow_asks_for_the_same(arguments: dict[str, object], over_lines: bool) -> None:
    end = "\n        " if over_lines else ""
    written = ("," + (end or " ")).join(f"{key}={value!r}" for key, value in arguments.items())
    text = flow(f"@conda({end}{written}{end})" if arguments else "@conda()", f"{START}, conda")
    found = rewrite(text, shown="f.py")
    assert found.notes == ()
    assert _asked(found.text) == _asked(text)
    assert rewrite(found.text, shown="f.py").text == found.text
    assert found.text.endswith("    @step\n    def start(self):\n        pass  # untouched\n")


def test_settings_that_changed_are_listed_when_they_are_set_and_without_their_values() -> None:
    values = {
        "CONDA_DEPENDENCY_RESOLVER": "mamba",
        "CONDA_MIXED_DEPENDENCY_RESOLVER": "conda-lock",
        "CONDA_PYPI_DEPENDENCY_RESOLVER": "uv",
        "CONDA_TEST": "",
    }
    assert changed_settings(values.get) == [
        "METAFLOW_CONDA_DEPENDENCY_RESOLVER: no longer needed: the solver comes with the package",
        "METAFLOW_CONDA_MIXED_DEPENDENCY_RESOLVER: its values are `hybrid` or `none` now",
    ]


def test_a_note_has_a_place() -> None:
    assert Note(line=1, column=2, message="x") == Note(line=1, column=2, message="x")
