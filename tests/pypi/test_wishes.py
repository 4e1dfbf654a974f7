"""Options of `@pypi` in real runs: what they choose, and whom they let in."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.pypi.conftest import ArgumentWatch, Canary, Private

from mfenv.domain.flags import ResolverFlag
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.requirement import Requirement
from mfenv.errors import ResolutionFailed
from mfenv.io.process import SystemProcessRunner
from mfenv.resolve.backends.uv import UvResolver
from mfenv.resolve.pypi import PypiRequest
from mfenv.testing.index import IndexFolder
from mfenv.testing.wheels import MadeWheel

if TYPE_CHECKING:
    from tests.conftest import Flows

FLOW = """
class Wishing(FlowSpec):
    @conda(packages={"requests": ""})
    @pypi(packages=json.loads(os.environ["FLOW_PACKAGES"]), extras=json.loads(os.environ["FLOW_EXTRAS"]))
    @step
    def start(self):
        import tiny
        from pathlib import Path
        place = Path(tiny.__file__)
        tell(tiny=tiny.version, is_link=place.is_symlink(), made=[p.name for p in place.parent.glob("tiny-*")])
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
"""


@pytest.fixture
def wishing(offline: Flows, index: IndexFolder) -> Flows:
    index.add(MadeWheel(name="tiny", version="3.0rc1"), MadeWheel(name="tiny", version="0.9"))
    index.add_sdists(MadeWheel(name="tiny", version="2.0"))
    return offline


def wish(flows: Flows, *extras: str, tiny: str = "") -> Flows:
    return flows.using(FLOW_PACKAGES=json.dumps({"tiny": tiny}), FLOW_EXTRAS=json.dumps(extras))


@pytest.mark.parametrize(
    ("extras", "version"),
    [((), "2.0"), (("--pre",), "3.0rc1"), (("--resolution=lowest",), "0.9")],
)
def test_options_choose(extras: tuple[str, ...], version: str, wishing: Flows) -> None:
    ran = wish(wishing, *extras).run(FLOW).succeeded()
    assert ran.fact("start")["tiny"] == version


def test_what_has_a_wheel_is_built_all_the_same(wishing: Flows, tmp_path: Path) -> None:
    flows = wish(wishing, "--no-binary tiny").using(local_path=tmp_path / "local")
    assert flows.run(FLOW).succeeded().fact("start")["tiny"] == "2.0"
    assert [path.name for path in (tmp_path / "local").rglob("wheels/*/*.whl")] == ["tiny-2.0-py3-none-any.whl"]


def test_the_launching_machines_uv_chooses_nothing(wishing: Flows) -> None:
    """Neither by variables nor by files; the wheel's files are no links into uv's cache."""
    config = wishing.home / ".config" / "uv" / "uv.toml"
    config.parent.mkdir(parents=True)
    config.write_text('prerelease = "allow"\nlink-mode = "symlink"\n')
    plain = wish(wishing).run(FLOW).succeeded()
    chosen = wish(wishing, tiny="<=2.0").using(
        UV_PRERELEASE="allow", UV_RESOLUTION="lowest", UV_LINK_MODE="symlink", UV_NO_BINARY="1", UV_COMPILE_BYTECODE="1"
    )
    ran = chosen.run(FLOW).succeeded()
    assert plain.fact("start")["tiny"] == ran.fact("start")["tiny"] == "2.0"
    assert ran.fact("start")["is_link"] is False


def test_what_must_not_be_built_is_refused(wishing: Flows) -> None:
    flows = wishing.using(FLOW_PACKAGES=json.dumps({"built": ""}), FLOW_EXTRAS=json.dumps(["only-binary=:all:"]))
    error = flows.run(FLOW).refused()
    assert "Wheels are required for `built` because building from source is disabled for all packages" in error


def test_links_behind_a_password_are_let_into(offline: Flows, private: Private, tmp_path: Path) -> None:
    flows = wish(offline.using(local_path=tmp_path / "local"), "no-index", "find-links=" + private.links())
    with ArgumentWatch() as arguments:
        ran = flows.run(FLOW).succeeded()
    assert ran.fact("start")["tiny"] == "2.0"
    assert private.canary.hits(flows.folder, flows.local_path, flows.tmp) == []
    assert not private.canary.is_in(ran.text.encode())
    assert [seen for seen in arguments.seen if private.canary.is_in(seen)] == []


@pytest.fixture
def nobodys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Take uv's variables away, and tell the folder where all temporary files are."""
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    return scratch


def test_a_bound_index_behind_a_password_is_let_into(private: Private, nobodys: Path, tmp_path: Path) -> None:
    resolver = UvResolver(
        SystemProcessRunner(), cache=tmp_path / "cache", secret_urls={private.plain: private.secret()}
    )
    request = PypiRequest(
        requirements=(Requirement(name="tiny", index=private.plain),),
        python="3.11.7",
        target=baseline(Platform.LINUX_64),
        flags=(ResolverFlag(name="prerelease", value="allow"),),
    )
    with ArgumentWatch() as arguments:
        (found,) = resolver.resolve(request)
        refused = replace(request, requirements=(Requirement(name="tiny", specifier=">9", index=private.plain),))
        with pytest.raises(ResolutionFailed) as caught:
            resolver.resolve(refused)
    assert found.wheel
    assert found.wheel.url == private.plain.replace("/simple", "/files/tiny-2.0-py3-none-any.whl")
    assert [seen for seen in arguments.seen if private.canary.is_in(seen)] == []
    assert private.canary.hits(nobodys, tmp_path / "cache") == []
    assert not private.canary.is_in(caught.value.explain().encode())


def test_a_wrong_password_for_a_bound_index_is_not_shown(private: Private, nobodys: Path, tmp_path: Path) -> None:
    wrong = Canary()
    resolver = UvResolver(
        SystemProcessRunner(), cache=tmp_path / "cache", secret_urls={private.plain: private.secret(wrong.text)}
    )
    request = PypiRequest(
        requirements=(Requirement(name="tiny", index=private.plain),),
        python="3.11.7",
        target=baseline(Platform.LINUX_64),
    )
    with pytest.raises(ResolutionFailed) as caught:
        resolver.resolve(request)
    assert caught.value.message == f"there is no package `tiny` on the index `{private.plain}`"
    assert "your credentials for that index" in (caught.value.hint or "")
    assert not wrong.is_in(caught.value.explain().encode())
    assert wrong.hits(nobodys, tmp_path / "cache") == []
