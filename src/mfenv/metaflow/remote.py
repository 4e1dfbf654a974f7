"""What a remote task's shell does before Metaflow itself can run: fetch the code, enter the step's environment.

The image needs a Python of 3.8 or later, and nothing else: the code package is fetched by a small program that travels
on the command line, made of the modules of `mfenv.bootstrap` that it needs. Metaflow puts the commands into
``bash -c "..."`` and takes that apart with `shlex` (2.16 to 2.19): a double quote in them has a backslash before it.
"""

from __future__ import annotations

import ast
import base64
import inspect
import zlib
from collections.abc import Sequence
from functools import cache
from importlib import import_module

PYTHON = "METAFLOW_MFENV_PYTHON"
"""The variable with the interpreter of the step's environment, as `mfenv.bootstrap.activate` exports it."""

_NO_PYTHON = (
    "This image has no Python. Metaflow needs Python 3.8 or later in it, as python3 or python: "
    "use for example the image python:3.12, or leave the image out."
)
_NO_CREDENTIALS = 3
"""The exit code of `mfenv.bootstrap.download` when only the vendor's own library may know how to get in."""


def package_commands(theirs: Sequence[str], *, url: str, datastore_type: str, install: str, download: str) -> list[str]:
    """Return Metaflow's commands for a code package, changed so that they need nothing but a Python.

    `theirs` are its own; among them are `install`, which gets the datastore's client from a package index, and
    `download`, which uses it to fetch `url`. Both are kept for steps that run in the image's own Python, and for
    credentials that only that client knows.
    """
    commands = [command for command in theirs if command != install]
    fetching = next(number for number, command in enumerate(commands) if download in command)
    # Theirs tries again and again, also where the answer is no, and the next command looks how often it did.
    commands[fetching : fetching + 2] = [_fetch(url, datastore_type, download)]
    start = next(number for number, command in enumerate(commands) if command.startswith("mkdir "))
    commands[start:start] = [
        "MFENV_IMAGE_PYTHON=$(command -v python3 || command -v python || true)",
        f"if [ -z $MFENV_IMAGE_PYTHON ]; then mflog '{_NO_PYTHON}'; exit 1; fi",
        f"mfenv_standard(){{ {install}; }}",
    ]
    # The last one sends the log, for which Metaflow needs the datastore's client.
    return [*commands[:-2], _ENTER, *commands[-2:]]


_ENTER = '{ MFENV_ENTER=$($MFENV_IMAGE_PYTHON -m mfenv.bootstrap); eval \\"${MFENV_ENTER:-false}\\"; }'


ENTER_LATE = _ENTER.replace("mfenv.bootstrap)", "mfenv.bootstrap --last)")
"""What a start step does once more, when Argo has told it the values of parameters."""


def _fetch(url: str, datastore_type: str, download: str) -> str:
    ours = (
        "$MFENV_IMAGE_PYTHON -c 'import base64,sys,zlib;exec(zlib.decompress(base64.b64decode(sys.argv.pop(1))))' "
        f"{program(datastore_type)} {datastore_type} {url} job.tar"
    )
    return (
        f"mflog 'Downloading code package...' && {{ MFENV_WORD=$({ours} 2>&1); C=$?; "
        f"if [ $C -eq {_NO_CREDENTIALS} ]; then mfenv_standard && {download}; "
        f'elif [ $C -ne 0 ]; then mflog \\"Failed to download the code package: $MFENV_WORD\\"; exit 1; fi; }} && '
        "mflog 'Code package downloaded.'"
    )


_MODULES = {"s3": ("s3",), "azure": ("azure",), "gs": ("gs",)}
_ALWAYS = ("failure", "http", "objects")
"""In an order in which each finds what it imports."""


@cache
def program(datastore_type: str) -> str:
    """Return a program that fetches a file from a datastore, as one word: compressed, in Base64."""
    names = [*_ALWAYS, *_MODULES[datastore_type], "download"]
    sources = {f"mfenv.bootstrap.{name}": _bare(f"mfenv.bootstrap.{name}") for name in names}
    text = (
        "import sys,types\n"
        "for n in ('mfenv','mfenv.bootstrap'):\n m=sys.modules[n]=types.ModuleType(n);m.__path__=[]\n"
        f"for n,s in {sources!r}.items():\n"
        " m=sys.modules[n]=types.ModuleType(n);exec(compile(s,n,'exec'),m.__dict__)\n"
        "sys.modules['mfenv.bootstrap.download'].main(sys.argv[1:])\n"
    )
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _bare(module: str) -> str:
    """Return the source of a module without what is for people and for type checkers."""
    tree = _Bare().visit(ast.parse(inspect.getsource(import_module(module))))
    return ast.unparse(ast.fix_missing_locations(tree))


_NOT_NEEDED = frozenset({"put", "names", "LocalClient", "__repr__"})
"""What only the bootstrap itself uses of the modules that travel."""


class _Bare(ast.NodeTransformer):
    """Takes away docstrings, the annotations of functions, and what is not needed."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
        if node.name in _NOT_NEEDED:
            return None
        self.generic_visit(node)
        node.returns = None
        for argument in (*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs):
            argument.annotation = None
        node.body = [_without_annotation(one) for one in _without_texts(node.body)]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST | None:
        if node.name in _NOT_NEEDED:
            return None
        self.generic_visit(node)
        node.body = _without_texts(node.body)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        if node.module == "typing":
            # Annotations that are left are never evaluated.
            node.names = [alias for alias in node.names if alias.name == "NamedTuple"]
        return node if node.names else None

    def visit_Module(self, node: ast.Module) -> ast.AST:
        self.generic_visit(node)
        node.body = _without_texts(node.body)
        return node


def _without_texts(body: list[ast.stmt]) -> list[ast.stmt]:
    kept = [one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    return kept or [ast.Pass()]


def _without_annotation(statement: ast.stmt) -> ast.stmt:
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        return ast.Assign(targets=[statement.target], value=statement.value)
    return statement
