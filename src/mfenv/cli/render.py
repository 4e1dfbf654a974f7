"""How answers and errors are printed: for people, and as JSON for programs."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from metaflow._vendor import click
from metaflow.exception import MetaflowException

from mfenv.errors import EnvironmentsError
from mfenv.io.secrets import without_secrets

if TYPE_CHECKING:
    from mfenv.app.migrate import Migrated
    from mfenv.domain.alias import Alias


_BROKEN_PIPE = 128 + signal.SIGPIPE
_INTERRUPTED = 128 + signal.SIGINT

_HINTS = {
    errno.ENOSPC: "Free some space there; `metaflow environment gc` shows what nobody needs any more",
    errno.EDQUOT: "Free some space there; `metaflow environment gc` shows what nobody needs any more",
    errno.EACCES: "Check who may read and write there, or choose another folder with METAFLOW_CONDA_LOCAL_PATH",
    errno.EPERM: "Check who may read and write there, or choose another folder with METAFLOW_CONDA_LOCAL_PATH",
    errno.EROFS: "Choose a folder that can be written, such as with METAFLOW_CONDA_LOCAL_PATH",
}


@contextlib.contextmanager
def spoken(*, as_json: bool) -> Iterator[None]:
    """Print the errors of this block, and end the program with the code of their kind.

    An interrupt from the keyboard ends it quietly with 130, and a reader that went away (``| head``) with 141, as
    shells know it. What remains with a traceback is a fault of ours.
    """
    try:
        yield
    except EnvironmentsError as error:
        _end(error, as_json=as_json)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # What is still to be written is written at exit, and would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_BROKEN_PIPE)
    except OSError as error:
        _end(_of_system(error), as_json=as_json)
    except MetaflowException as error:
        _end(EnvironmentsError(without_secrets(str(error).strip().removesuffix("."), {})), as_json=as_json)


def _end(error: EnvironmentsError, *, as_json: bool) -> NoReturn:
    if as_json:
        try:
            click.echo(json.dumps({"error": fields_of(error)}))
        except OSError:
            # Standard output may be what cannot be written to.
            tell_error(error)
    else:
        tell_error(error)
    sys.exit(error.exit_code)


def _of_system(error: OSError) -> EnvironmentsError:
    """Return what the operating system refused, and where."""
    names = [f"`{os.fsdecode(name)}`" for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    reason = error.strerror or str(error) or type(error).__name__
    message = f"{' and '.join(names)}: {reason}" if names else reason
    return EnvironmentsError(without_secrets(message, {}), hint=_HINTS.get(error.errno or 0))


def tell_error(error: EnvironmentsError) -> None:
    """Print an error for people."""
    is_plain = bool(os.environ.get("NO_COLOR"))
    click.secho("error: ", fg=None if is_plain else "red", bold=None if is_plain else True, nl=False, err=True)
    click.echo(error.explain(), err=True)


def fields_of(error: EnvironmentsError) -> dict[str, object]:
    """Return an error as a program reads it."""
    return {
        "kind": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "output": error.output,
        "exit_code": error.exit_code,
    }


def migration(
    found: Mapping[str, Migrated | EnvironmentsError],
    settings: Sequence[str],
    *,
    is_written: bool,
    fails_when_pending: bool,
    as_json: bool,
) -> int:
    """Print what became of files, by the names that the user gave them, and the lines on settings; return the code.

    That of an error counts before that of changes which are only shown.
    """
    _escape_what_cannot_be_shown()
    errors = [one for one in found.values() if isinstance(one, EnvironmentsError)]
    is_pending = not is_written and any(
        one.is_changed for one in found.values() if not isinstance(one, EnvironmentsError)
    )
    if as_json:
        document = {
            "files": [_file(name, one, is_written=is_written) for name, one in found.items()],
            "settings": settings,
        }
        click.echo(json.dumps(document | ({"error": fields_of(errors[0])} if errors else {}), indent=2))
    else:
        for name, one in found.items():
            if not isinstance(one, EnvironmentsError):
                _tell_of_file(name, one, is_written=is_written)
        for line in settings:
            click.echo(f"setting {line}", err=True)
        if is_pending:
            click.echo("Nothing was written: add --write to make these changes.", err=True)
        for error in errors:
            tell_error(error)
    return errors[0].exit_code if errors else int(fails_when_pending and is_pending)


def _tell_of_file(name: str, one: Migrated, *, is_written: bool) -> None:
    """Print a diff where others can take it, and everything else beside it."""
    if one.is_changed and not is_written:
        click.echo(one.diff, nl=False)
    else:
        click.echo(f"{name}: {'rewritten' if one.is_changed else 'nothing to rewrite'}", err=True)
    for note in one.notes:
        click.echo(f"{name}:{note.line}:{note.column}: left as it is: {note.message}", err=True)


def _file(name: str, one: Migrated | EnvironmentsError, *, is_written: bool) -> dict[str, object]:
    if isinstance(one, EnvironmentsError):
        return {"file": name, "error": fields_of(one)}
    return {
        "file": name,
        "changed": one.is_changed,
        "written": one.is_changed and is_written,
        "diff": one.diff,
        "notes": [{"line": note.line, "column": note.column, "message": note.message} for note in one.notes],
    }


def names(shared: Sequence[Alias], own: Alias | None = None, *, as_json: bool) -> None:
    """Print what names stand for; `own` is one of this project alone."""
    found = [(own, True)] if own else []
    found += [(alias, False) for alias in shared]
    rows = [
        {
            "alias": str(alias.ref),
            "mutable": alias.ref.is_mutable,
            "local_only": is_own,
            "environments": {platform.value: lock for platform, lock in alias.locks},
            "requests": {platform.value: key for platform, key in alias.requests},
            "user": alias.user,
            "time": alias.time.isoformat(),
        }
        for alias, is_own in found
    ]
    if as_json:
        click.echo(json.dumps({"aliases": rows}, indent=2))
        return
    for alias, is_own in found:
        only = "  (in this project alone)" if is_own else ""
        click.echo(f"{alias.ref}  {alias.time.astimezone():%Y-%m-%d %H:%M:%S}  {alias.user}{only}")
        for platform, lock in alias.locks:
            click.echo(f"  {platform.value:<14} {lock}")


def clearing(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what can go, or went."""
    from mfenv.app.progress import in_words

    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for part in ("store", "local"):
        if part in found and found[part] is None:
            click.echo("No store is shared here: there is none to look at.", err=True)
        if (row := found.get(part)) is None:
            continue
        click.echo(f"{row['location']}: {in_words(row['size'])} that nobody needs")
        for kind, of_kind in row["unused"].items():
            click.echo(f"  {of_kind['count']:>6} {kind:<20} {in_words(of_kind['size']):>10}")
        for one in row["biggest"]:
            click.echo(f"         {one['name']:<60} {in_words(one['size']):>10}")
        if kept := row.get("kept"):
            reasons = ", ".join(f"{count} ({reason})" for reason, count in sorted(kept.items()))
            click.echo(f"  environments that stay: {reasons}")
        if runs := row.get("runs_of"):
            click.echo(f"  runs count that {runs} knows")
        for key in row.get("damaged", ()):
            click.echo(f"  {key} is damaged: no package goes as long as it is there (--damaged removes it)", err=True)
        if "removed" in row:
            click.echo(f"  removed: {row['removed']} things, {in_words(row['freed'])}")
    if not found["deleted"]:
        click.echo("Nothing was removed: add --delete to remove it.", err=True)


def cleared(count: int, freed: int) -> None:
    """Print how far a store has been cleared by now."""
    from mfenv.app.progress import in_words
    from mfenv.app.reporting import aside

    with aside():
        click.echo(f"removed so far: {count} things, {in_words(freed)}", err=True)


def _escape_what_cannot_be_shown() -> None:
    """Have what a terminal cannot show printed as escapes: the name or the text of a file may hold any character."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
