"""What is done and why, line by line on stderr, for people who look for a fault: ``METAFLOW_DEBUG_CONDA=1``.

The name is that of Metaflow's own debug options (``METAFLOW_DEBUG_<NAME>``), which need not know this one. Lines are
free of credentials as far as those can be known: the ones that this run was given, the ones in URLs, and the values
of variables whose names say that they are secret.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from mfenv.io.secrets import without_secrets

VARIABLE = "METAFLOW_DEBUG_CONDA"

_OFF = {"", "0", "false", "no", "off"}
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|PWD_|CREDENTIAL|API_?KEY|ACCESS_KEY|ACCOUNT_KEY|SIGNATURE|AUTH", re.I)
_TOKEN_IN_PATH = re.compile(r"/t/[^/\s'\"`]+")
_QUERY = re.compile(r"(?P<before>\w://[^\s'\"`?#]*)\?[^\s'\"`#]*")
_SHORTEST = 4
_BEGAN = time.monotonic()
_known: list[Mapping[str, str]] = []


def is_on() -> bool:
    """Whether lines are written; reads the variable, which tasks and tests may set late."""
    return os.environ.get(VARIABLE, "").lower() not in _OFF


def conceal(secret_urls: Mapping[str, str]) -> None:
    """Keep these credentials (place to the URL that holds them) out of all lines from now on."""
    if is_on():
        _known.append(secret_urls)


def say(kind: str, text: str) -> None:
    """Write one line, such as ``mfenv debug +0.123s decision: ...``; nothing when it is not asked for."""
    if is_on():
        _write(kind, text)


@contextmanager
def timed(kind: str, text: str) -> Iterator[None]:
    """Write what the block does when it begins and, with its seconds and any error's kind, when it ends."""
    if not is_on():
        yield
        return
    _write(kind, text)
    began, how = time.monotonic(), "done"
    try:
        yield
    except BaseException as error:
        how = f"failed ({type(error).__name__})"
        raise
    finally:
        _write(kind, f"{text}: {how} in {time.monotonic() - began:.3f}s")


def of_command(command: Sequence[str]) -> str:
    """Return a command line as a shell would take it, without credentials."""
    import shlex

    return without_any_secret(shlex.join(command))


def without_any_secret(text: str) -> str:
    """Return `text` without what this module knows, or must take, for credentials.

    >>> without_any_secret("GET https://me:word@example.org/t/tok/team?sig=abc")
    'GET https://example.org/t/***/team?***'
    """
    for secret_urls in _known:
        text = without_secrets(text, secret_urls)
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and _SECRET_NAME.search(name):
            text = text.replace(value, "***")
    text = without_secrets(text, {})
    return _TOKEN_IN_PATH.sub("/t/***", _QUERY.sub(r"\g<before>?***", text))


def _write(kind: str, text: str) -> None:
    # One write for a line: threads tell at the same time.
    line = " ".join(without_any_secret(text).split())
    try:
        sys.stderr.write(f"mfenv debug +{time.monotonic() - _BEGAN:.3f}s {kind}: {line}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        # What nobody reads must not end the work that it tells of.
        return
