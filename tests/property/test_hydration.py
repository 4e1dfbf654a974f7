"""Planning and hydrating, over and over: the first time makes it, all others find it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mfenv.domain.machine import Machine
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.plan import HydrationPlan, plan
from mfenv.hydrate.service import Hydrator
from mfenv.testing.fakes import FakeInstaller, FakePackage, fake_lock
from mfenv.testing.pypi import FakePypiInstaller

_POOL = [FakePackage(name) for name in "abcd"]


@settings(max_examples=20)
@given(st.lists(st.lists(st.sampled_from(_POOL), unique=True, min_size=1), min_size=1, max_size=6))
def test_hydrating_is_idempotent_and_its_plan_is_empty_afterwards(wanted: list[list[FakePackage]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        folders = LocalFolders(Path(folder) / "mfenv")
        installer = FakeInstaller(folders, _POOL)
        hydrator = Hydrator(
            folders, installer, wheels=FakePypiInstaller(), machine=Machine.here(), lock_timeout=60, link_scripts=True
        )
        for packages in wanted:
            lock = fake_lock(*packages)
            assert (plan(lock, folders) == HydrationPlan()) == (hydrator.ready(lock) is not None)
            prefix = hydrator.hydrate(lock)
            assert hydrator.hydrate(lock) == prefix == hydrator.ready(lock)
            assert plan(lock, folders) == HydrationPlan()
        assert len(installer.linked) == len({fake_lock(*packages).id for packages in wanted})
