"""Where conda packages come from."""

from __future__ import annotations

import contextlib
import posixpath
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

from mfenv.errors import InvalidSpec

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9._-]+)*")
_SCHEMES = frozenset({"http", "https", "file", "s3", "oci", "gcs"})
# A token in the path, as conda writes it: https://host/t/<token>/channel.
_TOKEN = re.compile(r"^/t/[^/]+(?=/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A conda channel: a name that the solver knows how to find, or a URL without credentials.

    The order of channels is their priority.
    """

    location: str
    written: str = field(default="", compare=False, repr=False)
    """A relative path as the user wrote it; empty for anything else."""

    @classmethod
    def parse(cls, text: str, *, where: str, relative_to: Path | None = None) -> Channel:
        """Read a channel's name, URL or local path, as written at `where`.

        A relative path is taken from `relative_to` (by default the working directory). Credentials in
        a URL are left out: see `credentials_in`. Raise `InvalidSpec` when `text` is none of these.
        """
        text = text.strip().rstrip("/")
        # Each of the libraries' own refusals (a port out of range, a home folder of nobody, a byte that no
        # file name has) is one of ours.
        with contextlib.suppress(ValueError, RuntimeError):
            text.encode()
            if text.startswith(("/", "./", "../", "~")):
                path = Path(relative_to or Path.cwd(), Path(text).expanduser())
                return cls(location=path.resolve().as_uri(), written=relative_path(text))
            if _is_url(text):
                return cls(location=without_credentials(text))
            if _NAME.fullmatch(text):
                return cls(location=text)
        raise InvalidSpec(
            f"{where}: `{re.sub(r'[^/]*@', '', without_credentials(text))}` is neither a channel name nor a URL",
            hint="Use a name such as `conda-forge`, a full https URL, or the path of a local channel",
        )

    @property
    def identity(self) -> str:
        """What counts for the identity of a request: a relative path as it was written, so that no machine counts."""
        return self.written or self.location

    @property
    def is_remote(self) -> bool:
        """Whether the network is needed to read it."""
        return not self.location.startswith("file:")

    def __str__(self) -> str:
        return self.location


def relative_path(text: str) -> str:
    """Return a relative path (or one in the home folder) in normal form, and nothing for an absolute one.

    >>> relative_path("./a/../b/"), relative_path("/b")
    ('./b', '')
    """
    if text.startswith("/"):
        return ""
    normal = posixpath.normpath(text)
    return normal if normal.startswith(("~", "..")) else f"./{normal}"


def _is_url(text: str) -> bool:
    """Tell whether `text` is a URL that a channel can have; raise `ValueError` for one that nothing can have."""
    parts = urlsplit(text)
    return (
        parts.scheme in _SCHEMES
        and bool(parts.netloc or parts.scheme == "file")
        and bool(parts.path + parts.netloc)
        # Asking for the port checks it.
        and (parts.port is None or parts.port > 0)
    )


def without_credentials(url: str) -> str:
    """Return `url` without user, password, token in the path, or query: safe to keep and to show.

    >>> without_credentials("https://me:secret@host/t/tok-1/team")
    'https://host/team'
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        # What cannot be taken apart may hold a password anywhere before the last @.
        return url.rpartition("@")[2]
    if not parts.scheme or "://" not in url:
        return url
    host = parts.netloc.rpartition("@")[2].lower()
    path = _TOKEN.sub("", parts.path)
    return urlunsplit(SplitResult(parts.scheme, host, path, "", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelCredentials:
    """What a channel's URL held besides its address; never prints, is never stored."""

    channel: Channel
    secret_url: str

    def __repr__(self) -> str:
        return f"ChannelCredentials({self.channel}, ***)"


def credentials_in(text: str, channel: Channel) -> ChannelCredentials | None:
    """Return the credentials that `text` (as the user wrote it) holds for `channel`, if any."""
    text = text.strip().rstrip("/")
    if "://" not in text or without_credentials(text) == text:
        return None
    return ChannelCredentials(channel=channel, secret_url=text)
