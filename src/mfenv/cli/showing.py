"""`resolve`, `show`, `list`, `get` and `diff`: what is printed of environments."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from metaflow._vendor import click

from mfenv.app import facts
from mfenv.app.describe import Description, Listed, Name
from mfenv.app.progress import in_words
from mfenv.cli.scope import current_scope
from mfenv.domain.difference import Change, Kind, Side
from mfenv.domain.platform import Platform

_MARKS = {Kind.ADDED: "+", Kind.REMOVED: "-", Kind.UPGRADED: "^", Kind.DOWNGRADED: "v"}
_WIDTH = 40


def say(line: str = "") -> None:
    """Print a line of the answer, and copy it where ``--quiet-file-output`` says."""
    click.echo(line)
    if copy := current_scope().copy_to:
        copy.write(f"{line}\n")
        copy.flush()


def document(content: Mapping[str, Any]) -> None:
    """Print an answer as a program reads it."""
    say(json.dumps(content, indent=2))


# ---------------------------------------------------------------- resolve


def resolved(found: Sequence[Mapping[str, Any]], *, is_plan: bool, as_json: bool) -> None:
    """Print what was resolved, or would be."""
    if as_json:
        document({"environments": found})
        return
    if current_scope().is_quiet:
        for row in found:
            state = "NEW" if row["newly_resolved"] else "KNOWN"
            say(f"{row['req_id']} {row['full_id'] or 'NONE'} {row['arch']} {state}")
        return
    for row in found:
        if is_plan:
            _plan(row)
            continue
        names = f" {', '.join(row['aliases'])}" if row.get("aliases") else ""
        say(f"### {row['arch']}: {row['req_id']}:{row['full_id']}{' (new)' if row['newly_resolved'] else ''}{names}")
        for line in row["packages"]:
            say(f"  {line}")


def _plan(row: Mapping[str, Any]) -> None:
    known = "" if row["newly_resolved"] else f": {row['full_id']} is there"
    before = f", {len(row['changes'])} other than in {row['before']}" if row["before"] else ""
    say(f"### {row['arch']}: {row['req_id']}{known}")
    say(f"  {len(row['packages'])} packages, {in_words(row['size'])}{before if row['newly_resolved'] else ''}")
    if not row["before"]:
        for line in row["packages"]:
            say(f"  {line}")
    for one in row["changes"] if row["before"] else ():
        say(f"  {changed(one)}")
    say("  Nothing was kept: leave --dry-run out to lock it.")


# ---------------------------------------------------------------- show


def pretty(found: Description, *, with_packages: bool = True) -> None:
    """Print one environment for people."""
    lock, made = found.lock, found.made
    prefix = "DEFAULT " if found.is_default else ""
    click.secho(f"### {prefix}{found.kind} environment {found.request or '?'}:{lock.id}", bold=True)
    names = [f"{name.ref}{_of_name(name)}" for name in found.names]
    resolved_by = f"{made.time.astimezone():%Y-%m-%d %H:%M:%S} by {made.user}, {made.resolver}" if made else ""
    files = len(lock.stored_artifacts)
    told = {
        "names": ", ".join(names),
        "arch": lock.platform.value,
        "together with": ", ".join(f"{platform.value} {other}" for platform, other in found.siblings.items()),
        "resolved": resolved_by,
        "here": str(found.prefix) if found.prefix else f"not made; {found.files_here} of {files} package files cached",
        "shared": {None: "", True: "yes", False: "no"}[found.is_shared],
        **_wishes(found),
        "variables": ", ".join(f"{name}={text}" for name, text in lock.variables),
    }
    for name, text in told.items():
        if text:
            say(f"  {name + ':':<15} {text}")
    size = in_words(facts.size_of(found.packages))
    say(f"  {'packages:':<15} {len(lock.packages)} from conda, {len(lock.pypi)} from PyPI, {size}")
    if with_packages:
        for held in found.packages:
            build = f"-{held.build}" if held.side is Side.CONDA else ""
            say(f"    {held.side.value:<5} {held.name}=={held.version}{build}")


def _of_name(name: Name) -> str:
    kind = " (can be moved)" if name.ref.is_mutable else ""
    return f"{kind} (in this project alone)" if name.is_of_project else kind


def _wishes(found: Description) -> dict[str, str]:
    spec = found.asked
    if spec is None:
        return {"asked for": "not known", "built upon": found.base}
    return {
        "asked for": ", ".join([f"python {spec.python}"] * bool(spec.python) + [str(one) for one in spec.conda]),
        "besides": ", ".join(str(one) for one in spec.conda_only),
        "from PyPI": ", ".join(str(one) for one in spec.pypi),
        "channels": ", ".join(str(one) for one in spec.channels),
        "indexes": ", ".join(str(one) for one in spec.indexes),
        "options": " ".join(str(one) for one in spec.flags),
        "not newer than": spec.options.exclude_newer,
        "built upon": found.base,
    }


def quiet_line(found: Description) -> str:
    """Return one environment on one line of words.

    Ids, names, platform, when and by whom, platforms resolved together, wishes, where they are from, packages, place.
    What there is none of is ``NONE``, so that the words can be counted.
    """
    lock, made, spec = found.lock, found.made, found.asked
    archs = sorted({lock.platform.value, *(platform.value for platform in found.siblings)})
    wishes = [str(one) for one in (*spec.conda, *spec.conda_only, *spec.pypi)] if spec else []
    sources = [str(one) for one in (*spec.channels, *spec.indexes)] if spec else []
    words = [
        found.request or "NONE",
        lock.id,
        _joined(str(name.ref) for name in found.names),
        lock.platform.value,
        made.time.isoformat() if made else "NONE",
        made.user if made else "NONE",
        ",".join(archs),
        _joined(wish.replace(" ", "").replace(",", "&") for wish in wishes),
        _joined(sources),
        "conda:" + _joined(f"{one.name}=={one.version}-{one.record.build}" for one in lock.packages),
        "pypi:" + _joined(f"{one.name}=={one.version}" for one in lock.pypi),
        str(found.prefix) if found.prefix else "NONE",
    ]
    return " ".join(word.replace(" ", "%20") for word in words)


def _joined(texts: Iterable[str]) -> str:
    return ",".join(texts) or "NONE"


# ---------------------------------------------------------------- list


def table(found: Sequence[Listed]) -> None:
    """Print a list of environments for people."""
    for one in found:
        row = facts.listed(one)
        where = {"made": one.prefix, "project": one.is_of_project, "store": one.is_shared}
        places = [word for word, holds in where.items() if holds]
        when = f"{one.time.astimezone():%Y-%m-%d %H:%M}" if one.time else "-"
        say(
            f"{one.lock.id}  {row['arch']:<13} {row['packages']:>4} packages {in_words(row['size']):>9}  {when:<16}  "
            f"{one.user or '-':<10}  {'+'.join(places) or '-'}"
        )
        if row["aliases"]:
            say(f"  {', '.join(row['aliases'])}")


# ---------------------------------------------------------------- diff


def difference(changes: Sequence[Change], *, before: str, after: str, platform: Platform, as_json: bool) -> None:
    """Print what two environments differ in."""
    found = [facts.change(one) for one in changes]
    growth = sum(one["growth"] or 0 for one in found)
    if as_json:
        document({"before": before, "after": after, "arch": platform.value, "changes": found, "growth": growth})
        return
    if not found:
        say(f"{before} and {after} have the same packages.")
        return
    for one in found:
        say(changed(one))
    counts = {kind: sum(change.kind is kind for change in changes) for kind in Kind}
    said = ", ".join(f"{count} {kind.value}" for kind, count in counts.items() if count)
    say(f"{said}; {'+' if growth >= 0 else '-'}{in_words(abs(growth))}")


def step_difference(
    step: str, ids: Sequence[str | None], changes: Sequence[Change], *, is_printed: bool
) -> dict[str, Any]:
    """Return, and perhaps print, what a step of two runs differs in."""
    found = [facts.change(one) for one in changes]
    if is_printed:
        if ids[0] == ids[1]:
            say(f"{step}: the same{'' if ids[0] else ' (no environment)'}")
        else:
            say(f"{step}: {ids[0] or 'no environment'} -> {ids[1] or 'no environment'}")
            for one in found:
                say(f"  {changed(one)}")
    return {"step": step, "before": ids[0], "after": ids[1], "changes": found}


def changed(one: Mapping[str, Any]) -> str:
    """Return a package that is not the same in both, on one line."""
    mark = {kind.value: mark for kind, mark in _MARKS.items()}.get(one["kind"], "~")
    before, after = (_version(one[side], one["kind"]) for side in ("before", "after"))
    versions = f"{before} -> {after}" if before and after else before or after
    growth = one["growth"]
    size = "" if not growth else f"  {'+' if growth > 0 else '-'}{in_words(abs(growth))}"
    return f"{mark} {one['name']:<{_WIDTH}} {versions}{size}".rstrip()


def _version(held: Mapping[str, Any] | None, kind: str) -> str:
    if held is None:
        return ""
    side = "conda" if held["side"] == "conda" else "PyPI"
    build = f" {held['build']}" if kind == Kind.REBUILT.value and held["build"] else ""
    return f"{held['version']}{build} ({side})"
