"""Old spellings become today's; everything else stays byte for byte."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.errors import InvalidSpec
from mfenv.migrate.rewrite import Note, rewrite

FLOW = """{imports}
{before}

class F(FlowSpec):
{decorators}
    @step
    def start(self):
        pass  # untouched
"""
START = "from metaflow import FlowSpec, step"


def flow(decorators: str, imports: str, before: str = "") -> str:
    indented = "\n".join(f"    {line}" for line in decorators.splitlines())
    return FLOW.format(decorators=indented, imports=imports, before=before)


CASES = {
    "renamed": ('@pip(packages={"a": "1"})', f"{START}, pip", '@pypi(packages={"a": "1"})', f"{START}, pypi"),
    "bare": ("@pip", f"{START}, pip", "@pypi", f"{START}, pypi"),
    "alias": ("@p(packages=X)", f"{START}, pip as p", "@p(packages=X)", f"{START}, pypi as p"),
    "beside": ("@pip(packages=X)\n@pypi(packages=Y)", f"{START}, pip, pypi", "@pypi(packages=X)\n@pypi(packages=Y)", f"{START}, pypi"),
    "module": ("@mf.pip(packages=X)", f"import metaflow as mf\n{START}", "@mf.pypi(packages=X)", f"import metaflow as mf\n{START}"),
    "module named": ('@metaflow.conda(name="a")', f"import metaflow.client\n{START}", '@metaflow.named_env(name="a")', f"import metaflow.client\n{START}"),
    "star": ('@conda(name="a")\n@pip', "from metaflow import *", '@named_env(name="a")\n@pypi', "from metaflow import *"),
    "channels": ('@conda(sources=["a"], libraries={"b": "1"})', f"{START}, conda", '@conda(channels=["a"], libraries={"b": "1"})', f"{START}, conda"),
    "indices": ('@pypi(sources=["a"])', f"{START}, pypi", '@pypi(extra_indices=["a"])', f"{START}, pypi"),
    "both kinds": ('@conda(libraries={"b": "1"}, pip_packages={"a": "2"})  # why', f"{START}, conda", '@conda(libraries={"b": "1"})  # why\n@pypi(packages={"a": "2"})', f"{START}, conda, pypi"),
    "nothing remains": ('# of\n@conda(pip_packages={"a": "2"}, pip_sources=["u"])  # why', f"{START}, conda", '# of\n@pypi(packages={"a": "2"}, extra_indices=["u"])  # why', f"{START}, conda, pypi"),
    "list": ("@conda(pip_packages=['tensorflow==2.10.0', \"b[x]>=1\", 'c', 'd==1.*', 'e===1'])", f"{START}, conda", "@pypi(packages={'tensorflow': '2.10.0', \"b[x]\": \">=1\", 'c': '', 'd': '==1.*', 'e': '===1'})", f"{START}, conda, pypi"),
    "addresses and markers": ("@conda(pip_packages=['a @ https://h.example.org/a-1.tar.gz', 'b; os_name == \"nt\"'])", f"{START}, conda", "@pypi(packages={'a @ https://h.example.org/a-1.tar.gz': '', 'b': '; os_name == \"nt\"'})", f"{START}, conda, pypi"),
    "list in lines": ('@conda(pip_packages=[\n    "a==1",  # one\n    # two\n    "b",\n])', f"{START}, conda", '@pypi(packages={\n    "a": "1",  # one\n    # two\n    "b": "",\n})', f"{START}, conda, pypi"),
    "variable": ("@conda(pip_packages=X)", f'{START}, conda\nX = {{"a": "1"}}', "@pypi(packages=X)", f'{START}, conda, pypi\nX = {{"a": "1"}}'),
    "typed variable": ("@conda(pip_packages=X)", f"{START}, conda\nX: dict[str, str] = dict(a='1')", "@pypi(packages=X)", f"{START}, conda, pypi\nX: dict[str, str] = dict(a='1')"),
    "named": ('@conda(name="team/x", fetch_at_exec=True)', f"{START}, conda", '@named_env(name="team/x", fetch_at_exec=True)', f"{START}, conda, named_env"),
    "of a step": ('@pypi(packages=X, pathspec="F/1/a")', f"{START}, pypi", '@pypi(packages=X)\n@named_env(pathspec="F/1/a")', f"{START}, pypi, named_env"),
    "aliased names": ('@c(name="x", libraries={}, pip_packages={})', f"{START}, conda as c, pypi as q", '@c(libraries={})\n@q(packages={})\n@named_env(name="x")', f"{START}, conda as c, pypi as q, named_env"),
    "into the one that is there": ('@named_env(name="x")\n@conda(fetch_at_exec=True)', f"{START}, conda, named_env", '@named_env(name="x", fetch_at_exec=True)', f"{START}, conda, named_env"),
    "said twice": ('@conda(name="x", libraries={})\n@pypi(name="x", packages={})', f"{START}, conda, pypi", '@conda(libraries={})\n@named_env(name="x")\n@pypi(packages={})', f"{START}, conda, pypi, named_env"),
    "said in two ways": ('@conda(name="x")\n@pypi(name="y")', f"{START}, conda, pypi", '@named_env(name="x")\n@named_env(name="y")', f"{START}, conda, pypi, named_env"),
    "one of two kinds": ('@named_env(name="x")\n@pypi(pathspec="F/1/a")', f"{START}, pypi, named_env", '@named_env(name="x")\n@named_env(pathspec="F/1/a")', f"{START}, pypi, named_env"),
    "comment of its own": ('@named_env(name="x")\n# late\n@conda(fetch_at_exec=True)', f"{START}, conda, named_env", '@named_env(name="x")\n# late\n@named_env(fetch_at_exec=True)', f"{START}, conda, named_env"),
    "in lines": ('@conda(\n    libraries={\n        "a": "1",  # one\n    },\n    name="x",\n)', f"{START}, conda", '@conda(\n    libraries={\n        "a": "1",  # one\n    },\n)\n@named_env(name="x")', f"{START}, conda, named_env"),
    "comments in lines": ('@conda(\n    # the solver\'s\n    libraries={"a": "1"},  # one\n    # pip\'s\n    pip_packages={"b": "2"},  # two\n    name="x"  # three\n)', f"{START}, conda", '@conda(\n    # the solver\'s\n    libraries={"a": "1"}  # one\n)\n@pypi(\n    # pip\'s\n    packages={"b": "2"}  # two\n)\n@named_env(\n    name="x"  # three\n)', f"{START}, conda, named_env, pypi"),
    "in columns": ('@conda(libraries={"a": "1"},\n       name="x",\n       python="3.8")', f"{START}, conda", '@conda(libraries={"a": "1"},\n       python="3.8")\n@named_env(name="x")', f"{START}, conda, named_env"),
    "other decorators": ("@retry(times=3)\n@pip\n@card", f"{START}, pip, retry, card", "@retry(times=3)\n@pypi\n@card", f"{START}, pypi, retry, card"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "imports", "new", "new_imports"), CASES.values(), ids=CASES)
def test_an_old_spelling_is_rewritten(old: str, imports: str, new: str, new_imports: str) -> None:
    found = rewrite(flow(old, imports), shown="f.py")
    assert (found.text, found.notes) == (flow(new, new_imports), ())
    assert rewrite(found.text, shown="f.py") == found


def test_flows_are_decorated_too() -> None:
    old = "from metaflow import FlowSpec, conda_base, pip_base\n\n@conda_base(pip_packages=P, python='3.8', name='x')\n@pip_base\nclass F(FlowSpec): pass\nP = {}\n"
    assert rewrite(old, shown="f").text == (
        "from metaflow import FlowSpec, conda_base, pypi_base, named_env_base\n\n@conda_base(python='3.8')\n"
        "@pypi_base(packages=P)\n@named_env_base(name='x')\n@pypi_base\nclass F(FlowSpec): pass\nP = {}\n"
    )


BODY = "class F(FlowSpec):\n    @{}\n    @step\n    def start(self): ...\n"
NAMED = ("pip(name='a')", "named_env(name='a')")
PACKAGES = ("conda(name='a', libraries={})", "conda(libraries={})\n    @named_env(name='a')")


@pytest.mark.parametrize(
    ("decorators", "old", "new"),
    [
        (NAMED, "from metaflow import (\n    FlowSpec,\n    pip,\n    step,\n)\n", "from metaflow import (\n    FlowSpec,\n    named_env,\n    step,\n)\n"),
        (NAMED, "from metaflow import pip\nfrom metaflow import FlowSpec, step\n", "from metaflow import named_env\nfrom metaflow import FlowSpec, step\n"),
        (NAMED, "from metaflow import FlowSpec, \\\n    pip, step\n", "from metaflow import FlowSpec, \\\n    named_env, step\n"),
        (NAMED, "from metaflow import FlowSpec, step, named_env, pip\n", "from metaflow import FlowSpec, step, named_env\n"),
        (NAMED, "from metaflow import (\n    pip,\n    FlowSpec, step, named_env,\n)\n", "from metaflow import (\n    FlowSpec, step, named_env,\n)\n"),
        (NAMED, "from metaflow import (\n    FlowSpec,\n    step,\n    named_env,\n    pip\n)\n", "from metaflow import (\n    FlowSpec,\n    step,\n    named_env\n)\n"),
        (PACKAGES, "from metaflow import (\n    FlowSpec,\n    conda,\n    step,\n)\n", "from metaflow import (\n    FlowSpec,\n    conda,\n    step,\n    named_env,\n)\n"),
        (PACKAGES, "from metaflow import (\n    FlowSpec,  # it\n    conda,\n    step  # last\n)\n", "from metaflow import (\n    named_env,\n    FlowSpec,  # it\n    conda,\n    step  # last\n)\n"),
        (PACKAGES, "from metaflow import (\n    FlowSpec,\n    conda,\n    step,  # last\n)\n", "from metaflow import (\n    named_env,\n    FlowSpec,\n    conda,\n    step,  # last\n)\n"),
        (PACKAGES, "from metaflow import (FlowSpec, conda,  # two\n                      step)\n", "from metaflow import (FlowSpec, conda,  # two\n                      step, named_env)\n"),
        (PACKAGES, "from metaflow import step\nfrom metaflow import conda\nfrom metaflow import FlowSpec\n", "from metaflow import step\nfrom metaflow import conda, named_env\nfrom metaflow import FlowSpec\n"),
        # Not an import that comes first, where the name would not be seen.
        (PACKAGES, "def g():\n    from metaflow import Task\n\nfrom metaflow import FlowSpec, conda, step\n", "def g():\n    from metaflow import Task\n\nfrom metaflow import FlowSpec, conda, step, named_env\n"),
        # Not by one that comes later, or perhaps not at all.
        (("pip", "pypi"), "from metaflow import pip, step, FlowSpec\nif TYPE_CHECKING:\n    from metaflow import pypi\n", "from metaflow import pypi, step, FlowSpec\nif TYPE_CHECKING:\n    from metaflow import pypi\n"),
        (("p(name='a')", "named_env(name='a')"), "from metaflow import step, FlowSpec, pip as p\n", "from metaflow import step, FlowSpec, named_env\n"),
        (("pypi", "pypi"), "from metaflow import step, FlowSpec, pip as pypi\n", "from metaflow import step, FlowSpec, pypi\n"),
        (("q", "q"), "from metaflow import pypi, pip as q\nfrom metaflow import FlowSpec, step\n", "from metaflow import pypi, pypi as q\nfrom metaflow import FlowSpec, step\n"),
        (PACKAGES, "if x:\n    from metaflow import FlowSpec, conda, step\nelse:\n    from metaflow import conda, FlowSpec, step\n", "if x:\n    from metaflow import FlowSpec, conda, step, named_env\nelse:\n    from metaflow import conda, FlowSpec, step, named_env\n"),
    ],
)  # fmt: skip
def test_names_are_imported_where_the_old_ones_were(decorators: tuple[str, str], old: str, new: str) -> None:
    before, after = (BODY.format(one) for one in decorators)
    assert rewrite(old + before, shown="f") == rewrite(new + after, shown="f")
    assert rewrite(old + before, shown="f").text == new + after


def test_a_name_that_is_imported_further_down_is_imported_above_too() -> None:
    old = "from metaflow import conda\n\n@conda(pip_packages={})\ndef f(): ...\n\nfrom metaflow import pypi\n"
    new = "from metaflow import conda, pypi\n\n@pypi(packages={})\ndef f(): ...\n\nfrom metaflow import pypi\n"
    assert rewrite(old, shown="f").text == new


@pytest.mark.parametrize(
    ("text", "line", "column", "why"),
    [
        (flow("@conda(pip_packages=UNKNOWN)", f"{START}, conda"), 5, 5, "@conda: whether `UNKNOWN` is a dictionary cannot be seen here; `@pypi(packages=...)` takes no list"),
        (flow("@conda(pip_packages=load())", f"{START}, conda"), 5, 5, "@conda: whether that is a dictionary cannot be seen here; `@pypi(packages=...)` takes no list"),
        (flow("@conda(pip_packages=X)", f"{START}, conda", "X = ['a']"), 5, 5, "@conda: `X` is a list; `@pypi(packages=...)` takes no list"),
        (flow("@conda(pip_packages=X)", f"{START}, conda", "X = {}; X = ['a']"), 5, 5, "@conda: `X` is set in more than one place; `@pypi(packages=...)` takes no list"),
        (flow("@conda(pip_packages=X)", f"{START}, conda\ndef g():\n    X = {{}}\n"), 8, 5, "@conda: whether `X` is a dictionary cannot be seen here; `@pypi(packages=...)` takes no list"),
        (flow("@conda(pip_packages=[X])", f"{START}, conda"), 5, 5, "@conda: an item of `pip_packages` is no plain text: write `@pypi(packages={...})` by hand"),
        (flow("@conda(pip_packages=['a', *X])", f"{START}, conda"), 5, 5, "@conda: an item of `pip_packages` is no plain text: write `@pypi(packages={...})` by hand"),
        (flow("@conda(pip_packages=['a>=1', 'A<2'])", f"{START}, conda"), 5, 5, "@conda: `pip_packages` has `a` twice, and a dictionary has it once"),
        (flow("@conda(pip_packages=['-r x'])", f"{START}, conda"), 5, 5, "@conda: an item of `pip_packages` cannot be read: `-r x` is not a requirement"),
        (flow("@conda(name='a', **more)", f"{START}, conda"), 5, 5, "@conda: what `*` and `**` bring cannot be seen here"),
        (flow("@conda(**more)", f"{START}, conda"), 5, 5, "@conda: what `**` brings cannot be seen here; there may be old arguments in it"),
        (flow("@conda(**more)", f"{START}, conda", "more = {'name': 'a'}"), 5, 5, "@conda: what `**` brings cannot be seen here; there may be old arguments in it"),
        (flow("@conda(pip_packages=dict())", f"{START}, conda", "from other import dict"), 5, 5, "@conda: whether that is a dictionary cannot be seen here; `@pypi(packages=...)` takes no list"),
        (flow("@conda({}, name='a')", f"{START}, conda"), 5, 5, "@conda: it has an argument without a name"),
        (flow("@conda(sources=['a'], channels=['b'])", f"{START}, conda"), 5, 5, "@conda: it has both `sources` and `channels`: put the first before the second by hand"),
        (flow("@conda(  # first\n    name='a',\n)", f"{START}, conda"), 5, 5, "@conda: it has comments of which it is not clear what argument they are about"),
        (flow("@conda(\n    name='a',\n    # last\n)", f"{START}, conda"), 5, 5, "@conda: it has comments of which it is not clear what argument they are about"),
        (flow("@conda(name='a')", f"{START}, conda", "named_env = 1"), 5, 5, "@conda: the file has a `named_env` of its own: rename that first"),
        (flow("@pip", f"{START}, pip", "from other import pypi"), 5, 5, "@pip: the file has a `pypi` of its own: rename that first"),
        (flow("@pip", f"{START}, pip", "from other import pip"), 5, 5, "@pip: `pip` is not always Metaflow's"),
        (flow("@mf.pip", START, "import metaflow as mf; mf = None"), 5, 5, "@pip: `mf` is not always Metaflow"),
        (f"{START}, pip\nmine = pip(packages={{}})\n", 2, 8, "`pip` is no decorator here: write `pypi` by hand"),
        (f"{START}, pip\n", 1, 38, "`pip` is imported, and no decorator uses it: import `pypi` by hand"),
        (f"{START}, conda\nmine = conda(libraries={{}}, name='a')\n", 2, 8, "@conda is called as a function here: replace `name` by hand"),
        (f"{START}\ndef mutate(s):\n    s.add_decorator('pip', deco_kwargs={{}})\n", 3, 21, "`pip` is added by name here: write `pypi` by hand"),
        (f"{START}, conda\ndef mutate(s):\n    s.add_decorator(conda, deco_kwargs={{'sources': []}})\n", 3, 5, "`sources` of @conda is added here: replace it by hand"),
        ("from metaflow import Runner\nRunner('f.py', decospecs=['retry', 'pip:packages={}'])\n", 2, 36, "this asks for a decorator in an old spelling: write today's by hand"),
        ("import metaflow\nrun(['f.py', 'run', '--with', 'conda:pip_packages={}'])\n", 2, 31, "this asks for a decorator in an old spelling: write today's by hand"),
        ("import metaflow\nrun(('f.py', '--with=conda:libraries={\"a\": \"1\"},name=x'))\n", 2, 14, "this asks for a decorator in an old spelling: write today's by hand"),
        ("x = 1\n", 1, 1, "this is no flow: it does not import Metaflow"),
        ("", 1, 1, "this is no flow: it does not import Metaflow"),
        ("from other import pip\n\n@pip(name='a')\ndef f(): ...\n", 1, 1, "this is no flow: it does not import Metaflow"),
    ],
)  # fmt: skip
def test_what_is_not_sure_is_left_and_said(text: str, line: int, column: int, why: str) -> None:
    found = rewrite(text, shown="f.py")
    assert (found.text, found.notes) == (text, (Note(line=line, column=column, message=why),))


def test_a_name_that_is_used_otherwise_too_stays_imported() -> None:
    old = f"{START}, pip\n__all__ = ['pip']\n@pip\ndef f(): ...\n"
    assert rewrite(old, shown="f").text == f"{START}, pip, pypi\n__all__ = ['pip']\n@pypi\ndef f(): ...\n"


@pytest.mark.parametrize(
    "text",
    [
        f"{START}\ndef pip(**k): ...\n\n@pip(name='a')\ndef f(): ...\n",
        flow('@conda(libraries={"a": "1"}, python="3.8")', f"{START}, conda"),
        flow('@conda(packages={"a": "1"})\n@pypi(packages={"b": "1"})', f"{START}, conda, pypi"),
        flow("@conda(**cfg)", f"{START}, conda", "cfg = {'python': '3.8'}"),
        flow("@conda\n@retry(times=3)", f"{START}, conda, retry"),
        flow("@card(name='a')\n@project(name='b')", f"{START}, card, project"),
        flow("@named_env(name='a')", f"{START}, named_env"),
        "from metaflow.plugins import conda\n",
        "try:\n    from metaflow import conda\nexcept ImportError:\n    conda = None\n\n@conda(libraries={})\ndef f(): ...\n",
        "from metaflow import Runner\nRunner('f.py', decospecs=['conda:libraries={\"sources\": \"1\"}'])\n",
    ],
)
def test_of_what_is_todays_or_nobodys_nothing_is_said(text: str) -> None:
    found = rewrite(text, shown="f.py")
    assert (found.text, found.notes) == (text, ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ndef f(:\n", "f.py:2:7: this is not Python that can be read (invalid syntax)"),
        ("if x:\n\ty\n        z\n", "f.py:3:1: this is not Python that can be read (inconsistent use of tabs and spaces in indentation)"),
        ("x = " + "-" * 2000 + "1\n", "f.py: this is nested too deeply to be rewritten"),
        ("x = a" + " and a" * 50000 + "\n", "f.py: this is nested too deeply to be rewritten"),
        ("x = " + "-" * 200000 + "1\n", "f.py: this is nested too deeply to be rewritten"),
    ],
    ids=["syntax", "tabs", "deep", "long", "very deep"],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        rewrite(text, shown="f.py")
    assert (caught.value.message.split("\n"), caught.value.hint is not None) == ([message], True)


# Pieces that are nobody's decorators, each with a mark that makes it unlike the others.
OTHERS = st.sampled_from(
    [
        "\n\n\n",
        "#  a comment,   @pip(name='x')  \n",
        'text = """\n@pip(name="x")\n  from metaflow import pip\n"""\n',
        "x = {  'a' :1 ,}   ;y=2\n",
        "\x0c\ndef  other( a,*b ,** c ) :\n\treturn a   # é\N{SNOWMAN}\n",
        "@ retry ( times = 3 )\ndef old (self):pass\n",
        "if  True:\n  pass\n\n\n\n",
    ]
)
DECORATORS = st.sampled_from(
    [
        "@pip",
        "@pip(packages={'a':'1'})  # of it",
        "@conda( pip_packages = ['a==1'],libraries={ 'b' : '' } )",
        "@conda(name='x',fetch_at_exec=True)",
        "@conda(\n    # first\n    libraries={},  # one\n    pip_packages={},\n)",
        "@conda(pip_packages=UNSEEN)",
        "@pypi(sources=['https://i.example.org'])",
        "@conda(**cfg)",
        "@conda(libraries={'c':'1'})",
    ]
)
SECTIONS = st.lists(st.tuples(st.lists(DECORATORS, min_size=1, max_size=3), OTHERS), min_size=1, max_size=4)


@given(OTHERS, SECTIONS, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_everything_else_stays_as_it_is(
    before: str, sections: list[tuple[list[str], str]], newline: str, has_mark: bool, ends_open: bool
) -> None:
    head = f"{chr(0xFEFF) * has_mark}#!python\n{before}from metaflow import"
    kept, text = [head], f"{head} conda, pip, pypi"
    for number, (decorators, other) in enumerate(sections):
        follows = f"\ndef step_{number}( self ):\n    pass #  {number}\n{other}"
        separator = "\n#\n" if number == 0 else f"#{number}\n"
        kept += [separator, follows]
        text += separator + "\n".join(decorators) + follows
    if ends_open:
        kept[-1], text = kept[-1].rstrip("\n") + "#", text.rstrip("\n") + "#"
    kept, text = [one.replace("\n", newline) for one in kept], text.replace("\n", newline)

    found = rewrite(text, shown="f.py")

    place = 0
    for piece in kept:
        assert piece in found.text[place:]
        place = found.text.index(piece, place) + len(piece)
    assert place == len(found.text)
    assert found.text.startswith(kept[0])
    assert found.text.count("\n") == found.text.count(newline)
    ast.parse(found.text.removeprefix(chr(0xFEFF)))
    assert rewrite(found.text, shown="f.py").text == found.text


REAL = flow(
    '@conda(\n    libraries={"a": "1"},  # one\n    pip_packages=["b==1"],\n    name="x",\n)\n@pip',
    f"{START}, conda, pip as p, pip",
)


@given(st.lists(st.tuples(st.integers(0, len(REAL)), st.integers(0, 6), st.text(max_size=4)), max_size=3))
def test_whatever_a_file_holds_only_our_errors_come(cuts: list[tuple[int, int, str]]) -> None:
    text = REAL
    for start, length, instead in cuts:
        text = text[:start] + instead + text[start + length :]
    try:
        found = rewrite(text, shown="f.py")
    except InvalidSpec:
        return
    ast.parse(found.text.removeprefix(chr(0xFEFF)))
    assert rewrite(found.text, shown="f.py").text == found.text
