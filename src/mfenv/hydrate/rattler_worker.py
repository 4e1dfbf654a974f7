"""The installing half of py-rattler, inside the helper process. Nothing else of this package runs it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rattler
from rattler import Client, PackageCache, RepoDataRecord, Subdir
from rattler.package.build_string import BuildString
from rattler.package_cache import ValidationMode
from rattler.package_streaming import PackageArchive, download_to_path
from rattler.repo_data import PackageRecord

from mfenv.domain.channel import without_credentials
from mfenv.domain.digest import Json
from mfenv.errors import HydrationFailed
from mfenv.formats.fields import Fields
from mfenv.formats.lock_json import load_record
from mfenv.hydrate import checks
from mfenv.hydrate.archives import FetchedFile, WantedFile, bring
from mfenv.io.secrets import with_credentials, without_secrets
from mfenv.io.worker_main import Emit

_DOWNLOADS_AT_ONCE = 24
_NOT_LINKED = "Check the disk space and the rights on the folder, and run again"
_TOO_LONG = "A package has no room for a path as long as this one: set METAFLOW_CONDA_LOCAL_PATH to a shorter one"


async def fetch(payload: Mapping[str, Any], emit: Emit) -> Json:
    """Bring files here (see `mfenv.hydrate.conda.CondaInstaller.fetch`); the answer lists digests and sizes."""
    client = Client.default_client()
    secrets: Mapping[str, str] = payload["secret_urls"]
    at_once = asyncio.Semaphore(_DOWNLOADS_AT_ONCE)

    async def download(url: str, destination: Path) -> None:
        await download_to_path(client, with_credentials(url, secrets), destination)

    async def one(file: Mapping[str, Any]) -> FetchedFile:
        wanted = WantedFile(
            name=file["name"], url=file["url"], sha256=file["sha256"], size=file["size"], md5=file.get("md5")
        )
        async with at_once:
            fetched = await bring(wanted, Path(payload["archives"]), download)
        emit({fetched.how: fetched.name, "bytes": fetched.size})
        return fetched

    try:
        fetched = await asyncio.gather(*map(one, payload["files"]))
    except HydrationFailed as error:
        error.output = without_secrets(error.output, secrets)
        raise
    return [{"name": file.name, "sha256": file.sha256, "size": file.size} for file in fetched]


async def link(payload: Mapping[str, Any], emit: Emit) -> Json:
    """Make a prefix (see `mfenv.hydrate.conda.CondaInstaller.link`)."""
    staging = Path(payload["staging"])
    # A call that is repeated after the death of its process finds what that one left.
    shutil.rmtree(staging, ignore_errors=True)
    staging.parent.mkdir(parents=True, exist_ok=True)
    await inspect(payload, emit)
    records = [_record(package) for package in payload["packages"]]
    try:
        await rattler.install(
            records,
            staging,
            package_cache=PackageCache.new_layered([payload["cache"]], validation_mode=ValidationMode.full()),
            installed_packages=[],
            platform=Subdir(payload["platform"]),
            # Link scripts run when the prefix has its name: see mfenv.hydrate.link_scripts.
            execute_link_scripts=False,
            show_progress=False,
            alternative_target_prefix=payload["prefix"],
        )
    except Exception as error:
        raise HydrationFailed(
            "py-rattler could not put the packages in place",
            hint=_TOO_LONG if "longer than the placeholder" in str(error) else _NOT_LINKED,
            output=str(error),
        ) from error
    for package in payload["packages"]:
        _write_origin(staging, package)
    return {"packages": len(records)}


async def inspect(payload: Mapping[str, Any], emit: Emit) -> Json:  # noqa: ARG001
    """Refuse packages that would write outside (see `mfenv.hydrate.conda.RattlerInstaller.inspect`)."""
    await asyncio.gather(*(_inspect(package) for package in payload["packages"]))
    return {}


async def _inspect(package: Mapping[str, Any]) -> None:
    """Check what a package says of itself, before py-rattler acts on it."""
    name = package["linked"]["name"]
    try:
        archive = await PackageArchive.from_path(package["archive"])
        members = await archive.read_files(checks.FILES)
    except Exception as error:
        raise HydrationFailed(
            f"the package file `{name}` cannot be read",
            hint="It is what its channel serves, to the byte: tell whoever runs the channel",
            output=str(error),
        ) from error
    conda = package["conda"]
    checks.check_package(name, (conda["name"], conda["version"], conda["build"]), members)


def _record(package: Mapping[str, Any]) -> RepoDataRecord:
    """Return the record that py-rattler installs: its file is the local one that was checked."""
    conda = load_record(Fields(values=package["conda"], path="lock"))
    file = package["linked"]
    record = PackageRecord(
        name=conda.name,
        version=conda.version,
        build=BuildString(conda.build),
        build_number=conda.build_number,
        subdir=conda.subdir,
        noarch=conda.noarch if conda.noarch in {"python", "generic"} else None,  # type: ignore[arg-type]
        depends=list(conda.depends),
        constrains=list(conda.constrains),
        sha256=bytes.fromhex(file["sha256"]),
        size=file["size"],
        license=conda.license,
        python_site_packages_path=conda.python_site_packages_path,
    )
    return RepoDataRecord(record, file["name"], Path(package["archive"]).as_uri(), without_credentials(conda.channel))


def _write_origin(staging: Path, package: Mapping[str, Any]) -> None:
    """Put the file that a package's channel serves into its record; py-rattler wrote down the local one."""
    conda, file = package["conda"], package["file"]
    path = staging / "conda-meta" / f"{conda['name']}-{conda['version']}-{conda['build']}.json"
    content = path.read_bytes()
    linked = package["linked"]
    for key, was, origin in (
        ("url", Path(package["archive"]).as_uri(), file["url"]),
        ("fn", linked["name"], file["name"]),
        ("sha256", linked["sha256"], file["sha256"]),
        ("size", linked["size"], file["size"]),
    ):
        content = content.replace(_field(key, was), _field(key, origin), 1)
    # Not in place: the file may have other names.
    neighbour = path.with_suffix(".part")
    neighbour.write_bytes(content)
    neighbour.replace(path)


def _field(key: str, value: object) -> bytes:
    # The ends of the line, too: a size can be the beginning of another number.
    return f'"{key}": {json.dumps(value)},\n'.encode()
