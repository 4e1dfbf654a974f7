"""A private index and a private channel on loopback, and a search for what must be found nowhere."""

from __future__ import annotations

import base64
import gzip
import io
import lzma
import secrets
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import zstandard

from mfenv.testing.channel import ChannelServer, Credentials
from mfenv.testing.index import IndexFolder
from mfenv.testing.wheels import MadeWheel

if TYPE_CHECKING:
    from tests.conftest import Flows


@dataclass(frozen=True)
class Canary:
    """A password that is in nothing but what the user wrote, in every form in which it could show up."""

    # Characters that a URL has to escape: a mask of one spelling would leave the other.
    text: str = field(default_factory=lambda: f"canary{secrets.token_hex(8)}:@/x")

    @property
    def needles(self) -> tuple[bytes, ...]:
        core = self.text[6:22]
        encoded = base64.b64encode(f"tester:{self.text}".encode())
        return (core.encode(), encoded.rstrip(b"="))

    def hits(self, *folders: Path) -> list[str]:
        """The files below `folders` that hold it, also behind compression, archives within archives included."""
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return sorted({str(path) for path in files if self.is_in(path.read_bytes()) or self.is_in(str(path).encode())})

    def is_in(self, content: bytes, depth: int = 0) -> bool:
        if any(needle in content for needle in self.needles):
            return True
        return depth < 3 and any(self.is_in(inner, depth + 1) for inner in unpacked(content))


def unpacked(content: bytes) -> Iterator[bytes]:
    """What is inside compressed bytes."""
    if content[:2] == b"\x1f\x8b":
        try:
            yield gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            return
    elif content[:6] == b"\xfd7zXZ\x00":
        yield lzma.decompress(content)
    elif content[:4] == b"\x28\xb5\x2f\xfd":
        yield zstandard.ZstdDecompressor().decompressobj().decompress(content)
    elif content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    elif content[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive.getmembers():
                if file := archive.extractfile(member):
                    yield file.read()


class ArgumentWatch:
    """Collects the arguments of all processes that start while it is entered, as anybody on the machine can."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> ArgumentWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.01):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(path.read_bytes())
                except OSError:
                    continue


@pytest.fixture
def canary() -> Canary:
    return Canary()


@pytest.fixture
def index(tmp_path: Path) -> IndexFolder:
    """An index with `tiny`, and with `built`, of which there is only the source."""
    made = IndexFolder(tmp_path / "served")
    made.add(MadeWheel(name="tiny", version="1.0"), MadeWheel(name="tiny", version="2.0"))
    return made.add_sdists(MadeWheel(name="built", version="1.0"))


@dataclass(frozen=True)
class Private:
    """An index behind a password."""

    server: ChannelServer
    canary: Canary

    @property
    def plain(self) -> str:
        return f"{self.server.url}/index/simple"

    def secret(self, password: str | None = None) -> str:
        return self.plain.replace("://", f"://tester:{quote(password or self.canary.text, safe='')}@")

    def links(self) -> str:
        """A page with links to the files, with the password."""
        return self.secret().replace("/simple", "/simple/tiny/index.html")

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server.port}"


@pytest.fixture
def private(index: IndexFolder, canary: Canary) -> Iterator[Private]:
    credentials = Credentials(user="tester", password=canary.text)
    with ChannelServer(index.folder.parent, credentials=credentials) as server:
        yield Private(server, canary)


@pytest.fixture
def offline(flows: Flows, index: IndexFolder) -> Flows:
    """Runs flows that know no index but those they are given."""
    return flows.using(PIP_CONFIG_FILE="/dev/null", UV_DEFAULT_INDEX=(index.folder / "simple").as_uri())
