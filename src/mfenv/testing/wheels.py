"""Wheels and source distributions made of a few lines, right or wrong in a chosen way.

Libraries that write wheels refuse to write wrong ones.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_LONG_AGO = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeWheel:
    """What a wheel is to hold. Without `files`, a module called as the project that holds its version."""

    name: str
    version: str = "1.0"
    tags: str = "py3-none-any"
    needs: tuple[str, ...] = ()
    requires_python: str = ""
    files: Mapping[str, str] | None = None
    """By path in the wheel, data folders included."""
    console_scripts: Mapping[str, str] | None = None

    @property
    def stem(self) -> str:
        """Name and version as file names have them (PEP 427)."""
        return f"{self.name.replace('-', '_')}-{self.version}"

    @property
    def file_name(self) -> str:
        """The wheel's name."""
        return f"{self.stem}-{self.tags}.whl"

    @property
    def metadata(self) -> str:
        """Its core metadata."""
        lines = ["Metadata-Version: 2.1", f"Name: {self.name}", f"Version: {self.version}"]
        lines += [f"Requires-Python: {self.requires_python}"] if self.requires_python else []
        lines += [f"Requires-Dist: {need}" for need in self.needs]
        return "\n".join(lines) + "\n"

    def members(self) -> dict[str, bytes]:
        """Return all members but RECORD, by path."""
        module = self.name.replace("-", "_")
        files = {f"{module}.py": f"version = {self.version!r}\n"} if self.files is None else dict(self.files)
        info = f"{self.stem}.dist-info"
        files[f"{info}/METADATA"] = self.metadata
        files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: made\nRoot-Is-Purelib: true\nTag: {self.tags}\n"
        if self.console_scripts is not None:
            lines = [f"{name} = {target}" for name, target in self.console_scripts.items()]
            files[f"{info}/entry_points.txt"] = "[console_scripts]\n" + "\n".join(lines) + "\n"
        return {path: text.encode() for path, text in files.items()}

    def write(self, folder: Path) -> Path:
        """Write it into `folder`; return its path."""
        members = self.members()
        record = f"{self.stem}.dist-info/RECORD"
        return write_zip(folder / self.file_name, [*members.items(), (record, record_of(members, record))])

    def write_sdist(self, folder: Path, *, backend: str | None = None) -> Path:
        """Write it as a source distribution that builds with no other package; `backend` replaces its build code."""
        path = folder / f"{self.stem}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for name, text in self.source(backend).items():
                content = text.encode()
                info = tarfile.TarInfo(f"{self.stem}/{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return path

    def write_source(self, folder: Path, *, backend: str | None = None) -> Path:
        """Write it as a source folder, as `write_sdist` does."""
        for name, text in self.source(backend).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        return folder

    def source(self, backend: str | None = None) -> dict[str, str]:
        """Return the files of its source, by path."""
        module = self.name.replace("-", "_")
        return {
            "PKG-INFO": self.metadata,
            "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
            "backend.py": backend if backend is not None else _BACKEND.format(wheel=self, module=module),
            f"{module}.py": f"version = {self.version!r}\n",
        }


# A build backend (PEP 517) in a few lines: the wheel of the project, with its module as it lies in the folder.
_BACKEND = '''
import base64, hashlib, os, zipfile

METADATA = """{wheel.metadata}"""
STEM = "{wheel.stem}"
TAGS = "{wheel.tags}"

def get_requires_for_build_wheel(settings=None):
    return []

def prepare_metadata_for_build_wheel(folder, settings=None):
    info = os.path.join(folder, STEM + ".dist-info")
    os.makedirs(info)
    with open(os.path.join(info, "METADATA"), "w") as file:
        file.write(METADATA)
    with open(os.path.join(info, "WHEEL"), "w") as file:
        file.write("Wheel-Version: 1.0\\nGenerator: made\\nRoot-Is-Purelib: true\\nTag: " + TAGS + "\\n")
    return STEM + ".dist-info"

def build_wheel(folder, settings=None, metadata=None):
    with open("{module}.py", "rb") as file:
        members = {{"{module}.py": file.read()}}
    members[STEM + ".dist-info/METADATA"] = METADATA.encode()
    members[STEM + ".dist-info/WHEEL"] = (
        "Wheel-Version: 1.0\\nGenerator: made\\nRoot-Is-Purelib: true\\nTag: " + TAGS + "\\n"
    ).encode()
    rows = [
        name + ",sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        + "," + str(len(content))
        for name, content in members.items()
    ]
    record = STEM + ".dist-info/RECORD"
    members[record] = ("\\n".join([*rows, record + ",,"]) + "\\n").encode()
    path = STEM + "-" + TAGS + ".whl"
    with zipfile.ZipFile(os.path.join(folder, path), "w") as wheel:
        for name, content in members.items():
            wheel.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return path

def build_editable(folder, settings=None, metadata=None):
    return build_wheel(folder, settings, metadata)
'''


def record_of(members: Mapping[str, bytes], record: str) -> bytes:
    """Return the RECORD, itself called `record`, that is right for `members`."""
    rows = []
    for path, content in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(content)}")
    return ("\n".join([*rows, f"{record},,"]) + "\n").encode()


def write_zip(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """Write a zip file with exactly these members in this order, whatever they are called and however often."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.NameToInfo = _Forgetful()
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, date_time=_LONG_AGO), content)
    return path


class _Forgetful(dict[str, zipfile.ZipInfo]):
    """Keeps `zipfile` from warning of a name that it has written before: that is what is wanted."""

    def __contains__(self, key: object) -> bool:
        return False
