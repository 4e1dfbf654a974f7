"""Credentials, at the two moments where they matter: put into a URL that is about to be asked, taken out of a text."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote, urlsplit

# Anything shorter would be found in words that have nothing to do with it.
_SHORTEST = 4
_USER_INFO = re.compile(r"(?P<scheme>\w://)[^/\s'\"`]*@")


def with_credentials(url: str, secret_urls: Mapping[str, str]) -> str:
    """Return `url` with the credentials known for the place it begins with; see `mfenv.app.wiring`."""
    if "@" in urlsplit(url).netloc:
        return url
    for location, secret in secret_urls.items():
        if url == location or url.startswith(f"{location}/"):
            return secret + url[len(location) :]
    return url


def without_secrets(text: str, secret_urls: Mapping[str, str]) -> str:
    """Return `text` without credentials: neither those known, however they are written, nor any in a URL."""
    for location, secret in secret_urls.items():
        text = text.replace(secret, location)
    for word in sorted(_words(secret_urls.values()), key=len, reverse=True):
        text = text.replace(word, "***")
    return _USER_INFO.sub(r"\g<scheme>", text)


def _words(secret_urls: Iterable[str]) -> set[str]:
    words = set()
    for url in secret_urls:
        parts = urlsplit(url)
        user, has_password, password = parts.netloc.rpartition("@")[0].partition(":")
        # Where there is no password, the name is a token.
        written = password if has_password else user
        token = re.match(r"/t/([^/]+)", parts.path)
        words |= {written, unquote(written), token[1] if token else ""}
    return {word for word in words if len(word) >= _SHORTEST and word != "git"}


def git_environment(secret_urls: Mapping[str, str]) -> dict[str, str]:
    """Return variables that tell git the credentials it needs: in its arguments, everybody could see them."""
    variables: dict[str, str] = {}
    count = 0
    for location, secret in secret_urls.items():
        user_info = urlsplit(secret).netloc.rpartition("@")[0]
        if not user_info or not location.startswith(("http://", "https://")):
            continue
        user, _, password = user_info.partition(":")
        token = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
        variables[f"GIT_CONFIG_KEY_{count}"] = f"http.{location}/.extraHeader"
        variables[f"GIT_CONFIG_VALUE_{count}"] = f"Authorization: Basic {token}"
        count += 1
    return {**variables, "GIT_CONFIG_COUNT": str(count)} if count else {}
