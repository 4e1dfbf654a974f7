"""How files come to a node's cache, and where that is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mfenv.bootstrap.fetch import Fetcher
from mfenv.bootstrap.flow_file import File
from mfenv.bootstrap.http import Answer, Refused
from mfenv.bootstrap.make import Node
from mfenv.bootstrap.objects import Denied, LocalClient, Missing, ObjectError, Objects


class Guarded(LocalClient):
    """A folder whose objects can be refused, and that counts what is asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.refused: dict[str, int] = {}
        self.asked: list[str] = []

    def get(self, key: str, start: int) -> Answer:
        self.asked.append(key)
        if key in self.refused:
            raise Refused(self.refused[key], "refused")
        return super().get(key, start)


@pytest.fixture
def client(tmp_path: Path) -> Guarded:
    return Guarded(tmp_path / "store")


@pytest.fixture
def fetcher(client: Guarded, tmp_path: Path) -> Iterator[Fetcher]:
    fetcher = Fetcher(Objects(client), str(tmp_path / "node"))
    yield fetcher
    fetcher.close()


def stored(client: Guarded, name: str, content: bytes) -> File:
    client.put(name, content)
    return File(name, name, hashlib.sha256(content).hexdigest(), len(content))


@pytest.mark.parametrize("status", [404, 403])
def test_another_form_of_a_package_will_do(fetcher: Fetcher, client: Guarded, status: int) -> None:
    """Without the right to list, a store refuses what is not there (403)."""
    better, other = stored(client, "x.conda", b"better"), stored(client, "x.tar.bz2", b"other")
    client.refused = {"x.conda": status}
    assert fetcher.wait(fetcher.begin([[better, other]])) == [other]
    client.refused = {"x.conda": status, "y": status}
    with pytest.raises((Missing, Denied)):
        fetcher.wait(fetcher.begin([[better, stored(client, "y", b"y")]]))


def test_a_damaged_package_is_told_and_no_other_form_is_taken(fetcher: Fetcher, client: Guarded) -> None:
    better, other = stored(client, "x.conda", b"better"), stored(client, "x.tar.bz2", b"other")
    client.put("x.conda", b"bitter")
    with pytest.raises(ObjectError, match=r"`x\.conda` in .* is damaged"):
        fetcher.wait(fetcher.begin([[better, other]]))


def test_a_file_comes_once_and_again_when_it_was_damaged_here(fetcher: Fetcher, client: Guarded) -> None:
    files = [stored(client, name, name.encode()) for name in "abc"]
    for _ in range(2):
        assert fetcher.wait(fetcher.begin([[file] for file in files])) == files
    assert (fetcher.files, fetcher.size, sorted(client.asked)) == (3, 3, ["a", "b", "c"])
    Path(fetcher.path(files[0])).write_bytes(b"?")
    fetcher.wait(fetcher.begin([[files[0]]]))
    assert Path(fetcher.path(files[0])).read_bytes() == b"a"
    assert len(client.asked) == 4


def test_a_folder_that_others_put_there_is_not_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own = tmp_path / f"mfenv-{os.getuid()}"
    assert Node.here({}) == Node(baked=None, root=str(own), environ={}) == Node.here({})
    assert own.stat().st_mode & 0o777 == 0o700
    own.rmdir()
    (tmp_path / "theirs").mkdir()
    own.symlink_to(tmp_path / "theirs")
    other = Path(Node.here({}).root)
    assert other != own
    assert (other.parent, other.stat().st_mode & 0o777) == (tmp_path, 0o700)


def test_a_folder_may_be_chosen(tmp_path: Path) -> None:
    chosen = str(tmp_path / "node" / "cache")
    environ = {"METAFLOW_CONDA_NODE_PATH": chosen}
    assert Node.here(environ) == Node(baked=chosen, root=chosen, environ=environ)
