"""Resolvers and installers keep their contracts: the fakes, and py-rattler on real packages."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mfenv.app.lock import lock_of
from mfenv.domain.channel import Channel
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedEnvironment
from mfenv.domain.spec import ChannelPriority, EnvironmentSpec, SolveOptions
from mfenv.errors import HydrationFailed, ResolutionFailed
from mfenv.hydrate import conda
from mfenv.hydrate.conda import CondaInstaller, LinkedByAnother, RattlerInstaller
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.plan import archive_path
from mfenv.io.worker import WorkerClient
from mfenv.resolve.backends import rattler as rattler_backend
from mfenv.resolve.backends.rattler import RattlerResolver
from mfenv.resolve.base import Resolver
from mfenv.testing.channel import EXTRA, HOSTILE, MAIN, TAMPERED, LocalChannel, built_channel
from mfenv.testing.contracts import CondaInstallerContract, ResolverContract
from mfenv.testing.fakes import FakeInstaller, FakePackage, FakeResolver, fake_lock
from mfenv.testing.pypi import build_nothing

HERE = Platform.host()


@pytest.fixture(scope="module")
def channel() -> LocalChannel:
    return built_channel()


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerClient]:
    client = WorkerClient({**rattler_backend.OPERATIONS, **conda.OPERATIONS}, needs=("rattler",))
    yield client
    client.close()


@pytest.fixture(scope="module")
def rattler(worker: WorkerClient, tmp_path_factory: pytest.TempPathFactory) -> RattlerResolver:
    return RattlerResolver(worker, cache=str(tmp_path_factory.mktemp("repodata")))


@pytest.fixture
def folders(tmp_path: Path) -> LocalFolders:
    return LocalFolders(tmp_path / "mfenv")


class Asker:
    """Writes requests to the local channel."""

    def __init__(self, channel: LocalChannel) -> None:
        self.channel = channel

    def __call__(
        self,
        *names: str,
        channels: tuple[str, ...] = (MAIN,),
        platform: Platform = HERE,
        facts: dict[str, str] | None = None,
        priority: ChannelPriority = ChannelPriority.STRICT,
        **versions: str,
    ) -> ResolutionRequest:
        wanted = [self._spec(name, "") for name in names]
        wanted += [self._spec(name.replace("_", "-"), version) for name, version in versions.items()]
        major, minor = map(int, self.channel.running.split("."))
        spec = EnvironmentSpec(
            python=PythonConstraint.minor(major, minor),
            conda=tuple(wanted),
            channels=tuple(self._channel(name) for name in channels),
            options=SolveOptions(channel_priority=priority),
        )
        return ResolutionRequest(spec=spec, target=baseline(platform, facts))

    def _spec(self, name: str, version: str) -> MatchSpec:
        channel, _, bare = name.rpartition("::")
        spec = MatchSpec.parse(bare, version, where="test")
        return replace(spec, channel=self._channel(channel)) if channel else spec

    def _channel(self, name: str) -> Channel:
        known = name in {MAIN, EXTRA, HOSTILE, TAMPERED}
        return Channel(location=self.channel.url(name) if known else name)


@pytest.fixture(scope="module")
def ask(channel: LocalChannel) -> Asker:
    return Asker(channel)


def chosen(answer: ResolvedEnvironment) -> dict[str, str]:
    return {package.record.name: package.record.version for package in answer.packages}


class TestFakeResolver(ResolverContract):
    @pytest.fixture
    def resolver(self) -> Resolver:
        packages = (
            FakePackage("python"),
            FakePackage("numpy", depends=("python >=3.9", "__glibc >=2")),
            FakePackage("pandas", depends=("numpy >=1",)),
        )
        return FakeResolver(package.resolved for package in packages)

    @pytest.fixture
    def solvable(self, ask: Asker) -> ResolutionRequest:
        return ask("pandas")

    @pytest.fixture
    def unsolvable(self, ask: Asker) -> ResolutionRequest:
        return ask("pandas", "there-is-no-such-package")


class TestRattlerResolver(ResolverContract):
    @pytest.fixture
    def resolver(self, rattler: RattlerResolver) -> Resolver:
        return rattler

    @pytest.fixture
    def solvable(self, ask: Asker) -> ResolutionRequest:
        return ask("requests", "itsdangerous")

    @pytest.fixture
    def unsolvable(self, ask: Asker) -> ResolutionRequest:
        return ask("requests", "there-is-no-such-package")

    def test_versions_are_what_was_asked_for(self, rattler: RattlerResolver, ask: Asker, channel: LocalChannel) -> None:
        oldest, *_, newest = channel.pandas_versions()
        assert chosen(rattler.resolve(ask(pandas=oldest)))["pandas"] == oldest
        assert chosen(rattler.resolve(ask(pandas=f">{oldest}")))["pandas"] == newest
        answer = chosen(rattler.resolve(ask(pandas=f">={oldest},<{newest}")))
        assert answer["pandas"] == channel.pandas_versions()[-2]
        assert answer["python"] == channel.pythons[channel.running]

    @pytest.mark.parametrize(
        ("channels", "priority", "newest"),
        [
            ((MAIN, EXTRA), ChannelPriority.STRICT, False),
            ((EXTRA, MAIN), ChannelPriority.STRICT, True),
            ((MAIN, EXTRA), ChannelPriority.DISABLED, True),
        ],
    )
    def test_the_order_of_channels_is_their_priority(
        self,
        rattler: RattlerResolver,
        ask: Asker,
        channels: tuple[str, ...],
        priority: ChannelPriority,
        newest: bool,
    ) -> None:
        answer = rattler.resolve(ask("itsdangerous", "only-extra", channels=channels, priority=priority))
        assert (chosen(answer)["itsdangerous"] == "99.0") is newest
        assert chosen(answer)["only-extra"] == "1.0"

    def test_a_package_can_be_pinned_to_a_channel(self, rattler: RattlerResolver, ask: Asker) -> None:
        pinned = ask(f"{EXTRA}::itsdangerous", channels=(MAIN, EXTRA))
        assert chosen(rattler.resolve(pinned))["itsdangerous"] == "99.0"
        pinned = ask(f"{MAIN}::itsdangerous", channels=(EXTRA, MAIN))
        assert chosen(rattler.resolve(pinned))["itsdangerous"] != "99.0"

    def test_the_answer_says_where_each_file_is_and_what_is_in_it(
        self, rattler: RattlerResolver, ask: Asker, channel: LocalChannel
    ) -> None:
        for package in rattler.resolve(ask("prefixprobe")).packages:
            assert package.record.channel == channel.url(MAIN)
            assert package.artifact.url == (f"{channel.url(MAIN)}/{package.record.subdir}/{package.artifact.file_name}")
            path = channel.path(MAIN) / package.record.subdir / package.artifact.file_name
            assert package.artifact.size == path.stat().st_size
            assert package.artifact.sha256 is not None

    @pytest.mark.parametrize("platform", Platform)
    def test_other_platforms_resolve_too(
        self, rattler: RattlerResolver, ask: Asker, platform: Platform, channel: LocalChannel
    ) -> None:
        answer = rattler.resolve(ask("pandas", platform=platform))
        assert answer.platform is platform
        assert chosen(answer)["pandas"] == channel.pandas_versions()[-1]
        assert platform.value in {package.record.subdir for package in answer.packages}

    @pytest.mark.parametrize(
        ("name", "facts", "hint"),
        [
            ("needs-cuda", {"__cuda": "12.4"}, "A package needs a GPU (this target has no __cuda)"),
            (
                "needs-new-glibc",
                {"__glibc": "2.99"},
                "A package needs a newer C library (this target has __glibc 2.28)",
            ),
        ],
    )
    def test_what_a_package_needs_of_a_machine_decides(
        self, rattler: RattlerResolver, ask: Asker, name: str, facts: dict[str, str], hint: str
    ) -> None:
        linux = Platform.LINUX_64
        assert name in chosen(rattler.resolve(ask(name, platform=linux, facts=facts)))
        with pytest.raises(ResolutionFailed) as caught:
            rattler.resolve(ask(name, platform=linux))
        assert caught.value.message == "what is asked for cannot be had together for linux-64"
        assert (caught.value.hint or "").startswith(hint)
        assert next(iter(facts)) in caught.value.output

    @pytest.mark.parametrize("names", [("quarrel-left", "quarrel-right"), ("violates-limits",), ("needs-missing",)])
    def test_a_conflict_is_told_with_its_cause(
        self, rattler: RattlerResolver, ask: Asker, names: tuple[str, ...]
    ) -> None:
        with pytest.raises(ResolutionFailed) as caught:
            rattler.resolve(ask(*names))
        assert caught.value.message == f"what is asked for cannot be had together for {HERE.value}"
        assert [name for name in names if name not in caught.value.output] == []

    def test_a_version_that_is_not_there_is_told_with_those_that_are(
        self, rattler: RattlerResolver, ask: Asker
    ) -> None:
        with pytest.raises(ResolutionFailed) as caught:
            rattler.resolve(ask(limited="9.9"))
        assert caught.value.message == f"no version of `limited` for {HERE.value} is `==9.9`"
        assert caught.value.hint == "There is `limited` 2.0, 1.0"
        assert caught.value.packages == ("limited",)

    def test_a_misspelt_name_is_told_with_what_was_meant(self, rattler: RattlerResolver, ask: Asker) -> None:
        with pytest.raises(ResolutionFailed) as caught:
            rattler.resolve(ask("itsdangeruos"))
        assert "Did you mean `itsdangerous`" in (caught.value.hint or "")

    def test_a_channel_that_is_not_there_is_named(self, rattler: RattlerResolver, ask: Asker, tmp_path: Path) -> None:
        absent = (tmp_path / "absent").as_uri()
        with pytest.raises(ResolutionFailed) as caught:
            rattler.resolve(ask("requests", channels=(MAIN, absent)))
        assert caught.value.message == f"`{absent}` is not a conda channel: it has no repodata for noarch"
        assert caught.value.packages == (f"channel:{absent}",)


class TestFakeInstaller(CondaInstallerContract):
    A = FakePackage("a", {"share/a.txt": "in {prefix}\n"})
    B = FakePackage("b", {"bin/b": "b"})
    T = FakePackage("tampered")
    H = FakePackage("hostile", {"../outside": "x"})

    @pytest.fixture
    def installer(self, folders: LocalFolders) -> CondaInstaller:
        packages = (self.A, self.B, self.T, self.H)
        return FakeInstaller(folders, packages, served={self.T.artifact.url: b"other bytes"})

    @pytest.fixture
    def lock(self) -> LockedEnvironment:
        return fake_lock(self.A, self.B)

    @pytest.fixture
    def expected(self) -> dict[str, str]:
        return {"share/a.txt": "in {prefix}\n", "bin/b": "b"}

    @pytest.fixture
    def tampered(self) -> LockedEnvironment:
        return fake_lock(self.A, self.T)

    @pytest.fixture
    def hostile(self) -> LockedEnvironment:
        return fake_lock(self.H)


class TestRattlerInstaller(CondaInstallerContract):
    """Without Python itself: what these tests are about needs none, and it is big."""

    @staticmethod
    def _lock(rattler: RattlerResolver, ask: Asker, *names: str, channels: tuple[str, ...]) -> LockedEnvironment:
        answer = rattler.resolve(ask(*names, channels=channels))
        bare = [name.rpartition("::")[2] for name in names]
        kept = tuple(package for package in answer.packages if package.record.name in bare)
        ordered = tuple(sorted(kept, key=lambda package: bare.index(package.record.name)))
        return lock_of(replace(answer, packages=ordered), lambda artifacts: [], build_nothing)

    @pytest.fixture
    def installer(self, worker: WorkerClient, folders: LocalFolders) -> CondaInstaller:
        return RattlerInstaller(worker, folders)

    @pytest.fixture
    def lock(self, rattler: RattlerResolver, ask: Asker) -> LockedEnvironment:
        return self._lock(rattler, ask, "prefixprobe", "activates", channels=(MAIN,))

    @pytest.fixture
    def expected(self) -> dict[str, str]:
        return {
            "bin/prefixprobe": "#!/bin/sh\necho {prefix}\n",
            "share/prefixprobe.txt": "prefix={prefix}\n",
            "share/prefixprobe-link.txt": "prefix={prefix}\n",
            "share/activates.txt": "activates 1.0\n",
        }

    @pytest.fixture
    def tampered(self, rattler: RattlerResolver, ask: Asker) -> LockedEnvironment:
        return self._lock(rattler, ask, "untouched", "tampered", channels=(TAMPERED, MAIN))

    @pytest.fixture(params=["escaping-paths", "escaping-entry-point"])
    def hostile(self, rattler: RattlerResolver, ask: Asker, request: pytest.FixtureRequest) -> LockedEnvironment:
        return self._lock(rattler, ask, request.param, channels=(HOSTILE, MAIN))

    def test_binary_files_keep_their_length_and_get_the_final_name(
        self, installer: CondaInstaller, lock: LockedEnvironment, folders: LocalFolders
    ) -> None:
        staging, prefix = self._install(installer, lock, folders)
        content = (staging / "share" / "prefixprobe.bin").read_bytes()
        assert content.startswith(b"\0probe\0" + str(prefix).encode() + b"/share/prefixprobe.txt\0")
        assert content.endswith(b"\0tail-intact\0")
        assert str(staging).encode() not in content

    def test_the_record_of_each_package_says_where_it_came_from(
        self, installer: CondaInstaller, lock: LockedEnvironment, folders: LocalFolders
    ) -> None:
        staging, _ = self._install(installer, lock, folders)
        for package in lock.packages:
            record = package.record
            path = staging / "conda-meta" / f"{record.name}-{record.version}-{record.build}.json"
            assert f'"url": "{package.artifact.url}"' in path.read_text()

    def test_both_archive_formats_install_the_same(
        self,
        installer: CondaInstaller,
        worker: WorkerClient,
        lock: LockedEnvironment,
        folders: LocalFolders,
        channel: LocalChannel,
    ) -> None:
        probe = lock.packages[0]
        folder = channel.path(MAIN) / probe.record.subdir
        made = []
        for ending in (".conda", ".tar.bz2"):
            file = folder / f"prefixprobe-1.0-0{ending}"
            [artifact] = RattlerInstaller(worker, folders).measure([replace_with(file)])
            only = LockedEnvironment(platform=lock.platform, packages=(replace(probe, artifact=artifact),))
            staging, prefix = self._install(installer, only, folders)
            made.append((staging / "bin" / "prefixprobe").read_text().replace(str(prefix), "{prefix}"))
        assert made == ["#!/bin/sh\necho {prefix}\n"] * 2

    def test_a_damaged_extracted_package_is_extracted_again(
        self, installer: CondaInstaller, lock: LockedEnvironment, folders: LocalFolders
    ) -> None:
        self._install(installer, lock, folders)
        [cached] = folders.packages.rglob("share/activates.txt")
        cached.unlink()
        cached.write_text("damaged 1.\n\n\n")
        staging, _ = self._install(installer, lock, folders)
        assert (staging / "share" / "activates.txt").read_text() == "activates 1.0\n"

    def test_an_archive_that_is_gone_is_an_error_by_name(
        self, installer: CondaInstaller, lock: LockedEnvironment, folders: LocalFolders
    ) -> None:
        self._fetch(installer, lock)
        artifact = lock.packages[1].artifact
        archive_path(artifact, folders.archives).unlink()
        with pytest.raises(HydrationFailed) as caught:
            installer.link(lock, folders.staging(lock.id), folders.prefix(lock.id))
        assert caught.value.message == f"the package file `{artifact.file_name}` cannot be read"


def replace_with(file: Path) -> conda.Artifact:
    return conda.Artifact(file_name=file.name, url=file.as_uri())


def test_platforms_have_locks_of_their_own(rattler: RattlerResolver, ask: Asker) -> None:
    locks = [
        lock_of(rattler.resolve(ask("six", platform=platform)), lambda artifacts: [], build_nothing)
        for platform in Platform
    ]
    assert all(one.id != other.id for one, other in itertools.combinations(locks, 2))


class Recording:
    """A linker of another package: it does as ours, and says when it was asked."""

    def __init__(self, ours: RattlerInstaller) -> None:
        self.ours = ours
        self.asked = list[LockedEnvironment]()

    def link(self, lock: LockedEnvironment, staging: Path, prefix: Path) -> None:
        self.asked.append(lock)
        self.ours.link(lock, staging, prefix)


class TestLinkedByAnother(TestRattlerInstaller):
    """The same, and all that is refused is refused before the other linker gets it."""

    @pytest.fixture
    def linker(self, worker: WorkerClient, folders: LocalFolders) -> Recording:
        return Recording(RattlerInstaller(worker, folders))

    @pytest.fixture
    def installer(self, linker: Recording) -> CondaInstaller:
        return LinkedByAnother(files=linker.ours, linker=linker)

    def test_the_other_linker_gets_what_is_safe_and_nothing_else(
        self,
        installer: CondaInstaller,
        linker: Recording,
        lock: LockedEnvironment,
        hostile: LockedEnvironment,
        folders: LocalFolders,
    ) -> None:
        self._install(installer, lock, folders)
        with pytest.raises(HydrationFailed, match="is refused"):
            self._install(installer, hostile, folders)
        assert linker.asked == [lock]
