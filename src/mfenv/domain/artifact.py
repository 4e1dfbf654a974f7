"""Files that packages come in."""

from __future__ import annotations

from dataclasses import dataclass

from mfenv.domain.digest import is_sha256
from mfenv.errors import LockError


def is_plain_file_name(text: str) -> bool:
    """Tell whether `text` can be a file's name in a folder and nothing more: no separators, no dots alone."""
    return bool(text) and text not in {".", ".."} and not set(text) & set("/\\\0\n\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A package file as an index names it; some indexes tell neither size nor hash."""

    file_name: str
    url: str
    """Without credentials."""
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    md5: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedArtifact:
    """A package file that is known to the last byte."""

    file_name: str
    url: str
    size: int | None
    """Bytes; some package indexes do not tell."""
    sha256: str

    def __post_init__(self) -> None:
        """Refuse what is no promise: a missing digest, a negative size, a name that is a path."""
        if not is_sha256(self.sha256):
            raise LockError(f"package file `{self.file_name}` has no sha256")
        if self.size is not None and self.size < 0:
            raise LockError(f"package file `{self.file_name}` has the size {self.size}")
        if not is_plain_file_name(self.file_name):
            raise LockError(f"`{self.file_name}` is not the name of a package file")
