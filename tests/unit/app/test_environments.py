"""What a word on a command line stands for, and on which platform."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from mfenv.app import settings
from mfenv.app.environments import Environments
from mfenv.app.known import KnownEnvironments
from mfenv.app.wiring import Wiring
from mfenv.domain.alias import Alias
from mfenv.domain.digest import RequestKey
from mfenv.domain.group import LockGroup
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.reference import ByLock, ByName, ByPathspec
from mfenv.errors import InvalidSpec
from mfenv.store.project_index import Default
from mfenv.testing.fakes import FakePackage, fake_lock

HOST = Platform.host()
OTHER, THIRD = [platform for platform in Platform if platform is not HOST][:2]
HERE, THERE, ALONE = (fake_lock(FakePackage("a"), platform=one) for one in (HOST, OTHER, THIRD))
REQUEST = RequestKey("ab" * 20)
TIME = datetime(2026, 1, 2, tzinfo=timezone.utc)
STEPS = {"start": HERE, "train": THERE, "end": ALONE}


@pytest.fixture
def found(tmp_path: Path) -> Environments:
    """Finds a lock for this machine and one for another that were resolved together, and one that is alone."""
    wiring = Wiring(settings.read(lambda _: None, {"HOME": str(tmp_path)}), project=tmp_path)
    for lock in (HERE, THERE, ALONE):
        wiring.locks.keep(lock)
    together = {HOST: HERE.id, OTHER: THERE.id}
    wiring.locks.keep_group(LockGroup.of(together))
    for name, locks in {"both": together, "away": {OTHER: THERE.id, THIRD: ALONE.id}, "one": {THIRD: ALONE.id}}.items():
        wiring.index.set_alias(Alias.of(ByName(name=name), locks, user="ana", time=TIME))
    wiring.index.set_defaults(
        Default(request=REQUEST, target=baseline(one).key, platform=one, lock=lock, user="ana", time=TIME)
        for one, lock in together.items()
    )

    def of_step(ref: ByPathspec, _where: str) -> ByLock:
        return ByLock(lock=STEPS[ref.step].id, request=REQUEST)

    return Environments(wiring, KnownEnvironments(wiring.locks, of_step=of_step, index=wiring.index))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (HERE.id, HERE),
        (THERE.id, THERE),
        (THERE.id[:12], THERE),
        (f"{REQUEST}:{THERE.id}", THERE),
        ("Flow/7/train", THERE),
        ("step:Flow/7/end", ALONE),
        ("Flow/7/start", HERE),
        ("both", HERE),
        ("one", ALONE),
        (REQUEST, HERE),
        (REQUEST[:12], HERE),
    ],
)
def test_the_very_one_that_was_named_is_meant_then_this_machines_then_the_only_one(
    found: Environments, text: str, meant: object
) -> None:
    assert found.find(text, where="ENV") == meant


@pytest.mark.parametrize("text", [HERE.id, THERE.id, THERE.id[:12], "Flow/7/train", "both", REQUEST])
def test_a_platform_that_is_asked_for_is_had_of_those_that_were_resolved_together(
    found: Environments, text: str
) -> None:
    assert found.find(text, where="ENV", platform=HOST) == HERE
    assert found.find(text, where="ENV", platform=OTHER) == THERE


def test_what_is_not_there_for_a_platform_is_refused_with_the_way_out(found: Environments) -> None:
    with pytest.raises(InvalidSpec) as caught:
        found.find("away", where="ENV")
    known = ", ".join(sorted((OTHER.value, THIRD.value)))
    assert caught.value.message == f"ENV: `away` has no environment for {HOST.value}, only for {known}"
    assert caught.value.hint == f"Choose with --arch, or resolve it for {HOST.value} as well"
    with pytest.raises(InvalidSpec) as caught:
        found.find("Flow/7/end", where="ENV", platform=HOST)
    assert caught.value.message == f"ENV: `Flow/7/end` has no environment for {HOST.value}, only for {THIRD.value}"
    assert caught.value.hint == f"Resolve it for {HOST.value} as well"
