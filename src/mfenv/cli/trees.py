"""`tree` and `why`: who needs whom in an environment. Nothing here loads a solver."""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mfenv.app.describe import describe
from mfenv.app.environments import Environments
from mfenv.app.needs import metaflow_needs
from mfenv.app.wheel_metadata import WheelMetadataReader
from mfenv.cli import showing
from mfenv.cli.finding import datastore, environments
from mfenv.cli.looking import platform_of
from mfenv.domain.dependencies import Dependencies, Key, Need
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import InvalidSpec

_MOST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeOptions:
    """What `tree` and `why` were told."""

    arch: str | None = None
    is_pathspec: bool = False
    local_only: bool = False
    as_json: bool = False
    depth: int | None = None
    is_inverted: bool = False


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """An environment, what its packages need, and what was asked for."""

    lock: LockedEnvironment
    dependencies: Dependencies
    asked: dict[str, str]
    """The packages that were asked for, each in the words of who did."""
    needs: frozenset[str]
    """Those among them that Metaflow needs itself."""

    def shown(self, key: Key) -> str:
        held = self.dependencies.packages[key]
        return f"{held.name} {held.version} ({held.side.value})"

    def find(self, name: str, where: str) -> list[Key]:
        """Return the packages called `name`. Raises `InvalidSpec` with names like it."""
        found = self.dependencies.find(name)
        if not found:
            known = sorted({held.name for held in self.dependencies.packages.values()})
            close = difflib.get_close_matches(name, known, n=_MOST)
            raise InvalidSpec(
                f"{where}: there is no `{name}` in this environment",
                hint=f"There is {', '.join(f'`{one}`' for one in close)}" if close else "Check the spelling",
            )
        return found


def _graph(found: Environments, text: str, options: TreeOptions) -> _Graph:
    known = found.look_up(text, where="ENV", is_pathspec=options.is_pathspec)
    lock = found.find(text, where="ENV", platform=platform_of(options.arch), is_pathspec=options.is_pathspec)
    spec = describe(found, lock, known.requests.get(lock.platform), local_only=True).asked
    asked = _asked(spec)
    wheels = WheelMetadataReader(found.wiring).of(lock)
    extras = {one.name: one.extras for one in spec.pypi} if spec else {}
    needs = {need.name for need in metaflow_needs(datastore())}
    return _Graph(
        lock=lock,
        dependencies=Dependencies.of(lock, wheels, provides=_provides(found, lock), extras=extras),
        asked=asked,
        # Nobody asked for more than the name: that is how Metaflow's own are asked for.
        needs=frozenset(name for name in needs if asked.get(name) == name),
    )


def _asked(spec: EnvironmentSpec | None) -> dict[str, str]:
    if spec is None:
        return {}
    python = {"python": f"python {spec.python}"} if spec.python else {}
    conda = {one.name: str(one) for one in (*spec.conda, *spec.conda_only, *spec.needs)}
    return {**python, **conda, **{one.name: str(one) for one in spec.pypi}}


def _provides(found: Environments, lock: LockedEnvironment) -> dict[str, list[str]]:
    """Return which projects conda packages bring, as far as this machine noted it when it resolved."""
    folder, known = found.wiring.folders.distributions, {}
    for package in lock.packages:
        with contextlib.suppress(OSError, ValueError, TypeError):
            rows = json.loads((folder / f"{package.artifact.sha256}.json").read_bytes())
            if isinstance(rows, list) and rows:
                known[package.name] = [str(row[0]) for row in rows]
    return known


# ---------------------------------------------------------------- tree


def show_tree(text: str, package: str | None, options: TreeOptions) -> None:
    """Print who needs whom. Raises `EnvironmentsError`."""
    with environments(local_only=options.local_only) as found:
        graph = _graph(found, text, options)
    if package:
        roots = graph.find(package, "PACKAGE")
    elif options.is_inverted:
        roots = [
            key for key in sorted(graph.dependencies.packages, key=_order) if not graph.dependencies.needs.get(key)
        ]
    else:
        roots = graph.dependencies.roots(graph.asked)
    if options.as_json:
        showing.document(
            {"env": text, "full_id": graph.lock.id, "arch": graph.lock.platform.value, **_rows(graph, roots)}
        )
        return
    for line in _lines(graph, roots, options):
        showing.say(line)


def _order(key: Key) -> tuple[str, str]:
    return key[1], key[0].value


def _rows(graph: _Graph, roots: list[Key]) -> dict[str, Any]:
    return {
        "roots": [_named(key) for key in roots],
        "packages": [
            {
                **_named(key),
                "version": held.version,
                "asked": graph.asked.get(held.project) or graph.asked.get(held.name),
                "needs": [
                    {**_named(need.package), "constraint": need.constraint}
                    for need in graph.dependencies.needs.get(key, ())
                ],
            }
            for key, held in sorted(graph.dependencies.packages.items(), key=lambda pair: _order(pair[0]))
        ],
    }


def _named(key: Key) -> dict[str, str]:
    return {"name": key[1], "side": "conda" if key[0].value == "conda" else "pypi"}


def _lines(graph: _Graph, roots: list[Key], options: TreeOptions) -> Iterator[str]:
    inverted = graph.dependencies.needed_by if options.is_inverted else {}
    seen: set[Key] = set()

    def below(key: Key) -> list[tuple[Key, str]]:
        if options.is_inverted:
            return [(need.by, need.constraint) for need in sorted(inverted[key], key=lambda need: _order(need.by))]
        return [(need.package, need.constraint) for need in graph.dependencies.needs.get(key, ())]

    def walk(key: Key, constraint: str, before: str, connector: str, depth: int) -> Iterator[str]:
        children = below(key)
        is_cut = options.depth is not None and depth >= options.depth
        mark = " (*)" if key in seen and children and not is_cut else ""
        said = f"  [{constraint}]" if constraint else ""
        yield f"{before}{connector}{graph.shown(key)}{said}{mark}"
        if key in seen or is_cut:
            return
        seen.add(key)
        inner = before + {"": "", "├── ": "│   ", "└── ": "    "}[connector]
        for index, (child, wanted) in enumerate(children):
            yield from walk(child, wanted, inner, "└── " if index == len(children) - 1 else "├── ", depth + 1)

    for root in roots:
        yield from walk(root, "", "", "", 0)


# ---------------------------------------------------------------- why


def show_why(text: str, package: str, options: TreeOptions) -> None:
    """Print why a package is there. Raises `EnvironmentsError`."""
    with environments(local_only=options.local_only) as found:
        graph = _graph(found, text, options)
    rows = [_why(graph, key) for key in graph.find(package, "PACKAGE")]
    if options.as_json:
        showing.document({"env": text, "full_id": graph.lock.id, "arch": graph.lock.platform.value, "packages": rows})
        return
    for row in rows:
        showing.say(f"{row['name']} {row['version']} ({'conda' if row['side'] == 'conda' else 'PyPI'})")
        if row["asked"]:
            showing.say(f"  asked for: {row['asked']}{' (Metaflow needs it in a task)' if row['metaflow'] else ''}")
        for chain in row["chains"]:
            showing.say(f"  {' -> '.join(chain)}")


def _why(graph: _Graph, key: Key) -> dict[str, Any]:
    held = graph.dependencies.packages[key]
    asked = graph.asked.get(held.project) or graph.asked.get(held.name)
    chains = graph.dependencies.chains(key, graph.dependencies.roots(graph.asked))
    return {
        **_named(key),
        "version": held.version,
        "asked": asked,
        "metaflow": held.name in graph.needs,
        "chains": [_chain(graph, chain) for chain in sorted(chains, key=len) if chain],
    }


def _chain(graph: _Graph, chain: tuple[Need, ...]) -> list[str]:
    begin = graph.shown(chain[0].by)
    return [
        begin,
        *(f"{graph.shown(need.package)}{f' [{need.constraint}]' if need.constraint else ''}" for need in chain),
    ]
