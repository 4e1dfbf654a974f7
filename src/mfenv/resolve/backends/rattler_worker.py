"""The solving half of py-rattler, inside the helper process. Nothing else of this package runs it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import difflib
import email
import json
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import rattler
from rattler import (
    Channel,
    ChannelPriority,
    Client,
    Gateway,
    GenericVirtualPackage,
    MatchSpec,
    PackageName,
    RepoDataRecord,
    Version,
)
from rattler.exceptions import GatewayError, InvalidMatchSpecError, InvalidUrlError, SolverError
from rattler.lock import CondaLockedBinaryPackage, CondaLockedPackage, LockFile, PypiLockedPackage
from rattler.networking.middleware import (
    AddHeadersMiddleware,
    AuthenticationMiddleware,
    GCSMiddleware,
    OciMiddleware,
    RetryMiddleware,
    S3Middleware,
)
from rattler.package.build_string import BuildString
from rattler.package_streaming import PackageArchive
from rattler.repo_data import PackageRecord

from mfenv.domain.channel import without_credentials
from mfenv.domain.cutoff import parse_cutoff
from mfenv.domain.digest import Json, identity
from mfenv.errors import EnvironmentsError, InvalidSpec, LockError, ResolutionFailed
from mfenv.formats.fields import Fields
from mfenv.formats.lock_json import load_record
from mfenv.formats.package_file import shown
from mfenv.io.few_at_once import few_at_once
from mfenv.io.files import write_atomically
from mfenv.io.secrets import headers_for, tokens_in, with_credentials, without_secrets
from mfenv.io.worker_main import Emit

_TIME_LIMIT = datetime.timedelta(minutes=10)
# Seconds for one answer of a channel; a whole index of a large one has to fit, over a slow line.
_ANSWER_LIMIT = 180
_PRIORITIES = {"strict": ChannelPriority.Strict, "disabled": ChannelPriority.Disabled}
_OTHER_PLATFORMS = ("linux-64", "linux-aarch64", "osx-64", "osx-arm64", "win-64")
# Packages that are looked into: thousands of requests would wait for each other, and fail late.
_AT_ONCE = 50
_gateways: dict[str, tuple[Gateway, Client]] = {}


def reach(payload: Mapping[str, Any]) -> tuple[Gateway, Client]:
    """Return what asks channels, for a cache folder: one for all solves, so that repodata is read once."""
    cache: str = payload["cache"]
    if cache not in _gateways:
        # Only a client that is passed honours netrc, RATTLER_AUTH_FILE and the auth stores. Credentials are headers
        # here: the cache of py-rattler 0.28 keeps the URLs that it has asked for, as they are.
        client = Client(
            [
                RetryMiddleware(3),
                AddHeadersMiddleware(headers_for(payload["secret_urls"])),
                AuthenticationMiddleware(),
                OciMiddleware(),
                GCSMiddleware(),
                S3Middleware(),
            ],
            timeout=_ANSWER_LIMIT,
        )
        _gateways[cache] = Gateway(cache_dir=cache, client=client), client  # type: ignore[arg-type]
    return _gateways[cache]


def _gateway(payload: Mapping[str, Any]) -> Gateway:
    return reach(payload)[0]


def _forget_tokens(payload: Mapping[str, Any]) -> None:
    """Take away what of the cache holds a token: one in a channel's path cannot be a header."""
    tokens = [token.encode() for token in tokens_in(payload["secret_urls"].values())]
    for path in Path(payload["cache"]).glob("*") if tokens else ():
        with contextlib.suppress(OSError):
            if path.is_file() and any(token in path.read_bytes() for token in tokens):
                path.unlink()


async def solve(payload: Mapping[str, Any], emit: Emit) -> Json:  # noqa: ARG001
    """Solve one request (see `mfenv.resolve.backends.rattler.payload`).

    The answer is ``{"version", "packages"}``, without those that are kept, or ``{"unsolvable"}`` with what is known of
    the reason. Raises `ResolutionFailed` when a channel cannot be read, `InvalidSpec` when a spec cannot.
    """
    gateway = _gateway(payload)
    channels = [Channel(text) for text in payload["channels"]]
    specs = [_match_spec(wanted) for wanted in payload["specs"]]
    constraints = [_match_spec(wanted) for wanted in payload["constraints"]]
    kept = {package["record"]["name"]: package for package in payload["kept"]}
    pinned = [_pinned(package, kept) for package in kept.values()]
    locked = await _still_there(gateway, channels, payload)
    try:
        records = await rattler.solve(
            sources=channels,
            # A pinned package is the only one of its name, and still is only there if somebody asks for it.
            specs=[*specs, *map(MatchSpec, kept)],
            pinned_packages=pinned,
            locked_packages=locked,
            constraints=constraints,
            exclude_newer=_cutoff(payload["exclude_newer"]),
            gateway=gateway,
            platforms=[payload["platform"], "noarch"],
            virtual_packages=[_virtual(*facts) for facts in payload["virtual_packages"]],
            channel_priority=_PRIORITIES[payload["channel_priority"]],
            timeout=_TIME_LIMIT,
            # Exactly the channels that were asked for.
            channel_relations="disabled",
        )
    except SolverError as error:
        return {"unsolvable": await _explain(gateway, channels, payload, specs, str(error))}
    except (GatewayError, InvalidUrlError) as error:
        raise _unreadable(payload["channels"], without_secrets(str(error), payload["secret_urls"])) from error
    finally:
        _forget_tokens(payload)
    ordered = PackageRecord.sort_topologically(list(records))
    by_name = {record.name.normalized: record for record in records}
    refuse_changes(by_name, kept)
    return {
        "version": rattler.__version__,
        "packages": [
            _describe(by_name[record.name.normalized]) for record in ordered if record.name.normalized not in kept
        ],
    }


def _cutoff(text: str) -> datetime.datetime | None:
    """Read a date, or how long ago, as uv does (``2025-01-31``, ``2025-01-31T12:00:00Z``, ``30 days``)."""
    if not text:
        return None
    moment = parse_cutoff(text, now=datetime.datetime.now(datetime.timezone.utc))
    # py-rattler reads the clock face of what it is given as UTC.
    return moment.astimezone(datetime.timezone.utc)


def _match_spec(wanted: Mapping[str, str | None]) -> MatchSpec:
    text = f"{wanted['name'] or ''} {wanted['version'] or '*'}"
    if wanted["build"]:
        # In brackets: py-rattler 0.28 takes a build with a dot in it for a part of the version otherwise.
        text += f"[build={json.dumps(wanted['build'])}]"
    if wanted["channel"]:
        text = f"{wanted['channel']}::{text}"
    try:
        return MatchSpec(text, strict=True)
    except InvalidMatchSpecError as error:
        raise InvalidSpec(f"`{without_credentials(text)}` cannot be read: {error}") from error


_LONG_AGO = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


async def _still_there(
    gateway: Gateway, channels: Sequence[Channel], payload: Mapping[str, Any]
) -> list[RepoDataRecord]:
    """Return the packages that are preferred, as the channels have them today; what they have no more is left out."""
    wanted = {(row["name"], row["version"], row["build"], row["subdir"]) for row in payload["preferred"]}
    if not wanted:
        return []
    names = sorted({name for name, *_ in wanted})
    try:
        found = await gateway.query(list(channels), [payload["platform"], "noarch"], names, recursive=False)
    except (GatewayError, InvalidUrlError):
        # The solve says so, with all that is known.
        return []
    first: dict[tuple[str, str, str, str], RepoDataRecord] = {}
    for record in (record for rows in found for record in rows):
        key = (record.name.normalized, str(record.version), str(record.build), record.subdir)
        if key in wanted:
            first.setdefault(key, record)
    return list(first.values())


def _pinned(package: Mapping[str, Any], kept: Mapping[str, Any]) -> RepoDataRecord:
    """Return a package that is kept, as far as it concerns others.

    What it has to do with others that are kept, or with the machine, is settled. What it needs and never got is not
    brought now; if somebody else brings it, it has to fit.
    """
    conda = package["record"]
    others = [text for text in conda.get("depends", ()) if _is_open(text, kept)]
    record = PackageRecord(
        name=conda["name"],
        version=conda["version"],
        build=BuildString(conda["build"]),
        build_number=conda["build_number"],
        subdir=conda["subdir"],
        noarch=conda["noarch"] if conda.get("noarch") in {"python", "generic"} else None,
        constrains=[*others, *(text for text in conda.get("constrains", ()) if _is_open(text, kept))],
        python_site_packages_path=conda.get("python_site_packages_path"),
    )
    # No cut-off date is for what is chosen already.
    record.timestamp = _LONG_AGO
    return RepoDataRecord(record, package["file_name"], package["url"], conda["channel"])


def refuse_changes(found: Mapping[str, RepoDataRecord], kept: Mapping[str, Any]) -> None:
    """Refuse an answer that was found beside other packages than those that are kept, which stand in for its own."""
    changed = [name for name, package in kept.items() if name not in found or found[name].url != package["url"]]
    if changed:
        names = ", ".join(f"`{name}`" for name in changed)
        raise ResolutionFailed(
            f"py-rattler {rattler.__version__} left out, or replaced, what has to be kept: {names}",
            hint="Tell the maintainers, with the version of py-rattler",
            packages=changed,
        )


def _is_open(text: str, kept: Mapping[str, Any]) -> bool:
    """Tell whether a need is of something that is neither kept nor the machine's."""
    try:
        name = MatchSpec(text).name
    except InvalidMatchSpecError:
        return False
    return name is not None and not name.normalized.startswith("__") and name.normalized not in kept


def _virtual(name: str, version: str, build: str) -> GenericVirtualPackage:
    return GenericVirtualPackage(PackageName(name), Version(version), BuildString(build))


def _describe(record: RepoDataRecord) -> Json:
    noarch = record.noarch
    kind = "python" if noarch.python else "generic" if noarch.generic else None
    return {
        "record": {
            "name": record.name.normalized,
            "version": str(record.version),
            "build": str(record.build),
            "build_number": record.build_number,
            "subdir": record.subdir,
            "channel": without_credentials(record.channel).rstrip("/"),
            "depends": list(record.depends),
            "constrains": list(record.constrains),
            "noarch": kind,
            "python_site_packages_path": record.python_site_packages_path,
            "license": record.license,
        },
        "file_name": record.file_name,
        "url": record.url,
        "size": record.size,
        "sha256": record.sha256.hex() if record.sha256 else None,
        "md5": record.md5.hex() if record.md5 else None,
    }


def _unreadable(channels: Sequence[str], text: str) -> ResolutionFailed:
    """Say which channel could not be read; the library's text holds the address that failed."""
    for channel in channels:
        text = text.replace(channel, without_credentials(channel))
    first, *causes = text.splitlines()
    blamed = next((c for c in channels if f"{without_credentials(c).rstrip('/')}/" in f"{text}/"), None)
    place = without_credentials(blamed) if blamed else ", ".join(map(without_credentials, channels))
    if "could not find subdir" in text:
        message = f"`{place}` is not a conda channel: it has no repodata for noarch"
    elif any(code in text for code in ("401", "403")):
        message = f"the channel `{place}` denies access"
    else:
        message = f"the channel `{place}` cannot be read"
    return ResolutionFailed(
        message,
        hint="Check the spelling of the channel, that it can be reached from here, and your credentials for it",
        output="\n".join([first, *causes]),
        packages=[f"channel:{place}"],
    )


async def _explain(
    gateway: Gateway,
    channels: Sequence[Channel],
    payload: Mapping[str, Any],
    specs: Sequence[MatchSpec],
    text: str,
) -> dict[str, Json]:
    """Find out what about a request has no answer: names nobody has, versions nobody has, or a conflict."""
    subdirs = [payload["platform"], "noarch"]
    known = await _names(gateway, channels, subdirs)
    missing: list[Json] = []
    unmatched: list[Json] = []
    for wanted, spec in zip(payload["specs"], specs, strict=True):
        name = wanted["name"]
        if name not in known:
            missing.append(
                {
                    "name": name,
                    "similar": list(_similar(name, known)),
                    "elsewhere": list(await _elsewhere(gateway, channels, name, subdirs)),
                }
            )
            continue
        versions = await _versions(gateway, channels, subdirs, spec, name)
        if versions is not None:
            unmatched.append({"name": name, "versions": list(versions)})
    return {"text": text.strip(), "missing": missing, "unmatched": unmatched}


async def _names(gateway: Gateway, channels: Sequence[Channel], subdirs: Iterable[str]) -> set[str]:
    names = await gateway.names(list(channels), list(subdirs))  # type: ignore[arg-type]
    return {name.normalized for name in names}


def _similar(name: str, known: set[str]) -> list[str]:
    """Return up to five known names that somebody may have meant by `name`, likeliest first."""
    folded = {other.replace("_", "-").replace(".", "-"): other for other in sorted(known)}
    exact = folded.get(name.replace("_", "-").replace(".", "-"))
    close = difflib.get_close_matches(name, sorted(known), n=5, cutoff=0.72)
    held = [other for other in (f"python-{name}", name.removeprefix("python-"), f"py{name}") if other in known]
    return list(dict.fromkeys([*([exact] if exact else []), *close, *held]))[:5]


async def _elsewhere(gateway: Gateway, channels: Sequence[Channel], name: str, searched: Sequence[str]) -> list[str]:
    """Return the platforms, other than those searched, for which the channels do have `name`."""
    found = []
    for platform in _OTHER_PLATFORMS:
        if platform in searched:
            continue
        try:
            if name in await _names(gateway, channels, [platform]):
                found.append(platform)
        except GatewayError:
            continue
    return found


async def _versions(
    gateway: Gateway, channels: Sequence[Channel], subdirs: Sequence[str], spec: MatchSpec, name: str
) -> list[str] | None:
    """Return the versions there are of `name`, newest first, when none of them fits `spec`; None when one does."""
    found = await gateway.query(list(channels), list(subdirs), [name], recursive=False)  # type: ignore[arg-type]
    records = [record for rows in found for record in rows]
    if any(spec.matches(record) for record in records):
        return None
    by_version = {str(record.version): record.version for record in records}
    return sorted(by_version, key=lambda text: by_version[text], reverse=True)


_DISTRIBUTION = re.compile(r"(?:^|/)site-packages/(?P<stem>[^/]+)\.(?:dist-info|egg-info)(?:/|$)")


async def distributions(payload: Mapping[str, Any], emit: Emit) -> Json:  # noqa: ARG001
    """Tell which distributions conda packages bring: package name to ``[[project, version], ...]``.

    They are read from the packages' own lists of files, fetched by range requests where the file is not here, and kept
    by the files' digests. Raises `ResolutionFailed` when a package cannot be read.
    """
    client = Client.default_client(timeout=_ANSWER_LIMIT)
    rows = await few_at_once(
        payload["packages"], lambda package: _distributions_of(client, package, payload), most=_AT_ONCE
    )
    return {package["name"]: row for package, row in zip(payload["packages"], rows, strict=True)}


async def _distributions_of(client: Client, package: Mapping[str, Any], payload: Mapping[str, Any]) -> Json:
    sha256 = package["sha256"]
    kept = Path(payload["cache"]) / f"{sha256}.json" if sha256 else None
    if kept and kept.exists():
        with contextlib.suppress(ValueError, OSError):
            answer: Json = json.loads(kept.read_bytes())
            return answer
    paths = await _paths_in(client, package, payload)
    stems = sorted({match["stem"] for path in paths if (match := _DISTRIBUTION.search(path))})
    found: Json = [_distribution(stem, package["version"]) for stem in stems]
    if kept:
        write_atomically(kept, json.dumps(found).encode())
    return found


def _distribution(stem: str, conda_version: str) -> Json:
    """Split ``name-version`` (PEP 427); ``name-version-py3.11`` is setuptools' older form, and may lack the version."""
    name, _, rest = stem.partition("-")
    version = rest.partition("-py")[0] or conda_version
    return [re.sub(r"[-_.]+", "-", name).lower(), version]


async def extras(payload: Mapping[str, Any], emit: Emit) -> Json:  # noqa: ARG001
    """Tell what the distributions ``projects`` in conda packages require (``Requires-Dist``), by project.

    Raises `ResolutionFailed` when a package cannot be read.
    """
    client = Client.default_client(timeout=_ANSWER_LIMIT)
    found: dict[str, Json] = {}
    for package in payload["packages"]:
        paths = await _paths_in(client, package, payload)
        wanted = {}
        for path in paths:
            stem = _DISTRIBUTION.search(path)
            project = re.sub(r"[-_.]+", "-", stem["stem"].partition("-")[0]).lower() if stem else ""
            if project in payload["projects"] and path.endswith((".dist-info/METADATA", ".egg-info/PKG-INFO")):
                wanted[path] = project
        members = await _members(client, package, payload, list(wanted)) if wanted else {}
        for path, project in wanted.items():
            message = email.message_from_bytes(members.get(path) or b"")
            found[project] = [str(text) for text in message.get_all("Requires-Dist") or ()]
    return found


async def versions(payload: Mapping[str, Any], emit: Emit) -> Json:  # noqa: ARG001
    """Tell which versions the channels have that match ``specs``: name to versions, newest first.

    ``beside`` are packages that are settled, Python first of all; what cannot be installed beside them is left out.
    """
    channels = [Channel(text) for text in payload["channels"]]
    specs = {wanted["name"]: _match_spec(wanted) for wanted in payload["specs"]}
    beside = {settled["name"]: _settled(settled) for settled in payload["beside"]}
    cutoff = _cutoff(payload["exclude_newer"])
    subdirs = [payload["platform"], "noarch"]
    rows = await _gateway(payload).query(list(channels), subdirs, list(specs), recursive=False)
    found: dict[str, dict[str, Version]] = {name: {} for name in specs}
    first: dict[str, str] = {}
    for record in (record for row in rows for record in row):
        name = record.name.normalized
        if payload["channel_priority"] == "strict" and first.setdefault(name, record.channel) != record.channel:
            continue
        too_new = cutoff and record.timestamp and record.timestamp > cutoff
        if name in specs and not too_new and specs[name].matches(record) and _fits(record, beside):
            found[name][str(record.version)] = record.version
    return {name: list(dict(sorted(seen.items(), key=_by_version, reverse=True))) for name, seen in found.items()}


async def search(payload: Mapping[str, Any], emit: Emit) -> Json:  # noqa: ARG001
    """Tell which builds the channels have that match ``specs``: newest version first, then the highest build number."""
    channels = [Channel(text) for text in payload["channels"]]
    specs = [_match_spec(wanted) for wanted in payload["specs"]]
    names = [wanted["name"] for wanted in payload["specs"]]
    cutoff = _cutoff(payload["exclude_newer"])
    try:
        rows = await _gateway(payload).query(list(channels), [payload["platform"], "noarch"], names, recursive=False)
    except (GatewayError, InvalidUrlError) as error:
        raise _unreadable(payload["channels"], without_secrets(str(error), payload["secret_urls"])) from error
    finally:
        _forget_tokens(payload)
    found = [record for row in rows for record in row if any(spec.matches(record) for spec in specs)]
    found = [one for one in found if not (cutoff and one.timestamp and one.timestamp > cutoff)]
    found.sort(key=lambda one: (one.version, one.build_number), reverse=True)
    return [
        {
            "version": str(one.version),
            "build": str(one.build),
            "subdir": one.subdir,
            "channel": one.channel or "",
            "size": one.size,
            "time": one.timestamp.isoformat() if one.timestamp else None,
        }
        for one in found
    ]


async def chosen(payload: Mapping[str, Any], emit: Emit) -> Json:  # noqa: ARG001
    """Tell what the channels' indexes have of the packages in ``chosen``, which another solver chose; in install order.

    Raises `ResolutionFailed` for one that no channel has, or has with another sha256 than that solver saw.
    """
    channels = [Channel(text) for text in payload["channels"]]
    names = [package["name"] for package in payload["chosen"]]
    try:
        rows = await _gateway(payload).query(list(channels), [payload["platform"], "noarch"], names, recursive=False)
    except (GatewayError, InvalidUrlError) as error:
        raise _unreadable(payload["channels"], without_secrets(str(error), payload["secret_urls"])) from error
    finally:
        _forget_tokens(payload)
    found: dict[tuple[str, ...], list[RepoDataRecord]] = {}
    for record in (record for row in rows for record in row):
        key = (record.name.normalized, str(record.version), str(record.build), record.subdir)
        found.setdefault(key, []).append(record)
    picked = [_picked(package, found, payload["program"]) for package in payload["chosen"]]
    by_name = {record.name.normalized: record for record in picked}
    ordered = PackageRecord.sort_topologically(list(picked))
    return [_describe(by_name[record.name.normalized]) for record in ordered]


def _picked(
    package: Mapping[str, Any], found: Mapping[tuple[str, ...], Sequence[RepoDataRecord]], program: str
) -> RepoDataRecord:
    """Return the record of a chosen package: of the first channel that has it, and `.conda` before `.tar.bz2`."""
    records = found.get((package["name"], package["version"], package["build"], package["subdir"]), ())
    told = package["sha256"]
    same = [record for record in records if not told or (record.sha256 and record.sha256.hex() == told)]
    if not same:
        what = f"{package['name']} {package['version']} {package['build']} for {package['subdir']}"
        why = "has another sha256 on the channels than it saw" if records else "is on none of the channels"
        raise ResolutionFailed(
            f"`{program}` chose {what}, which {why}",
            hint=f"Its cache of the channels may be old: run `{program} clean --index-cache`, and try again",
            packages=[package["name"]],
        )
    return same[0]


def _by_version(pair: tuple[str, Version]) -> Version:
    return pair[1]


def _settled(facts: Mapping[str, str]) -> PackageRecord:
    return PackageRecord(
        name=facts["name"],
        version=facts["version"],
        build=BuildString(facts["build"]),
        build_number=0,
        subdir="noarch",
    )


def _fits(record: RepoDataRecord, beside: Mapping[str, PackageRecord]) -> bool:
    needed = ((text.split()[0], text) for text in record.depends)
    return all(MatchSpec(text).matches(beside[name]) for name, text in needed if name in beside)


async def records(payload: Mapping[str, Any], emit: Emit) -> Json:  # noqa: ARG001
    """Tell what conda packages say of themselves (``info/index.json``): rows ``{"index", "record"}`` in install order.

    ``index`` is the place among the packages that were asked for. The packages are read as in `distributions`. Raises
    `LockError` when one says nothing sound, or two have one name; `ResolutionFailed` when one cannot be read.
    """
    client = Client.default_client(timeout=_ANSWER_LIMIT)
    found = await few_at_once(payload["packages"], lambda package: _index_json(client, package, payload), most=_AT_ONCE)
    rows: dict[str, tuple[int, dict[str, Json], PackageRecord]] = {}
    for index, (package, content) in enumerate(zip(payload["packages"], found, strict=True)):
        where = f"{payload['shown']}: {package['file_name']}"
        fields = _record_fields(content, package, where)
        name = str(fields["name"])
        if name in rows:
            raise LockError(f"{where} is the package `{name}`, and so is {_file_name(payload, rows[name][0])}")
        rows[name] = (index, fields, _sortable(fields, where))
    ordered = PackageRecord.sort_topologically([record for _, _, record in rows.values()])
    return [
        {"index": rows[name][0], "record": rows[name][1]} for name in (record.name.normalized for record in ordered)
    ]


def _file_name(payload: Mapping[str, Any], index: int) -> str:
    return str(payload["packages"][index]["file_name"])


async def _index_json(client: Client, package: Mapping[str, Any], payload: Mapping[str, Any]) -> bytes:
    # By the address as well: whether a file has the sha256 that a lock file says is only known when all of it is here.
    key = identity("mfenv/index-json/1", [package["sha256"], package["url"]])
    kept = Path(payload["cache"]) / f"{key}.index.json" if package["sha256"] else None
    if kept and kept.exists():
        with contextlib.suppress(OSError):
            return kept.read_bytes()
    members = await _members(client, package, payload, ["info/index.json"], to_see="what it needs")
    content = members.get("info/index.json") or b""
    if kept and content:
        write_atomically(kept, content)
    return content


def _record_fields(content: bytes, package: Mapping[str, Any], where: str) -> dict[str, Json]:
    """Return a package's words of itself as a record, checked; its address has the last word on where it is from."""
    fields = Fields.parse(content, path=where)
    channel, subdir = package["place"]
    subdir = subdir or fields.optional("subdir", str) or "noarch"
    noarch = fields.values.get("noarch")
    # Packages of long ago say `true`, or nothing but the subdir.
    if noarch not in ("python", "generic"):
        noarch = "generic" if noarch or subdir == "noarch" else None
    record: dict[str, Json] = {
        "name": fields.required("name", str),
        "version": fields.required("version", str),
        "build": fields.required("build", str),
        "build_number": fields.required("build_number", int),
        "subdir": subdir,
        "channel": channel,
        "depends": list(fields.strings("depends")),
        "constrains": list(fields.strings("constrains")),
        "noarch": noarch,
        "python_site_packages_path": fields.optional("python_site_packages_path", str),
        "license": fields.optional("license", str),
    }
    load_record(Fields(values=record, path=where))
    return record


def _sortable(fields: Mapping[str, Any], where: str) -> PackageRecord:
    try:
        return PackageRecord(
            name=fields["name"],
            version=fields["version"],
            build=BuildString(fields["build"]),
            build_number=fields["build_number"],
            subdir=fields["subdir"],
            depends=list(fields["depends"]),
        )
    except BaseException as error:
        _reraise_unless_library(error)
        raise LockError(f"{where}: this is not a sound conda package ({_first_line(error)})") from error


def _reraise_unless_library(error: BaseException) -> None:
    """Raise what ends this process or a call; a panic of py-rattler's is a `BaseException` as well."""
    if isinstance(error, KeyboardInterrupt | SystemExit | asyncio.CancelledError | EnvironmentsError):
        raise error


def _first_line(error: BaseException) -> str:
    return shown(str(error).partition("\n")[0])


async def pixi_lock(payload: Mapping[str, Any], emit: Emit) -> Json:  # noqa: ARG001
    """Read the text of a pixi.lock: what it holds for an environment and a platform, conda packages in install order.

    The answer is ``{"environments": {name: [platforms]}, "channels", "conda", "pypi"}``; the latter are empty when
    there is no such environment, or nothing for the platform. Raises `LockError` when the file cannot be read.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="mfenv-pixi-") as folder:
            # py-rattler reads files only.
            path = Path(folder) / "pixi.lock"
            path.write_bytes(payload["text"].encode())
            document = LockFile.from_path(path)
        return _environment_in(document, payload["environment"], payload["platform"])
    except BaseException as error:
        _reraise_unless_library(error)
        raise LockError(
            f"{payload['shown']}: py-rattler cannot read this lock ({_first_line(error)})",
            hint="Run `pixi lock` and try again",
        ) from error


def _environment_in(document: LockFile, name: str, platform: str) -> dict[str, Json]:
    environments = dict(document.environments())
    answer: dict[str, Json] = {
        "environments": {
            other: [*sorted({str(found.subdir) for found in environment.platforms()})]
            for other, environment in environments.items()
        },
        "channels": [],
        "conda": [],
        "pypi": [],
    }
    if name not in environments:
        return answer
    environment = environments[name]
    # A platform may have a name of its own; a standalone `LockPlatform` would end in a panic (py-rattler 0.28).
    places = [found for found in environment.platforms() if str(found.subdir) == platform]
    if len(places) > 1:
        places = [found for found in places if found.name == platform]
        if not places:
            raise LockError(f"there are several platforms of the subdir {platform}, and none is called so")
    packages = (environment.packages(places[0]) or []) if places else []
    conda = [package for package in packages if isinstance(package, CondaLockedPackage)]
    answer["channels"] = [str(channel) for channel in environment.channels()]
    answer["conda"] = _sorted_conda(conda)
    answer["pypi"] = [_locked_pypi(package) for package in packages if isinstance(package, PypiLockedPackage)]
    return answer


def _sorted_conda(packages: Sequence[CondaLockedPackage]) -> list[Json]:
    sources: list[Json] = [
        {"name": package.name, "location": package.location, "record": None}
        for package in packages
        if not isinstance(package, CondaLockedBinaryPackage)
    ]
    binary = [package for package in packages if isinstance(package, CondaLockedBinaryPackage)]
    by_name = {package.name: package for package in binary}
    if len(by_name) < len(binary):
        names = [package.name for package in binary]
        raise LockError(f"the package `{next(name for name in names if names.count(name) > 1)}` is there twice")
    ordered = PackageRecord.sort_topologically([package.repo_data_record() for package in binary])
    return [*sources, *(_locked_conda(by_name[record.name.normalized]) for record in ordered)]


def _locked_conda(package: CondaLockedBinaryPackage) -> Json:
    described: Any = _describe(package.repo_data_record())
    keys = ("record", "size", "sha256", "md5")
    return {"name": package.name, "location": package.location, **{key: described[key] for key in keys}}


def _locked_pypi(package: PypiLockedPackage) -> Json:
    # The library's own accessor fails where there are none.
    digests = package.hashes if package._package.hashes else None  # noqa: SLF001
    return {
        "name": package.name,
        "version": package.version,
        "location": package.location,
        "sha256": digests.sha256.hex() if digests and digests.sha256 else None,
        "md5": digests.md5.hex() if digests and digests.md5 else None,
        "requires_python": package.requires_python,
    }


async def _paths_in(client: Client, package: Mapping[str, Any], payload: Mapping[str, Any]) -> list[str]:
    members = await _members(client, package, payload, ["info/paths.json", "info/files"])
    if content := members.get("info/paths.json"):
        return [str(entry.get("_path", "")) for entry in json.loads(content).get("paths", [])]
    return (members.get("info/files") or b"").decode(errors="replace").splitlines()


async def _members(
    client: Client,
    package: Mapping[str, Any],
    payload: Mapping[str, Any],
    names: list[str],
    *,
    to_see: str = "what it provides",
) -> Mapping[str, bytes | None]:
    """Read members of a package: from the file where it is here, else by range requests."""
    archived = Path(payload["archives"]) / (package["sha256"] or "") / package["file_name"]
    parts = urlsplit(package["url"])
    try:
        if package["sha256"] and archived.exists():
            archive = await PackageArchive.from_path(archived)
        elif parts.scheme == "file":
            archive = await PackageArchive.from_path(unquote(parts.path))
        else:
            archive = await PackageArchive.from_url(client, with_credentials(package["url"], payload["secret_urls"]))
        members: Mapping[str, bytes | None] = await archive.read_files(names)
        return members
    except Exception as error:
        raise ResolutionFailed(
            f"the package `{package['file_name']}` cannot be looked into, to see {to_see}",
            hint="Check that its channel can be reached from here, and run again",
            output=without_secrets(str(error), payload["secret_urls"]),
        ) from error
