"""Passwords from the user's keyring, asked for as uv asks (uv documentation, "Using uv with alternative indexes")."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from mfenv.domain.index import IndexSecret
from mfenv.errors import ToolNotFound
from mfenv.io.process import ProcessRunner

_TIME_LIMIT = 60.0


def from_keyring(secret: IndexSecret, runner: ProcessRunner) -> IndexSecret:
    """Return `secret` with the password that the program ``keyring`` has for its user.

    It stays as it is when there is a password in it, when the keyring has none, or when there is no keyring.
    """
    parts = urlsplit(secret.secret_url)
    user_info, _, host = parts.netloc.rpartition("@")
    if ":" in user_info:
        return secret
    for service in (str(secret.index), host):
        try:
            done = runner.run(
                ["keyring", "get", service, user_info], environment={}, folder=Path.cwd(), timeout=_TIME_LIMIT
            )
        except ToolNotFound:
            return secret
        if password := done.output.strip("\r\n"):
            netloc = f"{user_info}:{quote(password, safe='')}@{host}"
            return replace(secret, secret_url=parts._replace(netloc=netloc).geturl())
    return secret
