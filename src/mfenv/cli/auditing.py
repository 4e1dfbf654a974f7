"""`audit`: known vulnerabilities of an environment, from the command line."""

from __future__ import annotations

import sys
from typing import Any

from metaflow._vendor import click

from mfenv.app.audit import audit, packages_of
from mfenv.cli import showing
from mfenv.cli.finding import environments
from mfenv.cli.looking import platform_of
from mfenv.cli.reporting import working
from mfenv.domain.advisory import Finding

FOUND = 9
"""The exit code that says that something is known against an environment."""


def audit_environment(
    text: str,
    arch: str | None,
    databases: tuple[str, ...],
    *,
    is_pathspec: bool,
    local_only: bool,
    as_json: bool,
) -> None:
    """Print what is known against an environment, and end with `FOUND` if anything is. Raises `EnvironmentsError`."""
    with environments(local_only=local_only) as found:
        lock = found.find(text, where="ENV", platform=platform_of(arch), is_pathspec=is_pathspec)
        with working(f"Looking for advisories about {lock.id}"):
            known = audit(found.wiring, lock, databases or found.wiring.settings.osv_databases)
            count = len(packages_of(found.wiring, lock))
    if as_json:
        showing.document(
            {
                "full_id": lock.id,
                "arch": lock.platform.value,
                "packages": count,
                "findings": [_row(finding) for finding in known],
            }
        )
    else:
        for finding in known:
            _say(finding)
        noun = "advisory" if len(known) == 1 else "advisories"
        click.echo(f"{len(known)} {noun} about {count} packages of {lock.id}.", err=True)
    if known:
        sys.exit(FOUND)


def _row(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.ids[0],
        "aliases": list(finding.ids[1:]),
        "package": finding.package.name,
        "version": finding.package.version,
        "ecosystem": finding.package.ecosystem,
        "brought_by": finding.package.brought_by or None,
        "severity": finding.severity or None,
        "summary": finding.summary,
        "fixed_in": list(finding.fixed_in),
    }


def _say(finding: Finding) -> None:
    package = finding.package
    brought = f", of conda's {package.brought_by}" if package.brought_by not in {"", package.name} else ""
    severity = f"  [{finding.severity}]" if finding.severity else ""
    showing.say(f"{package.name} {package.version} ({package.ecosystem}{brought})  {', '.join(finding.ids)}{severity}")
    if finding.summary:
        showing.say(f"    {finding.summary}")
    showing.say(f"    mended in {', '.join(finding.fixed_in)}" if finding.fixed_in else "    mended in no version yet")
