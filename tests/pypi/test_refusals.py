"""What of PyPI cannot be had is refused with one readable error, and leaves nothing half-made."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mfenv.testing.channel import ChannelServer, Fault
from mfenv.testing.index import IndexFolder
from mfenv.testing.wheels import MadeWheel, record_of, write_zip

if TYPE_CHECKING:
    from tests.conftest import Flows

FLOW = """
class Asking(FlowSpec):
    @conda(packages={"requests": ""})
    @pypi(packages=json.loads(os.environ["FLOW_PACKAGES"]))
    @step
    def start(self):
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
"""

BREAKS = "import sys\nfor n in range(40): print('line', n, file=sys.stderr)\nraise SystemExit(3)\n"


@pytest.fixture
def server(index: IndexFolder) -> Iterator[ChannelServer]:
    index.add(
        MadeWheel(name="needy", needs=("tiny>=3",)), MadeWheel(name="mac-only", tags="cp311-cp311-macosx_11_0_arm64")
    )
    index.add_sdists(MadeWheel(name="breaks"), backend=BREAKS)
    hostile = MadeWheel(name="hostile")
    record = f"{hostile.stem}.dist-info/RECORD"
    members = {**hostile.members(), "../../evil.py": b""}
    hostile_path = index.folder / "files" / hostile.file_name
    index.publish("hostile", write_zip(hostile_path, [*members.items(), (record, record_of(members, record))]))
    changed = MadeWheel(name="changed").write(index.folder / "files")
    index.publish("changed", changed, sha256="0" * 64)
    index.add(
        MadeWheel(name="left", files={"shared/a.py": "left"}),
        MadeWheel(name="right", files={"shared/a.py": "right"}),
        MadeWheel(name="pythons", files={"pythons-1.0.data/data/bin/python3.11": "evil"}),
    )
    with ChannelServer(index.folder.parent) as serving:
        yield serving


@pytest.fixture(scope="session")
def own_local_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Environments and caches that no other process uses: what is half-made there was made here."""
    return tmp_path_factory.mktemp("local")


@pytest.fixture
def asking(offline: Flows, server: ChannelServer, own_local_path: Path) -> Flows:
    return offline.using(
        local_path=own_local_path,
        UV_DEFAULT_INDEX=None,
        METAFLOW_CONDA_DEFAULT_PYPI_SOURCE=f"{server.url}/index/simple",
        UV_HTTP_RETRIES="0",
    )


def refused(flows: Flows, server: ChannelServer, packages: dict[str, str]) -> str:
    """The error for `packages`, without what differs from run to run; nothing half-made is there."""
    error = flows.using(FLOW_PACKAGES=json.dumps(packages)).run(FLOW).refused()
    assert flows.leftovers() == []
    return error.replace(server.url, "<index>").replace(str(flows.folder), "<folder>")


REFUSED = {
    "malformed requirement": (
        {"tiny": ">>2"},
        """
        Invalid environment:
        step `start`, @pypi(packages={"tiny": ">>2"}): `tiny>>2` is not a requirement

        | Expected semicolon (after name with no version specifier) or end
        |     tiny>>2
        |         ^

        hint: Write the name as the key and a version as its value: {"requests": ">=2.21"}
        """,
    ),
    "word for a version": (
        {"tiny": "latest"},
        """
        Invalid environment:
        step `start`, @pypi(packages={"tiny": "latest"}): `tiny latest` is not a requirement

        | Expected semicolon (after name with no version specifier) or end
        |     tiny latest
        |          ^

        hint: Write the name as the key and a version as its value: {"requests": ">=2.21"}
        """,
    ),
    "folder that is not there": (
        {"tiny": "./gone"},
        """
        Invalid environment:
        step `start`, @pypi(packages={"tiny": "./gone"}): `<folder>/gone` is not a folder that a package can be built from

        hint: A relative path begins with `./` or `../` and is taken from the folder of the flow's file
        """,
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_the_whole_error_is_as_it_should_be(
    case: tuple[dict[str, str], str], asking: Flows, server: ChannelServer
) -> None:
    packages, expected = case
    assert refused(asking, server, packages) == textwrap.dedent(expected).strip()


# What the error has to say, each in so many words.
SAID = {
    "package that no index has": ({"nowhere-to-be-found": ""}, ['@pypi(packages={"nowhere-to-be-found": ""}): ', "there is no package `nowhere-to-be-found`", "hint: "]),
    "version that no index has": ({"tiny": "9"}, ['@pypi(packages={"tiny": "9"}): ', "tiny==9", "hint: "]),
    "packages that quarrel": ({"needy": "", "tiny": ""}, ['@pypi(packages={"needy": ""})', "tiny>=3", "hint: "]),
    "wheel for another platform": ({"mac-only": ""}, ['@pypi(packages={"mac-only": ""}): ', "hint: ", "macosx_11_0_arm64"]),
    "build that fails": ({"breaks": ""}, ['@pypi(packages={"breaks": ""}): `breaks` cannot be built', "| ", "line 39", "hint: "]),
    "repository that is not there": ({"tiny": "git+file:///nowhere/r.git@main"}, ['@pypi(packages={"tiny": "git+file:///nowhere/r.git@main"}): the source of `tiny` cannot be had', "hint: "]),
    "wheel that leaves the environment": ({"hostile": ""}, ["`hostile-1.0-py3-none-any.whl` is refused: its path `../../evil.py` leads out of the environment", "hint: "]),
    "wheel that is not the one that the index names": ({"changed": ""}, ["`changed-1.0-py3-none-any.whl` is refused: its sha256 is", "hint: "]),
    "file of two wheels": ({"left": "", "right": ""}, ["`lib/python3.11/site-packages/shared/a.py` would belong to two packages: PyPI's `left` and PyPI's `right`", "hint: "]),
    "file of condas": ({"pythons": ""}, ["`bin/python3.11` would belong to two packages: conda's `python` and PyPI's `pythons`", "hint: "]),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID.values(), ids=SAID)
def test_the_error_says_where_what_and_what_to_do(
    case: tuple[dict[str, str], list[str]], asking: Flows, server: ChannelServer
) -> None:
    packages, sentences = case
    error = refused(asking, server, packages)
    assert [sentence for sentence in sentences if sentence not in error] == [], error


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault(path="*/simple/tiny/*", status=401), "a package index answers 401 Unauthorized"),
        (Fault(path="*/simple/tiny/*", status=403), "a package index answers 403 Forbidden"),
        (Fault(path="*/simple/tiny/*", status=404), "there is no package `tiny` on the package index"),
        (Fault(path="*/simple/tiny/*", status=500), "the package index cannot be used"),
        (Fault(path="*.whl", corrupt=True), "The structure of `tiny` (v2.0) was invalid"),
        (Fault(path="*.whl", keep=50), "The structure of `tiny` (v2.0) was invalid"),
    ],
)  # fmt: skip
def test_an_index_that_fails_is_one_error(
    fault: Fault, sentence: str, asking: Flows, server: ChannelServer, tmp_path: Path
) -> None:
    server.add_fault(fault)
    error = refused(asking.using(local_path=tmp_path / "local"), server, {"tiny": ""})
    assert sentence in error
    assert "hint: " in error


def test_an_index_that_sends_elsewhere_is_followed(asking: Flows, server: ChannelServer) -> None:
    server.add_fault(
        Fault(path="/index/files/tiny-2*", status=302, location=f"{server.url}/moved/tiny-2.0-py3-none-any.whl")
    )
    moved = server.root / "moved" / "tiny-2.0-py3-none-any.whl"
    moved.parent.mkdir()
    moved.write_bytes((server.root / "index" / "files" / moved.name).read_bytes())
    asking.using(FLOW_PACKAGES='{"tiny": ""}').run(FLOW).succeeded()


def test_two_states_of_a_folder_are_two_environments(asking: Flows) -> None:
    source = MadeWheel(name="local").write_source(asking.folder / "lib")
    flows = asking.using(FLOW_PACKAGES='{"local": "./lib"}')
    first = flows.run(FLOW).succeeded()
    again = flows.run(FLOW).succeeded()
    (source / "local.py").write_text("version = 'changed'\n")
    changed = flows.run(FLOW).succeeded()
    assert (first.resolved, again.resolved, changed.resolved) == (1, 0, 1)
    assert first.created != changed.created
    assert len(changed.created) == 1


def test_two_states_of_a_local_wheel_are_two_environments(asking: Flows) -> None:
    wheel = MadeWheel(name="local").write(asking.folder / "wheels")
    flows = asking.using(FLOW_PACKAGES=json.dumps({"local": f"@ {wheel.as_uri()}"}))
    first = flows.run(FLOW).succeeded()
    MadeWheel(name="local", files={"local.py": "version = 'changed'"}).write(wheel.parent)
    changed = flows.run(FLOW).succeeded()
    assert changed.resolved == 1
    assert first.created != changed.created


def test_a_changed_cache_of_unpacked_wheels_is_noticed(asking: Flows, tmp_path: Path) -> None:
    flows = asking.using(FLOW_PACKAGES='{"tiny": ""}', local_path=tmp_path / "local")
    flows.run(FLOW).succeeded()
    cached = [path for path in flows.local_path.rglob("tiny.py") if "envs" not in path.parts]
    assert cached, "nothing is kept unpacked"
    for path in cached:
        path.unlink()
        path.write_text("import evil\n")
    flows = flows.using(FLOW_PACKAGES='{"tiny": "", "needs-nothing": ""}')
    MadeWheel(name="needs-nothing").write(asking.folder / "w")
    flows = flows.using(
        FLOW_PACKAGES=json.dumps(
            {"tiny": "", "needs-nothing": f"@ {(asking.folder / 'w' / 'needs_nothing-1.0-py3-none-any.whl').as_uri()}"}
        )
    )
    error = flows.run(FLOW).refused()
    assert "what was installed is not what the wheel holds: tiny: lib/python3.11/site-packages/tiny.py" in error
    assert f"hint: Remove `{flows.local_path}" in error
    assert flows.leftovers() == []


def test_a_changed_wheel_among_the_archives_is_fetched_again(asking: Flows, tmp_path: Path) -> None:
    flows = asking.using(FLOW_PACKAGES='{"tiny": ""}', local_path=tmp_path / "local")
    (created,) = flows.run(FLOW).succeeded().created
    (archive,) = (flows.local_path / "archives").rglob("tiny-2.0*.whl")
    right = archive.read_bytes()
    archive.write_bytes(b"PK" + right[2:-1] + b"x")
    for path in (flows.local_path / "envs").iterdir():
        path.rename(flows.tmp / f"away-{path.name}")
    ran = flows.run(FLOW).succeeded()
    assert ran.created == [created]
    assert "The cached file tiny-2.0-py3-none-any.whl was damaged; it was fetched again." in ran.text
    assert archive.read_bytes() == right
