"""Credentials, at the two moments where they matter: put into a URL that is about to be asked, taken out of a text."""

from __future__ import annotations

from collections.abc import Mapping


def with_credentials(url: str, secret_urls: Mapping[str, str]) -> str:
    """Return `url` with the credentials known for the place it begins with; see `mfenv.app.wiring`."""
    for location, secret in secret_urls.items():
        if url.startswith(f"{location}/"):
            return secret + url[len(location) :]
    return url


def without_secrets(text: str, secret_urls: Mapping[str, str]) -> str:
    """Return `text` with every URL that holds credentials replaced by the one that does not."""
    for location, secret in secret_urls.items():
        text = text.replace(secret, location)
    return text
