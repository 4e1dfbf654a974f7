"""The solving half of py-rattler, inside the helper process. Nothing else of this package runs it."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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
from rattler.package.build_string import BuildString
from rattler.repo_data import PackageRecord

from mfenv.domain.channel import without_credentials
from mfenv.domain.digest import Json
from mfenv.errors import InvalidSpec, ResolutionFailed
from mfenv.io.worker_main import Emit

_TIME_LIMIT = datetime.timedelta(minutes=10)
# Seconds for one answer of a channel; a whole index of a large one has to fit, over a slow line.
_ANSWER_LIMIT = 180
_PRIORITIES = {"strict": ChannelPriority.Strict, "disabled": ChannelPriority.Disabled}
_OTHER_PLATFORMS = ("linux-64", "linux-aarch64", "osx-64", "osx-arm64", "win-64")
_gateways: dict[str, Gateway] = {}


def _gateway(cache: str) -> Gateway:
    """Return the gateway for a cache folder: one for all solves, so that repodata is read once."""
    if cache not in _gateways:
        # Only a client that is passed honours netrc, RATTLER_AUTH_FILE and the auth stores.
        client = Client.default_client(timeout=_ANSWER_LIMIT)
        _gateways[cache] = Gateway(cache_dir=cache, client=client)  # type: ignore[arg-type]
    return _gateways[cache]


async def solve(payload: Mapping[str, Any], emit: Emit) -> Json:  # noqa: ARG001
    """Solve one request (see `mfenv.resolve.backends.rattler.payload`).

    The answer is ``{"version", "packages"}``, or ``{"unsolvable"}`` with what is known of the reason.
    Raises `ResolutionFailed` when a channel cannot be read, `InvalidSpec` when a spec cannot.
    """
    gateway = _gateway(payload["cache"])
    channels = [Channel(text) for text in payload["channels"]]
    specs = [_match_spec(wanted) for wanted in payload["specs"]]
    try:
        records = await rattler.solve(
            sources=channels,
            specs=specs,
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
        raise _unreadable(payload["channels"], str(error)) from error
    ordered = PackageRecord.sort_topologically(list(records))
    by_name = {record.name.normalized: record for record in records}
    return {
        "version": rattler.__version__,
        "packages": [_describe(by_name[record.name.normalized]) for record in ordered],
    }


def _match_spec(wanted: Mapping[str, str | None]) -> MatchSpec:
    parts = [wanted["name"] or "", wanted["version"] or "*", wanted["build"] or ""]
    text = " ".join(parts).strip()
    if wanted["channel"]:
        text = f"{wanted['channel']}::{text}"
    try:
        return MatchSpec(text, strict=True)
    except InvalidMatchSpecError as error:
        raise InvalidSpec(f"`{without_credentials(text)}` cannot be read: {error}") from error


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
