"""Files that decorators and commands name: which kind each is, and what it asks for."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mfenv.build.wheels import digest_of_folder
from mfenv.domain.base import LockFile, LockFileKind
from mfenv.domain.platform import Platform
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import SpecLayer
from mfenv.errors import HydrationFailed, InvalidSpec
from mfenv.formats.lock_file import content_digest, credentials, kind_of
from mfenv.formats.toml_text import parse
from mfenv.formats.written import Written
from mfenv.io.files import sha256_of


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWish:
    """A file that the user names: its path, what to take of it, and how it was written."""

    path: Path
    shown: str
    groups: tuple[str, ...] = ()
    optional_dependencies: tuple[str, ...] = ()


class RequirementsKind(Enum):
    """Files that say what is wanted and leave versions open; the values are their usual names."""

    REQUIREMENTS = "requirements.txt"
    ENVIRONMENT = "environment.yml"
    PYPROJECT = "pyproject.toml"
    PIXI = "pixi.toml"


_GROUPED = frozenset({RequirementsKind.PYPROJECT, RequirementsKind.PIXI, *LockFileKind} - {LockFileKind.EXPLICIT})
_WITH_EXTRAS = frozenset(
    {RequirementsKind.PYPROJECT, RequirementsKind.PIXI, LockFileKind.PYLOCK, LockFileKind.UV, LockFileKind.CONDA_LOCK}
)


def read_file(wish: FileWish, platform: Platform) -> Written:
    """Read a file of requirements, or note a lock file, for `platform`.

    Raises `InvalidSpec` naming every line at fault, or saying which files can be read.
    """
    text = _text(wish)
    kind = recognise(wish.path.name, text, shown=wish.shown)
    _check_choices(wish, kind)
    folder, shown = wish.path.absolute().parent, wish.shown
    match kind:
        case RequirementsKind.REQUIREMENTS:
            from mfenv.formats import requirements_txt

            return requirements_txt.load(text, shown=shown, folder=folder)
        case RequirementsKind.ENVIRONMENT:
            from mfenv.formats import environment_yml

            return environment_yml.load(text, shown=shown, folder=folder)
        case RequirementsKind.PYPROJECT | RequirementsKind.PIXI:
            from mfenv.formats import pyproject_toml

            return pyproject_toml.load(
                text,
                shown=shown,
                folder=folder,
                platform=platform,
                groups=wish.groups,
                optional=wish.optional_dependencies,
            )
        case LockFileKind():
            channels, indexes = credentials(text)
            layer = SpecLayer(base=_lock_file(wish, kind, text))
            return Written(layer=layer, channel_credentials=channels, index_secrets=indexes)


def recognise(name: str, text: str, *, shown: str) -> RequirementsKind | LockFileKind:
    """Tell which kind of file one is, by its name and content. Raises `InvalidSpec` naming those there are."""
    if lock := kind_of(name, text):
        return lock
    lowered = name.lower()
    if lowered == "pixi.toml":
        return RequirementsKind.PIXI
    if lowered.endswith(".toml"):
        return RequirementsKind.PYPROJECT
    if lowered.endswith((".yml", ".yaml")):
        return RequirementsKind.ENVIRONMENT
    if lowered.endswith((".txt", ".in")):
        return RequirementsKind.REQUIREMENTS
    known = ", ".join(f"`{kind.value}`" for kind in (*RequirementsKind, *LockFileKind))
    raise InvalidSpec(f"`{shown}`: this kind of file is not known", hint=f"Name one of these kinds: {known}")


def _text(wish: FileWish) -> str:
    try:
        # A mark of the byte order is no part of the text.
        return wish.path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidSpec(f"`{wish.shown}` is not a text in UTF-8", hint="Save it as UTF-8") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidSpec(
            f"`{wish.shown}` cannot be read: {reason}",
            hint="A relative path starts at the folder of the flow's file, on a command line at the working directory",
        ) from error


def _check_choices(wish: FileWish, kind: RequirementsKind | LockFileKind) -> None:
    for values, kinds, key in (
        (wish.groups, _GROUPED, "groups"),
        (wish.optional_dependencies, _WITH_EXTRAS, "optional_dependencies"),
    ):
        if values and kind not in kinds:
            raise InvalidSpec(
                f"`{wish.shown}`: a file of the kind `{kind.value}` has no {key.replace('_', ' ')}",
                hint=f"Leave `{key}` out",
            )


def _lock_file(wish: FileWish, kind: LockFileKind, text: str) -> LockFile:
    return LockFile(
        kind=kind,
        digest=content_digest(text),
        groups=tuple(sorted(wish.groups)),
        extras=tuple(sorted(wish.optional_dependencies)),
        path=wish.path.absolute(),
    )


def local_projects(lock_file: LockFile) -> dict[str, Path]:
    """Return the folders that a lock file takes packages from, by project; what is in them is no part of the file.

    Read from the file's own text, since that is needed to tell whether anything changed. Raises `InvalidSpec` when the
    file is not there any more.
    """
    text = _text(FileWish(path=lock_file.path, shown=lock_file.path.name))
    match lock_file.kind:
        case LockFileKind.UV:
            found = _projects_in_toml(text, "package", "source", lock_file.path.name)
        case LockFileKind.PYLOCK:
            found = _projects_in_toml(text, "packages", "directory", lock_file.path.name)
        case LockFileKind.PIXI:
            # py-rattler reads these files, in the helper process, which is not started when nothing changed.
            found = {row["name"]: row["path"] for row in _PIXI_FOLDER.finditer(text)}
        case _:
            return {}
    paths = {name: Path(os.path.normpath(lock_file.path.parent / path)) for name, path in found.items()}
    return {name: path for name, path in paths.items() if path.is_dir()}


_PIXI_FOLDER = re.compile(r"^- pypi: (?P<path>\.{1,2}(?:/\S*)?|/\S+)\n\s+name: (?P<name>\S+)$", re.MULTILINE)
_FOLDERS = ("editable", "directory", "path")
"""How a folder that is built and installed is called, in uv's locks and in those of PEP 751."""


def _projects_in_toml(text: str, packages: str, source: str, shown: str) -> dict[str, str]:
    rows = parse(text, shown=shown).get(packages)
    found = {}
    for row in rows if isinstance(rows, list) else ():
        value = row.get(source) if isinstance(row, dict) else None
        if isinstance(value, dict) and (path := next((value[key] for key in _FOLDERS if key in value), None)):
            found[str(row.get("name"))] = str(path)
    return found


def local_content(layer: SpecLayer) -> dict[str, str]:
    """Return the digest of each local folder or archive that a package comes from, by project.

    Raises `InvalidSpec` naming the place of one that cannot be read.
    """
    written = dict(layer.places)
    paths = [
        # One project may come from two folders, under two markers.
        (f"{wanted.name};{wanted.marker}".rstrip(";"), written.get(wanted.name), _path_of(wanted))
        for wanted in layer.pypi
        if wanted.is_local
    ]
    if isinstance(layer.base, LockFile):
        paths += [(name, written.get("base"), path) for name, path in local_projects(layer.base).items()]
    digests = {}
    for key, place, path in paths:
        try:
            digests[key] = sha256_of(path) if path.is_file() else digest_of_folder(path)
        except (HydrationFailed, OSError) as error:
            reason = error.message if isinstance(error, HydrationFailed) else f"`{path}`: {error.strerror or error}"
            raise InvalidSpec(
                f"{place}: {reason}",
                hint="A relative path begins with `./` or `../` and is taken from the folder of the flow's file",
            ) from error
    return digests


def _path_of(wanted: Requirement) -> Path:
    return Path(unquote(urlsplit(wanted.url).path))
