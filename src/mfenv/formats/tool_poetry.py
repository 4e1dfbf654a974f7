"""What ``[tool.poetry]`` of a pyproject.toml says (Poetry 1 and 2); Poetry's own library reads its constraints."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mfenv.domain.index import IndexSecret, PackageIndex, index_secret, secrets_in
from mfenv.domain.markers import normal_marker
from mfenv.domain.python import PythonConstraint
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import Place, SpecLayer
from mfenv.errors import InvalidSpec
from mfenv.formats.toml_text import Table
from mfenv.formats.tool_uv import git_address
from mfenv.formats.written import Written, joined

_KNOWN = frozenset(
    [
        "version",
        "extras",
        "optional",
        "markers",
        "python",
        "platform",
        "git",
        "rev",
        "tag",
        "branch",
        "subdirectory",
        "path",
        "develop",
        "url",
        "source",
        "allow-prereleases",
    ]
)


def load(poetry: Table, *, folder: Path, groups: Sequence[str], optional: Sequence[str]) -> Written:
    """Return what a Poetry project needs: its main dependencies, those of `groups`, and of the extras `optional`.

    Raises `InvalidSpec` naming what cannot be read.
    """
    indexes, found = _sources(poetry, folder)
    extras = _extras(poetry, optional)
    for table, is_main in _tables(poetry, groups):
        for name, value in table.values.items():
            with poetry.problems.noted():
                if name.lower() == "python":
                    found = joined(found, _python(table, name, value), where=table.at(name))
                    continue
                for row in value if isinstance(value, list) else [value]:
                    one = _Dependency(name=name, table=table, folder=folder, indexes=indexes)
                    found = joined(found, one.read(row, extras=extras if is_main else None), where=table.at(name))
    return found


def _tables(poetry: Table, groups: Sequence[str]) -> Iterator[tuple[Table, bool]]:
    if main := poetry.table("dependencies"):
        yield main, True
    group_tables = poetry.table("group")
    for group in groups:
        named = group_tables.table(group) if group_tables else None
        table = named.table("dependencies") if named else None
        if table is None and group == "dev":
            table = poetry.table("dev-dependencies")
        if table:
            yield table, False


def _sources(poetry: Table, folder: Path) -> tuple[Mapping[str, str], Written]:
    """Return the sources by name, and the indexes that they are."""
    by_name: dict[str, str] = {}
    found = Written(layer=SpecLayer())
    # Poetry's order: primary ones, then supplemental ones; an explicit one is only asked by name.
    rows = list(poetry.tables("source"))
    for table in sorted(rows, key=lambda table: table.string("priority") in {"supplemental", "secondary"}):
        name, url, priority = table.string("name"), table.string("url"), table.string("priority")
        if name.lower() == "pypi" and not url:
            continue
        where = table.at("url", url)
        index = PackageIndex.parse(url, where=where, relative_to=folder)
        by_name[name] = str(index)
        secret = index_secret(url, index)
        layer = SpecLayer(default_index=index) if priority == "default" else SpecLayer(indexes=(index,))
        one = Written(layer=SpecLayer() if priority == "explicit" else layer, index_secrets=(secret,) if secret else ())
        found = joined(found, one, where=where)
    return by_name, found


def _extras(poetry: Table, optional: Sequence[str]) -> set[str]:
    """Return the optional dependencies that the wanted extras bring in."""
    from packaging.utils import canonicalize_name

    table = poetry.table("extras")
    wanted: set[str] = set()
    for name in optional:
        if table and name in table.values:
            wanted |= {canonicalize_name(text) for text in table.strings(name)}
    return wanted


def _python(table: Table, name: str, value: Any) -> Written:
    where = table.at(name)
    text = value.get("version") if isinstance(value, Mapping) else value
    if not isinstance(text, str):
        raise table.unexpected(name, "a version of Python")
    parts = [specifier(part.strip(), where=where) for part in text.split("||")]
    bound = PythonConstraint.parse("|".join(part or "*" for part in parts), where=where) if any(parts) else None
    place = Place(owner=where.rpartition(":")[0], text=f"python {text}")
    return Written(layer=SpecLayer(requires_python=bound, places=(("python", place),)))


def specifier(text: str, *, where: str) -> str:
    """Return Poetry's constraint as PEP 440 has it; empty for any version. Raises `InvalidSpec`.

    >>> specifier("^1.2", where="here"), specifier("~1.2.3", where="here"), specifier("*", where="here")
    ('>=1.2,<2.0', '>=1.2.3,<1.3.0', '')
    """
    from poetry.core.constraints.version import parse_constraint
    from poetry.core.constraints.version.exceptions import ParseConstraintError

    text = text.strip()
    if text in {"", "*"}:
        return ""
    if "|" in text:
        raise InvalidSpec(
            f"{where}: alternatives cannot be asked for of a package: `{text}`", hint="Write one range, `>=1,<3`"
        )
    # What is PEP 440's already stays as it is: the library would take `!=1.*` apart into alternatives.
    if not any(part.strip()[:1] in {"^", "~"} and part.strip()[:2] != "~=" for part in text.split(",")):
        return text if text[0] in "<>=!~" else f"=={text}"
    try:
        return str(parse_constraint(text))
    except (ParseConstraintError, ValueError) as error:
        raise InvalidSpec(
            f"{where}: `{text}` is not a constraint of Poetry's", hint="Write for example `^1.2`"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dependency:
    name: str
    table: Table
    folder: Path
    indexes: Mapping[str, str]

    def read(self, value: Any, *, extras: set[str] | None) -> Written:
        from packaging.utils import canonicalize_name

        where = self.table.at(self.name)
        row: Mapping[str, Any] = {"version": value} if isinstance(value, str) else value
        if not isinstance(row, Mapping):
            raise self.table.unexpected(self.name, "a version or a table")
        if unknown := sorted(set(row) - _KNOWN):
            raise InvalidSpec(f"{where}: `{unknown[0]}` of `{self.name}` cannot be honoured")
        if row.get("optional") and (extras is None or canonicalize_name(self.name) not in extras):
            return Written(layer=SpecLayer())
        wanted = self._requirement(row, where)
        place = Place(owner=where.rpartition(":")[0], text=str(wanted))
        secrets: list[IndexSecret] = [secret for text in row.values() for secret in secrets_in(str(text))]
        return Written(layer=SpecLayer(pypi=(wanted,), places=((wanted.name, place),)), index_secrets=tuple(secrets))

    def _requirement(self, row: Mapping[str, Any], where: str) -> Requirement:
        extras = f"[{','.join(map(str, row.get('extras', ())))}]" if row.get("extras") else ""
        address = ""
        if "git" in row:
            address = git_address(str(row["git"]), row)
        elif "url" in row:
            address = str(row["url"])
        elif "path" in row:
            address = Path(os.path.normpath(Path(self.folder, str(row["path"])))).as_uri()
        body = f" @ {address}" if address else specifier(str(row.get("version", "*")), where=where)
        if row.get("allow-prereleases") and not address:
            raise InvalidSpec(
                f"{where}: pre-releases of one package alone cannot be allowed",
                hint=f"Name one in the constraint of `{self.name}`, such as `>=2.0rc1`",
            )
        marker = self._marker(row, where)
        wanted = Requirement.from_text(f"{self.name}{extras}{body}" + (f" ; {marker}" if marker else ""), where=where)
        source = str(row.get("source", ""))
        if source and source.lower() != "pypi":
            if source not in self.indexes:
                raise InvalidSpec(f"{where}: there is no source `{source}`", hint="Add it as `[[tool.poetry.source]]`")
            wanted = replace(wanted, index=self.indexes[source])
        return replace(wanted, is_editable=bool(row.get("develop")) and "path" in row)

    def _marker(self, row: Mapping[str, Any], where: str) -> str:
        parts = [str(row["markers"])] if row.get("markers") else []
        if row.get("python"):
            bounds = specifier(str(row["python"]), where=where).split(",")
            parts += [_python_marker(bound) for bound in bounds if bound]
        if row.get("platform"):
            parts.append(f"sys_platform == '{row['platform']}'")
        return normal_marker(" and ".join(f"({part})" for part in parts), where=where) if parts else ""


def _python_marker(bound: str) -> str:
    operator = next(sign for sign in ("<=", ">=", "==", "!=", "~=", "<", ">") if bound.startswith(sign))
    version = bound[len(operator) :]
    # PEP 508: `python_version` has two parts, and `3.9` as a bound means 3.9.0.
    name = "python_full_version" if version.count(".") > 1 and "*" not in version else "python_version"
    return f"{name} {operator} '{version}'"
