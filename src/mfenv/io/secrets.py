"""Credentials, at the two moments where they matter: put into a URL that is about to be asked, taken out of a text."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import unquote, urlsplit

# Anything shorter would be found in words that have nothing to do with it.
_SHORTEST = 4
_TOKEN = re.compile(r"/t/([^/]+)")
_USER_INFO = re.compile(r"(?P<scheme>\w://)[^/\s'\"`]*@")


def with_credentials(url: str, secret_urls: Mapping[str, str]) -> str:
    """Return `url` with the credentials known for the place it begins with; see `mfenv.app.wiring`."""
    if "@" in urlsplit(url).netloc:
        return url
    for location, secret in secret_urls.items():
        if url == location or url.startswith(f"{location}/"):
            return secret + url[len(location) :]
    return url


def with_token(url: str, secret_urls: Mapping[str, str]) -> str:
    """Return a channel's `url` with the token that is to stand in its path (``/t/<token>/``), if there is one."""
    secret = with_credentials(url, secret_urls)
    parts = urlsplit(secret)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if _TOKEN.match(parts.path) else url


def tokens_in(urls: Iterable[str]) -> set[str]:
    """Return the tokens that stand in the paths of channels' `urls`."""
    return {found[1] for url in urls if (found := _TOKEN.match(urlsplit(url).path))}


def headers_for(secret_urls: Mapping[str, str]) -> Callable[[str, str], dict[str, str] | None]:
    """Return what tells the headers for a host (without its port) and a path.

    What is not in a URL gets into no cache that keeps URLs.
    """
    known = []
    for location, secret in secret_urls.items():
        parts = urlsplit(location)
        if parts.scheme in {"http", "https"} and (header := _authorization(secret)):
            known.append((parts.hostname, parts.path.rstrip("/") + "/", header))
    # The more particular place first: a host may have several.
    known.sort(key=lambda place: len(place[1]), reverse=True)

    def headers(host: str, path: str) -> dict[str, str] | None:
        for known_host, beginning, header in known:
            if host == known_host and f"{path}/".startswith(beginning):
                return {"Authorization": header}
        return None

    return headers


def _authorization(secret_url: str) -> str:
    """Return HTTP's basic authentication for the credentials in a URL; empty when there are none."""
    user_info = urlsplit(secret_url).netloc.rpartition("@")[0]
    if not user_info:
        return ""
    user, _, password = user_info.partition(":")
    return "Basic " + base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()


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
        token = _TOKEN.match(parts.path)
        # A build that fails may print the variables that it was given, and git's have it in this form.
        encoded = _authorization(url).removeprefix("Basic ")
        words |= {written, unquote(written), encoded, token[1] if token else ""}
    return {word for word in words if len(word) >= _SHORTEST and word != "git"}


def git_environment(secret_urls: Mapping[str, str]) -> dict[str, str]:
    """Return variables that tell git the credentials it needs: in its arguments, everybody could see them."""
    variables: dict[str, str] = {}
    # What the user gives git in the same way stays.
    first = count = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    for location, secret in secret_urls.items():
        header = _authorization(secret)
        if not header or not location.startswith(("http://", "https://")):
            continue
        variables[f"GIT_CONFIG_KEY_{count}"] = f"http.{location}/.extraHeader"
        variables[f"GIT_CONFIG_VALUE_{count}"] = f"Authorization: {header}"
        count += 1
    return {**variables, "GIT_CONFIG_COUNT": str(count)} if count > first else {}
