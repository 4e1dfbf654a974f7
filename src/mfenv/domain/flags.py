"""How PyPI packages are chosen, in the words of pip's options that mean the same to any resolver."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from mfenv.domain.channel import relative_path, without_credentials
from mfenv.errors import InvalidSpec

_SWITCHES = ("pre", "no-index", "no-binary", "only-binary", "find-links", "trusted-host", "prerelease", "resolution")
_WITHOUT_VALUE = frozenset({"pre", "no-index"})
_CHOICES = {
    "prerelease": ("allow", "disallow", "if-necessary", "explicit", "if-necessary-or-explicit"),
    "resolution": ("highest", "lowest", "lowest-direct"),
}
_NAMES = re.compile(r":all:|:none:|[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ResolverFlag:
    """One option of a PyPI resolver in normal form: ``pre`` or ``find-links`` with its value."""

    name: str
    value: str = ""
    """A URL without credentials, a host, names separated by commas, a choice; empty where the option has none."""
    written: str = field(default="", compare=False, repr=False)
    """A relative path as the user wrote it; empty for anything else."""

    @classmethod
    def parse(cls, text: str, *, where: str, relative_to: Path | None = None) -> ResolverFlag:
        """Read ``pre``, ``--pre``, ``find-links=./wheels`` or ``--find-links ./wheels``, as written at `where`.

        Relative paths are taken from `relative_to`. ``pre`` is ``prerelease=allow``, one spelling of both.
        Raises `InvalidSpec` naming the options there are.

        >>> ResolverFlag.parse("--pre", where="here")
        ResolverFlag(name='prerelease', value='allow')
        """
        bare = text.strip().removeprefix("--")
        name, _, value = re.sub(r"^([A-Za-z-]+)\s+", r"\1=", bare).partition("=")
        name, value = name.strip().lower(), value.strip()
        if name not in _SWITCHES:
            raise InvalidSpec(
                f"{where}: the option `--{without_credentials(bare)}` is not known here",
                hint=f"Known are {', '.join(f'`{known}`' for known in _SWITCHES)}",
            )
        if (name in _WITHOUT_VALUE) == bool(value):
            raise InvalidSpec(
                f"{where}: the option `{name}` " + ("takes no value" if value else "needs a value"),
                hint=f"Write `{name}`" if value else f"Write `{name}=...`",
            )
        if name == "pre":
            return cls(name="prerelease", value="allow")
        found = cls(name=name, value=_value(name, value, where, relative_to))
        if name == "find-links" and not urlsplit(value).scheme:
            return replace(found, written=relative_path(value))
        return found

    @property
    def identity(self) -> str:
        """What counts for the identity of a request: a relative path as it was written, so that no machine counts."""
        return f"--{self.name}={self.written}" if self.written else str(self)

    def __str__(self) -> str:
        return f"--{self.name}={self.value}" if self.value else f"--{self.name}"


def _value(name: str, value: str, where: str, relative_to: Path | None) -> str:
    if name in _CHOICES and value not in _CHOICES[name]:
        known = ", ".join(f"`{choice}`" for choice in _CHOICES[name])
        raise InvalidSpec(f"{where}: `{value}` is not a choice of the option `{name}`", hint=f"Known are {known}")
    if name in {"no-binary", "only-binary"}:
        names = [part.strip() for part in value.split(",") if part.strip()]
        if not names or not all(map(_NAMES.fullmatch, names)):
            raise InvalidSpec(f"{where}: `{value}` are not names of packages", hint=f"Write `{name}=:all:` or names")
        return ",".join(sorted({re.sub(r"[-_.]+", "-", part).lower() for part in names}))
    if name == "find-links":
        if urlsplit(value).scheme in {"http", "https", "file"}:
            return without_credentials(value)
        return Path(relative_to or Path.cwd(), value).expanduser().resolve().as_uri()
    return value
