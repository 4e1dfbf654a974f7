"""How answers and errors are printed: for people, and as JSON for programs."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator

from metaflow._vendor import click

from mfenv.errors import EnvironmentsError


@contextlib.contextmanager
def spoken(*, as_json: bool) -> Iterator[None]:
    """Print the errors of this block, and end the program with the code of their kind."""
    try:
        yield
    except EnvironmentsError as error:
        if as_json:
            click.echo(json.dumps({"error": fields_of(error)}))
        else:
            click.secho("error: ", fg="red", bold=True, nl=False, err=True)
            click.echo(error.explain(), err=True)
        sys.exit(error.exit_code)


def fields_of(error: EnvironmentsError) -> dict[str, object]:
    """Return an error as a program reads it."""
    return {
        "kind": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "output": error.output,
        "exit_code": error.exit_code,
    }
