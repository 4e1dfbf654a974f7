"""Which environment a step gets, from what was written."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows

RUNNING = f"{sys.version_info[0]}.{sys.version_info[1]}"
EXACT = ".".join(map(str, sys.version_info[:3]))


def _linear(*steps: tuple[str, str, str], before: str = "", imports: str = "") -> str:
    """A flow of `steps` one after the other, each with name, decorators and body."""
    lines = [imports, before, "class Linear(FlowSpec):"]
    names = [name for name, _, _ in steps]
    for (name, decorators, body), following in zip(steps, [*names[1:], ""], strict=True):
        lines += [f"    {line}" for line in decorators.splitlines() if line]
        lines += ["    @step", f"    def {name}(self):", *(f"        {line}" for line in body.splitlines())]
        lines.append(f"        self.next(self.{following})" if following else "        pass")
    return "\n".join(lines)


def test_steps_get_what_they_ask_for_and_nothing_of_their_neighbours(flows: Flows) -> None:
    """Undecorated, disabled, both names of the packages, no version, a range, and the same twice."""
    tell = """
from importlib import metadata
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
tell(**{name: version(name) for name in ("six", "itsdangerous", "requests", "metaflow", "py-rattler")},
     packages=sorted(p.split("-1.0")[0] for p in os.listdir(sys.prefix + "/conda-meta") if "prefixprobe" in p)
     if os.path.isdir(sys.prefix + "/conda-meta") else None, conda_prefix=os.environ.get("CONDA_PREFIX"),
     executable=sys.executable)
"""
    ran = flows.run(
        _linear(
            ("start", "", tell),
            ("launching", "@conda(disabled=True)", tell),
            ("older", '@conda(libraries={"six": "1.16.0", "itsdangerous": ""})', tell),
            ("both", '@conda(libraries={"six": "1.16.0"}, packages={"six": "1.17.0", "prefixprobe": ">=1,<2"})', tell),
            ("again", '@conda(packages={"itsdangerous": "", "six": "==1.16.0"})', tell),
            ("end", "", tell),
        )
    ).succeeded()
    facts = {step: ran.fact(step) for step in ("start", "launching", "older", "both", "again", "end")}

    plain = facts["start"]
    assert plain == facts["end"]
    assert plain["prefix"] == plain["conda_prefix"] != sys.prefix
    assert plain["prefix"].startswith(str(flows.local_path / "envs"))
    assert plain["python"] == flows.channel.pythons[RUNNING]
    assert {name: plain[name] is not None for name in ("requests", "six", "metaflow", "py-rattler")} == {
        "requests": True,
        "six": False,
        "metaflow": False,
        "py-rattler": False,
    }
    assert facts["launching"]["prefix"] == sys.prefix
    assert facts["launching"]["executable"] == sys.executable
    assert facts["launching"]["py-rattler"] is not None
    assert (facts["older"]["six"], facts["both"]["six"], facts["both"]["packages"]) == (
        "1.16.0",
        "1.17.0",
        ["prefixprobe"],
    )
    assert facts["older"]["itsdangerous"] == flows.channel.package_versions("itsdangerous")[-1]
    assert facts["again"]["prefix"] == facts["older"]["prefix"], "the same wish, the same environment"
    assert ran.resolved == 3
    assert len({fact["prefix"] for fact in facts.values()}) == 4


def test_steps_run_in_the_python_that_they_ask_for(flows: Flows) -> None:
    older, newer = next(iter(flows.channel.pythons)), list(flows.channel.pythons)[-1]
    assert older != RUNNING != newer
    body = "self.seen = getattr(self, 'seen', []) + [{'of': sys.version_info[:2]}]\ntell(seen=len(self.seen))"

    ran = flows.run(
        _linear(
            ("start", f'@conda(python="{newer}")', body),
            ("older", f'@conda(python="{older}")', body),
            ("exact", f'@conda(python="{flows.channel.pythons[older]}")', body),
            ("ranged", f'@conda(python=">={older},<{newer}")', body),
            ("package", f'@conda(packages={{"python": "{newer}.*"}})', body),
            ("end", "@conda(disabled=True)", body),
        )
    ).succeeded()

    pythons = flows.channel.pythons
    assert {step: ran.fact(step)["python"] for step in ran.facts} == {
        "start": pythons[newer],
        "older": pythons[older],
        "exact": pythons[older],
        "ranged": pythons[RUNNING],
        "package": pythons[newer],
        "end": EXACT,
    }
    assert ran.fact("end")["seen"] == 6, "artifacts pass from Python to Python"


def test_flow_level_is_the_ground_that_steps_build_on(flows: Flows) -> None:
    older = next(iter(flows.channel.pythons))
    tell = """
from importlib import metadata
names = {d.metadata["Name"].lower() for d in metadata.distributions()}
tell(six=metadata.version("six") if "six" in names else None, tabulate="tabulate" in names)
"""
    ran = flows.run(
        _linear(
            ("start", "", tell),
            ("more", '@conda(packages={"tabulate": ""})', tell),
            ("instead", f'@conda(packages={{"six": "1.17.0"}}, python="{RUNNING}")', tell),
            ("none", "@conda(disabled=True)", tell),
            ("end", "", tell),
            before=f'@conda_base(libraries={{"six": "1.16.0"}}, python="{older}")',
        )
    ).succeeded()

    def of(step: str) -> tuple[object, ...]:
        fact = ran.fact(step)
        return fact["six"], fact["tabulate"], fact["python"]

    old, running = flows.channel.pythons[older], flows.channel.pythons[RUNNING]
    assert of("start") == of("end") == ("1.16.0", False, old)
    assert of("more") == ("1.16.0", True, old)
    assert of("instead") == ("1.17.0", False, running)
    assert ran.fact("none")["prefix"] == sys.prefix


def test_flow_that_is_disabled_runs_where_it_is_launched_but_for_steps_that_ask(flows: Flows) -> None:
    ran = flows.run(
        _linear(
            ("start", "", "tell()"),
            ("asks", '@conda(packages={"six": ""})', "import six\ntell()"),
            ("end", "", "tell()"),
            before="@conda_base(disabled=True)",
        )
    ).succeeded()

    assert [ran.fact(step)["prefix"] == sys.prefix for step in ("start", "asks", "end")] == [True, False, True]


def test_channels_are_taken_in_their_order_and_packages_from_where_they_are_pinned(flows: Flows) -> None:
    """`extra` has a newer itsdangerous than the main channel, and packages that the main channel lacks."""
    main, extra = flows.channel.path(), flows.channel.path("extra")
    beside = flows.folder / "flows"
    beside.mkdir()
    (beside / "channel").symlink_to(extra)
    tell = """
import glob
def package(name):
    for path in glob.glob(sys.prefix + "/conda-meta/" + name + "-*.json"):
        record = json.load(open(path))
        return [record["version"], record["channel"].rstrip("/").split("/")[-1]]
tell(**{name: package(name) for name in ("itsdangerous", "only-extra", "requests")})
"""
    flow = flows.write(
        _linear(
            ("start", f'@conda(packages={{"itsdangerous": ""}}, channels=["{extra.as_uri()}"])', tell),
            ("pinned", f'@conda(packages={{"{extra.as_uri()}::itsdangerous": "99.0"}})', tell),
            (
                "main",
                f'@conda(packages={{"itsdangerous": "", "only-extra": ""}}, channels=["{main}", "{extra}"])',
                tell,
            ),
            ("relative", '@conda(packages={"only-extra": ""}, channels=["./channel"])', tell),
            ("end", '@conda(packages={"itsdangerous": ""})', tell),
        ),
        "flows/flow.py",
    )

    ran = flows.run(flow).succeeded()

    newest = flows.channel.package_versions("itsdangerous")[-1]
    seen = {step: (ran.fact(step)["itsdangerous"], ran.fact(step)["only-extra"]) for step in ran.facts}
    assert seen == {
        "start": (["99.0", "extra"], None),
        "pinned": (["99.0", "extra"], None),
        "main": ([newest, "conda-forge"], ["1.0", "extra"]),
        "relative": (None, ["1.0", seen["relative"][1][1]]),
        "end": ([newest, "conda-forge"], None),
    }
    assert {ran.fact(step)["requests"][1] for step in ran.facts} == {"conda-forge"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ('conda:packages={{"six": "1.16.0"}}', ("{running}", "1.16.0")),
        ('conda:libraries={{"six": "1.16.0"}},python={oldest}', ("{oldest}", "1.16.0")),
        ("conda:python=3.10", ("3.10", None)),
        ("conda", ("{running}", None)),
    ],
    ids=["packages", "libraries and python", "3.10 is no 3.1", "bare"],
)
def test_with_on_the_command_line_decorates_every_step(
    flows: Flows, spec: str, expected: tuple[str, str | None]
) -> None:
    words = {"oldest": next(iter(flows.channel.pythons)), "running": RUNNING}
    tell = "from importlib import metadata\nnames = {d.metadata['Name']: d.version for d in metadata.distributions()}"
    tell += "\ntell(six=names.get('six'))"

    ran = flows.run(_linear(("start", "", tell), ("end", "", tell)), "--with", spec.format(**words)).succeeded()

    python = flows.channel.pythons[expected[0].format(**words)]
    assert {(ran.fact(step)["python"], ran.fact(step)["six"]) for step in ("start", "end")} == {(python, expected[1])}


def test_with_on_the_command_line_leaves_steps_that_say_it_themselves(flows: Flows) -> None:
    tell = "from importlib import metadata\ntell(six=metadata.version('six'))"

    ran = flows.run(
        _linear(("start", '@conda(packages={"six": "1.16.0"})', tell), ("end", "", tell)),
        "--with",
        'conda:packages={"six": "1.17.0"}',
    ).succeeded()

    assert (ran.fact("start")["six"], ran.fact("end")["six"]) == ("1.16.0", "1.17.0")


def test_pypi_is_another_name_of_the_environment(flows: Flows) -> None:
    flow = flows.write(_linear(("start", '@conda(packages={"six": ""})', "tell()"), ("end", "", "tell()")))

    conda = flows.run(flow).succeeded()
    pypi = flows.run(flow, environment="pypi").succeeded()

    assert pypi.fact("start")["prefix"] == conda.fact("start")["prefix"]
    assert sorted(pypi.existing) == sorted([*conda.created, *conda.existing])


def test_without_an_environment_nothing_is_resolved(flows: Flows) -> None:
    ran = flows.run(_linear(("start", "", "tell()"), ("end", "", "tell()")), environment=None).succeeded()

    assert (ran.resolved, ran.created, ran.existing) == (0, [], [])
    assert ran.fact("start")["prefix"] == sys.prefix
    assert not list((flows.folder / ".metaflow").glob("conda*"))
