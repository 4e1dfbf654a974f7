"""conda, mamba and micromamba as resolvers: stand-ins that answer in their recorded forms, and the real ones on PATH."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mfenv.domain.channel import Channel
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedEnvironment
from mfenv.domain.spec import ChannelPriority, EnvironmentSpec, SolveOptions
from mfenv.errors import EnvironmentsError, LockError, ResolutionFailed, ToolNotFound
from mfenv.formats import conda_transaction
from mfenv.formats.conda_transaction import Chosen, Failure
from mfenv.io.process import SystemProcessRunner
from mfenv.io.worker import WorkerClient
from mfenv.resolve.backends import conda_dialects
from mfenv.resolve.backends import rattler as rattler_backend
from mfenv.resolve.backends.conda_cli import CondaCliResolver
from mfenv.resolve.backends.rattler import RattlerIndex, RattlerResolver
from mfenv.resolve.base import Resolver
from mfenv.testing import conda_programs
from mfenv.testing.channel import EXTRA, MAIN, LocalChannel, built_channel
from mfenv.testing.contracts import ResolverContract

RECORDED = Path(__file__).parents[1] / "data" / "tool_outputs"
HERE = Platform.host()
STAND_INS = (
    ("conda", "26.7.1"),
    ("mamba", "1.5.8"),
    ("mamba", "2.8.1"),
    ("micromamba", "1.5.7"),
    ("micromamba", "2.8.1"),
)
REAL = tuple((name, "") for name in conda_dialects.PROGRAMS if shutil.which(name))


@pytest.fixture(scope="module")
def channel() -> LocalChannel:
    return built_channel()


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerClient]:
    client = WorkerClient(rattler_backend.OPERATIONS, needs=("rattler",))
    yield client
    client.close()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


class Made:
    """Makes resolvers that find their program in one folder."""

    def __init__(self, worker: WorkerClient, cache: Path, folder: Path) -> None:
        self.worker, self.cache, self.folder = worker, cache, folder

    def __call__(self, name: str, version: str, *, timeout: float = 120, **more: str) -> CondaCliResolver:
        environment = dict(os.environ) | more
        if version:
            conda_programs.program(self.folder, name, version)
            environment["PATH"] = str(self.folder)
        return CondaCliResolver(
            name,
            runner=SystemProcessRunner(),
            records=RattlerIndex(self.worker, cache=str(self.cache / "repodata")).records,
            cache=self.cache / name,
            secret_urls={"https://channels.example": f"https://me:{conda_programs.SECRET}@channels.example"},
            environment=environment,
            timeout=timeout,
        )


@pytest.fixture
def made(worker: WorkerClient, cache: Path, tmp_path: Path) -> Made:
    return Made(worker, cache, tmp_path / "bin")


def asked(
    channel: LocalChannel, *wanted: str, platform: Platform = HERE, channels: tuple[str, ...] = (MAIN,), **more: object
) -> ResolutionRequest:
    major, minor = map(int, channel.running.split("."))
    spec = EnvironmentSpec(
        python=PythonConstraint.minor(major, minor),
        conda=tuple(MatchSpec.from_text(text, where="test") for text in wanted),
        channels=tuple(Channel(location=channel.url(name)) for name in channels),
        options=SolveOptions(**more),  # type: ignore[arg-type]
    )
    return ResolutionRequest(spec=spec, target=baseline(platform))


def plain(answer: ResolvedEnvironment) -> set[tuple[str, str, str, str | None]]:
    return {
        (each.record.name, each.record.version, each.record.build, each.artifact.sha256) for each in answer.packages
    }


# ------------------------------------------------------------------- recorded


@pytest.mark.parametrize("recorded", sorted(RECORDED.glob("*-solve*.out")), ids=lambda path: path.stem)
def test_recorded_answers_are_read_alike(recorded: Path) -> None:
    found = conda_transaction.load(recorded.read_text(), program="it")
    assert isinstance(found, tuple)
    versions = {each.name: each.version for each in found}
    assert len(found) == len(versions) == 31
    assert versions["pandas"] == "2.2.3"
    assert {each.subdir for each in found} == {"linux-64", "noarch"}
    assert all(re.fullmatch(r"[0-9a-f]{64}", each.sha256) for each in found)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conda-26.7.1-missing", ("PackagesNotFoundInChannelsError", "pandaz")),
        ("conda-26.7.1-unsat", ("PackagesNotFoundInChannelsError", "numpy[version='<1.20']")),
        ("mamba-2.8.1-unsat", ("", "numpy <1.20 * does not exist")),
        ("micromamba-1.5.7-missing", ("", "nothing provides requested pandaz")),
        ("micromamba-1.5.7-unsat", ("", "nothing provides requested numpy <1.20")),
        ("micromamba-2.8.1-missing", ("", "pandaz =* * does not exist")),
        ("micromamba-2.8.1-badchannel", ("", "Subdir file:///CHANNELS/none/noarch not loaded!")),
        # It says no more on standard output; what is on standard error is taken then.
        ("micromamba-2.0.5-missing", ("", "")),
        ("mamba-2.0.5-unsat", ("", "")),
    ],
)
def test_recorded_failures_are_read(name: str, expected: tuple[str, str]) -> None:
    found = conda_transaction.load((RECORDED / f"{name}.out").read_text(), program="it")
    assert isinstance(found, Failure)
    assert found.kind == expected[0]
    assert expected[1] in found.text


@pytest.mark.parametrize("name", ["micromamba-1.5.7-badchannel", "micromamba-2.0.5-badchannel"])
def test_what_is_on_standard_error_alone_is_no_answer(name: str) -> None:
    with pytest.raises(LockError):
        conda_transaction.load((RECORDED / f"{name}.out").read_text(), program="it")


@pytest.mark.parametrize("recorded", sorted(RECORDED.glob("*-version.out")), ids=lambda path: path.stem)
def test_recorded_versions_are_read(recorded: Path) -> None:
    name, number, _ = recorded.stem.split("-")
    version = conda_dialects.parse_version(recorded.read_text())
    assert version == tuple(map(int, number.split(".")))
    assert conda_dialects.dialect_of(name, version) is not None


@pytest.mark.parametrize(("name", "version"), [("conda", "26.7.1"), ("micromamba", "1.5.7"), ("micromamba", "2.8.1")])
def test_stand_ins_print_what_the_programs_print(name: str, version: str, channel: LocalChannel, made: Made) -> None:
    """Of each row that the real one prints, a stand-in has the keys that are read, with values of the same kind."""
    made(name, version)
    done = subprocess.run(
        [made.folder / name, *conda_dialects.arguments(_dialect(name, version), asked(channel, "six"), "p")],
        env={
            **os.environ,
            "CONDA_PKGS_DIRS": str(made.cache),
            "CONDA_SUBDIR": HERE.value,
            "CONDA_OVERRIDE_GLIBC": "2.28",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    ours, theirs = (json.loads(text) for text in (done.stdout, (RECORDED / f"{name}-{version}-solve.out").read_text()))
    assert set(ours) <= set(theirs)
    assert set(ours["actions"]) == set(theirs["actions"])
    assert set(ours["actions"]["LINK"][0]) <= set(theirs["actions"]["LINK"][0])


def _dialect(name: str, version: str) -> conda_dialects.Dialect:
    found = conda_dialects.dialect_of(name, conda_dialects.parse_version(version) or ())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("conda", "26.7.1", "--strict-channel-priority --channel C six[version='<2,>=1']"),
        ("mamba", "1.5.8", "--strict-channel-priority --channel C six[version='<2,>=1']"),
        ("mamba", "2.0.5", "--channel-priority strict --platform linux-64 --channel C six[version='<2,>=1']"),
        ("micromamba", "1.5.7", "--channel-priority strict --platform linux-64 --channel C six[version='<2,>=1']"),
    ],
)
def test_what_each_is_told(name: str, version: str, expected: str) -> None:
    spec = EnvironmentSpec(
        python=None,
        conda=(MatchSpec.parse("six", ">=1,<2", where="test"),),
        channels=(Channel.parse("https://me:secret@channels.example/main", where="test"),),
    )
    request = ResolutionRequest(spec=spec, target=baseline(Platform.LINUX_64))
    words = " ".join(conda_dialects.arguments(_dialect(name, version), request, "P"))
    expected = expected.replace("--channel C", "--channel https://channels.example/main")
    assert words == f"create --dry-run --json --yes --override-channels --prefix P {expected}"


def test_the_targets_facts_and_no_others_are_told() -> None:
    target = baseline(Platform.LINUX_64, {"__cuda": "12.4"})
    assert conda_dialects.overrides(target, "conda") == {
        "CONDA_OVERRIDE_GLIBC": "2.28",
        "CONDA_OVERRIDE_LINUX": "4.18",
        "CONDA_OVERRIDE_CUDA": "12.4",
        "CONDA_OVERRIDE_OSX": "",
        "CONDA_OVERRIDE_ARCHSPEC": "x86_64",
    }
    with pytest.raises(ResolutionFailed, match="`conda` cannot be told that the machine has `__other`"):
        conda_dialects.overrides(baseline(Platform.LINUX_64, {"__other": "1"}), "conda")


# ------------------------------------------------------------------- contract


@pytest.mark.parametrize(("name", "version"), [*STAND_INS, *REAL], ids=lambda value: value or "real")
class TestPrograms(ResolverContract):
    @pytest.fixture
    def resolver(self, made: Made, name: str, version: str) -> Resolver:
        return made(name, version)

    @pytest.fixture
    def solvable(self, channel: LocalChannel) -> ResolutionRequest:
        return asked(channel, "requests", "itsdangerous")

    @pytest.fixture
    def unsolvable(self, channel: LocalChannel) -> ResolutionRequest:
        return asked(channel, "requests", "there-is-no-such-package")

    def test_the_answer_is_what_the_embedded_solver_gives(
        self, resolver: Resolver, channel: LocalChannel, worker: WorkerClient, cache: Path
    ) -> None:
        request = asked(channel, "pandas==2.2.3", "tqdm<4.66")
        embedded = RattlerResolver(worker, cache=str(cache / "repodata")).resolve(request)
        answer = resolver.resolve(request)
        assert plain(answer) == plain(embedded)
        assert [each.record for each in answer.packages] == [each.record for each in embedded.packages]

    def test_another_platform_is_solved_for(self, resolver: Resolver, channel: LocalChannel) -> None:
        other = Platform.OSX_ARM64
        answer = resolver.resolve(asked(channel, "six", platform=other))
        assert {each.record.subdir for each in answer.packages} <= {"noarch", other.value}

    def test_no_priority_takes_the_newest_of_all_channels(self, resolver: Resolver, channel: LocalChannel) -> None:
        for priority in ChannelPriority:
            request = asked(channel, "six", channels=(EXTRA, MAIN), channel_priority=priority)
            assert resolver.resolve(request).packages

    def test_a_misspelt_package_is_blamed(self, resolver: Resolver, channel: LocalChannel) -> None:
        with pytest.raises(ResolutionFailed) as failed:
            resolver.resolve(asked(channel, "six", "pandaz"))
        assert f"finds nothing for {HERE.value} that is all that is asked for" in failed.value.message
        assert "pandaz" in failed.value.packages
        assert "pandaz" in failed.value.output

    def test_a_channel_that_is_not_there_is_named(self, resolver: Resolver, channel: LocalChannel) -> None:
        request = asked(channel, "six")
        nowhere = replace(request, spec=replace(request.spec, channels=(Channel(location="file:///no/where"),)))
        with pytest.raises(ResolutionFailed, match="cannot read the channel `file:///no/where`"):
            resolver.resolve(nowhere)

    def test_constraints_hold_for_what_is_chosen(self, resolver: Resolver, channel: LocalChannel) -> None:
        constraints = (MatchSpec(name="idna", version="<3.5"), MatchSpec(name="never-chosen", version="<1"))
        answer = resolver.resolve(replace(asked(channel, "requests"), constraints=constraints))
        versions = {each.record.name: each.record.version for each in answer.packages}
        assert versions["idna"] == "3.4"
        assert "never-chosen" not in versions

    def test_earlier_packages_are_preferred_and_do_not_stay_by_themselves(
        self, resolver: Resolver, channel: LocalChannel
    ) -> None:
        earlier = resolver.resolve(asked(channel, "requests", "idna==3.4", "tabulate"))
        answer = resolver.resolve(replace(asked(channel, "requests"), preferred=earlier.packages))
        versions = {each.record.name: each.record.version for each in answer.packages}
        assert versions["idna"] == "3.4"
        assert "tabulate" not in versions

    def test_what_is_kept_comes_first_as_it_was(self, resolver: Resolver, channel: LocalChannel) -> None:
        earlier = resolver.resolve(asked(channel, "idna==3.4"))
        answer = resolver.resolve(replace(asked(channel, "requests"), kept=earlier.packages))
        assert answer.packages[: len(earlier.packages)] == earlier.packages
        assert "requests" in {each.record.name for each in answer.packages}

    def test_a_cut_off_date_is_refused(self, resolver: Resolver, channel: LocalChannel) -> None:
        with pytest.raises(ResolutionFailed) as failed:
            resolver.resolve(asked(channel, "six", exclude_newer="2025-01-01"))
        assert failed.value.message == f"`{resolver.name}` cannot leave out what is newer than a date"
        assert "`rattler`" in (failed.value.hint or "")


# --------------------------------------------------------------------- faults


def failure(
    made: Made, channel: LocalChannel, name: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> EnvironmentsError:
    resolver = made(name, "26.7.1" if name == "conda" else "2.8.1", timeout=5)
    monkeypatch.setenv(conda_programs.FAULT, fault)
    with pytest.raises(EnvironmentsError) as failed:
        resolver.resolve(asked(channel, "six"))
    assert conda_programs.SECRET not in failed.value.explain()
    return failed.value


@pytest.mark.parametrize("name", ["conda", "micromamba"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("garbage", "`{}` printed something else than its answer"),
        ("empty", "`{}` printed something else than its answer"),
        ("half", "`{}` printed something else than its answer"),
        ("success-with-error", "`{}` {} ended without an answer"),
        ("crash", "`{}` {} ended without an answer"),
        ("secrets", "`{}` cannot read the channel `{}`"),
    ],
)
def test_a_program_that_misbehaves_is_one_error(
    made: Made, channel: LocalChannel, name: str, fault: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = "26.7.1" if name == "conda" else "2.8.1"
    more = channel.url() if fault == "secrets" else version
    assert failure(made, channel, name, fault, monkeypatch).message == message.format(name, more)


def test_a_program_that_hangs_is_ended_with_its_children(
    made: Made, channel: LocalChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = failure(made, channel, "micromamba", "hang", monkeypatch)
    assert error.message == "`micromamba` 2.8.1 found no answer within 5 seconds"
    time.sleep(0.2)
    left = subprocess.run(["pgrep", "-f", "sleep 600"], capture_output=True, text=True, check=False).stdout.split()
    assert left == []


def test_a_program_that_is_not_there_is_told_with_ways_to_get_it(made: Made, channel: LocalChannel) -> None:
    made.folder.mkdir()
    resolver = made("micromamba", "", PATH=str(made.folder), MAMBA_EXE="")
    with pytest.raises(ToolNotFound) as failed:
        resolver.resolve(asked(channel, "six"))
    assert failed.value.message == (
        "the program `micromamba`, which METAFLOW_CONDA_DEPENDENCY_RESOLVER names, is not there: it is neither on PATH nor "
        "what MAMBA_EXE says"
    )
    assert "A function of your shell is no program: set MAMBA_EXE to its path" in (failed.value.hint or "")


def test_a_program_that_is_a_shells_function_is_found_by_its_variable(made: Made, channel: LocalChannel) -> None:
    there = conda_programs.program(made.folder / "elsewhere", "conda", "26.7.1")
    resolver = made("conda", "", PATH="/nonexistent", CONDA_EXE=str(there))
    assert resolver.resolve(asked(channel, "six")).resolver == "conda 26.7.1"


def test_a_program_that_is_too_old_is_told(made: Made, channel: LocalChannel) -> None:
    with pytest.raises(ToolNotFound, match=r"is conda 4\.5\.4, and 23\.10 or later is needed"):
        made("conda", "4.5.4").resolve(asked(channel, "six"))


@pytest.mark.parametrize("content", [b"\x7fELF\x02\x01\x01\0 of another machine", b"\0\0\0\0"])
def test_a_program_of_another_machine_is_told(made: Made, channel: LocalChannel, content: bytes) -> None:
    made.folder.mkdir()
    (made.folder / "mamba").write_bytes(content)
    (made.folder / "mamba").chmod(0o755)
    with pytest.raises(ToolNotFound, match="cannot be started"):
        made("mamba", "", PATH=str(made.folder)).resolve(asked(channel, "six"))


def test_a_program_that_saw_other_bytes_is_refused(
    worker: WorkerClient, cache: Path, channel: LocalChannel, made: Made
) -> None:
    request = asked(channel, "six")
    (six,) = [each for each in made("conda", "26.7.1").resolve(request).packages if each.record.name == "six"]
    record = six.record
    other = Chosen(name="six", version=record.version, build=record.build, subdir=record.subdir, sha256="0" * 64)
    with pytest.raises(ResolutionFailed, match="has another sha256 on the channels than it saw"):
        RattlerIndex(worker, cache=str(cache / "repodata")).records(request, [other], "conda")
