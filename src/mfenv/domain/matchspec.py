"""Requested conda packages in normal form.

The grammar is conda's match spec (CEP 29) as far as a decorator's ``{"name": "constraint"}`` can hold it.
It is read here and not by py-rattler, because the identity of a request is needed by runs that have
nothing to solve, and those must not pay for loading a solver; conda itself is not on PyPI. Only the
spelling is settled here: whether a version makes sense is the solver's word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mfenv.domain.channel import Channel, without_credentials
from mfenv.errors import InvalidSpec

_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
_OPERATOR = re.compile(r"^(==|!=|>=|<=|~=|>|<|=)?\s*(.*)$", re.DOTALL)
# A version literal: CEP 33 (version literals), with the glob that conda allows at the end.
_VERSION = re.compile(r"(\d+!)?v?\d[a-z0-9_]*([._-][a-z0-9_]+)*(\+[a-z0-9_.]+)?(\.?\*)?", re.IGNORECASE)
_BUILD = re.compile(r"[A-Za-z0-9_.*+^$-]+")


def parse_version_spec(text: str, *, where: str) -> str:
    """Return a version constraint in normal form; raise `InvalidSpec` naming `where`.

    A bare version means exactly that one, as in standard Metaflow. Alternatives keep their order, the
    parts of each are sorted and named once. No constraint is ``*``.

    >>> parse_version_spec("1.4.0", where="here"), parse_version_spec("<2, >=1", where="here")
    ('==1.4.0', '<2,>=1')
    """
    # What looks like an asterisk in our own messages may come back by copy and paste.
    text = text.replace("\N{ASTERISK OPERATOR}", "*")
    alternatives = [_conjunction(part, text, where) for part in text.split("|")]
    return "|".join(dict.fromkeys(alternatives))


def _conjunction(text: str, whole: str, where: str) -> str:
    if text.strip() in {"", "*"} and text == whole:
        return "*"
    parts = []
    for part in text.split(","):
        part = part.strip()
        if not part:
            raise _comma(whole, where)
        if part != "*":
            parts.append(_comparison(part, whole, where))
    return ",".join(sorted(set(parts))) or "*"


def _comma(whole: str, where: str) -> InvalidSpec:
    stripped = whole.strip()
    if stripped.endswith((",", "|")):
        fault = "ends with a comma" if stripped.endswith(",") else "ends with `|`"
    else:
        fault = "has an empty part"
    example = stripped.strip(",| ").split(",")[0].split("|")[0].lstrip("=<>!~ ") or "1.26"
    return InvalidSpec(
        f"{where}: version `{whole}` {fault}",
        hint=f"Write `{example}` for exactly that version or `>={example},<...` for a range",
    )


def _shown(text: str) -> str:
    """Return what is to be told of: an address may stand there by mistake, with a password in it."""
    return re.sub(r"://[^/\s]*@", "://", text)


def _comparison(text: str, whole: str, where: str) -> str:
    match = _OPERATOR.match(text)
    assert match is not None  # every part of it is optional
    # Letters in versions have no case (CEP 33).
    operator, version = match.group(1) or "", match.group(2).strip().lower()
    if not _VERSION.fullmatch(version):
        shown, part = _shown(whole), _shown(text)
        said = f"version `{shown}`" if whole.strip() == text else f"`{part}` in version `{shown}`"
        raise InvalidSpec(
            f"{where}: {said} is not a version or a comparison with one",
            hint="Write `1.26` for exactly that version, `1.26.*` for its patch releases, "
            "or `>=1.26,<2` for a range; an empty text takes any version",
        )
    glob = version.endswith("*")
    version = version.removesuffix("*").removesuffix(".")
    if operator == "=" or (glob and operator in {"", "=="}):
        # `=1.4` and `1.4.*` are two spellings of "starts with 1.4" (CEP 29).
        return f"{version}.*"
    return f"!={version}.*" if glob and operator == "!=" else f"{operator or '=='}{version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchSpec:
    """One requested conda package; equal meaning in a different spelling is the same value."""

    name: str
    version: str = "*"
    build: str | None = None
    channel: Channel | None = None
    marker: str = ""
    """The machines and Pythons that it is wanted for (PEP 508); empty: all."""

    @classmethod
    def parse(cls, name: str, constraint: str, *, where: str, relative_to: Path | None = None) -> MatchSpec:
        """Read ``name`` or ``channel::name`` with a constraint, as written at `where`.

        A relative path of a channel is taken from `relative_to` (by default the working directory).
        The constraint is a version constraint, perhaps with a build string behind it: ``1.2=py311_0`` or
        ``>=1.2 py311*``. A marker may follow a semicolon. Raises `InvalidSpec`.
        """
        constraint, semicolon, marker = constraint.partition(";")
        channel_text, _, bare = name.strip().rpartition("::")
        channel = Channel.parse(channel_text, where=where, relative_to=relative_to) if channel_text else None
        bare = bare.strip().lower()
        if not _NAME.fullmatch(bare):
            raise InvalidSpec(
                f"{where}: `{without_credentials(name)}` is not the name of a conda package",
                hint='Write the name alone as the key and the version as its value: {"numpy": ">=1.26"}',
            )
        version, build = _split_build(constraint.strip(), where)
        return cls(
            name=bare,
            version=parse_version_spec(version, where=where),
            build=build,
            channel=channel,
            marker=_marker(marker.strip(), where) if semicolon else "",
        )

    @classmethod
    def from_text(cls, text: str, *, where: str, relative_to: Path | None = None) -> MatchSpec:
        """Read a package in one text, as conda's files have it: ``numpy``, ``conda-forge::numpy >=1.26,<2``.

        As there, ``numpy=1.26`` is any 1.26 and ``numpy==1.26`` exactly that version; ``numpy=1.26=py311_0`` has a
        build string, and ``numpy[version=">=1.26", build="py311*"]`` says the same in brackets (CEP 29). What stands
        behind ``#`` is a comment. Raises `InvalidSpec`.
        """
        found = _WHOLE.match(text.partition("#")[0].strip())
        if not found:
            raise InvalidSpec(
                f"{where}: `{_shown(text)}` is not a conda package with a version",
                hint="Write for example `numpy`, `numpy>=1.26,<2` or `conda-forge::numpy=1.26`",
            )
        name, (constraint, semicolon, marker) = found["name"], found["constraint"].partition(";")
        constraint = _as_decorators_have_it(constraint)
        if found["brackets"]:
            name, constraint = _bracketed(name, constraint, found["brackets"], where)
        channel, _, bare = name.rpartition("::")
        if _SUBDIR.search(channel):
            raise InvalidSpec(
                f"{where}: `{_shown(text)}` names a platform, which is that of the step",
                hint=f"Write `{_shown(_SUBDIR.sub('', channel))}::{bare}`",
            )
        return cls.parse(name, f"{constraint}{semicolon}{marker}", where=where, relative_to=relative_to)

    @property
    def identity(self) -> str:
        """What counts for the identity of a request: as `str`, with the channel as it was written."""
        return self._text(self.channel.identity if self.channel else "")

    def __str__(self) -> str:
        return self._text(str(self.channel or ""))

    def _text(self, channel: str) -> str:
        version = "" if self.version == "*" and not self.build else self.version
        words = " ".join(filter(None, (self.name, version, self.build)))
        return (f"{channel}::" if channel else "") + words + (f" ; {self.marker}" if self.marker else "")


def _marker(text: str, where: str) -> str:
    # Loaded here: few packages have one, and it loads a library.
    from mfenv.domain.markers import normal_marker

    return normal_marker(text, where=where)


_VERSION_AND_BUILD = re.compile(r"^(?P<version>[^=<>!~|,\s][^=<>!~|,\s]*)=(?P<build>[^=<>!~|,\s]+)$")


def _split_build(text: str, where: str) -> tuple[str, str | None]:
    """Take a build string off the end of a constraint: ``1.2=b``, ``==1.2=b`` or ``>=1.2 b``."""
    exact = _VERSION_AND_BUILD.match(text.removeprefix("=="))
    if exact:
        version, build = exact.group("version"), exact.group("build")
    else:
        version, space, build = text.rpartition(" ")
        # "< 2", ">=1, <2" and ">=1 ,<2" have spaces that separate no build.
        if not space or version.rstrip().endswith((",", "|", "=", "<", ">", "~", "!")) or build[0] in "=<>!~,|":
            return text, None
    if not _BUILD.fullmatch(build):
        raise InvalidSpec(f"{where}: `{_shown(build)}` is not a build string")
    return version, None if build == "*" else build


_WHOLE = re.compile(
    r"^(?P<name>(?:[^\s\[\]=<>!~;]*::)?[A-Za-z0-9_][A-Za-z0-9_.-]*)(?![^\s\[=<>!~;])\s*(?P<constraint>[^\[\]]*?)\s*"
    r"(?P<brackets>\[.*\])?$",
    re.DOTALL,
)
_SUBDIR = re.compile(r"/(noarch|(linux|osx|win|freebsd|emscripten|wasi|zos)-[a-z0-9_]+)/?$")
_BRACKET = re.compile(r"\s*([a-z_0-9]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^,\]\s]+))\s*(?:,|$)")


def _bracketed(name: str, constraint: str, brackets: str, where: str) -> tuple[str, str]:
    """Return name and constraint of the form with brackets (CEP 29): they win over what stands before them."""
    fields: dict[str, str] = {}
    rest = brackets[1:-1]
    while rest.strip():
        found = _BRACKET.match(rest)
        if not found or found[1] not in {"version", "build", "channel"} or found[1] in fields:
            raise InvalidSpec(
                f"{where}: `{_shown(brackets)}` cannot be read",
                hint="Only `version`, `build` and `channel` can stand in brackets, each once: "
                '`numpy[version=">=1.26,<2"]`',
            )
        fields[found[1]] = next(group for group in found.groups()[1:] if group is not None)
        rest = rest[found.end() :]
    if "channel" in fields:
        name = f"{fields['channel']}::{name.rpartition('::')[2]}"
    version, build = _split_build(constraint, where) if constraint else ("", None)
    version = _as_decorators_have_it(fields.get("version", version))
    build = fields.get("build", build)
    return name, f"{version or '*'} {build}" if build else version


# A build string stands behind a space or an equals sign, and what is before that is a whole version constraint.
_BUILT = re.compile(r"(?P<version>.*[^\s=!|,<>~])(?:\s*=\s*|\s+)(?P<build>[^\s=!|,<>~]+)", re.DOTALL)


def _as_decorators_have_it(constraint: str) -> str:
    """Return a constraint of conda's files in the words of a decorator: ``=1.26=b`` is exactly 1.26 (CEP 29).

    ``= >=1`` is no match spec, but was read as ``>=1`` by an earlier reader of such files.
    """
    text = constraint.strip()
    found = _BUILT.fullmatch(text)
    version, build = (found["version"], found["build"]) if found else (text, "")
    version = re.sub(r"^=(\s+(?==)|\s*(?=[<>!~]))", "", version)
    if re.fullmatch(r"={1,2}\s*\*", version) or (build and re.fullmatch(r"=[^=,|]+", version)):
        version = version.lstrip("=").strip()
    return f"{version} {build}" if build else version
