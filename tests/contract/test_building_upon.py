"""Building upon what is there, with py-rattler, uv and the local channel."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from rattler import MatchSpec as RattlerSpec
from rattler import RepoDataRecord, Version
from rattler.package.build_string import BuildString
from rattler.repo_data import PackageRecord

from mfenv.app import settings as mfenv_settings
from mfenv.app.lock import lock_of
from mfenv.app.wiring import Wiring
from mfenv.domain.artifact import Artifact
from mfenv.domain.base import LockFile, LockFileKind
from mfenv.domain.channel import Channel
from mfenv.domain.conda_version import CondaVersion, admits
from mfenv.domain.index import PackageIndex
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec, parse_version_spec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import ResolvedEnvironment, ResolvedPackage
from mfenv.domain.spec import EnvironmentSpec, SolveOptions
from mfenv.errors import EnvironmentsError, InvalidSpec, ResolutionFailed
from mfenv.formats.lock_file import content_digest
from mfenv.io.worker import WorkerClient
from mfenv.resolve.backends import rattler as rattler_backend
from mfenv.resolve.backends.rattler import RattlerResolver
from mfenv.resolve.backends.rattler_worker import refuse_changes
from mfenv.testing.channel import LocalChannel, built_channel
from mfenv.testing.index import IndexFolder
from mfenv.testing.pypi import build_nothing
from mfenv.testing.wheels import MadeWheel

HERE = Platform.host()
TARGET = baseline(HERE)


@pytest.fixture(scope="module")
def channel() -> LocalChannel:
    return built_channel()


@pytest.fixture(scope="module")
def rattler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RattlerResolver]:
    worker = WorkerClient(rattler_backend.OPERATIONS, needs=("rattler",))
    yield RattlerResolver(worker, cache=str(tmp_path_factory.mktemp("repodata")))
    worker.close()


@pytest.fixture(scope="module")
def python(channel: LocalChannel) -> PythonConstraint:
    major, minor = map(int, channel.running.split("."))
    return PythonConstraint.minor(major, minor)


@pytest.fixture(scope="module")
def numpys(channel: LocalChannel) -> tuple[str, ...]:
    """The versions of numpy, oldest first."""
    found = channel.package_versions("numpy")
    assert len(found) > 1
    return found


@pytest.fixture(scope="module")
def base(
    rattler: RattlerResolver, channel: LocalChannel, python: PythonConstraint, numpys: tuple[str, ...]
) -> ResolvedEnvironment:
    """An environment whose numpy is not the newest."""
    return rattler.resolve(asking(channel, ("numpy", f"=={numpys[-2]}"), python=python))


def asking(
    channel: LocalChannel,
    *wishes: tuple[str, str],
    python: PythonConstraint | None = None,
    kept: tuple[ResolvedPackage, ...] = (),
    exclude_newer: str = "",
) -> ResolutionRequest:
    spec = EnvironmentSpec(
        python=python,
        conda=tuple(MatchSpec.parse(name, text, where="here") for name, text in wishes),
        channels=(Channel(location=channel.url()),),
        options=SolveOptions(exclude_newer=exclude_newer),
    )
    return ResolutionRequest(spec=spec, target=TARGET, kept=kept)


def changed(packages: tuple[ResolvedPackage, ...], name: str, **changes: object) -> tuple[ResolvedPackage, ...]:
    """Return `packages` with other facts about one of them."""
    assert any(package.record.name == name for package in packages)
    return tuple(
        replace(p, record=replace(p.record, **changes)) if p.record.name == name else p  # type: ignore[arg-type]
        for p in packages
    )


def gone(package: ResolvedPackage) -> ResolvedPackage:
    """Return a package as one of a channel that is no more, with other bytes than any channel has."""
    where = "https://gone.example.org/channel"
    artifact = package.artifact
    other = Artifact(
        file_name=artifact.file_name,
        url=f"{where}/{package.record.subdir}/{artifact.file_name}",
        size=1,
        sha256="0" * 64,
    )
    return ResolvedPackage(record=replace(package.record, channel=where), artifact=other)


def versions_of(answer: ResolvedEnvironment) -> dict[str, str]:
    return {package.record.name: package.record.version for package in answer.packages}


class TestKept:
    def test_what_is_kept_comes_first_and_as_it_was(
        self, rattler: RattlerResolver, channel: LocalChannel, base: ResolvedEnvironment
    ) -> None:
        answer = rattler.resolve(asking(channel, ("pandas", ""), kept=base.packages))
        assert answer.packages[: len(base.packages)] == base.packages
        assert "pandas" in versions_of(answer)
        new = answer.packages[len(base.packages) :]
        there = {package.record.name for package in base.packages}
        for package in new:
            needed = {text.split()[0] for text in package.record.depends if not text.startswith("__")}
            assert needed <= there
            there.add(package.record.name)

    def test_also_when_no_channel_has_it_any_more(
        self, rattler: RattlerResolver, channel: LocalChannel, base: ResolvedEnvironment
    ) -> None:
        kept = tuple(map(gone, base.packages))
        answer = rattler.resolve(asking(channel, ("pandas", ""), ("requests", ""), kept=kept))
        assert answer.packages[: len(kept)] == kept
        assert {"pandas", "requests"} <= set(versions_of(answer))
        renamed = changed(kept, "numpy", version="1.999", build="none_such")
        assert rattler.resolve(asking(channel, ("requests", ""), kept=renamed)).packages[: len(kept)] == renamed

    def test_nothing_on_top_is_nothing_more(
        self, rattler: RattlerResolver, channel: LocalChannel, base: ResolvedEnvironment
    ) -> None:
        assert rattler.resolve(asking(channel, kept=base.packages)).packages == base.packages

    def test_a_cut_off_date_is_for_what_is_new(
        self, rattler: RattlerResolver, channel: LocalChannel, base: ResolvedEnvironment
    ) -> None:
        asked = asking(channel, kept=base.packages, exclude_newer="2001-01-01")
        assert rattler.resolve(asked).packages == base.packages

    def test_what_is_wrong_within_what_is_kept_is_none_of_ours(
        self, rattler: RattlerResolver, channel: LocalChannel, base: ResolvedEnvironment
    ) -> None:
        """Needs that are not met, also of the machine; contradictions; and what nobody can read."""
        kept = changed(
            base.packages,
            "numpy",
            # `__unix` is on every target; `__cuda` is not.
            depends=("python 2.7.*", "__unix >=99", "__cuda >=99", "none-such >=1", "[[["),
            constrains=("openssl <1", "__unix >=99"),
        )
        answer = rattler.resolve(asking(channel, ("six", ""), kept=kept))
        assert answer.packages[: len(kept)] == kept
        assert set(versions_of(answer)) - set(versions_of(base)) == {"six"}

    @pytest.mark.parametrize("field", ["depends", "constrains"])
    def test_what_is_new_fits_what_is_kept(
        self, rattler: RattlerResolver, channel: LocalChannel, base: ResolvedEnvironment, field: str
    ) -> None:
        oldest, *_ = channel.package_versions("itsdangerous")
        assert (
            versions_of(rattler.resolve(asking(channel, ("itsdangerous", ""), kept=base.packages)))["itsdangerous"]
            != oldest
        )
        kept = changed(base.packages, "tzdata", **{field: (f"itsdangerous <={oldest}",)})
        assert versions_of(rattler.resolve(asking(channel, ("itsdangerous", ""), kept=kept)))["itsdangerous"] == oldest

    @pytest.mark.parametrize(
        ("url", "kept", "message"),
        [
            ("https://conda.example.org/a.conda", {"a": {"url": "https://conda.example.org/a.conda"}}, None),
            ("https://conda.example.org/a.conda", {"a": {"url": "https://conda.example.org/other.conda"}}, "`a`"),
            ("https://conda.example.org/a.conda", {"b": {"url": "https://conda.example.org/b.conda"}}, "`b`"),
        ],
    )
    def test_an_answer_beside_other_packages_than_those_is_refused(
        self, url: str, kept: dict[str, dict[str, str]], message: str | None
    ) -> None:
        found = {"a": RepoDataRecord(_record("1"), "x-1-0.conda", url, "https://conda.example.org")}
        if message is None:
            refuse_changes(found, kept)
            return
        with pytest.raises(
            ResolutionFailed, match=rf"^py-rattler \S+ left out, or replaced, what has to be kept: {message}$"
        ):
            refuse_changes(found, kept)

    def test_a_wish_that_cannot_be_had_beside_it_is_told_with_what_is_in_the_way(
        self, rattler: RattlerResolver, channel: LocalChannel, base: ResolvedEnvironment, numpys: tuple[str, ...]
    ) -> None:
        newest = channel.pandas_versions()[-1]
        oldest = rattler.resolve(asking(channel, ("pandas", f"=={newest}"), kept=()))
        needed = next(t for p in oldest.packages if p.record.name == "pandas" for t in p.record.depends if "numpy" in t)
        assert not admits(parse_version_spec(needed.partition(" ")[2], where=""), numpys[-2]), "the channel has changed"
        with pytest.raises(ResolutionFailed) as caught:
            rattler.resolve(asking(channel, ("pandas", f"=={newest}"), ("six", ""), kept=base.packages))
        assert (caught.value.message, caught.value.hint, caught.value.packages) == (
            f"`pandas =={newest}` cannot be had beside numpy {numpys[-2]} of the environment that is built upon",
            "Ask for another version, or do not build upon that environment",
            ("pandas", "numpy"),
        )

    def test_what_no_channel_has_is_told_as_ever(
        self, rattler: RattlerResolver, channel: LocalChannel, base: ResolvedEnvironment
    ) -> None:
        with pytest.raises(ResolutionFailed, match=r"^there is no package `none-such` for "):
            rattler.resolve(asking(channel, ("none-such", ""), kept=tuple(map(gone, base.packages))))


# ---- conda's order of versions, against py-rattler's

_RUNS = st.sampled_from(("0", "1", "2", "10", "01", "2024", "a", "b", "rc", "dev", "post", "alpha", "A"))
_SEGMENTS = st.lists(_RUNS, min_size=1, max_size=3).map("".join)
_SEPARATED = st.tuples(st.lists(_SEGMENTS, min_size=1, max_size=4), st.sampled_from("._-")).map(
    lambda parts: parts[1].join(parts[0])
)


@st.composite
def version_texts(draw: st.DrawFn) -> str:
    """Versions as packages have them, and stranger ones; a trailing underscore only behind a number, as openssl's."""
    text = draw(st.sampled_from(("", "", "", "1!", "0!"))) + draw(_SEPARATED)
    if text[-1].isdigit() and "-" not in text and draw(st.integers(0, 9)) == 0:
        return f"{text}_"
    return text + draw(st.sampled_from(("", "", "", "+1", "+a", "+a.2", "+0")))


def _record(version: str) -> PackageRecord:
    return PackageRecord(name="x", version=version, build=BuildString("0"), build_number=0, subdir="noarch")


@settings(max_examples=500)
@given(version_texts(), version_texts())
@example("1.0.1_", "1.0.1a")
@example("1.1.0dev1", "1.1.dev1")
def test_versions_are_in_the_solvers_order(first: str, second: str) -> None:
    mine, theirs = (CondaVersion.parse(first), CondaVersion.parse(second)), (Version(first), Version(second))
    assert (mine[0] < mine[1], mine[0] == mine[1]) == (theirs[0] < theirs[1], theirs[0] == theirs[1])


@pytest.mark.parametrize(
    ("constraint", "version"),
    [
        ("0+0.*", "0_"),
        ("1+a.*", "1.5+a"),
        ("1.0+a.*", "1.5+a"),
        ("1.2+0.*", "1.2rc"),
        ("1.0.*", "1rc1"),
        ("~=1+a", "1+b"),
    ],
)
def test_close_cases_of_constraints_are_the_solvers(constraint: str, version: str) -> None:
    assert admits(constraint, version) is RattlerSpec(f"x {constraint}", strict=True).matches(_record(version))


@settings(max_examples=500)
@given(
    st.sampled_from(("==", "!=", ">=", "<=", ">", "<", "~=", "=", "!=*")), version_texts(), version_texts(), st.data()
)
def test_constraints_take_what_the_solver_takes(operator: str, version: str, other: str, data: st.DataObject) -> None:
    # A beginning of the version is likelier to be a close case than any other version.
    wanted = data.draw(st.sampled_from((other, version[: data.draw(st.integers(1, len(version)))])))
    assume(not wanted.endswith("_"))
    text = f"!={wanted}.*" if operator == "!=*" else f"{operator}{wanted}"
    try:
        CondaVersion.parse(wanted)
        constraint = parse_version_spec(text, where="here")
    except InvalidSpec:
        assume(False)
    assert admits(constraint, version) is RattlerSpec(f"x {constraint}", strict=True).matches(_record(version))


# ---- The whole way


@pytest.fixture(scope="module")
def wiring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wiring]:
    folder = tmp_path_factory.mktemp("building")
    here = mfenv_settings.read({"CONDA_LOCAL_PATH": str(folder / "local")}.get, {"HOME": str(folder)})
    made = Wiring(here, project=folder / "project")
    yield made
    made.close()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> PackageIndex:
    folder = IndexFolder(tmp_path_factory.mktemp("index"))
    folder.add(
        MadeWheel(name="kept", version="1.0", needs=("extra-thing ; extra == 'more'",)),
        MadeWheel(name="kept", version="2.0", needs=("extra-thing ; extra == 'more'",)),
        MadeWheel(name="extra-thing", version="3.0"),
        MadeWheel(name="old-lover", needs=("kept<2",)),
        MadeWheel(name="new-lover", needs=("kept>=2",)),
    )
    return PackageIndex(url=(folder.folder / "simple").as_uri())


@pytest.fixture(scope="module")
def ask(channel: LocalChannel, index: PackageIndex) -> Asker:
    return Asker(channel, index)


class Asker:
    """Writes requests to the local channel and the index."""

    def __init__(self, channel: LocalChannel, index: PackageIndex) -> None:
        self._channel, self._index = channel, index

    def __call__(
        self,
        *requirements: str,
        conda: tuple[tuple[str, str], ...] = (),
        python: PythonConstraint | None = None,
        base: LockFile | LockedEnvironment | None = None,
        variables: tuple[tuple[str, str], ...] = (),
        needs: tuple[str, ...] = (),
    ) -> ResolutionRequest:
        spec = EnvironmentSpec(
            python=python,
            conda=tuple(MatchSpec.parse(name, text, where="here") for name, text in conda),
            pypi=tuple(Requirement.from_text(text, where="here") for text in requirements),
            channels=(Channel(location=self._channel.url()),),
            default_index=self._index,
            base=base,
            needs=tuple(MatchSpec(name=name) for name in needs),
            variables=variables,
        )
        return ResolutionRequest(spec=spec, target=TARGET)


def locked(wiring: Wiring, request: ResolutionRequest) -> LockedEnvironment:
    answer = wiring.resolver.resolve(request)
    return lock_of(answer, wiring.installer.measure, build_nothing, variables=request.spec.variables)


@pytest.fixture(scope="module")
def mixed(wiring: Wiring, ask: Asker, python: PythonConstraint, numpys: tuple[str, ...]) -> LockedEnvironment:
    """A lock of both sides, with variables."""
    return locked(
        wiring,
        ask(
            "kept==1.0", conda=(("numpy", f"=={numpys[-2]}"),), python=python, variables=(("A", "base"), ("B", "base"))
        ),
    )


def test_who_asks_for_nothing_gets_the_same_lock(wiring: Wiring, ask: Asker, mixed: LockedEnvironment) -> None:
    assert locked(wiring, ask(base=mixed)) == mixed


def test_both_sides_grow_and_a_process_has_all_of_it(
    wiring: Wiring, ask: Asker, mixed: LockedEnvironment, numpys: tuple[str, ...]
) -> None:
    """`kept` stays at 1.0 though there is a 2.0, what its extra needs comes, and the variables of both are there."""
    request = ask(
        "kept[more]", "old-lover", conda=(("six", ""),), base=mixed, variables=(("A", "asked"), ("C", "asked"))
    )
    lock = locked(wiring, request)
    assert lock.packages[: len(mixed.packages)] == mixed.packages
    assert lock.pypi[: len(mixed.pypi)] == mixed.pypi
    new = [p.name for p in lock.packages[len(mixed.packages) :]], {p.name for p in lock.pypi[len(mixed.pypi) :]}
    assert new == (["six"], {"extra-thing", "old-lover"})
    assert lock.variables == (("A", "asked"), ("B", "base"), ("C", "asked"))
    prefix = wiring.hydrator.hydrate(lock)
    script = (
        "import os, extra_thing, kept, numpy, old_lover, six\n"
        "print(kept.version, extra_thing.version, numpy.__version__, *(os.environ[name] for name in 'ABC'))"
    )
    environment = {"PATH": "/usr/bin", **prefix.environment({"PATH": "/usr/bin"})}
    done = subprocess.run([prefix.python, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.stderr, done.stdout.split()) == ("", ["1.0", "3.0", numpys[-2], "asked", "base", "asked"])


def test_a_clash_with_a_wheel_that_is_kept_says_who_needs_what(
    wiring: Wiring, ask: Asker, mixed: LockedEnvironment
) -> None:
    with pytest.raises(ResolutionFailed) as caught:
        wiring.resolver.resolve(ask("new-lover", base=mixed))
    assert caught.value.message == (
        "`new-lover` from PyPI needs `kept>=2`, but the environment that is built upon has kept 1.0"
    )


def test_what_is_needed_comes_from_conda_where_the_base_is_of_conda(
    wiring: Wiring, ask: Asker, mixed: LockedEnvironment
) -> None:
    lock = locked(wiring, ask(base=mixed, needs=("requests",)))
    assert lock.find("requests")
    assert lock.pypi == mixed.pypi


_PYLOCK = """lock-version = "1.0"
created-by = "a test"
requires-python = "{requires}"

[[packages]]
name = "kept"
version = "1.0"
wheels = [{{ name = "kept-1.0-py3-none-any.whl", url = "https://files.example.org/kept-1.0-py3-none-any.whl", \
hashes = {{ sha256 = "{digest}" }} }}]
"""


def pylock(folder: Path, requires: str) -> LockFile:
    path = folder / "pylock.toml"
    text = _PYLOCK.format(requires=requires, digest="1" * 64).replace("\\\n", "")
    path.write_text(text, encoding="utf-8")
    return LockFile(kind=LockFileKind.PYLOCK, digest=content_digest(text), path=path)


def test_a_lock_file_of_wheels_gets_a_python_and_more_wheels(
    wiring: Wiring, ask: Asker, python: PythonConstraint, channel: LocalChannel, tmp_path: Path
) -> None:
    answer = wiring.resolver.resolve(ask("old-lover", python=python, base=pylock(tmp_path, ">=3.9")))
    assert versions_of(answer)["python"] == channel.pythons[channel.running]
    assert [(p.name, p.version, p.wheel.sha256 if p.wheel else None) for p in answer.pypi][:1] == [
        ("kept", "1.0", "1" * 64)
    ]
    assert [package.name for package in answer.pypi] == ["kept", "old-lover"]


def test_a_lock_file_for_another_python_is_told_with_both(
    wiring: Wiring, ask: Asker, python: PythonConstraint, channel: LocalChannel, tmp_path: Path
) -> None:
    with pytest.raises(EnvironmentsError) as caught:
        wiring.resolver.resolve(ask(python=python, base=pylock(tmp_path, "<3.9")))
    assert caught.value.message == (
        f"`pylock.toml` is for Python `<3.9`, and what is asked for leaves Python {channel.pythons[channel.running]} "
        f"(`{python}`)"
    )
