"""conda, mamba and micromamba as resolvers: a dry run of the program that is there, read into our own values."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mfenv.domain import conda_version
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedEnvironment, ResolvedPackage
from mfenv.errors import EnvironmentsError, LockError, ResolutionFailed, ToolNotFound
from mfenv.formats import conda_transaction
from mfenv.formats.conda_transaction import Chosen, Failure
from mfenv.io.process import Completed, ProcessRunner
from mfenv.io.secrets import without_secrets
from mfenv.resolve.backends import conda_dialects
from mfenv.resolve.backends.conda_dialects import Dialect
from mfenv.resolve.satisfies import missing_needs

FindRecords = Callable[[ResolutionRequest, tuple[Chosen, ...], str], tuple[ResolvedPackage, ...]]
"""Reads from the channels' indexes what chosen packages are, in install order; the text is the program's name."""

_TIME_LIMIT = 1200.0
_SHORT = 60.0
_ROUNDS = 8
# Where each says itself that it is, for those who have it as a shell's function only.
_VARIABLES = {"conda": "CONDA_EXE", "mamba": "MAMBA_EXE", "micromamba": "MAMBA_EXE"}
_HINT = "Set METAFLOW_CONDA_DEPENDENCY_RESOLVER to `rattler`, which needs no program"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that was found, and how it is spoken to."""

    path: str
    version: str
    dialect: Dialect


class CondaCliResolver:
    """Solves with `conda`, `mamba` or `micromamba`; makes and changes no environment of theirs."""

    def __init__(
        self,
        program: str,
        *,
        runner: ProcessRunner,
        records: FindRecords,
        cache: Path,
        secret_urls: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = _TIME_LIMIT,
    ) -> None:
        """Run the program called `program`, whose caches are in `cache`: one for all environments.

        `secret_urls` has what must not be shown. `environment` is where the program is looked for; by default this
        process's. A solve may take `timeout` seconds.
        """
        self.name = program
        self._runner = runner
        self._records = records
        self._cache = cache
        self._secret_urls = {} if secret_urls is None else secret_urls
        self._environment = os.environ if environment is None else environment
        self._timeout = timeout
        self._finding = threading.Lock()
        self._found: Program | None = None

    def resolve(self, request: ResolutionRequest) -> ResolvedEnvironment:
        """See `mfenv.resolve.base.Resolver`. Raises `ToolNotFound` where the program is not there, or too old."""
        self._refuse_what_none_can(request)
        program = self._program()
        chosen, asked = self._within_constraints(program, request)
        if rather := _rather(request, chosen):
            # None has a word for "this one if nothing speaks against it": it is asked for, and no more if it cannot be.
            with contextlib.suppress(ResolutionFailed):
                chosen, _ = self._within_constraints(program, _asking_for(asked, rather))
        kept = {each.record.name for each in request.kept}
        others = tuple(each for each in chosen if each.name not in kept)
        packages = (*request.kept, *self._records(request, others, self.name))
        # What is kept may lack what it needs: that was settled when it was chosen.
        if not request.kept and (missing := missing_needs(each.record for each in packages)):
            raise ResolutionFailed(
                f"`{self.name}` {program.version} chose packages without what they need: {', '.join(missing)}",
                hint=_HINT,
                packages=missing,
            )
        return ResolvedEnvironment(
            platform=request.target.platform,
            packages=packages,
            resolver=f"{self.name} {program.version}",
        )

    def _within_constraints(
        self, program: Program, request: ResolutionRequest
    ) -> tuple[tuple[Chosen, ...], ResolutionRequest]:
        """Return an answer that keeps to the request's constraints, and the request that it answers.

        None has a word for "this version, if it is chosen at all": what was chosen is asked for in that version.
        """
        asked = request
        for _ in range(_ROUNDS):
            chosen = self._chosen(program, asked)
            broken = _broken(request, chosen)
            if not broken:
                return chosen, asked
            asked = _asking_for(asked, broken)
        raise ResolutionFailed(
            f"`{self.name}` finds nothing that keeps to {', '.join(f'`{wanted}`' for wanted in broken)}",
            hint=_HINT,
            packages=[wanted.name for wanted in broken],
        )

    def _chosen(self, program: Program, request: ResolutionRequest) -> tuple[Chosen, ...]:
        answer = self._answer(program, request)
        if isinstance(answer, Failure):
            raise self._failure(request, program, answer)
        wanted = {spec.name for spec in request.match_specs} | {each.record.name for each in request.kept}
        if missing := sorted(wanted - {each.name for each in answer}):
            raise ResolutionFailed(
                f"`{self.name}` {program.version} left out of its answer: {', '.join(f'`{name}`' for name in missing)}",
                hint=_HINT,
                packages=missing,
            )
        return answer

    def _refuse_what_none_can(self, request: ResolutionRequest) -> None:
        if request.spec.options.exclude_newer:
            raise ResolutionFailed(f"`{self.name}` cannot leave out what is newer than a date", hint=_HINT)

    # ----------------------------------------------------------------- program

    def _program(self) -> Program:
        with self._finding:
            if self._found is None:
                self._found = self._find()
            return self._found

    def _find(self) -> Program:
        path = self._path()
        done = self._run([path, "--version"], {}, _SHORT)
        version = conda_dialects.parse_version(done.output)
        if done.timed_out or done.code or version is None:
            raise ToolNotFound(
                f"`{path}` does not say which version it is",
                hint=f"Check `{self.name} --version`, or set METAFLOW_CONDA_DEPENDENCY_RESOLVER to `rattler`",
                output=self._shown(done),
            )
        number = ".".join(map(str, version))
        dialect = conda_dialects.dialect_of(self.name, version)
        if dialect is None:
            raise ToolNotFound(
                f"`{path}` is {self.name} {number}, and {conda_dialects.oldest(self.name)} or later is needed",
                hint=f"Update it, or s{_HINT[1:]}",
            )
        return Program(path=path, version=number, dialect=dialect)

    def _path(self) -> str:
        if found := shutil.which(self.name, path=self._environment.get("PATH")):
            return found
        variable = _VARIABLES[self.name]
        told = self._environment.get(variable, "")
        if Path(told).name == self.name and os.access(told, os.X_OK):
            return told
        raise ToolNotFound(
            f"the program `{self.name}`, which METAFLOW_CONDA_DEPENDENCY_RESOLVER names, is not there: it is neither "
            f"on PATH nor what {variable} says",
            hint=f"A function of your shell is no program: set {variable} to its path, install {self.name}, or set "
            "METAFLOW_CONDA_DEPENDENCY_RESOLVER to `rattler`, which needs no program",
        )

    def _run(self, command: list[str], environment: Mapping[str, str | None], timeout: float) -> Completed:
        self._cache.mkdir(parents=True, exist_ok=True)
        try:
            return self._runner.run(command, environment=environment, folder=self._cache, timeout=timeout)
        except OSError as error:
            # A program for another processor, a script without its first line.
            raise ToolNotFound(
                f"the program `{command[0]}` cannot be started here: {error.strerror}", hint=_HINT
            ) from error

    def _answer(self, program: Program, request: ResolutionRequest) -> tuple[Chosen, ...] | Failure:
        words = conda_dialects.arguments(program.dialect, request, str(self._cache / "nothing-is-made-here"))
        done = self._run([program.path, *words], self._surroundings(request), self._timeout)
        if done.timed_out:
            raise ResolutionFailed(
                f"`{self.name}` {program.version} found no answer within {self._timeout:.0f} seconds",
                hint=f"Ask for fewer packages or narrower versions, or s{_HINT[1:]}",
                output=self._shown(done),
            )
        try:
            answer = conda_transaction.load(done.output, program=self.name)
        except LockError as error:
            if done.code:
                # micromamba before 2.8 says on standard error alone what it cannot reach.
                return Failure(kind="", text=done.errors.strip() or done.output.strip())
            raise ResolutionFailed(error.message, hint=_HINT, output=self._shown(done)) from error
        if done.code and not isinstance(answer, Failure):
            return Failure(kind="", text=done.errors.strip() or f"it ended with code {done.code}")
        if isinstance(answer, Failure) and not answer.text:
            return replace(answer, text=done.errors.strip())
        return answer

    def _surroundings(self, request: ResolutionRequest) -> dict[str, str | None]:
        """Return what the program is told by variables; an activated environment is none of its business."""
        active = ("CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "CONDA_CHANNELS", "CONDA_SOLVER")
        return {
            **dict.fromkeys(active),
            **conda_dialects.overrides(request.target, self.name),
            "CONDA_SUBDIR": request.target.platform.value,
            "CONDA_PKGS_DIRS": str(self._cache / "pkgs"),
            "CONDA_NOTIFY_OUTDATED_CONDA": "false",
            "CONDA_REPORT_ERRORS": "false",
            "CONDA_NUMBER_CHANNEL_NOTICES": "0",
            **({"MAMBA_ROOT_PREFIX": str(self._cache / "root")} if self.name == "micromamba" else {}),
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
        }

    # ----------------------------------------------------------------- failures

    def _failure(self, request: ResolutionRequest, program: Program, failure: Failure) -> EnvironmentsError:
        text = without_secrets(failure.text, self._secret_urls)
        names = [
            spec.name for spec in request.match_specs if re.search(rf"(?<![\w-]){re.escape(spec.name)}(?![\w-])", text)
        ]
        platform = request.target.platform.value
        if channel := _unreachable(request, failure):
            return ResolutionFailed(
                f"`{self.name}` cannot read the channel `{channel}`",
                hint="Check the spelling of the channel, that it can be reached from here, and the login that "
                f"{self.name} has for it: it is not given yours",
                output=text,
                packages=[f"channel:{channel}"],
            )
        if not any(word in text.lower() for word in _UNSATISFIABLE):
            return ResolutionFailed(
                f"`{self.name}` {program.version} ended without an answer",
                hint=f"Try what it was asked by hand, or s{_HINT[1:]}",
                output=text,
            )
        return ResolutionFailed(
            f"`{self.name}` finds nothing for {platform} that is all that is asked for{_naming(names)}",
            hint="Check the spelling, loosen a version, or add the channel that has it to `channels`",
            output=text,
            packages=names,
        )

    def _shown(self, done: Completed) -> str:
        return without_secrets(f"{done.output}\n{done.errors}".strip(), self._secret_urls)


def _naming(names: Sequence[str]) -> str:
    return f"; it names {', '.join(f'`{name}`' for name in names)}" if names else ""


_UNSATISFIABLE = (
    "could not solve",
    "does not exist",
    "nothing provides",
    "not available from current channels",
    "unsatisfiable",
    "conflict",
    "can be installed",
    "could not be installed",
    "is incompatible",
)
"""How the programs say that there is no answer, in small letters."""

_OUT_OF_REACH = ("CondaHTTPError", "UnavailableInvalidChannel", "ChannelDenied", "CondaSSLError", "ProxyError")


def _unreachable(request: ResolutionRequest, failure: Failure) -> str | None:
    """Return the channel that could not be read, when that is what went wrong."""
    is_told = failure.kind in _OUT_OF_REACH or "Download error" in failure.text or " not loaded" in failure.text
    if not is_told:
        return None
    known = [str(channel) for channel in request.spec.channels]
    return next((channel for channel in known if channel.rstrip("/") in failure.text), ", ".join(known))


def _asking_for(request: ResolutionRequest, specs: Sequence[MatchSpec]) -> ResolutionRequest:
    return replace(request, spec=replace(request.spec, conda=(*request.spec.conda, *specs)))


def _broken(request: ResolutionRequest, chosen: Sequence[Chosen]) -> list[MatchSpec]:
    versions = {each.name: each.version for each in chosen}
    return [
        wanted
        for wanted in request.constraints
        if wanted.name in versions and not conda_version.admits(wanted.version, versions[wanted.name])
    ]


def _rather(request: ResolutionRequest, chosen: Sequence[Chosen]) -> list[MatchSpec]:
    """Return earlier packages that are needed again, and were chosen in another version or build."""
    found = {each.name: (each.version, each.build) for each in chosen}
    return [
        MatchSpec(name=each.record.name, version=f"=={each.record.version}", build=each.record.build)
        for each in request.preferred
        if found.get(each.record.name, (each.record.version, each.record.build))
        != (each.record.version, each.record.build)
    ]
