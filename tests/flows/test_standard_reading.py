"""What is read from a flow for standard Metaflow is what standard Metaflow itself reads from it.

It is there in each installation of ours: without extensions, Metaflow's own decorators are in force. They need a program
of conda's to make environments, but not to tell what they would be made of.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.python import PythonConstraint
from mfenv.domain.requirement import Requirement

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Flows, Ran

# At the end of a process that read a flow. Standard Metaflow has put together what a step's own decorator and its flow's
# say by then, in the step's.
ASK_STANDARD = """
def asked(flow, step, environment):
    own = {one.name: one.attributes for one in step.decorators if one.name in ("conda", "pypi")}
    pypi, conda = own.get("pypi", {}), own["conda"]
    return {
        "conda": conda["packages"],
        "pypi": pypi.get("packages") or {},
        "python": pypi.get("python") or conda["python"],
        "disabled": environment.is_disabled(step),
    }
"""
ASK_OURS = """
def asked(flow, step, environment):
    from pathlib import Path
    from metaflow.decorators import flow_decorators
    from mfenv.domain.spec import override
    from mfenv.metaflow.requirements import Reader
    reader = Reader(owner="it", folder=Path())
    layer = override(reader.layer(flow_decorators(flow)), reader.layer(step.decorators))
    return {
        "conda": sorted(str(one) for one in layer.conda if one.name != "python"),
        "pypi": sorted(map(str, layer.pypi)),
        "python": str(layer.python) if layer.python else None,
        "disabled": bool(layer.disabled),
    }
"""
TELL_AT_THE_END = """
import atexit, gc
from metaflow.metaflow_environment import MetaflowEnvironment

def tell_at_the_end(name):
    flow = globals()[name]
    environment = next(one for one in gc.get_objects() if isinstance(one, MetaflowEnvironment))
    steps = [getattr(flow, name) for name in dir(flow) if getattr(getattr(flow, name), "is_step", False) is True]
    print("ASKED", json.dumps({step.__name__: asked(flow, step, environment) for step in steps}))

atexit.register(tell_at_the_end, "NAME")
"""


def standard(flows: Flows) -> Flows:
    """Metaflow without extensions."""
    return flows.using(METAFLOW_EXTENSIONS_SEARCH_DIRS="/nowhere")


def steps(*decorated: tuple[str, str]) -> str:
    """The body of a flow of steps one after the other, from ``start`` to ``end``."""
    following = [f"self.next(self.{name})" for name, _ in decorated[1:]] + ["pass"]
    return "\n".join(
        "\n".join(
            [*(f"    {line}" for line in above.splitlines()), "    @step", f"    def {name}(self):", f"        {end}"]
        )
        for (name, above), end in zip(decorated, following, strict=True)
    )


def asked(flows: Flows, path: Path, *arguments: str, environment: str = "conda") -> Ran:
    return flows.call(*flows.command(path, *arguments, "show", environment=environment))


def read_by_both(flows: Flows, body: str, *arguments: str, environment: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What standard Metaflow and ours read, by step; the former in our spelling of versions."""
    name = body.partition("class ")[2].partition("(")[0]
    found = []
    for which, ask in ((standard(flows), ASK_STANDARD), (flows, ASK_OURS)):
        path = which.write(ask + body + TELL_AT_THE_END.replace("NAME", name))
        ran = asked(which, path, *arguments, environment=environment).succeeded()
        (line,) = [line for line in ran.stdout.splitlines() if line.startswith("ASKED ")]
        found.append(json.loads(line.removeprefix("ASKED ")))
    theirs, ours = found
    return {step: in_our_spelling(one) for step, one in theirs.items()}, ours


def in_our_spelling(theirs: dict[str, Any]) -> dict[str, Any]:
    launching = ".".join(map(str, __import__("sys").version_info[:3]))
    return {
        "conda": sorted(str(MatchSpec.parse(name, text, where="it")) for name, text in theirs["conda"].items()),
        "pypi": sorted(str(Requirement.parse(name, text, where="it")) for name, text in theirs["pypi"].items()),
        # Where nobody asks for one, standard Metaflow takes the very version that launches, ours its minor version.
        "python": None
        if theirs["python"] in (None, launching)
        else str(PythonConstraint.parse(theirs["python"], where="it")),
        "disabled": theirs["disabled"],
    }


CONDA = (
    "@conda_base(packages={'six': '1.16.0', 'numpy': '>1.21|1.26.*'}, libraries={'six': '1', 'idna': '>=3,<4'}, python='3.12')\n"
    "class Conda(FlowSpec):\n"
    + steps(
        ("start", "@conda(packages={'six': '1.17.0'})"),
        ("both_names", "@conda(packages={'six': '1.17.0'}, libraries={'six': '1', 'tabulate': ''})"),
        ("old_name", "@conda(libraries={'conda-forge::tabulate': '0.9=py_0', 'six': ''})"),
        ("bare", "@conda"),
        ("empty", "@conda()"),
        ("python", "@conda(python='3.10')"),
        ("disabled", "@conda(disabled=True)"),
        ("disabled_with_packages", "@conda(disabled=True, packages={'idna': ''})"),
        ("not_disabled", "@conda(disabled=False)"),
        ("with_pypi", "@pypi(packages={'requests': '>=2'}, python='3.11')"),
        ("pypi_disabled", "@pypi(disabled=True)"),
        ("end", ""),
    )
)
PYPI = "@pypi_base(packages={'six': '1.16.0', 'requests': '>=2,<3'}, python='3.12')\nclass Pypi(FlowSpec):\n" + steps(
    ("start", "@pypi(packages={'six': '', 'pandas[excel]': '~=2.1'})"),
    ("bare", "@pypi"),
    ("python", "@pypi(python='3.10')"),
    ("disabled", "@pypi(disabled=True)"),
    ("conda_disabled", "@conda(disabled=True)"),
    ("end", ""),
)
DISABLED = "@conda_base(disabled=True)\nclass Off(FlowSpec):\n" + steps(
    ("start", "@conda"),
    ("on", "@conda(disabled=False)"),
    ("off", "@conda(disabled=True)"),
    ("from_index", "@pypi(packages={'six': '1.16.0'})"),
    ("end", ""),
)
BOTH = (
    "@pypi_base(packages={'tabulate': ''})\n@conda_base(packages={'six': '1.16.0'})\nclass Both(FlowSpec):\n"
    + steps(
        ("start", "@conda(packages={'idna': ''})"),
        ("from_index", "@pypi(packages={'requests': ''}, python='3.10')"),
        ("end", "@pypi(packages={'requests': ''})\n@conda(packages={'idna': ''})"),
    )
)
NEITHER = "class Neither(FlowSpec):\n" + steps(("start", "@retry"), ("end", ""))

CONFIGURED = """
@conda_base(**config_expr("cfg.base"))
class Configured(FlowSpec):
    cfg = Config("cfg", default_value='{"base": {"packages": {"six": "1.16.0"}, "python": "3.12"}, "idna": ">=3", "packages": {"tabulate": ""}}')

""" + steps(
    ("start", "@conda(packages=cfg.packages)"),
    ("text", "@conda(packages={'idna': cfg.idna})"),
    ("expression", "@conda(packages={'idna': config_expr('cfg.idna')}, python=config_expr('cfg.base.python'))"),
    ("computed", "@conda(packages=config_expr('dict(cfg.packages, idna=cfg.idna)'))"),
    ("end", "@pypi(packages=cfg.packages)"),
)
OTHER_VALUE = (
    '{"base": {"libraries": {"six": "1.17.0"}, "python": "3.10"}, "idna": "3.4", "packages": {"urllib3": "<2"}}'
)

MUTATED = """
class Adds(StepMutator):
    def init(self, how="ERROR", early=False, **wanted):
        self.how, self.early, self.wanted = how, early, wanted

    def add(self, step):
        step.add_decorator(conda, deco_kwargs=self.wanted, duplicates=getattr(step, self.how))

    def pre_mutate(self, mutable_step):
        if self.early:
            self.add(mutable_step)

    def mutate(self, mutable_step):
        if not self.early:
            self.add(mutable_step)

class AddsText(StepMutator):
    def init(self, text):
        self.text = text

    def pre_mutate(self, mutable_step):
        mutable_step.add_decorator(self.text)

class Removes(StepMutator):
    def mutate(self, mutable_step):
        assert mutable_step.remove_decorator("conda")

class Flowwide(FlowMutator):
    def pre_mutate(self, mutable_flow):
        mutable_flow.add_decorator("conda_base", deco_kwargs={"packages": {"idna": ""}}, duplicates=mutable_flow.OVERRIDE)

    def mutate(self, mutable_flow):
        for name, step in mutable_flow.steps:
            for one, _, _, wanted in list(step.decorator_specs):
                if one == "conda" and "tabulate" in wanted.get("packages", {}):
                    step.remove_decorator(one)
                    step.add_decorator(one, deco_kwargs={"packages": {"tabulate": "0.9"}})

@Flowwide
@conda_base(packages={"six": ""})
class Mutated(FlowSpec):
""" + steps(
    ("start", "@Adds(packages={'six': '1.17.0'}, early=True)"),
    ("replaced", "@Adds('OVERRIDE', packages={'six': '1.17.0'})\n@conda(packages={'six': '1.16.0', 'urllib3': ''})"),
    ("replaced_early", "@Adds('OVERRIDE', early=True, python='3.10')\n@conda(packages={'urllib3': ''})"),
    ("ignored", "@Adds('IGNORE', packages={'six': '1.17.0'})\n@conda(packages={'six': '1.16.0'})"),
    ("ignored_early", "@Adds('IGNORE', early=True, packages={'six': '1'})\n@conda(packages={'six': '1.16.0'})"),
    ("added_in_mutate", "@Adds('OVERRIDE', libraries={'urllib3': '<2'})"),
    ("text", '@AddsText(\'conda:packages={"urllib3": "<2"},python="3.10"\')'),
    ("name", "@AddsText('pypi')"),
    ("removed", "@Removes\n@conda(packages={'six': '1.16.0'})"),
    ("rewritten", "@conda(packages={'tabulate': ''})"),
    ("end", ""),
)
UNDECORATED = "class Undecorated(FlowSpec):\n" + steps(
    ("start", "@conda(packages={'six': '1.16.0'}, python='3.10')"),
    ("other", "@pypi(packages={'six': '1.16.0'})"),
    ("end", ""),
)


@pytest.mark.parametrize("environment", ["conda", "pypi"])
@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        (CONDA, ()),
        (PYPI, ()),
        (DISABLED, ()),
        (BOTH, ()),
        (NEITHER, ()),
        (CONFIGURED, ()),
        (CONFIGURED, ("--config-value", "cfg", OTHER_VALUE)),
        (MUTATED, ()),
        (UNDECORATED, ("--with", "conda:python=3.12")),
        (UNDECORATED, ("--with", 'conda:libraries={"urllib3": "<2"},packages={"idna": ">=3"}')),
        (UNDECORATED, ("--with", 'pypi:packages={"urllib3": "<2"}', "--with", "conda")),
    ],
    ids=[
        "conda",
        "pypi",
        "disabled",
        "both",
        "neither",
        "configurations",
        "configurations of the command line",
        "mutators",
        "with a number",
        "with packages",
        "with both",
    ],
)
def test_each_step_is_read_as_by_standard_metaflow(
    flows: Flows, body: str, arguments: tuple[str, ...], environment: str
) -> None:
    theirs, ours = read_by_both(flows, body, *arguments, environment=environment)

    assert ours == theirs


DIFFERENT = "@conda_base(disabled=True, packages={'six': ''})\nclass Different(FlowSpec):\n" + steps(
    ("start", "@conda(packages={'idna': ''})"), ("python", "@conda(python='3.10')"), ("end", "")
)


def test_a_step_that_asks_for_something_has_an_environment_although_its_flow_is_disabled(flows: Flows) -> None:
    """This is otherwise than in standard Metaflow, on purpose: the page on migration says so."""
    theirs, ours = read_by_both(flows, DIFFERENT, environment="conda")

    assert {step: one["disabled"] for step, one in theirs.items()} == {"start": True, "python": True, "end": True}
    assert {step: one["disabled"] for step, one in ours.items()} == {"start": False, "python": False, "end": True}
    assert [ours[step]["conda"] for step in ("start", "python")] == [["idna"], []]


BASED = "@conda_base(packages={'six': ''}, python='3.11')\nclass Based(FlowSpec):\n" + steps(
    ("start", "@conda(packages={'idna': ''})"), ("end", "")
)


def test_what_with_adds_counts_over_the_flows_own_decorator(flows: Flows) -> None:
    """Standard Metaflow drops it without a word, for each step then has a decorator: the page on migration says so."""
    theirs, ours = read_by_both(flows, BASED, "--with", "conda:python=3.12", environment="conda")

    assert {step: one["python"] for step, one in theirs.items()} == {"start": "3.11.*", "end": "3.11.*"}
    assert {step: one["python"] for step, one in ours.items()} == {"start": "3.11.*", "end": "3.12.*"}


TWICE = """
class Adds(StepMutator):
    def mutate(self, mutable_step):
        mutable_step.add_decorator(conda, deco_kwargs={"python": "3.10"}, duplicates=mutable_step.ERROR)

class Twice(FlowSpec):
""" + steps(("start", "@Adds\n@conda(packages={'six': ''})"), ("end", ""))


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        (TWICE, ()),
        (UNDECORATED, ("--with", "conda:nonsense=1")),
        (UNDECORATED, ("--with", "nonsense")),
    ],
    ids=["added twice", "unknown argument", "unknown decorator"],
)
def test_what_standard_metaflow_refuses_is_refused(flows: Flows, body: str, arguments: tuple[str, ...]) -> None:
    path = flows.write(body)
    theirs, ours = (asked(which, path, *arguments) for which in (standard(flows), flows))

    assert (theirs.code, ours.code) == (1, 1)
    assert "Traceback" not in ours.text
    # What follows is a list of all that is known, which is longer here.
    first, second = (told.stderr.splitlines()[-2].partition(". The")[0] for told in (theirs, ours))
    assert first == second


@pytest.mark.parametrize(
    "body",
    [CONDA, PYPI, DISABLED, UNDECORATED, UNDECORATED.replace("@conda(packages", "@conda(disabled=True, packages")],
    ids=["conda_base", "pypi_base", "disabled flow", "steps", "disabled step"],
)
def test_a_flow_that_asks_for_environments_does_not_run_without(flows: Flows, body: str) -> None:
    path = flows.write(body)
    theirs, ours = (which.run(path, environment=None) for which in (standard(flows), flows))

    assert (theirs.code, ours.code) == (1, 1)
    assert "Incompatible environment:" in theirs.stderr
    assert ours.refused().startswith("Incompatible environment:\nThe @")
    assert "Task is starting" not in ours.text


def test_a_flow_that_asks_for_none_runs_without(flows: Flows) -> None:
    told = [which.run(NEITHER, environment=None).succeeded().code for which in (standard(flows), flows)]

    assert told == [0, 0]
