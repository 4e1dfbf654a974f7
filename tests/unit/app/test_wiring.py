"""The object graph."""

from pathlib import Path

import pytest

from mfenv.app import settings
from mfenv.app.wiring import Wiring
from mfenv.domain.index import IndexSecret, PackageIndex
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import EnvironmentSpec


def test_closing_starts_nothing(tmp_path: Path) -> None:
    wiring = Wiring(settings.read(lambda _: None, {"HOME": str(tmp_path)}), project=tmp_path)
    wiring.close()
    assert "worker" not in vars(wiring)


def test_closing_ends_the_helper_process(tmp_path: Path) -> None:
    wiring = Wiring(settings.read(lambda _: None, {"HOME": str(tmp_path)}), project=tmp_path)
    wiring.worker.start()
    assert wiring.worker.is_running
    wiring.close()
    assert not wiring.worker.is_running


def test_no_keyring_is_asked_for_what_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a program, and may ask the user; a run for which all is there needs no password."""
    asked = []
    monkeypatch.setattr("mfenv.app.wiring.from_keyring", lambda secret, _: asked.append(secret) or secret)
    here = settings.read(lambda _: None, {"HOME": str(tmp_path), "UV_KEYRING_PROVIDER": "subprocess"})
    secret = IndexSecret(index=PackageIndex(url="https://host/simple"), secret_url="https://me@host/simple")
    wiring = Wiring(here, project=tmp_path, index_secrets=[secret])
    spec = EnvironmentSpec(python=PythonConstraint.minor(3, 11), conda=(), channels=())
    wiring.locker("tester").known([ResolutionRequest(spec=spec, target=here.target(Platform.host()))])
    assert wiring.hydrator
    assert asked == []
    assert dict(wiring.secret_urls)
    assert asked == [secret]
