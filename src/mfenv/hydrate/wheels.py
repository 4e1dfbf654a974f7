"""What wheels would put into a prefix, and whether it got there as it was.

The layout is that of PEP 427. `installer` reads wheels too, but only to install them; the member list and RECORD are
a few lines with zipfile and csv.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mfenv.domain.artifact import is_plain_file_name
from mfenv.errors import HydrationFailed
from mfenv.hydrate.checks import check_path

_AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFiles:
    """The files of one wheel: where each ends up below the prefix, and the SHA-256 that its RECORD gives."""

    name: str
    digests: Mapping[str, str | None]
    """Path to digest (base64url without padding, as RECORD has it); None where the installer changes the file."""


def read_wheel(name: str, path: Path, site_packages: str) -> WheelFiles:
    """Read what the wheel at `path` installs; refuse one that would write outside the prefix, or contradicts itself.

    `site_packages` is relative to the prefix. Raises `HydrationFailed` naming the wheel and the entry.
    """
    try:
        with zipfile.ZipFile(path) as wheel:
            members = [info.filename for info in wheel.infolist() if not info.is_dir()]
            record_name = _record_of(path.name, members)
            record = {
                row[0]: row[1] for row in csv.reader(io.StringIO(wheel.read(record_name).decode())) if len(row) >= 2
            }
            # RECORD may leave a digest out, or have one of another kind.
            record |= {
                member: _digest(wheel.read(member))
                for member in members
                if member in record and member != record_name and not record[member].startswith("sha256=")
            }
            commands = _commands(path.name, wheel, record_name, members)
    except HydrationFailed:
        raise
    # All that zipfile, zlib and csv raise over what they are given.
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, csv.Error) as error:
        raise HydrationFailed(f"the wheel `{path.name}` cannot be read: {error}") from error
    if (
        twice := {member for member in members if members.count(member) > 1}
        if len(set(members)) < len(members)
        else set()
    ):
        raise _refusal(path.name, f"it holds `{min(twice)}` twice")
    data = f"{record_name.split('/')[0].removesuffix('.dist-info')}.data/"
    digests: dict[str, str | None] = {}
    for member in members:
        check_path(path.name, member)
        if member == record_name:
            continue
        digest = record.get(member)
        if digest is None and not member.endswith((".jws", ".p7s")):
            raise _refusal(path.name, f"its RECORD does not name `{member}`")
        place = _place(member, data, site_packages, name)
        check_path(path.name, place)
        rewritten = member.startswith(f"{data}scripts/")
        digests[place] = None if rewritten or not digest else digest.removeprefix("sha256=")
    own = record_name.split("/")[0]
    for place in digests:
        brought = place.removeprefix(f"{site_packages}/").split("/")[0]
        if brought.endswith(".dist-info") and brought != own:
            raise _refusal(path.name, f"it brings another distribution, `{brought}`")
    if re.sub(r"[-_.]+", "-", own.split("-")[0]).lower() != name:
        raise _refusal(path.name, f"it holds `{own}` and not `{name}`")
    return WheelFiles(name=name, digests={**digests, **dict.fromkeys(commands)})


def _digest(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _commands(file_name: str, wheel: zipfile.ZipFile, record_name: str, members: list[str]) -> list[str]:
    """Return the commands that an installer makes for a wheel's entry points, as paths below the prefix."""
    listed = record_name.replace("RECORD", "entry_points.txt")
    if listed not in members:
        return []
    parser = configparser.RawConfigParser(delimiters=("=",), strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # a command's name keeps its case
    try:
        parser.read_string(wheel.read(listed).decode())
    except configparser.Error as error:
        raise _refusal(file_name, f"its entry_points.txt cannot be read: {error.message}") from error
    sections = ("console_scripts", "gui_scripts")
    names = [name for section in sections if parser.has_section(section) for name in parser.options(section)]
    for name in names:
        if not is_plain_file_name(name):
            raise _refusal(file_name, f"its entry point `{name}` has a path for a name")
    return [f"bin/{name}" for name in names]


def _record_of(file_name: str, members: list[str]) -> str:
    records = [member for member in members if member.count("/") == 1 and member.endswith(".dist-info/RECORD")]
    if len(records) != 1:
        raise _refusal(file_name, "it has no RECORD, or several")
    return records[0]


def _place(member: str, data: str, site_packages: str, name: str) -> str:
    if not member.startswith(data):
        return f"{site_packages}/{member}"
    kind, _, rest = member.removeprefix(data).partition("/")
    match kind:
        case "purelib" | "platlib":
            return f"{site_packages}/{rest}"
        case "scripts":
            return f"bin/{rest}"
        case "headers":
            # Where this Python's own headers are, in a folder of the project's; `site_packages` tells which Python.
            return f"include/{PurePosixPath(site_packages).parent.name}/{name}/{rest}"
        case _:
            return rest


def changed_files(wheels: list[WheelFiles], prefix: Path) -> list[str]:
    """Return the installed files that are not what their wheel's RECORD says, as ``wheel: path``."""
    pairs = [(wheel.name, place, digest) for wheel in wheels for place, digest in wheel.digests.items() if digest]

    def differs(pair: tuple[str, str, str]) -> bool:
        _, place, digest = pair
        try:
            content = (prefix / place).read_bytes()
        except OSError:
            return True
        found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        return found != digest.rstrip("=")

    # In a few large shares: handing over thousands of small files one by one costs more than hashing them.
    shares = [pairs[start::_AT_ONCE] for start in range(_AT_ONCE)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda share: [pair for pair in share if differs(pair)], shares)
        return sorted(f"{name}: {place}" for share in found for name, place, _ in share)


def _refusal(file_name: str, reason: str) -> HydrationFailed:
    return HydrationFailed(
        f"the wheel `{file_name}` is refused: {reason}",
        hint="Nothing of it was installed; report it to whoever published it, and ask for another version",
    )
