"""pip as PyPI resolver: ``pip install --dry-run --report`` for a target that need not be this machine."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Needed
from packaging.utils import canonicalize_name

from mfenv.domain.cutoff import parse_cutoff
from mfenv.domain.markers import marker_environment
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import ResolvedPypiPackage
from mfenv.domain.spec import IndexStrategy
from mfenv.errors import LockError, ResolutionFailed, ToolNotFound
from mfenv.formats import pip_report
from mfenv.formats.pip_report import Reported
from mfenv.io.process import Completed, ProcessRunner
from mfenv.io.secrets import git_environment, with_credentials, without_secrets
from mfenv.resolve.backends import pip_start
from mfenv.resolve.binaries import BinaryPolicy
from mfenv.resolve.pypi import Demand, OutOfReachError, Preferred, PypiRequest, UnknownExtrasError, hashes_of
from mfenv.resolve.stubs import write_candidates, write_stubs
from mfenv.resolve.versions import admits
from mfenv.resolve.wheel_tags import wheel_tags

OLDEST = (23, 0)
"""The first pip whose report has a version that stays (pip documentation, "Installation Report")."""
_CUTOFF_SINCE = (26, 0)
_TIME_LIMIT = 1200.0
_SHORT = 60.0
_HINT = "Set METAFLOW_CONDA_PYPI_DEPENDENCY_RESOLVER to `uv`, which can"
# What the user's pip is told by variables: how to reach, and nothing that chooses.
_KEPT = frozenset({"PIP_CERT", "PIP_CLIENT_CERT", "PIP_PROXY", "PIP_RETRIES", "PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT"})


class PipResolver:
    """Resolves with pip, 23.0 or later."""

    name = "pip"

    def __init__(
        self,
        runner: ProcessRunner,
        *,
        cache: Path,
        secret_urls: Mapping[str, str] | None = None,
        find_links: Sequence[str] = (),
        python: str = sys.executable,
        timeout: float = _TIME_LIMIT,
    ) -> None:
        """Run the pip of `python` with `runner`; it keeps what it fetches in `cache`.

        `secret_urls` has credentials: see `mfenv.io.secrets`. `find_links` are folders and pages of wheels beside the
        indexes. One resolution may take `timeout` seconds.
        """
        self._runner = runner
        self._cache = cache
        self._secret_urls = {} if secret_urls is None else secret_urls
        self._find_links = find_links
        self._python = python
        self._timeout = timeout
        self._finding = threading.Lock()
        self._version: tuple[int, ...] | None = None

    def resolve(self, request: PypiRequest) -> tuple[ResolvedPypiPackage, ...]:
        """See `mfenv.resolve.pypi.PypiResolver.resolve`. Raises `ToolNotFound` where pip is not there, or too old."""
        with tempfile.TemporaryDirectory(prefix="mfenv-pip-") as name:
            folder = Path(name).resolve()
            # Not as constraints with an address, as uv has them: pip cannot have those and extras together.
            stubs = [constraint.partition(" @ ") for constraint in write_stubs(request.provided, folder)]
            fixed = {name: [address] for name, _, address in stubs}
            found = self._report(request, folder, candidates=fixed)
            ours = f"{folder.as_uri()}/"
            packages = [one.package for one in found]
            wanted = [one for one in packages if not (one.wheel and one.wheel.url.startswith(ours))]
            _check_hashes(wanted, request)
            return tuple(wanted)

    def prefer(self, request: PypiRequest, candidates: Mapping[str, Sequence[str]] | None = None) -> Preferred:
        """See `mfenv.resolve.pypi.PypiResolver.prefer`. pip has no preferences: what is provided does not count."""
        with tempfile.TemporaryDirectory(prefix="mfenv-pip-") as name:
            folder = Path(name).resolve()
            versions = {name: list(found) for name, found in (candidates or {}).items()}
            files = {
                name: [path.as_uri() for path in write_candidates({name: found}, folder)]
                for name, found in versions.items()
            }
            found = self._report(request, folder, candidates=files)
            environment = marker_environment(request.target, request.python)
            asked = {wanted.name for wanted in request.requirements}
            needed_by: dict[str, tuple[str, ...]] = {name: (name,) for name in asked}
            for one in found:
                for needed in _needs(one, environment):
                    needed_by[needed] = (*needed_by.get(needed, ()), one.package.name)
            return Preferred(versions={one.package.name: one.package.version for one in found}, needed_by=needed_by)

    def demands(self, failure: ResolutionFailed, request: PypiRequest) -> tuple[Demand, ...]:
        """See `mfenv.resolve.pypi.PypiResolver.demands`: read from what pip says the conflict is caused by."""
        return demands_in(failure.output, request)

    # --------------------------------------------------------------------- pip

    def _report(
        self,
        request: PypiRequest,
        folder: Path,
        *,
        candidates: Mapping[str, Sequence[str]],
    ) -> tuple[Reported, ...]:
        """Ask pip; a project among `candidates` can be the files at these addresses, in `folder`, and no others."""
        self._refuse_what_pip_cannot(request)
        _write(folder / "requirements.txt", [_line(one, self._secret_urls) for one in request.requirements])
        bare = [replace(one, extras=(), is_editable=False) for one in request.constraints]
        _write(folder / "constraints.txt", [_line(one, self._secret_urls) for one in bare])
        facts = {
            "markers": marker_environment(request.target, request.python),
            "tags": wheel_tags(request.target, request.python),
            "candidates": {name: list(files) for name, files in candidates.items()},
        }
        (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
        command = [
            *(self._python, "-I", str(Path(pip_start.__file__)), str(folder / "facts.json")),
            *arguments(request, links=[str(folder)] if candidates else []),
        ]
        done = self._runner.run(command, environment=self._environment(request), folder=folder, timeout=self._timeout)
        if done.code or done.timed_out:
            raise failure(request, done, self._secret_urls, self._timeout)
        _refuse_unknown_extras(request, done.errors + done.output)
        try:
            return pip_report.load((folder / "report.json").read_bytes())
        except (OSError, LockError) as error:
            raise ResolutionFailed(
                f"pip ended well and left no answer: {getattr(error, 'message', None) or error}",
                hint=_HINT.replace(", which can", ""),
                output=without_secrets(f"{done.output}\n{done.errors}".strip(), self._secret_urls),
            ) from error

    def _refuse_what_pip_cannot(self, request: PypiRequest) -> None:
        version = self._pip()
        flags = {flag.name: flag.value for flag in request.flags}
        places = [*request.indexes, *([request.default_index] if request.default_index else [])]
        reasons = []
        if any(wanted.index and not wanted.url for wanted in request.requirements):
            reasons.append("bind a project to an index")
        if flags.get("resolution", "highest") != "highest":
            reasons.append(f"choose the {flags['resolution']} versions")
        if flags.get("prerelease", "allow") not in {"allow", "if-necessary"}:
            reasons.append(f"treat pre-releases as `{flags['prerelease']}`")
        if request.options.exclude_newer and version < _CUTOFF_SINCE:
            known = ".".join(map(str, version))
            reasons.append(f"leave out what is newer than a date (it is {known}, and can from 26.0 on)")
        if reasons:
            raise ResolutionFailed(f"pip cannot {' or '.join(reasons)}", hint=_HINT)
        several = len({str(place) for place in places}) + (request.default_index is None) > 1
        if several and request.options.index_strategy is IndexStrategy.FIRST_INDEX and "no-index" not in flags:
            # Whoever may publish on one of them could take the place of a project of another.
            raise ResolutionFailed(
                "pip takes a project from whichever index has the best version, and several are named",
                hint="Set METAFLOW_CONDA_PYPI_DEPENDENCY_RESOLVER to `uv`, which asks them in their order; or, if all "
                "are trusted alike, METAFLOW_CONDA_PYPI_INDEX_STRATEGY to `unsafe-best-match`",
            )

    def _pip(self) -> tuple[int, ...]:
        with self._finding:
            if self._version is None:
                self._version = self._find()
            return self._version

    def _find(self) -> tuple[int, ...]:
        self._cache.mkdir(parents=True, exist_ok=True)
        command = [self._python, "-I", "-m", "pip", "--version"]
        done = self._runner.run(command, environment=_ALONE, folder=self._cache, timeout=_SHORT)
        found = re.match(r"pip (\d+(?:\.\d+)*)", done.output)
        hint = "Install it (`python -m ensurepip --upgrade`), or set METAFLOW_CONDA_PYPI_DEPENDENCY_RESOLVER to `uv`"
        if done.code or done.timed_out or found is None:
            raise ToolNotFound(
                f"pip, which METAFLOW_CONDA_PYPI_DEPENDENCY_RESOLVER names, cannot be run by `{self._python}`",
                hint=hint,
                output=f"{done.output}\n{done.errors}".strip(),
            )
        version = tuple(map(int, found[1].split(".")))
        if version < OLDEST:
            raise ToolNotFound(
                f"pip {found[1]} of `{self._python}` is too old: {'.'.join(map(str, OLDEST))} or later is needed",
                hint="Update it (`python -m pip install --upgrade pip`), or set "
                "METAFLOW_CONDA_PYPI_DEPENDENCY_RESOLVER to `uv`",
            )
        return version

    def _environment(self, request: PypiRequest) -> dict[str, str | None]:
        """Return what pip is told by way of the environment: places with credentials, which arguments would show."""
        known = {name: None for name in os.environ if name.startswith("PIP_") and name not in _KEPT}
        indexes = [with_credentials(str(index), self._secret_urls) for index in request.indexes]
        default = with_credentials(str(request.default_index), self._secret_urls) if request.default_index else ""
        links = [flag.value for flag in request.flags if flag.name == "find-links"]
        places = [with_credentials(link, self._secret_urls) for link in (*links, *self._find_links)]
        hosts = [flag.value for flag in request.flags if flag.name == "trusted-host"]
        told = {
            "PIP_INDEX_URL": default,
            "PIP_EXTRA_INDEX_URL": " ".join(indexes),
            "PIP_FIND_LINKS": " ".join(places),
            "PIP_TRUSTED_HOST": " ".join(hosts),
            "PIP_CACHE_DIR": str(self._cache),
        }
        return {
            **known,
            **_ALONE,
            **{name: text for name, text in told.items() if text},
            **git_environment(self._secret_urls),
        }


_ALONE: Mapping[str, str] = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_NO_COLOR": "1",
    "PIP_PROGRESS_BAR": "off",
    "NO_COLOR": "1",
    "COLUMNS": "10000",
}
"""No file of the user's, no questions, no pictures, no lines that are broken."""


def arguments(request: PypiRequest, *, links: Sequence[str] = ()) -> list[str]:
    """Return pip's words for a request; where packages are is told by variables."""
    policy = BinaryPolicy.of(request.flags)
    if not request.may_build:
        policy = policy.without_builds or policy
    flags = {flag.name: flag.value for flag in request.flags}
    newest = request.options.exclude_newer
    moment = parse_cutoff(newest, now=datetime.now(timezone.utc)).isoformat() if newest else ""
    return [
        *("install", "--dry-run", "--ignore-installed", "--report", "report.json"),
        # With a folder of its own, pip looks at no environment; nothing is put there.
        *("--target", "nothing", "--python-version", ".".join(request.python.split(".")[:3])),
        *(["--pre"] if flags.get("prerelease") == "allow" else []),
        *(["--no-index"] if "no-index" in flags else []),
        *([f"--uploaded-prior-to={moment}"] if moment else []),
        *policy.compile_arguments,
        *(word for link in links for word in ("--find-links", link)),
        *("--constraint", "constraints.txt", "--requirement", "requirements.txt"),
    ]


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _line(requirement: Requirement, secret_urls: Mapping[str, str]) -> str:
    if requirement.is_editable:
        return f"-e {requirement.url}"
    return str(replace(requirement, hashes=(), index="", url=with_credentials(requirement.url, secret_urls)))


def _needs(one: Reported, environment: Mapping[str, str]) -> list[str]:
    found: list[str] = []
    for text in one.requires:
        try:
            needed = Needed(text)
        except InvalidRequirement:
            continue
        if needed.marker is None or needed.marker.evaluate({**environment, "extra": ""}):
            found.append(canonicalize_name(needed.name))
    return found


def _check_hashes(packages: Sequence[ResolvedPypiPackage], request: PypiRequest) -> None:
    """Refuse a file that has none of the hashes that were given for its project: pip was not told of them."""
    hashes = hashes_of(request)
    for package in packages:
        sha256 = package.wheel.sha256 if package.wheel else package.build.sha256 if package.build else None
        if package.name in hashes and f"sha256:{sha256}" not in hashes[package.name]:
            raise ResolutionFailed(
                f"the file of `{package.name}` {package.version} that pip chose has none of the given hashes",
                hint=_HINT.replace(", which can", ", which looks for a file that has"),
                packages=[package.name],
            )


_NO_EXTRA = re.compile(r"(?P<name>[A-Za-z0-9._-]+) (?P<version>\S+) does not provide the extra '(?P<extra>[^']+)'")


def _refuse_unknown_extras(request: PypiRequest, text: str) -> None:
    """Refuse extras that there are not: pip only warns, and what was to come with them would be missing."""
    missing = [
        (canonicalize_name(found["name"]), found["version"], found["extra"]) for found in _NO_EXTRA.finditer(text)
    ]
    unknown = {provided.name for provided in request.provided if provided.extra_requirements is None}
    if asked := sorted({name for name, _, _ in missing} & unknown):
        raise UnknownExtrasError(asked)
    known = {provided.name for provided in request.provided}
    wanted = {(one.name, canonicalize_name(extra)) for one in request.requirements for extra in one.extras}
    refused = [row for row in missing if (row[0], canonicalize_name(row[2])) in wanted and row[0] not in known]
    if refused:
        raise ResolutionFailed(
            "; ".join(f"`{name}` {version} has no extra `{extra}`" for name, version, extra in refused),
            hint="Check the spelling in the project's documentation, or ask for a version that has it",
            packages=sorted({name for name, _, _ in refused}),
        )


# How pip 23 to 26 says these things.
_UNKNOWN = re.compile(r"No matching distribution found for ([A-Za-z0-9][A-Za-z0-9._-]*)")
_NOTHING = re.compile(r"Could not find a version that satisfies the requirement (\S+).*?\(from versions: (.*?)\)")
_REFUSED = re.compile(r"\b(401|403) (?:Client )?Error|HTTP error (401|403)|status code:? (401|403)")
_NETWORK = re.compile(
    r"NewConnectionError|ConnectTimeoutError|Max retries exceeded|Connection (?:refused|broken|aborted)"
    r"|ReadTimeoutError|Temporary failure in name resolution|Failed to establish a new connection|HTTP error \d+"
    r"|SSLError"
)
_GIT = re.compile(r"(?:git \S+|git) .*did not run successfully|Repository not found|could not read Username")
_DEPENDS = re.compile(
    r"^\s+(?P<by>[A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])? \S+ depends on (?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?"
    r"\s*(?P<specifier>[<>=!~][^;\n]*)?",
    re.MULTILINE,
)
_ASKED = re.compile(
    r"^\s+The user requested (?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?(?P<specifier>[<>=!~][^;\n]*)", re.M
)


def demands_in(text: str, request: PypiRequest) -> tuple[Demand, ...]:
    """Read from pip's words who needs versions of provided distributions other than those that are provided."""
    provided = {found.name: found.version for found in request.provided}
    found = {}
    rows = [(one["by"], one["name"], one["specifier"] or "") for one in _DEPENDS.finditer(text)]
    rows += [("", one["name"], one["specifier"]) for one in _ASKED.finditer(text)]
    for by, name, specifier in rows:
        project, wanted = canonicalize_name(name), specifier.strip().replace(" ", "")
        if project in provided and wanted and not admits(wanted, provided[project]):
            demand = Demand(project=project, specifier=wanted, by=canonicalize_name(by) if by else "")
            found[demand.project, demand.by] = demand
    return tuple(found.values())


def failure(request: PypiRequest, done: Completed, secret_urls: Mapping[str, str], timeout: float) -> ResolutionFailed:
    """Say in words why pip found nothing; its own text, without credentials, is kept below."""
    text = without_secrets(f"{done.output}\n{done.errors}".strip(), secret_urls)
    blamed = [wanted.name for wanted in request.requirements if re.search(rf"\b{re.escape(wanted.name)}\b", text)]
    kind, hint = ResolutionFailed, "The lines above are pip's own words"
    if done.timed_out:
        kind, message = OutOfReachError, f"pip found no answer within {timeout:.0f} seconds"
        hint = "Name narrower versions, or set METAFLOW_CONDA_PYPI_DEPENDENCY_RESOLVER to `uv`"
    elif refused := _REFUSED.search(text):
        kind, message = OutOfReachError, f"a package index answers {next(filter(None, refused.groups()))}"
        hint = "Check the credentials for that index: in its URL, in netrc, or in a keyring"
    elif _GIT.search(text):
        kind, message = OutOfReachError, f"the source of {_named(blamed)} cannot be had"
        hint = "Check the address, that it can be reached from here, and your credentials for it"
    elif "ResolutionImpossible" in text or "conflicting dependencies" in text:
        message = f"the PyPI packages cannot be had together for {request.target.platform.value}"
        hint = "Loosen one of the versions named above"
    elif _NETWORK.search(text) and all(there in {"", "none"} for _, there in _NOTHING.findall(text)):
        kind, message = OutOfReachError, "the package index cannot be used"
        hint = "Check that it can be reached from here, and run again"
    elif unknown := list(dict.fromkeys(map(canonicalize_name, _UNKNOWN.findall(text)))):
        versions: dict[str, str] = {
            canonicalize_name(re.split(r"[<>=!~\[;]", name)[0]): there for name, there in _NOTHING.findall(text)
        }
        message, hint = _missing(unknown, versions, request)
        blamed = sorted({*blamed, *unknown})
    elif "metadata-generation-failed" in text or "subprocess-exited-with-error" in text:
        message = f"{_named(blamed)} cannot be built, which is needed to know what it depends on"
    else:
        message = "pip could not resolve the PyPI packages"
    return kind(message, hint=hint, output=_told(text), packages=blamed)


def _missing(unknown: Sequence[str], versions: Mapping[str, str], request: PypiRequest) -> tuple[str, str]:
    named = " and ".join(f"`{name}`" for name in unknown)
    there = [text for name in unknown if (text := versions.get(name, "")) not in {"", "none"}]
    if there:
        builds = "" if request.may_build else ", as a wheel,"
        where = f"{request.target.platform.value} and Python {request.python}"
        return f"no version of {named} that is asked for can be had{builds} for {where}", f"There is {there[0]}"
    return (
        f"there is no package {named} on the package index",
        "Check the spelling, add the index that has it to `extra_indices`, or ask for it with @conda",
    )


def _named(names: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in names) or "a package"


def _told(text: str) -> str:
    lines = [
        line for line in text.splitlines() if line.strip() and not line.startswith(("WARNING: There was", "[notice]"))
    ]
    return "\n".join(lines)


__all__ = ["OLDEST", "PipResolver", "arguments", "demands_in", "failure"]
