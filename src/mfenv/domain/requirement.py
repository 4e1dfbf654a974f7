"""Requested PyPI packages (PEP 508) in normal form."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from mfenv.errors import InvalidSpec

_URL = re.compile(r"(git\+|hg\+|svn\+|bzr\+)?[a-z][a-z0-9+.-]*://|file:", re.IGNORECASE)
_PATH = ("./", "../", "/")
_BARE_VERSION = re.compile(r"v?\d")
_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One requested PyPI package; equal meaning in a different spelling is the same value."""

    name: str
    """In the normal form of PEP 503."""
    extras: tuple[str, ...] = ()
    specifier: str = ""
    """A version specifier (PEP 440), its parts sorted; empty for any version."""
    marker: str = ""
    url: str = ""
    """Where exactly it comes from, when that is not an index: an archive, a repository, a local folder.

    Without credentials: see `mfenv.domain.index.secrets_in`.
    """
    is_editable: bool = False
    hashes: tuple[str, ...] = ()
    """Digests (``sha256:...``), sorted, of which its file must have one; empty: any file of the index will do."""
    index: str = ""
    """The URL of the one index that it must come from; empty: any of those that are searched."""

    @classmethod
    def parse(cls, name: str, constraint: str, *, where: str, relative_to: Path | None = None) -> Requirement:
        """Read a decorator's ``name`` and ``constraint``, as written at `where`.

        The name may have extras, or an address behind ``@``. The constraint is a version (exactly that one), a
        specifier, nothing, an address, or the path of a local folder, relative to `relative_to`; with ``-e``
        before it, editable. A marker may follow a semicolon. Raises `InvalidSpec` with the place marked.
        """
        name, constraint = name.strip(), constraint.strip()
        editable = constraint.startswith("-e ")
        body, _, marker = constraint.removeprefix("-e ").strip().partition(";")
        name, _, other_marker = name.partition(";")
        text = _whole(name.strip(), body.strip(), relative_to)
        markers = [found.strip() for found in (other_marker, marker) if found.strip()]
        if markers:
            # A semicolon directly behind an address would be part of it (PEP 508).
            text = f"{text} ; {markers[0] if len(markers) == 1 else ' and '.join(f'({found})' for found in markers)}"
        return cls.from_text(text, where=where, is_editable=editable)

    @classmethod
    def from_text(cls, text: str, *, where: str, is_editable: bool = False) -> Requirement:
        """Read a whole requirement (PEP 508), as written at `where`. Raises `InvalidSpec`."""
        # Loaded here: flows without PyPI packages have no use for it.
        from packaging.requirements import InvalidRequirement
        from packaging.requirements import Requirement as Parsed
        from packaging.utils import canonicalize_name

        text = without_user_info(text)
        try:
            parsed = Parsed(text)
        except (InvalidRequirement, RecursionError) as error:
            raise InvalidSpec(
                f"{where}: `{text}` is not a requirement",
                hint='Write the name as the key and a version as its value: {"requests": ">=2.21"}',
                output=str(error),
            ) from error
        return cls(
            name=canonicalize_name(parsed.name),
            extras=tuple(sorted(canonicalize_name(extra) for extra in parsed.extras)),
            specifier=",".join(sorted(str(parsed.specifier).split(","))),
            marker=str(parsed.marker or ""),
            url=parsed.url or "",
            is_editable=is_editable,
        )

    @property
    def is_local_folder(self) -> bool:
        """Whether it is built from a folder on this machine."""
        return self.is_local and not urlsplit(self.url).path.endswith(_ARCHIVES)

    @property
    def is_local(self) -> bool:
        """Whether it comes from this machine: a folder or an archive."""
        return self.url.startswith("file:")

    @property
    def identity(self) -> str:
        """What counts for the identity of a request: where a local folder lies does not, its content is known apart."""
        if not self.is_local:
            return str(self)
        return str(replace(self, url=f"file:#{urlsplit(self.url).fragment}".rstrip("#")))

    def __str__(self) -> str:
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        body = f"{self.name}{extras} @ {self.url}" if self.url else f"{self.name}{extras}{self.specifier}"
        return f"{body} ; {self.marker}" if self.marker else body


_ITEM = re.compile(r"\s*([A-Za-z0-9._-]+\s*(?:\[[^\]]*\])?)\s*(.*)$", re.DOTALL)
_EXACT = re.compile(r"==\s*([^=*,\s][^*,\s]*)")


def key_and_constraint(text: str) -> tuple[str, str]:
    """Split ``name[extra]==1.0; marker`` into what a mapping of packages has for it; an address stays with its name.

    >>> key_and_constraint("tensorflow==2.10.0"), key_and_constraint("requests[socks] >=2; os_name == 'posix'")
    (('tensorflow', '2.10.0'), ('requests[socks]', ">=2; os_name == 'posix'"))
    """
    body, _, marker = text.partition(";") if "@" not in text else (text, "", "")
    found = _ITEM.match(body)
    name, constraint = (found[1], found[2].strip()) if found and "@" not in text else (body, "")
    # The mapping's bare version is an exact one.
    bare = _EXACT.fullmatch(constraint)
    constraint = bare[1] if bare else constraint
    return name.strip(), f"{constraint}; {marker.strip()}" if marker.strip() else constraint


_USER_INFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<user>[^/\s]*)@")


def without_user_info(text: str) -> str:
    """Return `text` without the credentials of URLs in it.

    The user of a secure shell (``git@``) is a part of the address; a password is not.
    """
    return _USER_INFO.sub(_kept_user, text)


def _kept_user(found: re.Match[str]) -> str:
    user = found["user"].partition(":")[0]
    return f"{found['scheme']}://{user}@" if "ssh" in found["scheme"] and user else f"{found['scheme']}://"


def _whole(name: str, body: str, relative_to: Path | None) -> str:
    """Put a name and what is asked of it together as PEP 508 has it."""
    if body.startswith("@"):
        body = body[1:].strip()
        return f"{name} @ {_address(body, relative_to)}"
    if body.startswith(_PATH) or _URL.match(body):
        return f"{name} @ {_address(body, relative_to)}"
    project, at, address = name.partition("@")
    if at:
        return f"{project.strip()} @ {_address(address.strip(), relative_to)}"
    if _BARE_VERSION.match(body):
        return f"{name}=={body.removeprefix('v')}"
    # Without a space, a word would become a part of the name, and another project's.
    return f"{name} {body}" if body[:1].isalnum() else f"{name}{body}"


def _address(text: str, relative_to: Path | None) -> str:
    if text.startswith("file://") and not text.startswith("file:///"):
        text = text.removeprefix("file://")
    if text.startswith(_PATH):
        return Path(relative_to or Path.cwd(), text).resolve().as_uri()
    return text
