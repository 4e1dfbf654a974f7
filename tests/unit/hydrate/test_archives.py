"""Package files come here checked, once, or not at all."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mfenv.errors import HydrationFailed
from mfenv.hydrate.archives import FetchedFile, WantedFile, bring

CONTENT = b"the package file" * 100
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
WANTED = WantedFile(name="a-1.0-0.conda", url="https://host/c/a-1.0-0.conda", sha256=SHA256, size=len(CONTENT))


class Served:
    """A download that serves `content` and counts."""

    def __init__(self, content: bytes | Exception = CONTENT) -> None:
        self.content = content
        self.urls: list[str] = []

    async def __call__(self, url: str, destination: Path) -> None:
        self.urls.append(url)
        await asyncio.sleep(0.01)
        if isinstance(self.content, Exception):
            destination.write_bytes(b"a beginning")
            raise self.content
        destination.write_bytes(self.content)


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    return tmp_path / "archives"


def run(wanted: WantedFile, archives: Path, download: Callable[[str, Path], Awaitable[None]]) -> FetchedFile:
    return asyncio.run(bring(wanted, archives, download))


def files(archives: Path) -> list[str]:
    found = (path for path in archives.rglob("*") if path.is_file() and path.name not in {".lock", ".used"})
    return sorted(path.relative_to(archives).as_posix() for path in found)


def _got(how: str) -> FetchedFile:
    return FetchedFile(name=WANTED.name, sha256=SHA256, size=len(CONTENT), how=how)


def test_a_file_is_fetched_once_and_then_found(archives: Path) -> None:
    download = Served()
    assert run(WANTED, archives, download) == _got("fetched")
    path = archives / SHA256 / WANTED.name
    os.utime(path, (1_000_000, 1_000_000))
    assert run(WANTED, archives, download) == _got("cached")
    assert download.urls == [WANTED.url]
    assert files(archives) == [f"{SHA256}/{WANTED.name}"]
    # uv keeps what it unpacked for as long as a wheel's time stays.
    assert path.stat().st_mtime == 1_000_000


@pytest.mark.parametrize("damage", [b"", CONTENT[:-1], CONTENT + b"x", b"X" + CONTENT[1:]])
def test_a_damaged_file_is_healed(archives: Path, damage: bytes) -> None:
    path = archives / SHA256 / WANTED.name
    path.parent.mkdir(parents=True)
    path.write_bytes(damage)
    assert run(WANTED, archives, Served()) == _got("healed")
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("wanted", "content", "message"),
    [
        (
            WANTED,
            b"X" + CONTENT[1:],
            (
                "the package file `a-1.0-0.conda` is refused: its sha256 is "
                f"{hashlib.sha256(b'X' + CONTENT[1:]).hexdigest()} where {SHA256} is locked"
            ),
        ),
        (
            replace(WANTED, size=7),
            CONTENT,
            "the package file `a-1.0-0.conda` is refused: its size is 1600 where 7 is locked",
        ),
        (
            replace(WANTED, sha256=None, size=None, md5="ab" * 16),
            CONTENT,
            f"the package file `a-1.0-0.conda` is refused: its md5 is {MD5} where {'ab' * 16} is locked",
        ),
        (
            replace(WANTED, sha256=None),
            CONTENT[:-1],
            "the package file `a-1.0-0.conda` is refused: its size is 1599 where 1600 is locked",
        ),
    ],
)
def test_other_bytes_are_refused_and_nothing_of_them_is_left(
    archives: Path, wanted: WantedFile, content: bytes, message: str
) -> None:
    with pytest.raises(HydrationFailed) as caught:
        run(wanted, archives, Served(content))
    assert caught.value.message == message
    assert files(archives) == []


def test_other_bytes_behind_a_file_url_are_refused_too(archives: Path, tmp_path: Path) -> None:
    source = tmp_path / "with space" / WANTED.name
    source.parent.mkdir()
    wanted = replace(WANTED, url=source.as_uri())
    source.write_bytes(b"X" + CONTENT[1:])
    with pytest.raises(HydrationFailed, match="is refused: its sha256 is"):
        run(wanted, archives, Served())
    assert files(archives) == []
    source.write_bytes(CONTENT)
    download = Served()
    assert run(wanted, archives, download) == _got("fetched")
    assert download.urls == []


def test_a_file_of_unknown_digest_is_measured(archives: Path) -> None:
    wanted = replace(WANTED, sha256=None, size=None, md5=MD5)
    assert run(wanted, archives, Served()) == _got("fetched")
    assert files(archives) == [f"{SHA256}/{WANTED.name}"]
    assert run(WANTED, archives, Served(OSError("not asked for"))) == _got("cached")


@pytest.mark.parametrize(
    ("error", "message", "output"),
    [
        (RuntimeError("404 for https://host"), "cannot be downloaded", "404 for https://host"),
        (OSError(28, "No space left on device"), "cannot be brought here: No space left on device", ""),
        (HydrationFailed("as it is"), "as it is", ""),
    ],
)
def test_a_download_that_fails_is_an_error_and_leaves_nothing(
    archives: Path, error: Exception, message: str, output: str
) -> None:
    for wanted in (WANTED, replace(WANTED, sha256=None)):
        with pytest.raises(HydrationFailed) as caught:
            run(wanted, archives, Served(error))
        expected = message if message == "as it is" else f"the package file `a-1.0-0.conda` {message}"
        assert (caught.value.message, caught.value.output) == (expected, output)
        assert files(archives) == []


def test_a_missing_local_file_is_named(archives: Path, tmp_path: Path) -> None:
    wanted = replace(WANTED, url=(tmp_path / "absent.conda").as_uri())
    with pytest.raises(HydrationFailed, match=r"absent\.conda`: No such file or directory$"):
        run(wanted, archives, Served())


def test_after_a_failure_the_next_try_works(archives: Path) -> None:
    with pytest.raises(HydrationFailed):
        run(WANTED, archives, Served(RuntimeError("try again")))
    assert run(WANTED, archives, Served()) == _got("fetched")


def test_many_tasks_download_once(archives: Path) -> None:
    download = Served()

    async def main() -> list[FetchedFile]:
        return list(await asyncio.gather(*(bring(WANTED, archives, download) for _ in range(40))))

    found = asyncio.run(asyncio.wait_for(main(), timeout=60))
    assert sorted(file.how for file in found) == ["cached"] * 39 + ["fetched"]
    assert download.urls == [WANTED.url]


_PROCESS = """
import asyncio, sys, time
from pathlib import Path
from mfenv.hydrate.archives import WantedFile, bring
folder, sha256, size = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
async def download(url, destination):
    with (folder / "downloads").open("a") as file:
        file.write("x")
    await asyncio.sleep(0.3)
    destination.write_bytes((folder / "source").read_bytes())
wanted = WantedFile(name="a.conda", url="https://host/a.conda", sha256=sha256, size=size)
print(asyncio.run(bring(wanted, folder / "archives", download)).how)
"""


def test_many_processes_download_once(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(CONTENT)
    command = [sys.executable, "-c", _PROCESS, str(tmp_path), SHA256, str(len(CONTENT))]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    found = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert sorted(found) == ["cached"] * 3 + ["fetched"]
    assert (tmp_path / "downloads").read_text() == "x"


def test_a_folder_in_the_place_of_a_file_is_named_with_a_hint(archives: Path) -> None:
    path = archives / SHA256 / WANTED.name
    path.mkdir(parents=True)
    with pytest.raises(HydrationFailed) as caught:
        run(WANTED, archives, Served())
    assert str(path) in caught.value.message
    assert caught.value.hint is not None
    assert files(archives) == []


def test_too_few_open_files_are_told_as_such(archives: Path) -> None:
    with pytest.raises(HydrationFailed) as caught:
        run(WANTED, archives, Served(OSError(errno.EMFILE, "Too many open files")))
    assert caught.value.hint == "Let processes open more files, for example with `ulimit -n 1024`"


def test_a_server_that_falls_silent_is_asked_again_and_then_named(
    archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mfenv.hydrate.archives.SILENCE", 0.05)
    monkeypatch.setattr("mfenv.hydrate.archives._PAUSES", (0.0, 0.0))
    asked = []

    async def silent(url: str, destination: Path) -> None:
        asked.append(url)
        destination.write_bytes(b"a beginning")
        await asyncio.sleep(3600)

    with pytest.raises(HydrationFailed, match="cannot be downloaded") as caught:
        run(WANTED, archives, silent)
    assert caught.value.output == "nothing came for 0 seconds, after 11 bytes"
    assert len(asked) == 3
    assert files(archives) == []


def test_a_slow_server_is_waited_for(archives: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mfenv.hydrate.archives.SILENCE", 0.2)

    async def slow(_url: str, destination: Path) -> None:
        for end in range(0, len(CONTENT) + 1, len(CONTENT) // 8):
            destination.write_bytes(CONTENT[:end])
            await asyncio.sleep(0.08)
        destination.write_bytes(CONTENT)

    assert run(WANTED, archives, slow) == _got("fetched")
