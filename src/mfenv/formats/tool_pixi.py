"""What ``[tool.pixi]`` of a pyproject.toml, or a pixi.toml, says (pixi's manifest, as of 2025)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mfenv.domain.channel import Channel, credentials_in
from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import PackageIndex, index_secret, secrets_in
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import Place, SpecLayer
from mfenv.errors import InvalidSpec
from mfenv.formats.toml_text import Table
from mfenv.formats.tool_uv import git_address
from mfenv.formats.written import Written, joined

_SYSTEM = {"cuda": "__cuda", "macos": "__osx", "archspec": "__archspec"}


def load(pixi: Table, *, folder: Path, platform: Platform, groups: Sequence[str]) -> Written:
    """Return what one environment of a pixi manifest needs on `platform`; `groups` names it, or none the default one.

    Raises `InvalidSpec` naming what cannot be read.
    """
    if len(groups) > 1:
        raise InvalidSpec(
            f"{pixi.where('[')}: one environment of pixi can be taken, not {len(groups)}",
            hint='Write groups=["name"]',
        )
    found = _channels(pixi, folder)
    for feature in _features(pixi, groups[0] if groups else "default"):
        part = _Part(folder=folder)
        for table in (feature, *_targets(feature, platform)):
            found = joined(found, part.read(table), where=table.where(table.path))
    return found


def _channels(pixi: Table, folder: Path) -> Written:
    workspace = pixi.table("workspace") or pixi.table("project")
    found = Written(layer=SpecLayer())
    if workspace is None:
        return found
    for row in workspace.values.get("channels", ()):
        text = row.get("channel") if isinstance(row, Mapping) else row
        if not isinstance(text, str):
            raise workspace.unexpected("channels", "a list of channels")
        where = workspace.at("channels", text)
        channel = Channel.parse(text, where=where, relative_to=folder)
        credentials = credentials_in(text, channel)
        one = Written(layer=SpecLayer(channels=(channel,)), channel_credentials=(credentials,) if credentials else ())
        found = joined(found, one, where=where)
    return found


def _features(pixi: Table, environment: str) -> Iterator[Table]:
    """Yield the tables that an environment is made of: its features, and the default one unless it is left out."""
    environments = pixi.table("environments")
    row = environments.values.get(environment) if environments else None
    if row is None and environment != "default":
        known = ", ".join(f"`{name}`" for name in ("default", *(environments.values if environments else ())))
        raise InvalidSpec(
            f"{pixi.where('[tool.pixi.environments]', '[environments]')}: there is no environment `{environment}`",
            hint=f"There are {known}",
        )
    names = row.get("features", []) if isinstance(row, Mapping) else row or []
    if not isinstance(row, Mapping) or not row.get("no-default-feature"):
        yield pixi
    features = pixi.table("feature")
    for name in names:
        feature = features.table(str(name)) if features else None
        if feature is None:
            raise InvalidSpec(f"{pixi.where(environment)}: there is no feature `{name}`")
        yield feature


def _targets(feature: Table, platform: Platform) -> Iterator[Table]:
    targets = feature.table("target")
    kind = "linux" if platform.is_linux else "osx"
    for name in ("unix", kind, platform.value):
        if table := targets.table(name) if targets else None:
            yield table


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    folder: Path

    def read(self, table: Table) -> Written:
        found = Written(layer=SpecLayer())
        readers = (
            ("dependencies", self._conda),
            ("pypi-dependencies", self._pypi),
        )
        for key, read in readers:
            inner = table.table(key)
            for name, value in (inner.values if inner else {}).items():
                assert inner is not None
                with table.problems.noted():
                    found = joined(found, read(name, value, inner), where=inner.at(name))
        for key, reader in (("pypi-options", self._options), ("system-requirements", _system)):
            if inner := table.table(key):
                found = joined(found, reader(inner), where=inner.where(key))
        activation = table.table("activation")
        if activation and activation.strings("scripts"):
            raise InvalidSpec(
                f"{activation.at('scripts')}: scripts of pixi's activation are not run here",
                hint="Put variables into `activation.env`",
            )
        variables = activation.table("env") if activation else None
        pairs = tuple((name, str(value)) for name, value in (variables.values if variables else {}).items())
        return replace(found, layer=replace(found.layer, variables=pairs))

    def _conda(self, name: str, value: Any, table: Table) -> Written:
        where = table.at(name)
        row = {"version": value} if isinstance(value, str) else value
        if not isinstance(row, Mapping) or not set(row) <= {"version", "build", "channel"}:
            raise InvalidSpec(
                f"{where}: `{name}` cannot be read", hint="A version, or a table of `version`, `build` and `channel`"
            )
        version = str(row.get("version", "*"))
        # In pixi's manifest a bare version is what `=` is for conda.
        version = f"={version}" if version[:1].isdigit() and "*" not in version else version
        text = f"{name} {version}" + (f' [build="{row["build"]}"]' if row.get("build") else "")
        spec = MatchSpec.from_text(text, where=where)
        if channel := row.get("channel"):
            spec = replace(spec, channel=Channel.parse(str(channel), where=where, relative_to=self.folder))
        place = Place(owner=where.rpartition(":")[0], text=str(spec))
        if spec.name == "python":
            if spec.version == "*":
                return Written(layer=SpecLayer())
            python = PythonConstraint.parse(spec.version, where=where)
            return Written(layer=SpecLayer(python=python, places=(("python", place),)))
        return Written(layer=SpecLayer(conda=(spec,), places=((spec.name, place),)))

    def _pypi(self, name: str, value: Any, table: Table) -> Written:
        where = table.at(name)
        row: Mapping[str, Any] = {"version": value} if isinstance(value, str) else value
        if not isinstance(row, Mapping):
            raise table.unexpected(name, "a version or a table")
        extras = f"[{','.join(map(str, row.get('extras', ())))}]" if row.get("extras") else ""
        version = str(row.get("version", "*"))
        body = "" if version == "*" else version if version[:1] in "<>=!~" else f"=={version}"
        if "git" in row:
            body = f" @ {git_address(str(row['git']), row)}"
        elif "url" in row:
            body = f" @ {row['url']}"
        elif "path" in row:
            body = f" @ {Path(os.path.normpath(Path(self.folder, str(row['path'])))).as_uri()}"
        wanted = Requirement.from_text(f"{name}{extras}{body}", where=where)
        wanted = replace(wanted, is_editable=bool(row.get("editable")) and "path" in row)
        if index := row.get("index"):
            wanted = replace(wanted, index=str(PackageIndex.parse(str(index), where=where)))
        place = Place(owner=where.rpartition(":")[0], text=str(wanted))
        secrets = tuple(secret for text in row.values() for secret in secrets_in(str(text)))
        return Written(layer=SpecLayer(pypi=(wanted,), places=((wanted.name, place),)), index_secrets=secrets)

    def _options(self, options: Table) -> Written:
        found = Written(layer=SpecLayer())
        for key in ("index-url", "extra-index-urls"):
            for text in options.strings(key):
                where = options.at(key, text)
                index = PackageIndex.parse(text, where=where, relative_to=self.folder)
                secret = index_secret(text, index)
                layer = SpecLayer(default_index=index) if key == "index-url" else SpecLayer(indexes=(index,))
                one = Written(layer=layer, index_secrets=(secret,) if secret else ())
                found = joined(found, one, where=where)
        links = [row.get("path") or row.get("url") for row in options.values.get("find-links", ())]
        flags = tuple(
            ResolverFlag.parse(f"find-links={link}", where=options.at("find-links"), relative_to=self.folder)
            for link in links
        )
        return joined(found, Written(layer=SpecLayer(flags=flags)), where=options.where("find-links"))


def _system(table: Table) -> Written:
    pairs = []
    for name, value in table.values.items():
        where = table.at(name)
        if name == "libc":
            version = value.get("version") if isinstance(value, Mapping) else value
            pairs.append(("__glibc", str(version)))
        elif name in _SYSTEM:
            pairs.append((_SYSTEM[name], str(value)))
        elif name != "linux":
            raise InvalidSpec(f"{where}: the requirement `{name}` cannot be honoured")
    return Written(layer=SpecLayer(system=tuple(pairs)))
