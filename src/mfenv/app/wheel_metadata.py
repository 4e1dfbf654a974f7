"""What the wheels of an environment say of themselves: read where they are, kept by digest."""

from __future__ import annotations

import contextlib
import email.parser
import json
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from mfenv.app.wiring import Wiring
from mfenv.domain.digest import Json, canonical_json
from mfenv.domain.locked import LockedEnvironment, LockedPypiPackage
from mfenv.domain.wheel_metadata import WheelMetadata
from mfenv.hydrate.plan import archive_path
from mfenv.io.files import write_atomically

_SCHEMA = "mfenv/wheel/1"
_LONGEST_LICENSE = 100


class WheelMetadataReader:
    """Reads ``METADATA``: from this machine's notes, the environment, the cached wheel, else from where that is."""

    def __init__(self, wiring: Wiring) -> None:
        """Look, and fetch, with what `wiring` has."""
        self._wiring = wiring
        self._folder = wiring.folders.distributions

    def of(self, lock: LockedEnvironment) -> dict[str, WheelMetadata]:
        """Return what the wheels of `lock` say, by their sha256. Raises `EnvironmentsError` for one nobody has."""
        found, missing = {}, []
        installed = self._installed(lock)
        for package in lock.pypi:
            said = self._kept(package) or self._read_here(package, installed)
            if said is None:
                missing.append(package)
            else:
                found[package.artifact.sha256] = said
        if missing:
            self._bring(missing)
            found |= {package.artifact.sha256: self._of_archive(package) for package in missing}
        return found

    def _kept(self, package: LockedPypiPackage) -> WheelMetadata | None:
        try:
            row = json.loads(self._note(package).read_bytes())
            if row["schema"] != _SCHEMA:
                return None
            return WheelMetadata(
                requires=tuple(map(str, row["requires"])),
                requires_python=str(row["requires_python"]),
                license=str(row["license"]),
                summary=str(row["summary"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _note(self, package: LockedPypiPackage) -> Path:
        return self._folder / f"wheel-{package.artifact.sha256}.json"

    def _installed(self, lock: LockedEnvironment) -> dict[str, Path]:
        """Return the ``METADATA`` files in the environment on this machine, by project and version."""
        prefix = self._wiring.hydrator.ready(lock)
        if prefix is None or not lock.pypi:
            return {}
        return {
            re.sub(r"[-_.]+", "-", path.name.removesuffix(".dist-info")).lower(): path / "METADATA"
            for path in prefix.path.glob("lib/python*/site-packages/*.dist-info")
        }

    def _read_here(self, package: LockedPypiPackage, installed: dict[str, Path]) -> WheelMetadata | None:
        path = installed.get(re.sub(r"[-_.]+", "-", f"{package.name}-{package.version}").lower())
        with contextlib.suppress(OSError):
            if path:
                return self._keep(package, path.read_bytes())
        if archive_path(package.artifact, self._wiring.folders.archives).is_file():
            with contextlib.suppress(OSError, KeyError, zipfile.BadZipFile):
                return self._of_archive(package)
        return None

    def _of_archive(self, package: LockedPypiPackage) -> WheelMetadata:
        with zipfile.ZipFile(archive_path(package.artifact, self._wiring.folders.archives)) as archive:
            names = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
            return self._keep(package, archive.read(names[0]) if names else b"")

    def _bring(self, packages: Iterable[LockedPypiPackage]) -> None:
        artifacts = [package.artifact for package in packages]
        self._wiring.supplier.supply(artifacts)
        self._wiring.installer.fetch(artifacts)

    def _keep(self, package: LockedPypiPackage, content: bytes) -> WheelMetadata:
        message = email.parser.HeaderParser().parsestr(content.decode(errors="replace"))
        license_ = str(message.get("License-Expression") or message.get("License") or "").strip()
        said = WheelMetadata(
            requires=tuple(" ".join(str(text).split()) for text in message.get_all("Requires-Dist") or ()),
            requires_python=str(message.get("Requires-Python") or ""),
            license="" if len(license_) > _LONGEST_LICENSE or "\n" in license_ else license_,
            summary=" ".join(str(message.get("Summary") or "").split()),
        )
        note: dict[str, Json] = {
            "schema": _SCHEMA,
            "requires": list(said.requires),
            "requires_python": said.requires_python,
            "license": said.license,
            "summary": said.summary,
        }
        with contextlib.suppress(OSError):
            write_atomically(self._note(package), canonical_json(note))
        return said
