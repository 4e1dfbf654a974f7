"""conda-lock (2.1 or later) as resolver of conda and PyPI packages together."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mfenv.domain.artifact import Artifact
from mfenv.domain.channel import without_credentials
from mfenv.domain.digest import Json
from mfenv.domain.markers import applies, pythons_of
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import ResolvedEnvironment, ResolvedPackage
from mfenv.domain.spec import IndexStrategy
from mfenv.errors import LockError, ResolutionFailed, ToolNotFound
from mfenv.formats import conda_lock_yml
from mfenv.formats.conda_transaction import Chosen
from mfenv.io.process import Completed, ProcessRunner
from mfenv.io.secrets import without_secrets
from mfenv.resolve.lock_files import select
from mfenv.resolve.satisfies import missing_needs

FindRecords = Callable[[ResolutionRequest, tuple[Chosen, ...], str], tuple[ResolvedPackage, ...]]
"""Reads from the channels' indexes what chosen packages are, in install order; the text is the program's name."""

OLDEST = (2, 1)
_CONDA = (("micromamba", "MAMBA_EXE"), ("mamba", "MAMBA_EXE"), ("conda", "CONDA_EXE"))
_TIME_LIMIT = 1800.0
_SHORT = 60.0
_HINT = "Set METAFLOW_CONDA_MIXED_DEPENDENCY_RESOLVER to `hybrid`, which can"
_OURS = "Set METAFLOW_CONDA_MIXED_DEPENDENCY_RESOLVER to `hybrid`, which needs no program"
_ENDINGS = (".tar.bz2", ".conda")


class CondaLockResolver:
    """Resolves with ``conda-lock lock``; a program of conda's solves for it."""

    name = "conda-lock"

    def __init__(
        self,
        *,
        runner: ProcessRunner,
        records: FindRecords,
        secret_urls: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = _TIME_LIMIT,
    ) -> None:
        """Run the `conda-lock` that is beside this Python, or on the PATH of `environment`.

        By default that is this process's. `secret_urls` has what must not be shown. A solve may take `timeout` seconds.
        """
        self._runner = runner
        self._records = records
        self._secret_urls = {} if secret_urls is None else secret_urls
        self._environment = os.environ if environment is None else environment
        self._timeout = timeout

    def resolve(self, request: ResolutionRequest) -> ResolvedEnvironment:
        """See `mfenv.resolve.base.Resolver`. Raises `ToolNotFound` where a program is not there, or too old."""
        _refuse_what_it_cannot(request)
        program, conda = self._program(), self._conda()
        with tempfile.TemporaryDirectory(prefix="mfenv-conda-lock-") as name:
            folder = Path(name)
            version = self._version(program, folder)
            for path, content in inputs(request).items():
                (folder / path).write_text(json.dumps(content), encoding="utf-8")
            command = [program, *arguments(request, conda)]
            done = self._runner.run(command, environment=_SURROUNDINGS, folder=folder, timeout=self._timeout)
            return self._read(request, done, folder, version)

    def _read(self, request: ResolutionRequest, done: Completed, folder: Path, version: str) -> ResolvedEnvironment:
        path = folder / "conda-lock.yml"
        if done.code or done.timed_out or not path.is_file():
            raise self._failure(request, done)
        try:
            text = path.read_text(encoding="utf-8")
            found = conda_lock_yml.load(text, shown="its lock", folder=folder, platform=request.target.platform)
            chosen = tuple(_chosen(each) for each in found.conda if isinstance(each, Artifact))
            packages = self._records(request, chosen, self.name)
            _check_whole(packages)
            python = next(each.record.version for each in packages if each.record.name == "python")
            pypi = select(found.pypi, target=request.target, python=python)
        except (LockError, OSError, ValueError, StopIteration) as error:
            raise ResolutionFailed(
                f"`conda-lock` {version} wrote a lock that cannot be used: {getattr(error, 'message', None) or error}",
                hint=_HINT.replace(", which can", ""),
                output=self._shown(done),
            ) from error
        return ResolvedEnvironment(
            platform=request.target.platform, packages=packages, pypi=pypi, resolver=f"conda-lock {version}"
        )

    def _program(self) -> str:
        beside = Path(sys.executable).parent / "conda-lock"
        on_path = shutil.which("conda-lock", path=self._environment.get("PATH"))
        found = str(beside) if os.access(beside, os.X_OK) else on_path
        if found is None:
            raise ToolNotFound(
                "the program `conda-lock`, which METAFLOW_CONDA_MIXED_DEPENDENCY_RESOLVER names, is neither beside "
                "this Python nor on PATH",
                hint=f"Install it (`pip install conda-lock`), or s{_OURS[1:]}",
            )
        return found

    def _version(self, program: str, folder: Path) -> str:
        done = self._runner.run([program, "--version"], environment=_SURROUNDINGS, folder=folder, timeout=_SHORT)
        found = re.search(r"\b(\d+(?:\.\d+)+)", done.output)
        if done.code or done.timed_out or found is None:
            raise ToolNotFound(
                f"`{program}` does not say which version it is",
                hint="Check `conda-lock --version`, or install it anew",
                output=self._shown(done),
            )
        if tuple(map(int, found[1].split("."))) < OLDEST:
            raise ToolNotFound(
                f"`{program}` is conda-lock {found[1]}, and {'.'.join(map(str, OLDEST))} or later is needed",
                hint="Update it (`pip install --upgrade conda-lock`)",
            )
        return found[1]

    def _conda(self) -> str:
        for name, variable in _CONDA:
            told = self._environment.get(variable, "")
            if found := shutil.which(name, path=self._environment.get("PATH")):
                return found
            if Path(told).name == name and os.access(told, os.X_OK):
                return told
        names = ", ".join(f"`{name}`" for name, _ in _CONDA)
        raise ToolNotFound(
            f"Could not find conda binary for conda-lock: none of {names} is on PATH, or what MAMBA_EXE or CONDA_EXE "
            "says",
            hint=f"Install one of them, or s{_OURS[1:]}",
        )

    def _failure(self, request: ResolutionRequest, done: Completed) -> ResolutionFailed:
        text = self._shown(done)
        if done.timed_out:
            message = f"`conda-lock` found no answer within {self._timeout:.0f} seconds"
        elif done.code:
            message = f"`conda-lock` finds nothing for {request.target.platform.value} that is all that is asked for"
        else:
            message = "`conda-lock` ended well and left no lock"
        names = [*(spec.name for spec in request.match_specs), *(wanted.name for wanted in request.spec.pypi)]
        named = [name for name in names if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)]
        return ResolutionFailed(
            message,
            hint="The lines above are its own words; `hybrid` says more of who needs what",
            output=text,
            packages=named,
        )

    def _shown(self, done: Completed) -> str:
        return without_secrets(f"{done.output}\n{done.errors}".strip(), self._secret_urls)


def _check_whole(packages: Sequence[ResolvedPackage]) -> None:
    if missing := missing_needs(each.record for each in packages):
        raise LockError(f"it has not {', '.join(f'`{name}`' for name in missing)}, which its packages need")


# An activated environment, and pip's and conda's words for other places, are none of its business.
_SURROUNDINGS: Mapping[str, str | None] = {
    **dict.fromkeys(("CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "CONDA_CHANNELS", "CONDA_FLAGS")),
    **dict.fromkeys(("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")),
    "NO_COLOR": "1",
    "LC_ALL": "C.UTF-8",
}


def _refuse_what_it_cannot(request: ResolutionRequest) -> None:
    spec = request.spec
    if any(wanted.is_local for wanted in spec.pypi):
        raise ResolutionFailed("Local PYPI packages are not supported in MIXED mode", hint=_HINT)
    places = {str(index) for index in (*spec.indexes, spec.default_index) if index}
    reasons = [
        text
        for is_asked, text in (
            (spec.options.exclude_newer, "leave out what is newer than a date"),
            (request.kept or request.preferred, "build upon an environment"),
            (request.constraints or spec.pypi_constraints, "have bounds on packages that it may or may not choose"),
            (any(wanted.url for wanted in spec.pypi), "take PyPI packages by their addresses"),
            (any(wanted.index for wanted in spec.pypi), "bind a project to an index"),
            (any(wanted.hashes for wanted in spec.pypi), "hold PyPI packages to given hashes"),
            (spec.flags, "take options of the PyPI resolver"),
        )
        if is_asked
    ]
    if reasons:
        raise ResolutionFailed(f"`conda-lock` cannot {' or '.join(reasons)}", hint=_HINT)
    if places and spec.options.index_strategy is IndexStrategy.FIRST_INDEX:
        # poetry, which it brings, asks the default index besides.
        raise ResolutionFailed(
            "`conda-lock` takes a project from whichever index has the best version, and the default one is always "
            "among them",
            hint=f"{_HINT}; or, if all are trusted alike, METAFLOW_CONDA_PYPI_INDEX_STRATEGY to `unsafe-best-match`",
        )


def arguments(request: ResolutionRequest, conda: str) -> list[str]:
    """Return conda-lock's words for a request, in the folder where its `inputs` are."""
    return [
        *("lock", "--conda", conda, "--no-dev-dependencies", "--log-level", "ERROR"),
        *(["--micromamba"] if Path(conda).name == "micromamba" else ["--no-micromamba"]),
        *("--file", "environment.yml", "--platform", request.target.platform.value),
        *("--virtual-package-spec", "virtual-packages.yml", "--lockfile", "conda-lock.yml"),
        # By default it fetches a table of names from the network. A PyPI package is asked for by its name on PyPI.
        *("--pypi_to_conda_lookup_file", "names.yml"),
    ]


def inputs(request: ResolutionRequest) -> dict[str, Json]:
    """Return the files that conda-lock reads, by name; JSON is YAML too (YAML 1.2.2, "Relation to JSON")."""
    spec, target = request.spec, request.target
    facts: dict[str, Json] = {
        package.name: f"{package.version} {package.build}" if package.build not in {"", "0"} else package.version
        for package in target.virtual_packages
    }
    places = [str(index) for index in (*spec.indexes, spec.default_index) if index]
    packages: list[Json] = [_conda_line(wanted) for wanted in request.match_specs]
    pythons = pythons_of(spec.python) if spec.python else ("3.12",)
    projects: list[Json] = [
        _pip_line(wanted)
        for wanted in spec.pypi
        if not wanted.marker or applies(wanted.marker, target=target, pythons=pythons) is not False
    ]
    # It takes pip for missing where only PyPI packages say that they need it.
    beside: list[Json] = [] if any(wanted.name == "pip" for wanted in request.match_specs) else ["pip"]
    environment: dict[str, Json] = {
        "channels": [str(channel) for channel in spec.channels],
        "platforms": [target.platform.value],
        "dependencies": [*packages, *beside, {"pip": projects}],
        **({"pip-repositories": list(places)} if places else {}),
    }
    return {
        "environment.yml": environment,
        "virtual-packages.yml": {"subdirs": {target.platform.value: {"packages": facts}}},
        "names.yml": {},
    }


def _conda_line(wanted: MatchSpec) -> str:
    channel = f"{without_credentials(str(wanted.channel))}::" if wanted.channel else ""
    version = "" if wanted.version == "*" and not wanted.build else f" {wanted.version}"
    return f"{channel}{wanted.name}{version}{f' {wanted.build}' if wanted.build else ''}"


def _pip_line(wanted: Requirement) -> str:
    extras = f"[{','.join(wanted.extras)}]" if wanted.extras else ""
    return f"{wanted.name}{extras}{wanted.specifier}"


def _chosen(artifact: Artifact) -> Chosen:
    """Read from an address what package it is of. Raises `ValueError`."""
    stem = artifact.file_name
    for ending in _ENDINGS:
        stem = stem.removesuffix(ending)
    name, version, build = stem.rsplit("-", 2)
    subdir = artifact.url.rsplit("/", 2)[-2]
    return Chosen(name=name, version=version, build=build, subdir=subdir, sha256=artifact.sha256 or "")
