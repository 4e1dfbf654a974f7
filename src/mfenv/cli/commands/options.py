"""Options that several commands have."""

from __future__ import annotations

from metaflow._vendor import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
pathspec_option = click.option("--pathspec", "is_pathspec", is_flag=True, help="ENV is a step of a run: Flow/Run/Step.")
local_only_option = click.option("--local-only", is_flag=True, help="Ask no shared store.")
arch_option = click.option("--arch", metavar="ARCH", help="Platform, such as linux-64. Default: this one.")
