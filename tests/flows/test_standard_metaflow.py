"""Flows that were written for standard Metaflow's decorators run as they do there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows

MUTATED = """
from metaflow import Config, FlowMutator, StepMutator, conda, config_expr

class Chooses(StepMutator):
    def init(self, how, version):
        self.how, self.version = how, version

    def mutate(self, mutable_step):
        how = getattr(mutable_step, self.how)
        mutable_step.add_decorator(conda, deco_kwargs={"packages": {"itsdangerous": self.version}}, duplicates=how)

class TakesOut(FlowMutator):
    def mutate(self, mutable_flow):
        for name, step in mutable_flow.steps:
            if name == "taken":
                step.remove_decorator("conda")

@TakesOut
class Standard(FlowSpec):
    cfg = Config("cfg", default_value='{"version": "2.1.2"}')

    @Chooses("OVERRIDE", "2.0.1")
    @conda(packages={"itsdangerous": "2.1.2"})
    @step
    def start(self):
        tell(version=importlib.metadata.version("itsdangerous"))
        self.next(self.ignored)

    @Chooses("IGNORE", "2.0.1")
    @conda(libraries={"itsdangerous": "2.1.2"})
    @step
    def ignored(self):
        tell(version=importlib.metadata.version("itsdangerous"))
        self.next(self.taken)

    @conda(packages={"itsdangerous": "0"})
    @step
    def taken(self):
        self.next(self.configured)

    @conda(packages={"itsdangerous": config_expr("cfg.version")})
    @step
    def configured(self):
        tell(version=importlib.metadata.version("itsdangerous"))
        self.next(self.both)

    @conda(packages={"itsdangerous": "2.0.1"}, libraries={"itsdangerous": "2.1.2", "six": ""})
    @step
    def both(self):
        tell(version=importlib.metadata.version("itsdangerous"), six=importlib.metadata.version("six"))
        self.next(self.stacked)

    @conda(packages={"itsdangerous": ">=2.0"})
    @conda(packages={"itsdangerous": "<2.1", "six": ""})
    @step
    def stacked(self):
        tell(version=importlib.metadata.version("itsdangerous"))
        self.next(self.end)

    @step
    def end(self):
        tell(prefix=sys.prefix)
"""


@pytest.mark.parametrize("environment", ["conda", "pypi"])
def test_mutators_configurations_and_both_names_of_packages(flows: Flows, environment: str) -> None:
    arguments = ("--config-value", "cfg", '{"version": "2.0.1"}') if environment == "pypi" else ()
    text = "import importlib.metadata\n" + MUTATED
    ran = flows.run(text, "--with", "conda:python=3.11", environment=environment, before=arguments).succeeded()
    versions = {step: ran.fact(step)["version"] for step in ("start", "ignored", "configured", "both", "stacked")}
    assert versions == {
        "start": "2.0.1",
        "ignored": "2.1.2",
        "configured": "2.0.1" if arguments else "2.1.2",
        "both": "2.0.1",
        "stacked": "2.0.1",
    }


def test_a_bare_decorator_and_an_empty_one_ask_for_nothing(flows: Flows) -> None:
    ran = flows.run(
        """
class Bare(FlowSpec):
    @conda
    @step
    def start(self):
        tell()
        self.next(self.end)

    @pypi()
    @step
    def end(self):
        tell()
"""
    ).succeeded()
    assert ran.fact("start")["prefix"] == ran.fact("end")["prefix"]


def test_parsers_of_standard_metaflow_have_their_names(flows: Flows) -> None:
    (flows.folder / "requirements.txt").write_text("# pinned\n")
    (flows.folder / "environment.yml").write_text("dependencies:\n- six=1.16\n")
    (flows.folder / "pyproject.toml").write_text('[project]\nname = "a"\ndependencies = []\n')
    ran = flows.run(
        """
from metaflow import Config, config_expr, conda_environment_yml_parser, pyproject_toml_parser, requirements_txt_parser

class Parsers(FlowSpec):
    a = Config("a", default="requirements.txt", parser=requirements_txt_parser)
    b = Config("b", default="environment.yml", parser=conda_environment_yml_parser)
    c = Config("c", default="pyproject.toml", parser=pyproject_toml_parser)

    @conda(packages=config_expr("b.packages"))
    @step
    def start(self):
        tell(six=__import__("six").__version__)
        self.next(self.end)

    @pypi(packages=config_expr("c.packages"))
    @conda(packages=config_expr("a.packages"))
    @step
    def end(self):
        pass
"""
    ).succeeded()
    assert ran.fact("start")["six"] == "1.16.0"


def test_a_run_that_failed_is_resumed_in_the_same_environment(flows: Flows) -> None:
    text = """
class Fails(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @conda(packages={"six": "1.16.0"})
    @step
    def end(self):
        assert os.path.exists("now"), "not yet"
        tell(six=__import__("six").__version__)
"""
    path = flows.write(text)
    assert flows.run(path).code != 0
    (flows.folder / "now").touch()
    resumed = flows.call(*flows.command(path, "resume")).succeeded()
    assert resumed.fact("end")["six"] == "1.16.0"
    assert "Resolving" not in resumed.stdout + resumed.stderr
