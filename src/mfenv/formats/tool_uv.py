"""What ``[tool.uv]`` of a pyproject.toml says of indexes, sources and the resolution (uv 0.13)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mfenv.domain.cutoff import check_cutoff
from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import IndexSecret, PackageIndex, index_secret, secrets_in
from mfenv.domain.markers import applies, normal_marker
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import SpecLayer
from mfenv.errors import InvalidSpec
from mfenv.formats.project_name import name_of_folder
from mfenv.formats.toml_text import Table, parse
from mfenv.formats.written import Written, joined

_REFUSED = {
    "override-dependencies": "Ask for the versions that you need; overrides would be lost on other tools",
    "exclude-dependencies": "Leave the packages that need them out",
    "no-build-isolation": "Builds are isolated here",
}


def put_over(found: Written, uv: Table, *, folder: Path, platform: Platform) -> Written:
    """Return `found` with what uv's table says of its requirements and how they are to be had, on `platform`."""
    for key, hint in _REFUSED.items():
        if uv.values.get(key):
            raise InvalidSpec(f"{uv.at(key)}: `tool.uv.{key}` cannot be honoured", hint=hint)
    indexes = {table.string("name"): table for table in uv.tables("index")}
    found = joined(found, _indexes(uv, folder), where=uv.at("index"))
    found = joined(found, _options(uv, folder), where=uv.at("prerelease"))
    constraints = tuple(
        Requirement.from_text(text, where=uv.at("constraint-dependencies", text))
        for text in uv.strings("constraint-dependencies")
    )
    sources = uv.table("sources")
    wanted: list[Requirement] = []
    secrets: list[IndexSecret] = []
    for requirement in found.layer.pypi:
        with uv.problems.noted():
            source = _source_of(sources, requirement.name, platform)
            if sources and source:
                secrets += [secret for text in source.values() for secret in secrets_in(str(text))]
                requirement = _sourced(requirement, source, sources, indexes, folder)
            wanted.append(requirement)
    layer = replace(found.layer, pypi=tuple(wanted), constraints=(*found.layer.constraints, *constraints))
    return replace(found, layer=layer, index_secrets=(*found.index_secrets, *secrets))


def _indexes(uv: Table, folder: Path) -> Written:
    found = Written(layer=SpecLayer())
    rows = [
        (table.string("url"), table.at("url", table.string("url")), table.is_set("default"), table.is_set("explicit"))
        for table in uv.tables("index")
    ]
    rows += [(text, uv.at("extra-index-url", text), False, False) for text in uv.strings("extra-index-url")]
    rows += [(text, uv.at("index-url", text), True, False) for text in uv.strings("index-url")]
    for text, where, is_default, is_explicit in rows:
        index = PackageIndex.parse(text, where=where, relative_to=folder)
        secret = index_secret(text, index)
        layer = SpecLayer(default_index=index) if is_default else SpecLayer(indexes=(index,))
        one = Written(layer=SpecLayer() if is_explicit else layer, index_secrets=(secret,) if secret else ())
        found = joined(found, one, where=where)
    return found


def _options(uv: Table, folder: Path) -> Written:
    chosen = [(key, text) for key in ("prerelease", "resolution") if (text := uv.string(key))]
    flags = [ResolverFlag.parse(f"{key}={text}", where=uv.at(key)) for key, text in chosen]
    for key in ("no-index", "no-build", "no-binary"):
        if uv.is_set(key):
            text = {"no-build": "only-binary=:all:", "no-binary": "no-binary=:all:"}.get(key, key)
            flags.append(ResolverFlag.parse(text, where=uv.at(key)))
    for key, name in (("no-build-package", "only-binary"), ("no-binary-package", "no-binary")):
        if names := uv.strings(key):
            flags.append(ResolverFlag.parse(f"{name}={','.join(names)}", where=uv.at(key)))
    links = uv.strings("find-links")
    flags += [ResolverFlag.parse(f"find-links={t}", where=uv.at("find-links"), relative_to=folder) for t in links]
    cutoff = uv.string("exclude-newer")
    return Written(
        layer=SpecLayer(
            flags=tuple(dict.fromkeys(flags)),
            exclude_newer=check_cutoff(cutoff, where=uv.at("exclude-newer")) if cutoff else "",
        ),
        index_secrets=tuple(secret for text in links for secret in secrets_in(text)),
    )


def _source_of(sources: Table | None, name: str, platform: Platform) -> Mapping[str, Any] | None:
    """Return the source of a project on `platform`, if it has one there."""
    from packaging.utils import canonicalize_name

    for key in sources.values if sources else ():
        if sources and canonicalize_name(key) == name:
            return next((t.values for t in sources.tables(key) if _holds(t, sources.at(key), platform)), None)
    return None


def _holds(source: Table, where: str, platform: Platform) -> bool:
    marker = source.string("marker")
    if not marker:
        return True
    found = applies(
        normal_marker(marker, where=where), target=baseline(platform), pythons=[f"3.{minor}" for minor in range(7, 20)]
    )
    if found is None:
        raise InvalidSpec(
            f"{where}: a source that depends on the version of Python cannot be honoured: `{marker}`",
            hint="Make it depend on the platform alone, or lock the project and name `uv.lock`",
        )
    return found


def _sourced(
    wanted: Requirement, source: Mapping[str, Any], sources: Table, indexes: Mapping[str, Table], folder: Path
) -> Requirement:
    where = sources.at(wanted.name)
    match source:
        case {"index": str() as name}:
            if name not in indexes:
                known = ", ".join(f"`{other}`" for other in sorted(indexes)) or "none"
                raise InvalidSpec(f"{where}: there is no index `{name}`", hint=f"There are {known}")
            url = indexes[name].string("url")
            return replace(wanted, index=str(PackageIndex.parse(url, where=where, relative_to=folder)))
        case {"git": str() as repository}:
            return _at(wanted, git_address(repository, source), where)
        case {"url": str() as url}:
            part = f"#subdirectory={source['subdirectory']}" if source.get("subdirectory") else ""
            return _at(wanted, f"{url}{part}", where)
        case {"path": str() as path}:
            full = Path(os.path.normpath(Path(folder, Path(path).expanduser())))
            return replace(_at(wanted, full.as_uri(), where), is_editable=bool(source.get("editable")))
        case {"workspace": True}:
            return _at(wanted, _member(wanted.name, folder, where).as_uri(), where)
    raise InvalidSpec(
        f"{where}: the source of `{wanted.name}` cannot be read",
        hint="Known are `index`, `git`, `url`, `path` and `workspace`",
    )


def git_address(repository: str, source: Mapping[str, Any]) -> str:
    """Return the address of a repository as PEP 508 has it: with its revision, and the folder in it."""
    revision = next((source[key] for key in ("rev", "tag", "branch") if source.get(key)), "")
    part = f"#subdirectory={source['subdirectory']}" if source.get("subdirectory") else ""
    address = repository if repository.startswith("git+") else f"git+{repository}"
    return f"{address}{f'@{revision}' if revision else ''}{part}"


def _at(wanted: Requirement, address: str, where: str) -> Requirement:
    extras = f"[{','.join(wanted.extras)}]" if wanted.extras else ""
    marker = f" ; {wanted.marker}" if wanted.marker else ""
    return Requirement.from_text(f"{wanted.name}{extras} @ {address}{marker}", where=where)


def _member(name: str, folder: Path, where: str) -> Path:
    """Find the folder of a member of the workspace that `folder` belongs to."""
    from packaging.utils import canonicalize_name

    for root in (folder, *folder.parents):
        for member in _members(root):
            if canonicalize_name(name_of_folder(member, where=where) or "-") == name:
                return member
    raise InvalidSpec(
        f"{where}: no member of a workspace is called `{name}`", hint="Check `members` of `[tool.uv.workspace]`"
    )


def _members(root: Path) -> Iterator[Path]:
    file = root / "pyproject.toml"
    if not file.is_file():
        return
    try:
        workspace = parse(file.read_text(encoding="utf-8"), shown=file.name)["tool"]["uv"]["workspace"]
        patterns = list(workspace["members"])
    except (InvalidSpec, OSError, ValueError, KeyError, TypeError):
        return
    yield root
    for pattern in patterns:
        yield from (path for path in sorted(root.glob(str(pattern))) if (path / "pyproject.toml").is_file())
