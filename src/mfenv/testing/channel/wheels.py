"""Real wheels as conda packages: uv resolves, fetches and unpacks them, and each becomes a package.

The index, mirror or folder of wheels that the user has configured for uv is what is used.
"""

from __future__ import annotations

import configparser
import csv
import os
import re
import subprocess
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from mfenv.testing.channel.catalog import WheelSet, release_time
from mfenv.testing.channel.cpython import compile_command
from mfenv.testing.channel.package import (
    PLACEHOLDER,
    CondaPackage,
    Entry,
    FileMode,
    RegularFile,
    build_string,
    read_tree,
)
from mfenv.testing.channel.requirements import conda_name, conda_version, match_specs
from mfenv.testing.channel.subdirs import system_floor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from email.message import Message

    from mfenv.testing.channel.interpreters import Interpreter

_LAUNCHER = """#!{prefix}/bin/python
# -*- coding: utf-8 -*-
import re
import sys

from {module} import {top}

if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw?|\\.exe)?$', '', sys.argv[0])
    sys.exit({function}())
"""

# Test trees of the big packages, which no environment of a test needs.
_LEFT_OUT = re.compile(r"^(pandas|numpy|scipy|sklearn|psutil)/(.+/)?tests?/|\.(pyi|h|a|pxd)$")
# Needed when the package is imported, in spite of their names.
_KEPT = re.compile(r"^numpy/(testing|_core/tests/_natype)|^sklearn/utils/_test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A wheel that uv has unpacked into ``folder`` for ``interpreter``."""

    name: str
    version: str
    folder: Path
    dist_info: str
    interpreter: Interpreter
    is_pure: bool

    @property
    def metadata(self) -> Message:
        """The distribution's core metadata."""
        text = (self.folder / self.dist_info / "METADATA").read_text(encoding="utf-8", errors="replace")
        return HeaderParser().parsestr(text)


class WheelSetError(RuntimeError):
    """uv found no solution, or no wheels, for a set that the channel must have."""


def unpack_wheels(
    program: str, wheel_set: WheelSet, interpreter: Interpreter, target: Path
) -> tuple[Distribution, ...]:
    """Have uv, at ``program``, resolve ``wheel_set`` for ``interpreter`` and unpack it into ``target``.

    Gives nothing for an optional set without a solution. Raises ``WheelSetError`` for another.
    """
    command = [
        program, "pip", "install", "--quiet", "--only-binary", ":all:",
        "--python", str(interpreter.executable), "--target", str(target), *wheel_set.requirements,
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if answer.returncode:
        if wheel_set.optional:
            return ()
        wanted = " ".join(wheel_set.requirements)
        raise WheelSetError(f"no wheels for Python {interpreter.version} of: {wanted}\n\n{answer.stderr}")
    return tuple(_distribution(info, interpreter) for info in sorted(target.glob("*.dist-info")))


def _distribution(info: Path, interpreter: Interpreter) -> Distribution:
    metadata = HeaderParser().parsestr((info / "METADATA").read_text(encoding="utf-8", errors="replace"))
    tags = HeaderParser().parsestr((info / "WHEEL").read_text(encoding="utf-8")).get_all("Tag") or []
    return Distribution(
        name=canonicalize_name(metadata["Name"]),
        version=str(Version(metadata["Version"])),
        folder=info.parent,
        dist_info=info.name,
        interpreter=interpreter,
        is_pure=all(tag.strip().endswith("-none-any") for tag in tags),
    )


def distinct(distributions: Iterable[Distribution]) -> tuple[tuple[Distribution, ...], ...]:
    """Put the distributions that become one conda package together.

    A compiled one is alone. A pure one's group has an interpreter for each Python that takes the same
    requirements: where markers differ, packages differ.
    """
    seen: set[tuple[str, str, str]] = set()
    groups: dict[tuple[object, ...], list[Distribution]] = {}
    for each in distributions:
        key = (each.name, each.version, each.interpreter.minor)
        if key in seen:
            continue
        seen.add(key)
        group: tuple[object, ...] = (each.name, each.version, _requirements(each)) if each.is_pure else key
        groups.setdefault(group, []).append(each)
    return tuple(tuple(group) for _, group in sorted(groups.items(), key=lambda item: repr(item[0])))


def _requirements(distribution: Distribution) -> tuple[str, ...]:
    lines = distribution.metadata.get_all("Requires-Dist") or []
    return match_specs(lines, distribution.interpreter.version)


def distribution_package(
    group: Sequence[Distribution], pythons: Sequence[str], runtime: Sequence[str], subdir: str
) -> CondaPackage:
    """Make the conda package of a group that ``distinct`` gave.

    ``pythons`` are the minor versions that the whole channel has this release for; ``runtime`` are the
    requirements of compiled packages on the compilers' libraries.
    """
    first = group[0]
    if first.is_pure:
        return _noarch_package(group, pythons)
    return _compiled_package(first, runtime, subdir)


def _noarch_package(group: Sequence[Distribution], pythons: Sequence[str]) -> CondaPackage:
    first = group[0]
    minors = sorted((each.interpreter.minor for each in group), key=Version)
    if len(minors) == len(pythons):
        python = conda_version(SpecifierSet(first.metadata.get("Requires-Python") or ">=3.8"))
    else:
        python = "|".join(f"{minor}.*" for minor in minors)
    depends = (*_requirements(first), f"python {python}")
    files = _files(first, site="site-packages", scripts="python-scripts")
    return _package(
        first, build_string(depends, prefix="pyh"), "noarch", depends, files,
        noarch="python", entry_points=tuple(f"{name} = {target}" for name, target in _scripts(first).items()),
    )  # fmt: skip


def _compiled_package(distribution: Distribution, runtime: Sequence[str], subdir: str) -> CondaPackage:
    interpreter = distribution.interpreter
    major, minor = interpreter.minor.split(".")
    depends = (
        *_requirements(distribution),
        f"python >={interpreter.minor},<{major}.{int(minor) + 1}.0a0",
        f"python_abi {interpreter.minor}.* *_{interpreter.abi}",
        *runtime,
        system_floor(subdir),
    )
    site = f"lib/python{interpreter.minor}/site-packages"
    files = {
        **_files(distribution, site=site, scripts="bin"),
        **{f"bin/{name}": _launcher(target) for name, target in _scripts(distribution).items()},
    }
    files.update(_bytecode(interpreter, files))
    build = build_string(depends, prefix=f"py{major}{minor}h")
    return _package(distribution, build, subdir, depends, files)


def _package(
    distribution: Distribution,
    build: str,
    subdir: str,
    depends: tuple[str, ...],
    files: Mapping[str, Entry],
    *,
    noarch: str | None = None,
    entry_points: tuple[str, ...] = (),
) -> CondaPackage:
    metadata = distribution.metadata
    name = conda_name(distribution.name)
    return CondaPackage(
        name=name,
        # A hyphen separates name, version and build in a file name.
        version=distribution.version.replace("-", "_"),
        build=build,
        subdir=subdir,
        depends=depends,
        license=(metadata.get("License-Expression") or "LicenseRef-See-Metadata").strip(),
        summary=(metadata.get("Summary") or "").strip(),
        time=release_time(name, distribution.version),
        noarch=noarch,
        entry_points=entry_points,
        files=files,
    )


def _scripts(distribution: Distribution) -> dict[str, str]:
    """Give the console and GUI entry points, as ``module:function`` by name."""
    file = distribution.folder / distribution.dist_info / "entry_points.txt"
    if not file.is_file():
        return {}
    parser = configparser.ConfigParser(delimiters=("=",), strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(file.read_text(encoding="utf-8"))
    sections = [name for name in ("console_scripts", "gui_scripts") if parser.has_section(name)]
    return {name: target.split("[")[0].strip() for section in sections for name, target in parser.items(section)}


def _launcher(target: str) -> RegularFile:
    module, _, function = target.partition(":")
    text = _LAUNCHER.format(
        prefix=PLACEHOLDER,
        module=module.strip(),
        top=function.split(".")[0].strip(),
        function=function.strip(),
    )
    return RegularFile(text.encode(), 0o755, FileMode.TEXT)


def _files(distribution: Distribution, *, site: str, scripts: str) -> dict[str, Entry]:
    """Give what the wheel installs, by its place in a prefix, and a RECORD of just that (PEP 376)."""
    launchers = {f"bin/{name}" for name in _scripts(distribution)}
    files: dict[str, Entry] = {}
    record = []
    for row in _record(distribution):
        path = os.path.normpath(row[0])
        is_uvs_own = path.endswith(("/RECORD", "/INSTALLER", "/REQUESTED", "/uv_cache.json", "/uv_build.json"))
        left_out = _LEFT_OUT.search(path) and not _KEPT.search(path)
        if path in launchers or left_out or path.startswith(("..", "/")):
            continue
        if is_uvs_own and path.startswith(distribution.dist_info):
            continue
        source = distribution.folder / path
        if path.startswith("bin/"):
            files[f"{scripts}/{path.removeprefix('bin/')}"] = _script(source.read_bytes())
            continue
        # With a target folder, uv puts the wheel's `.data/data` at its top, beside the modules.
        in_prefix = path.startswith(("share/", "etc/", "include/"))
        files[path if in_prefix else f"{site}/{path}"] = RegularFile(
            source.read_bytes(), 0o755 if os.access(source, os.X_OK) else 0o644
        )
        if not in_prefix:
            record.append(",".join(row))
    info = f"{site}/{distribution.dist_info}"
    record += [f"{distribution.dist_info}/INSTALLER,,", f"{distribution.dist_info}/RECORD,,"]
    files[f"{info}/INSTALLER"] = RegularFile(b"conda\n")
    files[f"{info}/RECORD"] = RegularFile("".join(f"{line}\n" for line in record).encode())
    return files


def _record(distribution: Distribution) -> list[list[str]]:
    file = distribution.folder / distribution.dist_info / "RECORD"
    with file.open(encoding="utf-8", newline="") as lines:
        return [row for row in csv.reader(lines) if row]


def _script(content: bytes) -> RegularFile:
    """Give a wheel's own script, with the prefix's Python in its first line (PEP 427)."""
    first, newline, rest = content.partition(b"\n")
    if first.startswith(b"#!") and b"python" in first:
        return RegularFile(f"#!{PLACEHOLDER}/bin/python".encode() + newline + rest, 0o755, FileMode.TEXT)
    return RegularFile(content, 0o755)


def _bytecode(interpreter: Interpreter, files: Mapping[str, Entry]) -> dict[str, Entry]:
    """Compile the modules among ``files``, as conda-forge does for packages that are not noarch."""
    sources = {
        path: entry
        for path, entry in files.items()
        if path.startswith("lib/") and path.endswith(".py") and isinstance(entry, RegularFile)
    }
    if not sources:
        return {}
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        for path, entry in sources.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(entry.content)
        command = compile_command(interpreter, root / "lib", "/lib")
        subprocess.run(command, check=False, capture_output=True)
        for path in sources:
            (root / path).unlink()
        return read_tree(root)


def wheel_data(distributions: Iterable[Distribution], name: str) -> Path:
    """Give the folder that holds distribution ``name``. Raises ``WheelSetError`` when none was fetched."""
    for each in distributions:
        if each.name == name:
            return each.folder
    raise WheelSetError(f"`{name}` is not among the wheels")
