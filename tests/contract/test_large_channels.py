"""A large channel and a large request, with an index in shards and in one piece."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mfenv.domain.channel import Channel
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedEnvironment
from mfenv.domain.spec import EnvironmentSpec
from mfenv.io.worker import WorkerClient
from mfenv.resolve.backends import rattler as rattler_backend
from mfenv.resolve.backends.rattler import RattlerResolver
from mfenv.testing.channel import ChannelServer
from mfenv.testing.channel.synthetic import SyntheticChannel

LARGE = SyntheticChannel(names=2_000, records=30_000)


@dataclass(frozen=True)
class Channels:
    server: ChannelServer
    cache: Path
    worker: WorkerClient

    def resolve(self, name: str, wanted: list[str]) -> ResolvedEnvironment:
        spec = EnvironmentSpec(
            python=PythonConstraint.minor(3, 12),
            conda=tuple(MatchSpec.parse(each, "", where="test") for each in wanted),
            channels=(Channel.parse(self.server.channel_url(name), where="test"),),
        )
        request = ResolutionRequest(spec=spec, target=baseline(Platform.LINUX_64))
        return RattlerResolver(self.worker, cache=str(self.cache)).resolve(request)


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Channels]:
    root = tmp_path_factory.mktemp("channels")
    LARGE.write(root / "whole", sharded=False)
    LARGE.write(root / "sharded", sharded=True)
    worker = WorkerClient(rattler_backend.OPERATIONS, needs=("rattler",))
    with ChannelServer(root) as server:
        yield Channels(server, tmp_path_factory.mktemp("cache"), worker)
    worker.close()


def test_shards_are_preferred_and_say_the_same(channels: Channels) -> None:
    """What is not needed of a sharded index is not fetched."""
    wanted = [LARGE.name(number) for number in (1_999, 1_500, 700)]
    whole, sharded = (channels.resolve(name, wanted) for name in ("whole", "sharded"))

    def plain(answer: ResolvedEnvironment) -> list[tuple[str, str, str]]:
        return sorted((each.record.name, each.record.version, each.record.build) for each in answer.packages)

    assert plain(whole) == plain(sharded)
    asked = [path for path in channels.server.statistics().paths if path.startswith("/sharded/")]
    assert [path for path in asked if "repodata.json" in path] == []
    shards = [path for path in asked if "/shards/" in path]
    assert len(plain(sharded)) <= len(shards) < LARGE.names / 4


def test_a_request_for_three_hundred_packages_is_answered(channels: Channels) -> None:
    wanted = [LARGE.name(number) for number in range(5, 2_000, 6)][:300]
    answer = channels.resolve("sharded", wanted)
    found = {each.record.name: each.record.version for each in answer.packages}
    # The newest of each: there is nothing that speaks against it.
    assert {name: found[name].split(".")[0] for name in wanted} == dict.fromkeys(wanted, "3")
