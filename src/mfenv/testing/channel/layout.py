"""What a built channel holds, read from the ``channel.json`` at its root."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DESCRIPTION = "channel.json"
FORMAT = 1

MAIN, EXTRA, TAMPERED, HOSTILE = "conda-forge", "extra", "tampered", "hostile"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalChannel:
    """A built channel.

    ``pythons`` are full versions by minor version; ``versions`` are the versions of each package that
    can be installed with a Python, by minor version and conda name, oldest first.
    """

    root: Path
    key: str
    subdir: str
    pythons: Mapping[str, str]
    running: str
    versions: Mapping[str, Mapping[str, tuple[str, ...]]]

    @classmethod
    def read(cls, root: Path) -> LocalChannel:
        """Read the channel at ``root``. Raises ``FileNotFoundError`` or ``ValueError``."""
        description = json.loads((root / DESCRIPTION).read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise ValueError(f"`{root / DESCRIPTION}` has format {description['format']}, expected {FORMAT}")
        return cls(
            root=root,
            key=description["key"],
            subdir=description["subdir"],
            pythons=description["pythons"],
            running=description["running"],
            versions={
                minor: {name: tuple(versions) for name, versions in packages.items()}
                for minor, packages in description["versions"].items()
            },
        )

    def write(self) -> None:
        """Write the description into the root, last of all: a channel without it is not complete."""
        description = {
            "format": FORMAT,
            "key": self.key,
            "subdir": self.subdir,
            "pythons": self.pythons,
            "running": self.running,
            "versions": self.versions,
        }
        text = json.dumps(description, indent=2, sort_keys=True)
        (self.root / DESCRIPTION).write_text(text + "\n", encoding="utf-8")

    def path(self, name: str = MAIN) -> Path:
        """Give the folder of channel ``name``: ``conda-forge``, ``extra``, ``tampered`` or ``hostile``."""
        return self.root / name

    def url(self, name: str = MAIN) -> str:
        """Give the ``file://`` URL of channel ``name``."""
        return self.path(name).as_uri()

    def package_versions(self, name: str, python: str | None = None) -> tuple[str, ...]:
        """Give the versions of conda package ``name`` for a minor version of Python, oldest first.

        Without ``python``, for the one that built the channel.
        """
        return self.versions[python or self.running].get(name, ())

    def pandas_versions(self, python: str | None = None) -> tuple[str, ...]:
        """Give the versions of pandas for a minor version of Python, oldest first."""
        return self.package_versions("pandas", python)


def sorted_versions(versions: set[str]) -> tuple[str, ...]:
    """Sort versions, oldest first."""
    return tuple(sorted(versions, key=Version))
