"""requirements.txt: pip's format (pip 25, "Requirements File Format"), and three options of our own.

`pip-requirements-parser`, which holds pip's own code, takes a text apart into lines without comments, and a line into
a requirement and its options. Those steps are called one by one, and not its reader of whole files, which knows only
files on disk, reads them anew by any coding that a comment in them names, leaves a marker behind ``-e`` out, and takes
every word behind ``-e`` for a folder. It does not expand variables, find the name of what has only an address, or say
which line of which included file is at fault: that is done here. Our own options are ``--conda-pkg``,
``--conda-channel`` and ``--sys-pkg``.

Three things are not as pip has them. What a file of constraints includes by ``-r`` are constraints too (as for uv). A
marker behind ``-e`` counts. A second ``--index-url`` that is another than the first is refused; pip takes the last one.
"""

from __future__ import annotations

import contextlib
import optparse
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mfenv.domain.channel import Channel, credentials_in
from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import PackageIndex, index_secret, secrets_in
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import system_version
from mfenv.domain.python import PythonConstraint
from mfenv.domain.requirement import Requirement, without_user_info
from mfenv.domain.spec import Place, SpecLayer
from mfenv.errors import InvalidSpec
from mfenv.formats.problems import Problems
from mfenv.formats.project_name import name_of_archive, name_of_folder
from mfenv.formats.written import Written, joined

# pip expands these and no others ("Using environment variables").
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_OURS = re.compile(r"--(?P<option>conda-pkg|conda-channel|sys-pkg)(?:\s+|=|$)(?P<value>.*)$", re.DOTALL)
_EDITABLE = re.compile(r"(?:-e|--editable(?=[\s=]|$))[\s=]*")
_ADDRESS = re.compile(r"(?:(?:git|hg|svn|bzr)\+)?[A-Za-z][A-Za-z0-9+.-]*://|file:")
_NAME_AT = re.compile(r"(?P<project>[A-Za-z0-9._-]+\s*(?:\[[^\[\]]*\])?)\s*@(?P<address>.*)", re.DOTALL)
_EXTRAS = re.compile(r"\[[^\[\]]*\]$")
_PATH_FRAGMENT = re.compile(r"#(?:egg|subdirectory|sha256)=[^#]*$")
_SYSTEM = re.compile(r"(?P<name>[^\s=<>!~]+)\s*(?P<operator>[=<>!~]*)\s*(?P<version>.*)")
_QUOTED = re.compile(r"""^(["'])(.*?)\1""")
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz")
# These change nothing of what is resolved and locked: a lock has the digest of every file anyway, and a resolver that
# looks at all versions has no use for a preference. The others tell pip of things that are long gone.
_WITHOUT_EFFECT = frozenset(
    {
        "prefer_binary",
        "use_features",
        "allow_all_external",
        "allow_external",
        "allow_unverified",
        "always_unzip",
        "no_use_wheel",
    }
)
_DEEPEST = 20
# Longer than any requirement that somebody means; hashes do not count. Regular expressions take their time on more.
_LONGEST = 8192
# The library takes the square of their number of steps to find no comment behind them. Ends of lines stay.
_BLANKS = re.compile(r"(?:(?![\n\v\f\r\x1c-\x1e\x85\u2028\u2029])\s){100,}")
_HASH = re.compile(r"\s--hash(?:=|\s+)\S+")


def read_text(path: Path) -> str:
    """Return the text of a file that another includes. Raises `InvalidSpec`."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidSpec(f"`{path.name}` is not a text in UTF-8", hint="Save it as UTF-8") from error
    except (OSError, ValueError) as error:
        raise InvalidSpec(
            f"`{path.name}` cannot be read: {getattr(error, 'strerror', None) or error}",
            hint="The path is relative to the folder of the file that includes it",
        ) from error


def load(
    text: str,
    *,
    shown: str,
    folder: Path,
    read: Callable[[Path], str] = read_text,
    environment: Mapping[str, str] = os.environ,
) -> Written:
    """Read the text of a requirements file that is called `shown` in messages; its paths are relative to `folder`.

    `read` reads the files that it includes; `environment` has the values of ``${VARIABLES}``. Raises `InvalidSpec` with
    a line for everything that is wrong.
    """
    reading = _Reading(problems=Problems(shown), read=read, environment=environment)
    file = _File(shown=shown, folder=folder, above=(Path(os.path.normpath(folder.absolute() / Path(shown).name)),))
    found = Written(layer=SpecLayer())
    first_places: dict[str, str] = {}
    for where, part in reading.parts(text, file):
        names = _names(part.layer)
        before = [first_places[name] for name in names if name in first_places]
        with reading.problems.noted():
            found = joined(found, part, where=" and ".join([where, *dict.fromkeys(before)]))
        first_places |= {name: where for name in names if name not in first_places}
    reading.check_hashes(found.layer)
    reading.problems.raise_if_any()
    return found


def _names(layer: SpecLayer) -> tuple[str, ...]:
    """Return what is settled by a line: another one that settles it as well has to agree with that."""
    return (
        *(f"pypi {wanted.name}" for wanted in layer.pypi),
        *(f"conda {spec.name}" for spec in layer.conda_only),
        *(name for name, _ in layer.system),
        *(("python",) if layer.python else ()),
        *(("index-url",) if layer.default_index else ()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file as it is named in messages, and how it came in."""

    shown: str
    folder: Path
    above: tuple[Path, ...]
    """The files that include it, and itself."""
    is_constraints: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """The reading of a file and of all that it includes; gathers what is wrong."""

    problems: Problems
    read: Callable[[Path], str]
    environment: Mapping[str, str]
    included: set[tuple[Path, bool]] = field(default_factory=set)
    """Files that were included, each perhaps also as constraints: a second time adds nothing."""
    hashes_asked_at: list[str] = field(default_factory=list)

    def parts(self, text: str, file: _File) -> Iterator[tuple[str, Written]]:
        """Yield what each line asks for, with its place."""
        if re.search("[\ud800-\udfff]", text):
            self.problems.add(self.problems.where(1, path=file.shown), "this is not text", hint="Save it as UTF-8")
            return
        for number, column, line in _lines(text):
            where = self.problems.where(number, column, path=file.shown)
            with self.problems.noted():
                yield from self._line(line, where, file)

    def _line(self, line: str, where: str, file: _File) -> Iterator[tuple[str, Written]]:
        _check_length(line, where)
        values = {name: self.environment[name] for name in _VARIABLE.findall(line) if self.environment.get(name)}
        expanded = _VARIABLE.sub(lambda found: values.get(found[1], found[0]), line)
        _check_length(expanded, where)
        try:
            yield from self._expanded(expanded, where, file)
        except InvalidSpec as error:
            raise _as_written(error, values, where) from error

    def _expanded(self, line: str, where: str, file: _File) -> Iterator[tuple[str, Written]]:
        if ours := _OURS.match(line):
            if file.is_constraints and ours["option"] == "conda-pkg":
                raise InvalidSpec(
                    f"{where}: a file of constraints asks for no packages",
                    hint="Move `--conda-pkg` to the file that includes it",
                )
            yield where, _our_option(ours["option"], ours["value"].strip(), where, file.folder)
            return
        editable = _EDITABLE.match(line)
        body, options = _taken_apart(line[editable.end() :] if editable else line, where)
        # The shell's quotation marks may stand around a path, and in a marker.
        body = _QUOTED.sub(r"\2", body) if editable else body
        if editable or body:
            wanted = _requirement(body, options, where, file.folder, is_editable=bool(editable))
            yield where, _as_constraint(wanted, where) if file.is_constraints else wanted
            return
        for name, value in options.items():
            if name == "require_hashes":
                self.hashes_asked_at.append(where)
            elif name in {"requirements", "constraints"}:
                for path in value:
                    is_constraints = file.is_constraints or name == "constraints"
                    yield from self._included(path, where, replace(file, is_constraints=is_constraints))
            elif name not in _WITHOUT_EFFECT:
                yield where, _option(name, value, where, file.folder)

    def _included(self, name: str, where: str, file: _File) -> Iterator[tuple[str, Written]]:
        """Yield what the file `name` asks for, which `file` includes."""
        address = _ADDRESS.match(name)
        if address and not name.startswith("file:"):
            raise InvalidSpec(
                f"{where}: `{without_user_info(name)}` is not on this machine",
                hint="Fetch that file once and include it by its path, so that it cannot change unnoticed",
            )
        path = _path(name, file.folder, where)
        if path in file.above or len(file.above) > _DEEPEST:
            raise InvalidSpec(f"{where}: `{name}` includes itself", hint="Take the line out that closes the circle")
        if (path, file.is_constraints) in self.included:
            return
        self.included.add((path, file.is_constraints))
        try:
            text = self.read(path)
        except InvalidSpec as error:
            raise InvalidSpec(f"{where}: {error.message}", hint=error.hint) from error
        shown = name if address else os.path.normpath(Path(file.shown).parent / name)
        yield from self.parts(text, replace(file, shown=shown, folder=path.parent, above=(*file.above, path)))

    def check_hashes(self, layer: SpecLayer) -> None:
        """Note the requirements without hashes where a line asks for hashes."""
        places = dict(layer.places)
        for wanted in layer.pypi if self.hashes_asked_at else ():
            if not wanted.hashes:
                self.problems.add(
                    f"{places[wanted.name].owner}:1",
                    f"`{wanted}` has no hash, which `--require-hashes` asks for",
                    hint="Make the file anew with `uv pip compile --generate-hashes`, or take `--require-hashes` out",
                )


def _check_length(line: str, where: str) -> None:
    if len(_HASH.sub("", line)) > _LONGEST:
        raise InvalidSpec(
            f"{where}: this line is longer than any requirement", hint="Write each requirement on a line of its own"
        )


def _as_written(error: InvalidSpec, values: Mapping[str, str], where: str) -> InvalidSpec:
    """Return a refusal that names variables and not their values, which may be secret wherever they stand."""

    def hidden(text: str) -> str:
        for name, value in values.items():
            text = text.replace(value, f"${{{name}}}")
        return text

    prefix, message = (
        (where, error.message.removeprefix(where)) if error.message.startswith(where) else ("", error.message)
    )
    return InvalidSpec(prefix + hidden(message), hint=hidden(error.hint) if error.hint else None)


def _lines(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield line and column (from 1) and the text of each line that says something; comments are left out."""
    from pip_requirements_parser import CommentLine, preprocess

    text = text.removeprefix("\ufeff")
    # Where a line ends is the library's word, and pip's.
    physical = text.splitlines()
    for line in preprocess(_BLANKS.sub(" ", text)):
        if not isinstance(line, CommentLine):
            raw = physical[line.line_number - 1]
            yield line.line_number, len(raw) - len(raw.lstrip()) + 1, line.line


def _option_parser() -> optparse.OptionParser:
    """Return a parser of options; a new one each time, since it gathers what it reads in its own lists."""
    from pip_requirements_parser import build_parser

    parser: optparse.OptionParser = build_parser()
    # Later than the library: pip 23.1 has it on requirements.
    parser.add_option("-C", "--config-settings", "--config-setting", dest="config_settings", action="append")
    return parser


def _taken_apart(line: str, where: str) -> tuple[str, dict[str, Any]]:
    """Return the requirement in a line (empty if there is none) and the options, by the names that pip has for them."""
    from pip_requirements_parser import OptionParsingError, break_args_options

    body, rest = break_args_options(line)
    if not rest:
        return body.strip(), {}
    try:
        options, others = _option_parser().parse_args(shlex.split(rest))
    except (ValueError, OptionParsingError, optparse.OptParseError) as error:
        raise _bad_options(rest, where) from error
    if others:
        raise InvalidSpec(
            f"{where}: `{without_user_info(others[0])}` stands behind an option, and belongs to none",
            hint="Write each requirement and each option on a line of its own",
        )
    return body.strip(), {name: _without_sign(value) for name, value in vars(options).items() if value}


def _without_sign(value: Any) -> Any:
    """Take an equals sign off: pip takes ``-i=URL`` for ``-i URL``."""
    if isinstance(value, list):
        return [text.lstrip("=") for text in value]
    return value.lstrip("=") if isinstance(value, str) else value


def _bad_options(text: str, where: str) -> InvalidSpec:
    parser = _option_parser()
    words = [word.partition("=")[0] for word in without_user_info(text).split() if word.startswith("-")]
    word = next((word for word in words if not parser.has_option(word)), words[-1])
    if option := parser.get_option(word):
        said = "needs a value" if option.takes_value() else "takes no value"
        hint = "Write its value behind it, and close quotation marks" if option.takes_value() else f"Write `{word}`"
        return InvalidSpec(f"{where}: the option `{word}` {said}", hint=hint)
    return InvalidSpec(
        f"{where}: the option `{word}` is not known",
        hint="pip's options for requirements files can stand here, and `--conda-pkg`, `--conda-channel`, `--sys-pkg`",
    )


def _our_option(option: str, value: str, where: str, folder: Path) -> Written:
    if not value:
        raise InvalidSpec(f"{where}: `--{option}` needs a value", hint=_OUR_EXAMPLES[option])
    if option == "conda-channel":
        channel = Channel.parse(value, where=where, relative_to=folder)
        credentials = credentials_in(value, channel)
        return Written(layer=SpecLayer(channels=(channel,)), channel_credentials=(credentials,) if credentials else ())
    if option == "sys-pkg":
        return Written(layer=SpecLayer(system=(_system(value, where),)))
    spec = MatchSpec.from_text(value, where=where, relative_to=folder)
    pinned = credentials_in(value.rpartition("::")[0], spec.channel) if spec.channel else None
    place = Place(owner=where.rpartition(":")[0], text=f"--conda-pkg {spec}")
    return Written(
        layer=SpecLayer(conda_only=(spec,), places=((spec.name, place),)),
        channel_credentials=(pinned,) if pinned else (),
    )


_OUR_EXAMPLES = {
    "conda-channel": "Write for example `--conda-channel conda-forge`",
    "conda-pkg": "Write for example `--conda-pkg ffmpeg>=6`",
    "sys-pkg": "Write for example `--sys-pkg __cuda==12.4`",
}


def _system(value: str, where: str) -> tuple[str, str]:
    found = _SYSTEM.fullmatch(value)
    if not found or not found["version"]:
        raise InvalidSpec(f"{where}: `{value}` has no version", hint=_OUR_EXAMPLES["sys-pkg"])
    if found["operator"] not in {"", "=", "=="}:
        raise InvalidSpec(
            f"{where}: `{value}` is a range, but a machine has one version of it", hint=_OUR_EXAMPLES["sys-pkg"]
        )
    return found["name"], system_version(found["name"], found["version"], where=where)


def _option(name: str, value: Any, where: str, folder: Path) -> Written:
    match name:
        case "index_url" | "extra_index_urls":
            texts = [value] if isinstance(value, str) else list(value)
            indexes = [PackageIndex.parse(text, where=where, relative_to=folder) for text in texts]
            secrets = [index_secret(text, index) for text, index in zip(texts, indexes, strict=True)]
            layer = SpecLayer(default_index=indexes[-1]) if name == "index_url" else SpecLayer(indexes=tuple(indexes))
            return Written(layer=layer, index_secrets=tuple(secret for secret in secrets if secret))
        case "find_links" | "trusted_hosts" | "no_binary" | "only_binary":
            word = {"trusted_hosts": "trusted-host"}.get(name, name.replace("_", "-"))
            flags = [ResolverFlag.parse(f"{word}={text}", where=where, relative_to=folder) for text in value]
            found = [secret for text in value for secret in secrets_in(text)]
            return Written(layer=SpecLayer(flags=tuple(dict.fromkeys(flags))), index_secrets=tuple(found))
        case "pre" | "no_index":
            return Written(layer=SpecLayer(flags=(ResolverFlag.parse(name.replace("_", "-"), where=where),)))
    raise InvalidSpec(
        f"{where}: the option `{_spelling(name)}` cannot stand here",
        hint="Begin a line with `-e`, and write what belongs to a requirement behind it on its line",
    )


def _spelling(name: str) -> str:
    """Return an option as users write it, by the name that pip has for it."""
    return next(option.get_opt_string() for option in _option_parser().option_list if option.dest == name)


_OF_BUILDS = frozenset({"config_settings", "global_options", "install_options"})


def _requirement(body: str, options: Mapping[str, Any], where: str, folder: Path, *, is_editable: bool) -> Written:
    for name in options:
        if name in _OF_BUILDS:
            raise InvalidSpec(
                f"{where}: `{_spelling(name)}` cannot be passed on to the build of a wheel",
                hint="Take it out if the build goes without it, or build the wheel yourself and name its file",
            )
        if name != "hashes":
            raise InvalidSpec(
                f"{where}: `{_spelling(name)}` cannot stand behind a requirement",
                hint="Write it on a line of its own",
            )
    wanted = _wanted(body, where, folder, is_editable=is_editable)
    wanted = replace(wanted, hashes=_hashes(options.get("hashes", ()), where))
    place = Place(owner=where.rpartition(":")[0], text=str(wanted))
    if wanted.name == "python" and not wanted.url:
        return _python(wanted, where, place)
    return Written(
        layer=SpecLayer(pypi=(wanted,), places=((wanted.name, place),)), index_secrets=tuple(secrets_in(body))
    )


def _as_constraint(found: Written, where: str) -> Written:
    """Return a requirement as one that holds if its project is chosen at all; a Python as a bound on it."""
    for wanted in found.layer.pypi:
        if wanted.extras:
            raise InvalidSpec(f"{where}: a constraint cannot have extras: `{wanted}`", hint="Leave the extras out")
        if wanted.is_local:
            raise InvalidSpec(
                f"{where}: a constraint cannot be what lies on this machine: `{wanted.name}`",
                hint="Move the line to the file of requirements",
            )
    layer = SpecLayer(constraints=found.layer.pypi, requires_python=found.layer.python)
    return replace(found, layer=layer)


def _python(wanted: Requirement, where: str, place: Place) -> Written:
    if wanted.marker or wanted.extras or wanted.hashes:
        thing = "depend on a marker" if wanted.marker else "have extras" if wanted.extras else "have hashes"
        raise InvalidSpec(
            f"{where}: a Python cannot {thing}: `{wanted}`", hint="Write for example `python>=3.10,<3.13`"
        )
    if not wanted.specifier:
        return Written(layer=SpecLayer())
    exact = re.fullmatch(r"===?([^,*]+)", wanted.specifier)
    version = exact[1] if exact else wanted.specifier
    return Written(layer=SpecLayer(python=PythonConstraint.parse(version, where=where), places=(("python", place),)))


def _wanted(text: str, where: str, folder: Path, *, is_editable: bool) -> Requirement:
    """Read a requirement; what is only an address or a path gets the name that it is known to have."""
    named = None if _ADDRESS.match(text) else _NAME_AT.fullmatch(text)
    written = named["address"].strip() if named else text
    if not (named or is_editable or _ADDRESS.match(text) or _is_path(text)):
        return _checked(text, where)
    body, marker = _split_marker(written, is_address=bool(named or _ADDRESS.match(text)))
    if not body:
        raise InvalidSpec(f"{where}: `{without_user_info(text) or '-e'}` names no folder and no address", hint=_HINT)
    project, address = _project(body, where, folder, project=named["project"].strip() if named else "")
    is_folder = address.startswith("file:") and not urlsplit(address).path.endswith(_ARCHIVES)
    if is_editable and not is_folder and not address.startswith("git+"):
        raise InvalidSpec(
            f"{where}: `{without_user_info(body)}` cannot be editable",
            hint="Take `-e` out: only folders can be, and repositories are taken as they are",
        )
    wanted = _checked(f"{project} @ {address}" + (f" ; {marker}" if marker else ""), where)
    return replace(wanted, is_editable=is_editable and is_folder)


_HINT = (
    "Write a name with versions, `requests>=2.21`, a name with an address, `lib @ git+https://...`, or the path of a "
    "folder, `./lib`"
)


def _checked(text: str, where: str) -> Requirement:
    try:
        return Requirement.from_text(text, where=where)
    except (InvalidSpec, RecursionError) as error:
        raise InvalidSpec(f"{where}: `{without_user_info(text)}` is not a requirement", hint=_HINT) from error


def _split_marker(text: str, *, is_address: bool) -> tuple[str, str]:
    """Return an address or a path, and the marker behind it; an address may have a semicolon in it."""
    body, *marker = re.split(r"\s;|;\s" if is_address else ";", text, maxsplit=1)
    return body.strip(), "".join(marker).strip()


def _is_path(text: str) -> bool:
    body = _EXTRAS.sub("", _split_marker(text, is_address=False)[0])
    return "/" in body or body.startswith((".", "~")) or _PATH_FRAGMENT.sub("", body).endswith(_ARCHIVES)


def _project(body: str, where: str, folder: Path, *, project: str) -> tuple[str, str]:
    """Return name and extras, and the whole address, of an address or a path; `project` is the name if one is given."""
    is_remote = bool(_ADDRESS.match(body)) and not body.startswith("file:")
    extras = ""
    # Extras of what is elsewhere can only stand in the fragment, behind the name.
    if not project and (not is_remote or "#" in body) and (found := _EXTRAS.search(body)):
        body, extras = body[: found.start()], found[0]
    address, _, fragment = _address(body, folder, where).partition("#")
    parts = dict(part.partition("=")[::2] for part in fragment.split("&") if part)
    name, bracket, inner = parts.pop("egg", "").partition("[")
    path = unquote(urlsplit(address).path)
    if path.endswith(_ARCHIVES):
        name = project or name or name_of_archive(path.rpartition("/")[2])
    elif address.startswith("file:"):
        inside = Path(path, unquote(parts.pop("subdirectory", "")))
        address, name = inside.as_uri(), project or name or _name_of_folder(inside, where)
    name = project or name
    if not name:
        shown = without_user_info(body)
        raise InvalidSpec(
            f"{where}: `{shown}` does not tell which project it is", hint=f"Write its name: `name @ {shown}`"
        )
    rest = "&".join(f"{key}={value}" for key, value in parts.items())
    return f"{name}{extras or bracket + inner}", f"{address}#{rest}" if rest else address


def _address(text: str, folder: Path, where: str) -> str:
    """Return an address, or that of a path (both perhaps with a fragment), as an absolute address."""
    if not _ADDRESS.match(text):
        if text.startswith("git+"):
            raise InvalidSpec(
                f"{where}: `{text}` is not an address", hint="Write for example `git+ssh://git@example.org/team/lib`"
            )
        fragment = found[0] if (found := _PATH_FRAGMENT.search(text)) else ""
        return _path(text.removesuffix(fragment), folder, where).as_uri() + fragment
    if text.startswith(("hg+", "svn+", "bzr+")):
        raise InvalidSpec(
            f"{where}: `{without_user_info(text)}` is in a repository of another kind than git",
            hint="Build a wheel of it and name that file, or its address",
        )
    with contextlib.suppress(ValueError):
        urlsplit(text)
        if not text.startswith("file:"):
            return text
        base, sign, fragment = text.partition("#")
        return _path(base, folder, where).as_uri() + sign + fragment
    raise InvalidSpec(f"{where}: `{without_user_info(text)}` is not an address", hint=_HINT)


def _path(text: str, folder: Path, where: str) -> Path:
    """Return the absolute path that a path or a ``file:`` URL means in a file in `folder`."""
    with contextlib.suppress(ValueError, RuntimeError):
        parts = urlsplit(text) if text.startswith("file:") else None
        path = unquote(parts.path) if parts else text
        # What looks like an address is none of a path, and may hold a password.
        if not ("\0" in path or "://" in path) and (parts is None or parts.netloc in {"", "localhost"}):
            # As text: links are followed by whoever reads the file.
            return Path(os.path.normpath(folder.absolute() / Path(path).expanduser()))
    raise InvalidSpec(
        f"{where}: `{without_user_info(text)}` is not a path on this machine",
        hint="Write a path relative to the folder of the file that it is in, `./lib`, or an absolute one",
    )


def _name_of_folder(folder: Path, where: str) -> str:
    try:
        return name_of_folder(folder, where=where)
    except OSError as error:
        raise InvalidSpec(f"{where}: `{folder}` cannot be read: {error.strerror}", hint=_HINT) from error


def _hashes(options: Sequence[str], where: str) -> tuple[str, ...]:
    kept = sorted({text.lower() for text in options if text.lower().startswith("sha256:")})
    if bad := next((text for text in kept if not _SHA256.fullmatch(text)), None):
        raise InvalidSpec(f"{where}: `{bad}` is not a SHA-256", hint="It has 64 hex digits behind `sha256:`")
    if options and not kept:
        raise InvalidSpec(
            f"{where}: only hashes of the kind sha256 can be checked",
            hint="Make the file anew with `uv pip compile --generate-hashes`",
        )
    return tuple(kept)
