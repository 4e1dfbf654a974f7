"""Who needs whom in an environment."""

from __future__ import annotations

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.dependencies import Dependencies, Key
from mfenv.domain.difference import Side
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment, LockedPypiPackage
from mfenv.domain.platform import Platform
from mfenv.domain.resolved import CondaRecord
from mfenv.domain.wheel_metadata import WheelMetadata


def file(name: str) -> LockedArtifact:
    return LockedArtifact(
        file_name=name, url=f"https://example.org/{name}", size=1, sha256=f"{abs(hash(name)):064x}"[-64:]
    )


def conda(name: str, *depends: str, version: str = "1.0") -> LockedCondaPackage:
    record = CondaRecord(
        name=name,
        version=version,
        build="0",
        build_number=0,
        subdir="linux-64",
        channel="https://example.org/c",
        depends=depends,
    )
    return LockedCondaPackage(record=record, artifact=file(f"{name}-{version}-0.conda"))


def wheel(name: str, version: str = "1.0") -> LockedPypiPackage:
    return LockedPypiPackage(name=name, version=version, artifact=file(f"{name}-{version}-py3-none-any.whl"))


def graph(
    packages: tuple[LockedCondaPackage, ...],
    wheels: dict[str, tuple[str, ...]],
    **more: object,
) -> Dependencies:
    pypi = tuple(wheel(name) for name in wheels)
    lock = LockedEnvironment(platform=Platform.LINUX_64, packages=packages, pypi=pypi)
    said = {one.artifact.sha256: WheelMetadata(requires=wheels[one.name]) for one in pypi}
    return Dependencies.of(lock, said, **more)  # type: ignore[arg-type]


PYTHON = conda("python", "zlib >=1.2,<2", "__glibc >=2.17", version="3.11.7")


def names(found: Dependencies, key: Key) -> list[tuple[str, str]]:
    return [(need.package[1], need.constraint) for need in found.needs[key]]


def test_conda_packages_need_those_that_are_there() -> None:
    found = graph((conda("zlib"), PYTHON), {})
    assert names(found, (Side.CONDA, "python")) == [("zlib", ">=1.2,<2")]
    assert found.roots() == [(Side.CONDA, "python")]
    assert found.roots(["ZLIB"]) == [(Side.CONDA, "python"), (Side.CONDA, "zlib")]


def test_wheels_need_what_holds_for_the_environments_machine_and_python() -> None:
    found = graph(
        (PYTHON,),
        {
            "app": ("lib>=1", "win ; sys_platform == 'win32'", "old ; python_version < '3.9'", "more ; extra == 'x'"),
            "lib": (),
            "win": (),
            "old": (),
            "more": (),
        },
    )
    assert names(found, (Side.PYPI, "app")) == [("lib", ">=1")]


def test_extras_count_that_the_user_or_another_package_asks_for() -> None:
    wheels = {
        "app": ("Lib[Fast]",),
        "lib": ("speed ; extra == 'fast'", "doc ; extra == 'docs'"),
        "speed": (),
        "doc": (),
    }
    assert names(graph((PYTHON,), wheels), (Side.PYPI, "lib")) == [("speed", "")]
    found = graph((PYTHON,), wheels, extras={"lib": ("docs",)})
    assert names(found, (Side.PYPI, "lib")) == [("doc", ""), ("speed", "")]


def test_a_wheels_need_may_be_met_by_conda() -> None:
    found = graph(
        (PYTHON, conda("py-opencv"), conda("pyyaml")),
        {"app": ("opencv-python", "PyYAML", "gone")},
        provides={"py-opencv": ["opencv-python"]},
    )
    assert [need.package for need in found.needs[Side.PYPI, "app"]] == [
        (Side.CONDA, "py-opencv"),
        (Side.CONDA, "pyyaml"),
    ]
    both = graph((PYTHON, conda("pyyaml")), {"app": ("pyyaml",), "pyyaml": ()})
    assert [need.package for need in both.needs[Side.PYPI, "app"]] == [(Side.PYPI, "pyyaml")]


def test_chains_are_the_shortest_and_cycles_end() -> None:
    found = graph((conda("a", "b"), conda("b", "c"), conda("c", "a", "d"), conda("d"), conda("e", "d")), {})
    target = (Side.CONDA, "d")
    chains = found.chains(target, found.roots(["a"]))
    assert [[need.package[1] for need in chain] for chain in chains] == [["b", "c", "d"], ["d"]]
    assert found.chains(target, [target]) == [()]
    assert found.chains((Side.CONDA, "e"), [(Side.CONDA, "a")]) == []


def test_a_need_that_no_tool_can_read_is_left_out() -> None:
    found = graph((PYTHON,), {"app": ("lib (>=1.*)", "lib"), "lib": ()})
    assert names(found, (Side.PYPI, "app")) == [("lib", "")]
