"""The default conda resolver: py-rattler, in the helper process."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mfenv.domain.artifact import Artifact
from mfenv.domain.channel import without_credentials
from mfenv.domain.digest import Json
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import CondaRecord, ResolvedEnvironment, ResolvedPackage
from mfenv.errors import ResolutionFailed
from mfenv.formats.conda_transaction import Chosen
from mfenv.formats.fields import Fields
from mfenv.formats.lock_json import dump_record, load_record
from mfenv.formats.package_file import place_of
from mfenv.io.secrets import with_token
from mfenv.io.worker import Calls
from mfenv.resolve.pypi import Provided

OPERATIONS = {
    "solve": "mfenv.resolve.backends.rattler_worker:solve",
    "distributions": "mfenv.resolve.backends.rattler_worker:distributions",
    "extras": "mfenv.resolve.backends.rattler_worker:extras",
    "versions": "mfenv.resolve.backends.rattler_worker:versions",
    "search": "mfenv.resolve.backends.rattler_worker:search",
    "chosen": "mfenv.resolve.backends.rattler_worker:chosen",
    "records": "mfenv.resolve.backends.rattler_worker:records",
    "pixi_lock": "mfenv.resolve.backends.rattler_worker:pixi_lock",
}
"""What the helper process must offer for this backend."""


class RattlerResolver:
    """Solves conda requests with py-rattler (0.28)."""

    name = "rattler"

    def __init__(self, worker: Calls, *, cache: str, secret_urls: Mapping[str, str] | None = None) -> None:
        """Use `worker`, which offers `OPERATIONS`; keep repodata in the folder `cache`.

        `secret_urls` maps a channel's location to its URL with credentials.
        """
        self._worker = worker
        self._cache = cache
        self._secret_urls = {} if secret_urls is None else secret_urls

    def resolve(self, request: ResolutionRequest) -> ResolvedEnvironment:
        """See `mfenv.resolve.base.Resolver`."""
        answer = self._worker.call("solve", payload(request, cache=self._cache, secret_urls=self._secret_urls))
        if reason := answer.get("unsolvable"):
            raise failure(request, reason)
        return ResolvedEnvironment(
            platform=request.target.platform,
            packages=(*request.kept, *(_package(package) for package in answer["packages"])),
            resolver=f"rattler {answer['version']}",
        )


class RattlerDistributions:
    """Reads from conda packages which distributions they bring; see `mfenv.resolve.hybrid.Distributions`."""

    def __init__(
        self,
        worker: Calls,
        *,
        cache: str,
        archives: str,
        repodata: str,
        secret_urls: Mapping[str, str] | None = None,
    ) -> None:
        """Use `worker`, which offers `OPERATIONS`; keep answers in `cache`, look for files in `archives` first.

        `repodata` is the folder of the channels' indexes.
        """
        self._worker = worker
        self._cache = cache
        self._repodata = repodata
        self._archives = archives
        self._secret_urls = {} if secret_urls is None else secret_urls

    def provided_by(self, packages: Sequence[ResolvedPackage]) -> tuple[Provided, ...]:
        """See `mfenv.resolve.hybrid.Distributions.provided_by`."""
        found = self._worker.call("distributions", self._payload(packages))
        return tuple(
            Provided(name=name, version=version, conda_name=conda_name)
            for conda_name, distributions in found.items()
            for name, version in distributions
        )

    def with_extras(
        self, packages: Sequence[ResolvedPackage], provided: Sequence[Provided], projects: Sequence[str]
    ) -> tuple[Provided, ...]:
        """See `mfenv.resolve.hybrid.Distributions.with_extras`."""
        owners = {found.conda_name for found in provided if found.name in projects}
        asked = [package for package in packages if package.record.name in owners]
        needs = self._worker.call("extras", self._payload(asked) | {"projects": list(projects)})
        return tuple(
            replace(found, extra_requirements=tuple(needs.get(found.name, ()))) if found.name in projects else found
            for found in provided
        )

    def versions(
        self, request: ResolutionRequest, specs: Sequence[MatchSpec], beside: Sequence[ResolvedPackage]
    ) -> Mapping[str, Sequence[str]]:
        """See `mfenv.resolve.hybrid.Distributions.versions`."""
        asked = payload(request, cache=self._repodata, secret_urls=self._secret_urls)
        fixed: list[Json] = [
            {"name": package.record.name, "version": package.record.version, "build": package.record.build}
            for package in beside
            if package.record.name in {"python", "python_abi"}
        ]
        found: dict[str, list[str]] = self._worker.call(
            "versions", asked | {"specs": [_spec(wanted, self._secret_urls) for wanted in specs], "beside": fixed}
        )
        return found

    def search(self, request: ResolutionRequest) -> Sequence[Mapping[str, Any]]:
        """Return all builds on the request's channels that match its conda packages, newest and best first.

        Each has ``version``, ``build``, ``subdir``, ``channel``, ``size`` and ``time``. Raises `ResolutionFailed` when
        a channel cannot be read.
        """
        asked = payload(request, cache=self._repodata, secret_urls=self._secret_urls)
        rows: list[Mapping[str, Any]] = self._worker.call("search", asked)
        return rows

    def _payload(self, packages: Sequence[ResolvedPackage]) -> dict[str, Json]:
        asked: list[Json] = [
            {
                "name": package.record.name,
                "version": package.record.version,
                "file_name": package.artifact.file_name,
                "url": package.artifact.url,
                "sha256": package.artifact.sha256,
            }
            for package in packages
            if _may_hold_python(package.record)
        ]
        secrets: dict[str, Json] = dict(self._secret_urls)
        return {"packages": asked, "cache": self._cache, "archives": self._archives, "secret_urls": secrets}


class RattlerRecords:
    """Reads from conda packages what they say of themselves: what an index would have told."""

    def __init__(
        self, worker: Calls, *, cache: str, archives: str, secret_urls: Mapping[str, str] | None = None
    ) -> None:
        """Use `worker`, which offers `OPERATIONS`; keep answers in `cache`, look for files in `archives` first."""
        self._worker = worker
        self._cache = cache
        self._archives = archives
        self._secret_urls = {} if secret_urls is None else secret_urls

    def of(self, artifacts: Sequence[Artifact], *, shown: str) -> tuple[ResolvedPackage, ...]:
        """Return the packages in `artifacts`, in the order in which they can be installed.

        Channel and subdir are those of their addresses, as far as these tell. Raises `LockError` naming the lock file
        `shown` when a package says nothing sound of itself, or two have one name; `ResolutionFailed` when one cannot
        be had.
        """
        asked: list[Json] = [
            {"file_name": found.file_name, "url": found.url, "sha256": found.sha256, "place": list(place_of(found.url))}
            for found in artifacts
        ]
        payload: dict[str, Json] = {
            "packages": asked,
            "shown": shown,
            "cache": self._cache,
            "archives": self._archives,
            "secret_urls": dict(self._secret_urls),
        }
        answer = self._worker.call("records", payload)
        return tuple(
            ResolvedPackage(
                record=load_record(Fields(values=row["record"], path=f"{shown}: {artifacts[row['index']].file_name}")),
                artifact=artifacts[row["index"]],
            )
            for row in answer
        )


class RattlerIndex:
    """Reads from the channels' indexes what packages are that another solver chose."""

    def __init__(self, worker: Calls, *, cache: str, secret_urls: Mapping[str, str] | None = None) -> None:
        """Use `worker`, which offers `OPERATIONS`; keep repodata in the folder `cache`."""
        self._worker = worker
        self._cache = cache
        self._secret_urls = {} if secret_urls is None else secret_urls

    def records(
        self, request: ResolutionRequest, chosen: Sequence[Chosen], program: str
    ) -> tuple[ResolvedPackage, ...]:
        """Return the packages, in the order in which they can be installed; `program` chose them.

        Raises `ResolutionFailed` for one that the request's channels do not have.
        """
        asked = payload(request, cache=self._cache, secret_urls=self._secret_urls)
        rows: list[Json] = [
            {"name": one.name, "version": one.version, "build": one.build, "subdir": one.subdir, "sha256": one.sha256}
            for one in chosen
        ]
        answer = self._worker.call("chosen", {**asked, "chosen": rows, "program": program})
        return tuple(map(_package, answer))


def _may_hold_python(record: CondaRecord) -> bool:
    """Tell whether a package can have anything in site-packages: one that has, needs Python to be of use."""
    return record.noarch == "python" or any(depend.split()[0] in {"python", "python_abi"} for depend in record.depends)


def payload(request: ResolutionRequest, *, cache: str, secret_urls: Mapping[str, str]) -> dict[str, Json]:
    """Return the request as the helper process reads it."""
    spec = request.spec
    return {
        "cache": cache,
        "platform": request.target.platform.value,
        "channels": [with_token(str(channel), secret_urls) for channel in spec.channels],
        "specs": [_spec(wanted, secret_urls) for wanted in request.match_specs],
        "virtual_packages": [
            [package.name, package.version, package.build] for package in request.target.virtual_packages
        ],
        "constraints": [_spec(wanted, secret_urls) for wanted in request.constraints],
        "kept": [_kept(package) for package in request.kept],
        "preferred": [_preferred(package) for package in request.preferred],
        "channel_priority": spec.options.channel_priority.value,
        "exclude_newer": spec.options.exclude_newer,
        "secret_urls": dict(secret_urls),
    }


def _spec(wanted: MatchSpec, secret_urls: Mapping[str, str]) -> Json:
    channel = str(wanted.channel) if wanted.channel else None
    return {
        "name": wanted.name,
        "version": wanted.version,
        "build": wanted.build,
        "channel": with_token(channel, secret_urls) if channel else None,
    }


def _kept(package: ResolvedPackage) -> Json:
    artifact = package.artifact
    return {"record": dump_record(package.record), "file_name": artifact.file_name, "url": artifact.url}


def _preferred(package: ResolvedPackage) -> Json:
    record = package.record
    return {"name": record.name, "version": record.version, "build": record.build, "subdir": record.subdir}


def _package(answer: dict[str, Any]) -> ResolvedPackage:
    return ResolvedPackage(
        record=load_record(Fields(values=answer["record"], path="solution")),
        artifact=Artifact(
            file_name=answer["file_name"],
            url=without_credentials(answer["url"]),
            size=answer["size"],
            sha256=answer["sha256"],
            md5=answer["md5"],
        ),
    )


_SHOWN_VERSIONS = 8


def failure(request: ResolutionRequest, reason: dict[str, Any]) -> ResolutionFailed:
    """Say in words why a request has no answer; `reason` is what the helper process found out."""
    asked = {spec.name: spec for spec in request.match_specs}
    platform = request.target.platform.value
    channels = ", ".join(f"`{channel}`" for channel in request.spec.channels)
    missing, unmatched = reason["missing"], reason["unmatched"]
    sentences = [f"there is no package `{row['name']}` for {platform} on {channels}" for row in missing]
    sentences += [
        f"no version of `{row['name']}` for {platform} is `{asked[row['name']].version}`" for row in unmatched
    ]
    hints = [hint for row in missing if (hint := _hint_for_missing(row))]
    hints += [_hint_for_version(row) for row in unmatched]
    if not sentences and (beside := _beside_kept(request, reason["text"])):
        return beside
    if not sentences:
        sentences = [f"what is asked for cannot be had together for {platform}"]
        hints = [_hint_for_conflict(request, reason["text"])]
    return ResolutionFailed(
        "; ".join(sentences),
        hint="; ".join(hints) or "Check the spelling, or add the channel that has it to `channels`",
        output="" if missing or unmatched else reason["text"],
        packages=[row["name"] for row in (*missing, *unmatched)],
    )


# How py-rattler 0.28 says that a package that is kept is in the way.
_IN_THE_WAY = re.compile(r"─ (?P<name>\S+) \S+ is locked, but another version is required")
_AT_THE_ROOT = r"(?:^[├└]─ |because of: ){name} .*\bcan(?:not)? be installed"


def _beside_kept(request: ResolutionRequest, text: str) -> ResolutionFailed | None:
    """Say which wishes have no answer beside which of the packages that are kept; None where those are not at fault."""
    wishes = [
        spec for spec in request.match_specs if re.search(_AT_THE_ROOT.format(name=re.escape(spec.name)), text, re.M)
    ] or list(request.match_specs)
    blamed = set(_IN_THE_WAY.findall(text))
    if not blamed:
        return None
    # The ABI is Python's shadow: it is only worth a word where nothing else is in the way.
    kept = [package.record for package in request.kept if package.record.name in blamed - {"python_abi"}] or [
        package.record for package in request.kept if package.record.name in blamed
    ]
    beside = " and ".join(f"{record.name} {record.version}" for record in kept)
    wanted = " and ".join(f"`{wish}`" for wish in wishes)
    return ResolutionFailed(
        f"{wanted} cannot be had beside {beside} of the environment that is built upon",
        hint="Ask for another version, or do not build upon that environment",
        output=text,
        packages=[*(wish.name for wish in wishes), *(record.name for record in kept)],
    )


def _hint_for_missing(row: dict[str, Any]) -> str:
    if row["similar"]:
        return f"Did you mean {' or '.join(f'`{name}`' for name in row['similar'])}?"
    if row["elsewhere"]:
        return f"`{row['name']}` is there for {', '.join(row['elsewhere'])} only"
    return ""


def _hint_for_version(row: dict[str, Any]) -> str:
    versions = row["versions"]
    more = f" and {len(versions) - _SHOWN_VERSIONS} older" if len(versions) > _SHOWN_VERSIONS else ""
    return f"There is `{row['name']}` {', '.join(versions[:_SHOWN_VERSIONS])}{more}"


def _hint_for_conflict(request: ResolutionRequest, text: str) -> str:
    for name, meaning in _VIRTUAL.items():
        if name in text:
            has = request.target.version_of(name)
            return meaning.format(has=f"this target has {name} {has}" if has else f"this target has no {name}")
    asked = {spec.name for spec in request.match_specs if spec.version != "*"}
    # What the user's own constraint leaves nothing of counts as missing too, and is not.
    if nowhere := [wanted for wanted in _NOWHERE.findall(text) if wanted.split()[0] not in asked]:
        named = " and ".join(f"`{wanted}`" for wanted in dict.fromkeys(nowhere))
        return (
            f"Nothing on the channels matches {named}: add the channel that has it to `channels`, "
            "or ask for another version of what needs it"
        )
    return "Loosen one of the versions named above"


# How py-rattler 0.28 says that a dependency is on no channel.
_NOWHERE = re.compile(r"─ ([^─\n]+), for which no candidates were found")

_VIRTUAL = {
    "__cuda": "A package needs a GPU ({has}): ask for a build without CUDA, or set CONDA_OVERRIDE_CUDA",
    "__glibc": "A package needs a newer C library ({has}): ask for an older version of it, "
    "or set CONDA_OVERRIDE_GLIBC if every machine that runs the step has a newer one",
    "__osx": "A package needs a newer macOS ({has}): ask for an older version of it, or set CONDA_OVERRIDE_OSX",
    "__archspec": "A package needs a newer processor ({has}): ask for another build of it",
}
"""What a conflict over a virtual package means to somebody who never heard of one."""
