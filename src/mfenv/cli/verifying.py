"""Comparing environments on this machine with their locks, from the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mfenv.app.environments import Environments
from mfenv.app.progress import in_words
from mfenv.app.verify import Report, lock_at, repair, verify
from mfenv.cli import showing
from mfenv.cli.finding import environments, tell
from mfenv.cli.looking import platform_of
from mfenv.cli.reporting import working
from mfenv.errors import InvalidSpec, StoreError
from mfenv.hydrate.verify import Kind

_MOST = 50


def verify_environment(
    text: str | None,
    prefix: str | None,
    arch: str | None,
    *,
    with_repair: bool,
    is_pathspec: bool,
    local_only: bool,
    as_json: bool,
) -> None:
    """Print how an environment differs from its lock, and end with 5 if it does. Raises `EnvironmentsError`."""
    if bool(text) == bool(prefix):
        raise InvalidSpec("verify needs ENV or --prefix, and not both")
    with environments(local_only=local_only) as found:
        report = _report(found, text or "", prefix, arch, is_pathspec=is_pathspec)
        removed = repair(found.wiring, report) if with_repair else []
    _print(report, removed, as_json=as_json)
    if report.differences and not with_repair:
        sys.exit(StoreError.exit_code)


def _report(found: Environments, text: str, prefix: str | None, arch: str | None, *, is_pathspec: bool) -> Report:
    if prefix:
        # As its files name it.
        path = Path(os.path.abspath(Path(prefix).expanduser()))  # noqa: PTH100
        inner = path / "__conda_python"
        path = inner if inner.is_dir() else path
        lock = lock_at(found.wiring, path)
    else:
        path = None
        lock = found.find(text, where="ENV", platform=platform_of(arch), is_pathspec=is_pathspec)
    with working(f"Verifying {lock.id}"):
        return verify(found.wiring, lock, path)


def _print(report: Report, removed: list[Path], *, as_json: bool) -> None:
    archives, prefix = report.archives, report.prefix
    if as_json:
        showing.document(
            {
                "full_id": report.lock.id,
                "arch": report.lock.platform.value,
                "ok": not report.differences,
                "package_files": {
                    "compared": archives.files,
                    "bytes": archives.size,
                    "changed": len(archives.differences),
                    "not_cached": archives.absent,
                },
                "prefix": None
                if prefix is None
                else {
                    "path": str(report.path),
                    "compared": prefix.files,
                    "bytes": prefix.size,
                    **{kind.value: sum(one.kind is kind for one in prefix.differences) for kind in Kind},
                    "generated": prefix.generated,
                    "by_own_records": list(prefix.by_record),
                },
                "differences": [
                    {"kind": one.kind.value, "path": one.path, "package": one.package or None}
                    for one in report.differences
                ],
                "removed": list(map(str, removed)),
            }
        )
        return
    showing.say(f"{report.lock.id} ({report.lock.platform.value})")
    missing = f", {archives.absent} not in the cache" if archives.absent else ""
    showing.say(f"  package files: {archives.files} compared, {in_words(archives.size)}{missing}")
    if prefix is None:
        showing.say("  environment:   not made on this machine")
    else:
        showing.say(
            f"  environment:   {prefix.files} files compared, {in_words(prefix.size)}; {prefix.generated} generated"
        )
        if prefix.by_record:
            showing.say(
                f"                 {len(prefix.by_record)} of them only with the environment's own records, "
                "which may have been changed as well"
            )
    for one in report.differences[:_MOST]:
        showing.say(f"  {one.kind.value:<10} {one.path}{f'  ({one.package})' if one.package else ''}")
    if len(report.differences) > _MOST:
        showing.say(f"  ... and {len(report.differences) - _MOST} more: see --json")
    if not report.differences:
        showing.say("  all is as locked" if archives.files or prefix else "  nothing of it is on this machine")
    for path in removed:
        showing.say(f"  removed    {path}")
    if report.differences:
        tell(_advice(report, removed))


def _advice(report: Report, removed: list[Path]) -> str:
    is_of_own = report.is_own and bool(report.prefix and report.prefix.differences)
    if removed:
        return (
            "It was one of your own: make it again with `metaflow environment create`."
            if is_of_own
            else "What was removed is made again when it is needed."
        )
    return (
        "hint: it is one of your own; --repair removes all of it, also what you put there, and "
        "`metaflow environment create` makes it again"
        if is_of_own
        else "hint: add --repair to have what differs removed, and made again when it is needed"
    )
