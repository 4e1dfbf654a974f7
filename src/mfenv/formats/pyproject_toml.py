"""pyproject.toml and pixi.toml: what a project needs, in the standard's words and in those of uv, Poetry and pixi.

The standard's tables are those of PEP 621 and PEP 735. Where a project is Poetry's or pixi's, their tables count
as those tools have it. What cannot be honoured is refused, never left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import Place, SpecLayer
from mfenv.errors import InvalidSpec
from mfenv.formats import tool_pixi, tool_poetry, tool_uv
from mfenv.formats.problems import Problems
from mfenv.formats.toml_text import Table, parse
from mfenv.formats.written import Written, joined


def load(
    text: str,
    *,
    shown: str,
    folder: Path,
    platform: Platform,
    groups: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> Written:
    """Read the text of a project file that is called `shown` in messages; its paths are relative to `folder`.

    `groups` are dependency groups (for pixi: the environment), `optional` the extras of the project to take besides.
    ``requires-python`` is a bound on Python. Raises `InvalidSpec` with a line for everything that is wrong.
    """
    problems = Problems(shown)
    root = Table(values=parse(text, shown=shown), path="", text=text, problems=problems)
    found = Written(layer=SpecLayer())
    with problems.noted():
        try:
            found = _whole(root, folder, platform, tuple(groups), tuple(optional), is_pixi=shown.endswith("pixi.toml"))
        except (TypeError, AttributeError, ValueError, KeyError) as error:
            # A value of a kind that no tool has there; what is usual has an error of its own.
            raise InvalidSpec(f"{shown}: a table has values of a kind that it cannot have ({error})") from error
    problems.raise_if_any()
    return found


def _whole(
    root: Table, folder: Path, platform: Platform, groups: tuple[str, ...], optional: tuple[str, ...], *, is_pixi: bool
) -> Written:
    tool = root.table("tool")
    pixi = root if is_pixi else tool.table("pixi") if tool else None
    poetry, uv = (tool.table(name) if tool else None for name in ("poetry", "uv"))
    if pixi is not None:
        environment = tool_pixi.load(pixi, folder=folder, platform=platform, groups=groups)
        standard = _standard(root, (), optional) if not is_pixi else Written(layer=SpecLayer())
        return joined(environment, standard, where=root.where("project"))
    is_poetry = poetry is not None and (poetry.table("dependencies") is not None or poetry.table("group") is not None)
    if is_poetry and poetry is not None:
        mine = poetry.table("group")
        theirs = set(mine.values if mine else ()) | ({"dev"} if poetry.table("dev-dependencies") else set())
        project = _standard(root, tuple(group for group in groups if group not in theirs), optional, extras_of=poetry)
        found = tool_poetry.load(poetry, folder=folder, groups=[g for g in groups if g in theirs], optional=optional)
        return joined(found, project, where=root.where("[project]"))
    found = _standard(root, groups, optional, legacy=uv)
    if root.table("project") is None and root.values.get("dependency-groups") is None:
        raise InvalidSpec(
            f"{root.where('')}: this file asks for nothing: it has no `project`, `dependency-groups`, `tool.poetry` or "
            "`tool.pixi`",
            hint="Add `[project]` with `dependencies`",
        )
    return tool_uv.put_over(found, uv, folder=folder, platform=platform) if uv else found


def _standard(
    root: Table,
    groups: tuple[str, ...],
    optional: tuple[str, ...],
    *,
    extras_of: Table | None = None,
    legacy: Table | None = None,
) -> Written:
    """Read PEP 621's table and PEP 735's."""
    project = root.table("project")
    texts: list[tuple[str, str]] = []
    requires: PythonConstraint | None = None
    places: tuple[tuple[str, Place], ...] = ()
    if project:
        dynamic = project.strings("dynamic")
        if "dependencies" in dynamic and extras_of is None:
            raise InvalidSpec(
                f"{project.at('dynamic')}: the dependencies of this project are made when it is built",
                hint="Lock the project and name the lock file, or write the dependencies into `[project]`",
            )
        texts += [(text, project.at("dependencies", text)) for text in project.strings("dependencies")]
        texts += _optional(project, optional, known_elsewhere=extras_of)
        if bound := project.string("requires-python"):
            requires = python_bound(bound, where=project.at("requires-python", bound))
            places = (("python", _place(project.at("requires-python"), f"requires-python {bound}")),)
    elif optional and extras_of is None:
        raise InvalidSpec(f"{root.where('')}: there are no optional dependencies: the file has no `[project]`")
    texts += _groups(root, groups, legacy)
    found = requirements(texts, root.problems)
    layer = replace(found.layer, requires_python=requires, places=(*found.layer.places, *places))
    return replace(found, layer=layer)


def python_bound(text: str, *, where: str) -> PythonConstraint:
    """Read what a project says of Python (PEP 440; with ``||``, Poetry's alternatives). Raises `InvalidSpec`."""
    return PythonConstraint.parse(text.replace("||", "|").replace("===", "=="), where=where)


def requirements(texts: Iterable[tuple[str, str]], problems: Problems) -> Written:
    """Read requirements (PEP 508), each with its place; what is wrong with any is noted in `problems`."""
    found = Written(layer=SpecLayer())
    for text, where in texts:
        with problems.noted():
            wanted = Requirement.from_text(text, where=where)
            if wanted.name == "python":
                raise InvalidSpec(
                    f"{where}: Python is not one of the dependencies",
                    hint=f'Write `requires-python = "{wanted.specifier or ">=3.10"}"`',
                )
            one = SpecLayer(pypi=(wanted,), places=((wanted.name, _place(where, str(wanted))),))
            found = joined(found, Written(layer=one), where=where)
    return found


def _place(where: str, text: str) -> Place:
    return Place(owner=where.rpartition(":")[0], text=text)


def _optional(project: Table, wanted: Sequence[str], *, known_elsewhere: Table | None) -> list[tuple[str, str]]:
    """Return the requirements of optional dependencies; an extra can name others of the same project."""
    from packaging.requirements import InvalidRequirement
    from packaging.requirements import Requirement as Parsed
    from packaging.utils import canonicalize_name

    table = project.table("optional-dependencies")
    known = {canonicalize_name(name): name for name in (table.values if table else ())}
    poetry = known_elsewhere.table("extras") if known_elsewhere else None
    elsewhere = {canonicalize_name(name) for name in (poetry.values if poetry else ())}
    me = canonicalize_name(project.string("name"))
    found: dict[tuple[str, str], None] = {}
    waiting, seen = [canonicalize_name(name) for name in wanted], set[str]()
    while waiting:
        name = waiting.pop(0)
        if name in seen or (name in elsewhere and name not in known):
            continue
        seen.add(name)
        if table is None or name not in known:
            named = ", ".join(f"`{other}`" for other in sorted(known)) or "none"
            raise InvalidSpec(
                f"{project.at('optional-dependencies')}: there are no optional dependencies `{name}`",
                hint=f"There are {named}",
            )
        for text in table.strings(known[name]):
            try:
                parsed = Parsed(text)
            except InvalidRequirement:
                parsed = None
            if parsed and me and canonicalize_name(parsed.name) == me:
                waiting += [canonicalize_name(extra) for extra in sorted(parsed.extras)]
            else:
                found[text, table.at(known[name], text)] = None
    return list(found)


def _groups(root: Table, wanted: Sequence[str], legacy: Table | None) -> list[tuple[str, str]]:
    """Return the requirements of dependency groups (PEP 735); uv's older ``dev-dependencies`` are the group dev."""
    if not wanted:
        return []
    from dependency_groups import resolve

    table = root.table("dependency-groups")
    groups = dict(table.values) if table else {}
    older = legacy.strings("dev-dependencies") if legacy else []
    if older:
        groups["dev"] = [*groups.get("dev", []), *older]
    found = []
    for name in wanted:
        try:
            texts = resolve(groups, name)
        except (LookupError, ValueError, TypeError) as error:
            known = ", ".join(f"`{other}`" for other in sorted(map(str, groups))) or "none"
            raise InvalidSpec(
                f"{root.where('[dependency-groups]', name)}: the dependency group `{name}` cannot be taken ({error})",
                hint=f"There are {known}",
            ) from error
        found += [(text, root.where("[dependency-groups]", text)) for text in texts]
    return list(dict.fromkeys(found))
