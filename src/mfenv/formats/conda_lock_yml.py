"""conda-lock's unified lock file, version 1 (its published schema, ``conda-lock-v1``; conda-lock 1 to 4 write it).

ruamel.yaml parses it, up to its tree of nodes: that has the lines, and the texts as they are written, so that no
version becomes a number. References (``*name``), which could make a small file a huge one, are refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfenv.domain.artifact import Artifact
from mfenv.domain.base import LockFileContent, LockFilePypiPackage
from mfenv.domain.channel import Channel
from mfenv.domain.platform import Platform
from mfenv.errors import InvalidSpec, LockError
from mfenv.formats import package_file
from mfenv.formats.package_file import shown as safe
from mfenv.formats.pypi_file import pypi_package

_ALWAYS = "main"


def load(text: str, *, shown: str, folder: Path, platform: Platform, groups: Collection[str] = ()) -> LockFileContent:
    """Read what is locked for `platform`: the category ``main``, and those in `groups`.

    Relative paths are relative to `folder`. Of conda packages only the files are known. Raises `LockError` naming the
    line at fault, or the platforms and categories there are.
    """
    document = _document(text, shown)
    version = document.text("version")
    if version != "1":
        raise LockError(f"{document.where}: the version `{safe(version)}` is not known here", hint="Known is version 1")
    metadata = document.child("metadata")
    rows = [_Row.read(fields) for fields in document.items("package")]
    _check_platform(platform, [row.platform for row in rows] + metadata.texts("platforms"), shown)
    _check_groups(groups, [name for row in rows for name in row.categories], shown)
    conda: dict[str, tuple[str, Artifact]] = {}
    pypi: dict[str, LockFilePypiPackage] = {}
    for row in rows:
        if row.platform != platform.value or not {*row.categories} & {_ALWAYS, *groups}:
            continue
        if row.manager == "pip":
            package = row.pypi(folder)
            if pypi.setdefault(package.name, package) != package:
                raise LockError(f"{row.where}: `{safe(row.name)}` is there twice for {platform.value}")
        elif not row.name.startswith("__"):
            found = (row.name, row.artifact(folder))
            package_file.check_subdir(found[1], platform, where=row.where)
            if conda.setdefault(row.name, found) != found:
                raise LockError(f"{row.where}: `{safe(row.name)}` is there twice for {platform.value}")
    return LockFileContent(
        conda=tuple(artifact for _, artifact in conda.values()),
        pypi=tuple(pypi.values()),
        channels=_channels(metadata, folder),
    )


def _check_platform(platform: Platform, known: list[str], shown: str) -> None:
    if platform.value not in known:
        listed = ", ".join(f"`{safe(name)}`" for name in dict.fromkeys(known))
        raise LockError(
            f"{shown}: nothing is locked for {platform.value}" + (f", only for {listed}" if listed else ""),
            hint=f"Lock again with {platform.value} among the platforms",
        )


def _check_groups(groups: Collection[str], known: list[str], shown: str) -> None:
    for name in groups:
        if name not in {_ALWAYS, *known}:
            listed = ", ".join(f"`{safe(other)}`" for other in dict.fromkeys([_ALWAYS, *known]))
            raise LockError(f"{shown}: there is no category `{safe(name)}`", hint=f"The file has {listed}")


def _channels(metadata: _Fields, folder: Path) -> tuple[Channel, ...]:
    found = []
    for fields in metadata.items("channels") if "channels" in metadata.values else ():
        try:
            found.append(Channel.parse(fields.text("url"), where=fields.where, relative_to=folder))
        except InvalidSpec as error:
            raise LockError(error.message, hint=error.hint) from error
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One package of the file."""

    name: str
    version: str
    manager: str
    platform: str
    url: str
    sha256: str | None
    md5: str | None
    categories: tuple[str, ...]
    where: str

    @classmethod
    def read(cls, fields: _Fields) -> _Row:
        manager = fields.text("manager")
        if manager not in {"conda", "pip"}:
            raise LockError(f"{fields.where}: `manager` is `{safe(manager)}`, and not `conda` or `pip`")
        digests = fields.child("hash")
        # The next version of the format has several.
        categories = fields.texts("categories") or [fields.text("category", _ALWAYS)]
        return cls(
            name=fields.text("name"),
            version=fields.text("version"),
            manager=manager,
            platform=fields.text("platform"),
            url=fields.text("url"),
            sha256=digests.text("sha256", "") or None,
            md5=digests.text("md5", "") or None,
            categories=tuple(categories),
            where=fields.where,
        )

    def artifact(self, folder: Path) -> Artifact:
        address = self.url.partition("#")[0]
        found = package_file.artifact(address, folder=folder, where=self.where, sha256=self.sha256, md5=self.md5)
        if not found.file_name.endswith((".conda", ".tar.bz2")):
            raise LockError(f"{self.where}: `{safe(found.file_name)}` is not a conda package")
        return found

    def pypi(self, folder: Path) -> LockFilePypiPackage:
        return pypi_package(
            self.name,
            self.version,
            self.url,
            folder=folder,
            where=self.where,
            sha256=self.sha256,
            md5=self.md5,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fields:
    """A mapping of the file: keys with the nodes behind them, and its place."""

    values: Mapping[str, Any]
    where: str
    shown: str

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text as it is written; one that is null counts as missing."""
        node = self.values.get(key)
        if node is None or (node.id == "scalar" and node.tag.endswith(":null")):
            if default is None:
                raise LockError(f"{self.where}: `{key}` is missing")
            return default
        return _text(node, f"{self._place(node)}: `{key}`")

    def texts(self, key: str) -> list[str]:
        """Return a list of texts; a missing one is empty."""
        return [_text(node, f"{self._place(node)}: `{key}`") for node in self._sequence(key)]

    def child(self, key: str) -> _Fields:
        """Return a mapping inside this one; a missing one is empty."""
        node = self.values.get(key)
        return _Fields(values={}, where=self.where, shown=self.shown) if node is None else _mapping(node, self.shown)

    def items(self, key: str) -> Iterator[_Fields]:
        """Yield the mappings of a list."""
        if key not in self.values:
            raise LockError(f"{self.where}: `{key}` is missing")
        return (_mapping(node, self.shown) for node in self._sequence(key))

    def _sequence(self, key: str) -> list[Any]:
        node = self.values.get(key)
        if node is None or (node.id == "scalar" and node.tag.endswith(":null")):
            return []
        if node.id != "sequence":
            raise LockError(f"{self._place(node)}: `{key}` is not a list")
        nodes: list[Any] = node.value
        return nodes

    def _place(self, node: Any) -> str:
        return _where(node, self.shown)


def _where(node: Any, shown: str) -> str:
    return f"{shown}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def _text(node: Any, what: str) -> str:
    if node.id != "scalar":
        raise LockError(f"{what} is not a text")
    return str(node.value)


def _mapping(node: Any, shown: str) -> _Fields:
    where = _where(node, shown)
    if node.id != "mapping":
        raise LockError(f"{where}: expected keys with values")
    values: dict[str, Any] = {}
    for key, value in node.value:
        name = _text(key, f"{_where(key, shown)}: a key")
        if name in values:
            raise LockError(f"{_where(key, shown)}: `{safe(name)}` is there twice")
        values[name] = value
    return _Fields(values=values, where=where, shown=shown)


def _document(text: str, shown: str) -> _Fields:
    # Loaded here: most flows name no such file.
    from ruamel.yaml import YAML
    from ruamel.yaml.composer import Composer
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.events import AliasEvent

    class WithoutAliases(Composer):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.parser.check_event(AliasEvent):
                mark = self.parser.peek_event().start_mark
                raise LockError(
                    f"{shown}:{mark.line + 1}:{mark.column + 1}: references to other parts of a file are not read here",
                    hint="Write what is meant where it is meant",
                )
            return super().compose_node(parent, index)

    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = WithoutAliases
    try:
        node = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{shown}:{mark.line + 1}:{mark.column + 1}" if mark else shown
        raise LockError(f"{where}: this is not YAML ({safe(str(error.problem or error.context))})") from error
    # Texts that no file can hold, and those nested too deep, end in errors of Python's.
    except (YAMLError, ValueError, RecursionError, OverflowError) as error:
        reason = safe(str(error).partition("\n")[0])
        raise LockError(f"{shown}: this is not YAML ({reason})") from error
    if node is None:
        raise LockError(f"{shown}: the file is empty")
    return _mapping(node, shown)
