"""A small package index on loopback: pages of the simple API (PEP 503), made right or wrong.

It is a folder of pages and files behind `mfenv.testing.channel.ChannelServer`, which does credentials, faults and
counts.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterable
from pathlib import Path

from packaging.utils import canonicalize_name

from mfenv.testing.wheels import MadeWheel


class IndexFolder:
    """Pages and files of an index below ``root / name``; serve ``root`` and ask for ``<url>/<name>/simple``."""

    def __init__(self, root: Path, name: str = "index", *, has_digests: bool = True) -> None:
        """Begin an empty index; without `has_digests` its pages name no hashes, as those of some indexes."""
        self.folder = root / name
        self._has_digests = has_digests
        (self.folder / "simple").mkdir(parents=True)
        (self.folder / "files").mkdir()

    def add(self, *wheels: MadeWheel) -> IndexFolder:
        """Publish wheels."""
        for wheel in wheels:
            self.publish(wheel.name, wheel.write(self.folder / "files"), requires_python=wheel.requires_python)
        return self

    def add_sdists(self, *wheels: MadeWheel, backend: str | None = None) -> IndexFolder:
        """Publish source distributions."""
        for wheel in wheels:
            self.publish(wheel.name, wheel.write_sdist(self.folder / "files", backend=backend))
        return self

    def publish(
        self, project: str, file: Path, *, sha256: str | None = None, requires_python: str = "", provenance: str = ""
    ) -> None:
        """Put a file that is in ``files`` on the page of `project`; `sha256` is what the page says, true or not.

        `provenance` is where the page says that attestations are (PEP 740).
        """
        digest = sha256 or hashlib.sha256(file.read_bytes()).hexdigest()
        fragment = f"#sha256={digest}" if self._has_digests else ""
        attributes = f' data-requires-python="{html.escape(requires_python)}"' if requires_python else ""
        attributes += f' data-provenance="{html.escape(provenance)}"' if provenance else ""
        page = self.folder / "simple" / canonicalize_name(project) / "index.html"
        page.parent.mkdir(exist_ok=True)
        lines = page.read_text(encoding="utf-8").splitlines() if page.exists() else ["<!DOCTYPE html>"]
        lines.append(f'<a href="../../files/{file.name}{fragment}"{attributes}>{file.name}</a><br>')
        page.write_text("\n".join(lines) + "\n", encoding="utf-8")


def index_of(root: Path, wheels: Iterable[MadeWheel], name: str = "index") -> IndexFolder:
    """Return an index that has `wheels`."""
    return IndexFolder(root, name).add(*wheels)
