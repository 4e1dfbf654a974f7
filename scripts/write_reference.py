"""Write docs/reference from the code: settings from `Settings`, decorators from their docstrings, commands from
click.

python scripts/write_reference.py            write the pages
python scripts/write_reference.py --check    only tell whether they are current, by the exit code
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from mfenv.app import settings

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
EXTENSION = ROOT / "src" / "metaflow_extensions" / "mfenv"
NOTE = "<!-- Written by `make docs` from the code. Change the docstrings there. -->\n"

SETTINGS_HEAD = """
# Settings

Each of the settings that begin with `METAFLOW_` can be an environment variable, or a key in Metaflow's configuration
file (`~/.metaflowconfig/config.json`, or `config_<profile>.json` with `METAFLOW_PROFILE`). The environment wins. A
value that cannot be read is an error that names the setting; it is never ignored.
"""

OVERRIDES_HEAD = """
## conda's own variables

They are read from the environment only, and win over `METAFLOW_CONDA_SYS_DEFAULT_PACKAGES`. An empty value takes the
fact away. A value is a version, or `version=build`.

| variable | virtual package | for |
| --- | --- | --- |
"""

DECORATORS_HEAD = """
# Decorators

How the decorators of a flow and of its steps are put together is told in
[Write environments](../how-to/write-environments.md)."""

# Addresses may hold credentials, and Metaflow passes what it knows of on to jobs: see docs/adr/0024.
UNREGISTERED = frozenset(
    {
        "CONDA_ALLOWED_CHANNELS",
        "CONDA_ALLOWED_INDEXES",
        "CONDA_CHANNELS",
        "CONDA_DEFAULT_PYPI_SOURCE",
        "CONDA_OSV_DATABASE",
        "CONDA_SRCS_AUTH_INFO",
    }
)


def settings_page() -> str:
    """Return the page on settings; fails when the code reads a setting that is not told of, or the reverse."""
    rows = [(name, text) for text in field_docstrings() for name in re.findall(r"``(CONDA_[A-Z0-9_]+)``", text)]
    told, registered = {name for name, _ in rows}, registered_settings() | UNREGISTERED
    if told != registered:
        raise SystemExit(f"`Settings` and the extension's configuration differ: {sorted(told ^ registered)}")
    lines = [f"| `METAFLOW_{name}` | {_plain(text)} |" for name, text in rows]
    table = "\n".join(["| setting | meaning |", "| --- | --- |", *lines])
    return NOTE + SETTINGS_HEAD + "\n" + table + "\n" + OVERRIDES_HEAD + "\n".join(override_rows()) + "\n"


def field_docstrings() -> Iterator[str]:
    """Yield the docstrings of the fields of `Settings`, each on one line."""
    tree = ast.parse(inspect.getsource(settings))
    fields = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings").body
    for field, text in pairwise(fields):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            yield " ".join(str(text.value.value).split())


def registered_settings() -> set[str]:
    """Return the names that Metaflow reads for us and passes on."""
    return set(re.findall(r'from_conf\("(\w+)"\)', (EXTENSION / "config" / "mfextinit_mfenv.py").read_text()))


def override_rows() -> Iterator[str]:
    """Yield a row for each of conda's variables that the code looks for."""
    everything = _AllSet()
    systems: dict[str, list[str]] = {}
    for platform in settings.Platform:
        for name in settings.read(lambda _name: None, everything).virtual_packages[platform]:
            systems.setdefault(name, []).append(platform.value)
    for name, platforms in sorted(systems.items()):
        yield f"| `CONDA_OVERRIDE_{name.strip('_').upper()}` | `{name}` | {', '.join(platforms)} |"


class _AllSet(dict):
    """Environment variables in which every override is set."""

    def __contains__(self, name: object) -> bool:
        return str(name).startswith("CONDA_OVERRIDE_")

    def __missing__(self, name: str) -> str:
        return "1"


def decorators_page() -> str:
    """Return the page on decorators, in the order in which they are registered."""
    plugins = ast.parse((EXTENSION / "plugins" / "mfextinit_mfenv.py").read_text())
    described: dict[str, list[tuple[str, str]]] = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in plugins.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    parts = [NOTE + DECORATORS_HEAD]
    for level, key in (("step", "STEP_DECORATORS_DESC"), ("flow", "FLOW_DECORATORS_DESC")):
        for name, path in described[key]:
            if not name.endswith("_internal"):
                module, _, attribute = path.rpartition(".")
                docstring = inspect.getdoc(getattr(importlib.import_module(module), attribute)) or ""
                parts.append(decorator_section(name, level, docstring))
    return "\n".join(parts)


def decorator_section(name: str, level: str, docstring: str) -> str:
    """Return the part of the page on one decorator, from its docstring in numpydoc's form."""
    text, _, parameters = docstring.partition("Parameters\n----------\n")
    rows = [f"\n## `@{name}`\n\nOn a {level}. {text.strip()}\n", "| argument | type | meaning |", "| --- | --- | --- |"]
    for found in re.finditer(r"^(\w+) : (.+)\n((?:    .*\n?)+)", parameters, re.MULTILINE):
        argument, kind, meaning = found.groups()
        rows.append(f"| `{argument}` | `{kind}` | {' '.join(meaning.split())} |")
    return "\n".join(rows) + "\n"


COMMANDS_HEAD = """
# Command line

`metaflow environment` can be written `metaflow env`. Errors end a command with a code for their kind: 2 for what cannot
be read, 3 for what cannot be resolved, 4 for locks, 5 for stores, 6 for environments that cannot be made, 7 for missing
tools. With `--json` they are the key `error` of the document, with `kind`, `message`, `hint`, `output` and `exit_code`.

The command `metaflow` prints its version before everything else, to standard output too. A program that reads JSON
calls this package, which does the same without that line:

```console
$ python -m mfenv.cli environment migrate flow.py --json
```
"""


def commands_page() -> str:
    """Return the page on commands, from their help."""
    from metaflow._vendor import click

    from mfenv.cli.commands import environment
    from mfenv.cli.commands.debug import debug

    parts = [NOTE + COMMANDS_HEAD]
    for name, command in sorted(environment.commands.items()):
        context = click.Context(command, info_name=f"metaflow environment {name}", max_content_width=100)
        parts.append(f"## `metaflow environment {name}`\n\n```text\n{command.get_help(context)}\n```\n")
    for name, command in sorted(debug.commands.items()):
        context = click.Context(command, info_name=f"metaflow debug {name}", max_content_width=100)
        parts.append(f"## `metaflow debug {name}`\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def _plain(text: str) -> str:
    return re.sub(r" \(``CONDA_[^)]*\)", "", text).replace("``", "`")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the pages; give 1 when one is stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args(arguments).check
    pages = {
        FOLDER / "settings.md": settings_page(),
        FOLDER / "decorators.md": decorators_page(),
        FOLDER / "command-line.md": commands_page(),
    }
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        sys.stdout.write(f"{path.relative_to(ROOT)} {'is stale: run `make docs`' if check else 'written'}\n")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages[path], encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
