"""Environments by file, by name, and by the step of a run, in real flows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Flows

ENVIRONMENT = """
# made by hand
name: ignored
dependencies:
  - python={python}
  # a comment
  - six=1.16
variables:
  COLOUR: 10
"""
FLOW = """
class Files(FlowSpec):
    alpha_beta = Parameter("alpha-beta", default="start")
    cfg = Config("cfg", default="environment.yml", parser=yml_parser)

    @conda(file="environment.yml")
    @step
    def start(self):
        tell(six=__import__("six").__version__, colour=os.environ.get("COLOUR"))
        self.next(self.late)

    @named_env(pathspec="Files/@{METAFLOW_RUN_ID}/@{METAFLOW_INIT_ALPHA_BETA}", fetch_at_exec=True)
    @step
    def late(self):
        tell(colour=os.environ.get("COLOUR"))
        self.next(self.parsed)

    @conda(**config_expr("cfg"))
    @step
    def parsed(self):
        tell(six=__import__("six").__version__)
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
"""
IMPORTS = "from metaflow import Config, Parameter, config_expr, named_env, named_env_base, yml_parser\n"


def test_files_and_environments_of_the_same_run(flows: Flows) -> None:
    (flows.folder / "environment.yml").write_text(ENVIRONMENT.format(python="3.11"))
    # A decorator has no argument for variables.
    (flows.folder / "plain.yml").write_text(ENVIRONMENT.format(python="3.11").split("variables")[0])
    ran = flows.run(IMPORTS + FLOW.replace('default="environment.yml"', 'default="plain.yml"')).succeeded()
    start, late, parsed = (ran.fact(step) for step in ("start", "late", "parsed"))
    assert (start["six"], start["colour"]) == ("1.16.0", "10")
    assert (late["prefix"], late["colour"]) == (start["prefix"], "10")
    assert parsed["six"] == "1.16.0"
    assert parsed["prefix"] != start["prefix"]


def test_a_file_with_problems_is_refused_with_all_of_them(flows: Flows) -> None:
    (flows.folder / "environment.yml").write_text("chanels: []\ndependencies:\n- a b c d\n")
    ran = flows.run(
        """
class Broken(FlowSpec):
    @conda(file="environment.yml")
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass
"""
    )
    assert ran.code == 1
    assert 'step start, @conda(file="environment.yml")' in ran.stderr.replace("`", "")
    assert "environment.yml:1:1: the key `chanels` is not known" in ran.stderr
    assert "environment.yml:3:3: " in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_name_that_is_only_known_later_is_refused_at_launch(flows: Flows) -> None:
    ran = flows.run(
        IMPORTS
        + """
class Early(FlowSpec):
    @named_env(name="team/@{METAFLOW_RUN_ID}")
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass
"""
    )
    assert ran.code == 1
    assert "METAFLOW_RUN_ID` is only known when the task starts" in ran.stderr
    assert "fetch_at_exec=True" in ran.stderr


def test_old_spellings_are_told_once_each(flows: Flows) -> None:
    ran = flows.run(
        """
class Old(FlowSpec):
    @conda(sources=["conda-forge"], disabled=True)
    @step
    def start(self):
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
"""
    ).succeeded()
    said = ran.stdout + ran.stderr
    assert said.count("Deprecated: step `start`: @conda(sources=...) is deprecated, write @conda(channels=[...]).") == 1
