"""The object graph."""

from pathlib import Path

from mfenv.app import settings
from mfenv.app.wiring import Wiring


def test_closing_starts_nothing(tmp_path: Path) -> None:
    wiring = Wiring(settings.read(lambda _: None, {"HOME": str(tmp_path)}), store_root=tmp_path)
    wiring.close()
    assert "worker" not in vars(wiring)


def test_closing_ends_the_helper_process(tmp_path: Path) -> None:
    wiring = Wiring(settings.read(lambda _: None, {"HOME": str(tmp_path)}), store_root=tmp_path)
    wiring.worker.start()
    assert wiring.worker.is_running
    wiring.close()
    assert not wiring.worker.is_running
