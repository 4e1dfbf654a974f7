"""requirements.txt: pip's format (pip 25, "Requirements File Format"), and three options of our own.

`pip-requirements-parser` splits a file into lines, options and requirements as pip does. It does not expand
variables, find the name of what has only an address, or follow ``-r`` and ``-c`` with a path in messages: that is
done here. Our own options are ``--conda-pkg``, ``--conda-channel`` and ``--sys-pkg``.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mfenv.domain.channel import Channel, ChannelCredentials, credentials_in, without_credentials
from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import IndexSecret, PackageIndex, index_secret, secrets_in
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
_OURS = re.compile(r"--(?P<option>conda-pkg|conda-channel|sys-pkg)(?:\s+|=|$)(?P<value>.*)$")
_ADDRESS = re.compile(r"(?:(?:git|hg|svn|bzr)\+)?[A-Za-z][A-Za-z0-9+.-]*://|file:")
_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz")
_NAME_AT = re.compile(r"[A-Za-z0-9._-]+\s*(\[[^\]]*\])?\s*@")
_EGG = re.compile(r"[#&]egg=([^&\[]+)(\[[^\]&]*\])?")
# Whatever else pip can be told there changes nothing of what is resolved and locked.
_WITHOUT_EFFECT = frozenset({"prefer_binary", "require_hashes", "features_enabled", "process_dependency_links"})
_DEEPEST = 20


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

    `read` reads the files that it includes. Raises `InvalidSpec` with a line for everything that is wrong.
    """
    problems = Problems(shown)
    found = _File(problems=problems, read=read, environment=environment).load(text, shown, folder, ())
    problems.raise_if_any()
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    problems: Problems
    read: Callable[[Path], str]
    environment: Mapping[str, str]
    is_constraints: bool = False

    def load(self, text: str, shown: str, folder: Path, above: tuple[Path, ...]) -> Written:
        found = Written(layer=SpecLayer())
        for (number, column), line, parsed in _lines(text, self.environment, shown):
            where = self.problems.where(number, column, path=shown)
            with self.problems.noted():
                found = joined(found, self._line(line, parsed, where, folder, above), where=where)
        return found

    def _line(self, line: str, parsed: Any, where: str, folder: Path, above: tuple[Path, ...]) -> Written:
        if ours := _OURS.match(line):
            return _our_option(ours["option"], ours["value"].strip(), where, folder)
        if parsed is None:
            return self._refused(line, where)
        if hasattr(parsed, "options"):
            return self._options(parsed.options, where, folder, above)
        return _requirement(parsed, line, where, folder, is_constraint=self.is_constraints)

    @staticmethod
    def _refused(line: str, where: str) -> Written:
        shown = without_user_info(line)
        word = shown.split()[0].split("=")[0] if shown.startswith("-") else ""
        raise InvalidSpec(
            f"{where}: the option `{word}` is not known" if word else f"{where}: `{shown}` is not a requirement",
            hint="pip's options can stand here, and `--conda-pkg`, `--conda-channel`, `--sys-pkg`"
            if word
            else "Write a name with versions, `requests>=2.21`, or a name with an address, `lib @ git+https://...`",
        )

    def _options(self, options: Mapping[str, Any], where: str, folder: Path, above: tuple[Path, ...]) -> Written:
        found = Written(layer=SpecLayer())
        for name, value in options.items():
            if name in _WITHOUT_EFFECT:
                continue
            one = (
                self._included(name, value, where, folder, above)
                if name in {"requirements", "constraints"}
                else _option(name, value, where, folder)
            )
            found = joined(found, one, where=where)
        return found

    def _included(self, kind: str, names: Sequence[str], where: str, folder: Path, above: tuple[Path, ...]) -> Written:
        found = Written(layer=SpecLayer())
        for name in names:
            path = Path(os.path.normpath(Path(folder, name)))
            if path in above or len(above) > _DEEPEST:
                raise InvalidSpec(f"{where}: `{name}` includes itself", hint="Take the line out that closes the circle")
            try:
                text = self.read(path)
            except InvalidSpec as error:
                raise InvalidSpec(f"{where}: {error.message}", hint=error.hint) from error
            inner = replace(self, is_constraints=self.is_constraints or kind == "constraints")
            one = inner.load(text, name, path.parent, (*above, path))
            layer = one.layer
            if inner.is_constraints:
                layer = replace(layer, constraints=_union(layer.constraints, layer.pypi), pypi=(), places=())
            found = joined(found, replace(one, layer=layer), where=where)
        return found


def _union(first: tuple[Requirement, ...], second: tuple[Requirement, ...]) -> tuple[Requirement, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _lines(text: str, environment: Mapping[str, str], shown: str) -> Iterator[tuple[tuple[int, int], str, Any]]:
    """Yield line and column, the text, and what the library made of it: None where it knows nothing of it."""
    from pip_requirements_parser import RequirementsFile

    expanded = _VARIABLE.sub(lambda match: environment.get(match[1]) or match[0], text)
    # Only these ends of lines, as pip has it.
    lines = re.split(r"\r\n|\r|\n", expanded.removeprefix("\ufeff"))
    expanded = "\n".join(lines)
    try:
        # The library's own way with texts is broken in version 32.0.1.
        with tempfile.TemporaryDirectory(prefix="mfenv-requirements-") as name:
            copy = Path(name, "requirements.txt")
            copy.write_bytes(expanded.encode())
            parsed = RequirementsFile.from_file(str(copy))
    except Exception as error:
        raise InvalidSpec(
            f"{shown}:1:1: this cannot be read as a requirements file ({type(error).__name__})"
        ) from error
    rows: dict[int, tuple[str, Any]] = {}
    for option in parsed.options:
        rows[option.requirement_line.line_number] = (option.requirement_line.line, option)
    for wanted in parsed.requirements:
        rows[wanted.requirement_line.line_number] = (wanted.requirement_line.line, wanted)
    for invalid in parsed.invalid_lines:
        rows.setdefault(invalid.line_number, (invalid.line, None))
    for number in sorted(rows):
        line, found = rows[number]
        raw = lines[number - 1] if number <= len(lines) else ""
        yield (number, len(raw) - len(raw.lstrip()) + 1), line.strip(), found


def _our_option(option: str, value: str, where: str, folder: Path) -> Written:
    if not value:
        raise InvalidSpec(f"{where}: `--{option}` needs a value", hint=_OUR_EXAMPLES[option])
    if option == "conda-channel":
        channel = Channel.parse(value, where=where, relative_to=folder)
        credentials = credentials_in(value, channel)
        return Written(layer=SpecLayer(channels=(channel,)), channel_credentials=(credentials,) if credentials else ())
    if option == "sys-pkg":
        name, _, version = re.sub(r"\s*={1,2}\s*|\s+", "=", value, count=1).partition("=")
        if not version:
            raise InvalidSpec(f"{where}: `{value}` has no version", hint=_OUR_EXAMPLES[option])
        return Written(layer=SpecLayer(system=((name, system_version(name, version, where=where)),)))
    credentials_of: tuple[ChannelCredentials, ...] = ()
    spec = MatchSpec.from_text(value, where=where, relative_to=folder)
    if spec.channel and (found := credentials_in(value.rpartition("::")[0], spec.channel)):
        credentials_of = (found,)
    place = Place(owner=where.rpartition(":")[0], text=f"--conda-pkg {spec}")
    return Written(
        layer=SpecLayer(conda_only=(spec,), places=((spec.name, place),)), channel_credentials=credentials_of
    )


_OUR_EXAMPLES = {
    "conda-channel": "Write for example `--conda-channel conda-forge`",
    "conda-pkg": "Write for example `--conda-pkg ffmpeg>=6`",
    "sys-pkg": "Write for example `--sys-pkg __cuda==12.4`",
}


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
            found: list[IndexSecret] = [secret for text in value for secret in secrets_in(text)]
            return Written(layer=SpecLayer(flags=tuple(dict.fromkeys(flags))), index_secrets=tuple(found))
        case "pre" | "no_index":
            return Written(layer=SpecLayer(flags=(ResolverFlag.parse(name.replace("_", "-"), where=where),)))
    raise InvalidSpec(
        f"{where}: the option `--{name.replace('_', '-')}` cannot be honoured",
        hint="Take it out; builds of wheels are isolated, and take what their project says",
    )


def _requirement(parsed: Any, line: str, where: str, folder: Path, *, is_constraint: bool) -> Written:
    if parsed.install_options or parsed.global_options:
        raise InvalidSpec(
            f"{where}: options of `setup.py` cannot be passed on",
            hint="Take `--install-option` and `--global-option` out",
        )
    text = _bare(line)
    whole = _with_name(text, where, folder)
    secrets = tuple(secrets_in(text))
    wanted = Requirement.from_text(whole, where=where, is_editable=bool(parsed.is_editable) and "file:" in whole)
    wanted = replace(wanted, hashes=_hashes(parsed.hash_options, where))
    place = Place(owner=where.rpartition(":")[0], text=str(wanted))
    if wanted.name == "python" and not wanted.url:
        return _python(wanted, where, place)
    if is_constraint and wanted.extras:
        raise InvalidSpec(f"{where}: a constraint cannot have extras: `{wanted}`", hint="Leave the extras out")
    return Written(layer=SpecLayer(pypi=(wanted,), places=((wanted.name, place),)), index_secrets=secrets)


def _python(wanted: Requirement, where: str, place: Place) -> Written:
    if wanted.marker or wanted.extras:
        raise InvalidSpec(
            f"{where}: a Python cannot depend on a marker: `{wanted}`", hint="Write for example `python>=3.10,<3.13`"
        )
    if not wanted.specifier:
        return Written(layer=SpecLayer())
    exact = re.fullmatch(r"==([^,*]+)", wanted.specifier)
    version = exact[1] if exact else wanted.specifier
    return Written(layer=SpecLayer(python=PythonConstraint.parse(version, where=where), places=(("python", place),)))


def _bare(line: str) -> str:
    """Return a requirement without its options."""
    text = re.split(r"\s--(?:hash|config-settings?|global-option|install-option)\b", line)[0].strip()
    return re.sub(r"^(-e|--editable)[\s=]+", "", text)


def _with_name(text: str, where: str, folder: Path) -> str:
    """Return a requirement as PEP 508 has it: what is only an address gets the name that it is known to have."""
    body, _, marker = text.partition(" ;") if ";" in text else (text, "", "")
    body = body.strip()
    is_address = bool(_ADDRESS.match(body))
    bare, extras = body, ""
    if not is_address and (found := re.fullmatch(r"(.+?)(\[[^\]]*\])", body)):
        bare, extras = found[1], found[2]
    is_path = (
        not is_address
        and not _NAME_AT.match(body)
        and (bare.startswith((".", "/", "~")) or bare.endswith(_ARCHIVES) or ("/" in bare and "@" not in bare))
    )
    if is_path:
        path = Path(os.path.normpath(Path(folder, Path(bare).expanduser())))
        name = name_of_archive(path.name) if bare.endswith(_ARCHIVES) else name_of_folder(path, where=where)
        return _named(name, extras, path.as_uri(), marker, body, where)
    if not is_address:
        return _with_path(text, folder)
    if egg := _EGG.search(body):
        address = _EGG.sub("", body)
        # What stood behind it goes on being the fragment.
        address = address if "#" in address or "&" not in address else address.replace("&", "#", 1)
        return _named(egg[1], egg[2] or "", address, marker, body, where)
    path_text = unquote(urlsplit(body).path)
    name = name_of_archive(path_text.rpartition("/")[2]) if path_text.endswith(_ARCHIVES) else ""
    if not name and body.startswith("file:"):
        name = name_of_folder(Path(path_text), where=where)
    return _named(name, "", body, marker, body, where)


def _with_path(text: str, folder: Path) -> str:
    """Make the path in ``name @ ./folder`` an address."""
    name, at, address = text.partition("@")
    address, semicolon, marker = address.strip().partition(" ;")
    if not at or not address.startswith(("./", "../", "/", "~")):
        return text
    path = Path(os.path.normpath(Path(folder, Path(address.strip()).expanduser())))
    return f"{name.strip()} @ {path.as_uri()}" + (f" ;{marker}" if semicolon else "")


def _named(name: str, extras: str, address: str, marker: str, written: str, where: str) -> str:
    if not name:
        shown = without_credentials(without_user_info(written))
        raise InvalidSpec(
            f"{where}: `{shown}` does not tell which project it is", hint=f"Write its name: `name @ {shown}`"
        )
    return f"{name}{extras} @ {address}" + (f" ; {marker.strip()}" if marker.strip() else "")


_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")


def _hashes(options: Sequence[str], where: str) -> tuple[str, ...]:
    kept = sorted({text.lower() for text in options if text.startswith("sha256:")})
    if bad := next((text for text in kept if not _SHA256.fullmatch(text)), None):
        raise InvalidSpec(f"{where}: `{bad}` is not a SHA-256", hint="It has 64 hex digits behind `sha256:`")
    if options and not kept:
        raise InvalidSpec(
            f"{where}: only hashes of the kind sha256 can be checked",
            hint="Make the file anew with `uv pip compile --generate-hashes`",
        )
    return tuple(kept)
