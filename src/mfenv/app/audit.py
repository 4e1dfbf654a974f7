"""Known vulnerabilities of an environment."""

from __future__ import annotations

import base64
import hashlib
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mfenv.app.wiring import Wiring
from mfenv.domain.advisory import Advisory, Finding, Package, findings
from mfenv.domain.artifact import Artifact
from mfenv.domain.channel import without_credentials
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.resolved import ResolvedPackage
from mfenv.errors import InvalidSpec, StoreError
from mfenv.formats import osv_json
from mfenv.io.files import write_atomically

_TIME_LIMIT = 120.0
_MOST_BYTES = 1 << 30


def audit(wiring: Wiring, lock: LockedEnvironment, databases: Sequence[str]) -> tuple[Finding, ...]:
    """Return what the advisories in `databases`, paths or URLs, have against the packages of `lock`.

    What conda packages bring for Python counts as what it is on PyPI. Raises `InvalidSpec` where no database is named,
    `StoreError` for one that cannot be read.
    """
    if not databases:
        raise InvalidSpec(
            "no database of advisories is named",
            hint="Set METAFLOW_CONDA_OSV_DATABASE, or add --database: the zip archive of an ecosystem that OSV "
            "publishes, a folder of its JSON files, or a URL",
        )
    return findings(packages_of(wiring, lock), _advisories(wiring, databases))


def packages_of(wiring: Wiring, lock: LockedEnvironment) -> list[Package]:
    """Return all that advisories may name: conda packages, what those bring for Python, and PyPI packages."""
    found = [Package(ecosystem="conda", name=each.name.lower(), version=each.version) for each in lock.packages]
    found += [Package(ecosystem="pypi", name=each.name, version=each.version) for each in lock.pypi]
    resolved = [
        ResolvedPackage(
            record=each.record,
            artifact=Artifact(
                file_name=each.artifact.file_name,
                url=each.artifact.url,
                size=each.artifact.size,
                sha256=each.artifact.sha256,
            ),
        )
        for each in lock.packages
    ]
    found += [
        Package(ecosystem="pypi", name=each.name, version=each.version, brought_by=each.conda_name)
        for each in wiring.distributions.provided_by(resolved)
    ]
    return list(dict.fromkeys(found))


def _advisories(wiring: Wiring, databases: Sequence[str]) -> Iterator[Advisory]:
    for database in databases:
        is_url = urlsplit(database).scheme in {"http", "https"}
        path = _fetched(database, wiring.folders.root / "advisories") if is_url else _path(database)
        yield from osv_json.read(path)


def _path(text: str) -> Path:
    path = Path(unquote(urlsplit(text).path)) if text.startswith("file://") else Path(text).expanduser()
    if not path.exists():
        raise StoreError(f"there are no advisories at `{path}`", hint="Check METAFLOW_CONDA_OSV_DATABASE or --database")
    return path


def _fetched(url: str, folder: Path) -> Path:
    """Return the file at `url`, fetched again only when it is another one (RFC 9110, "ETag")."""
    shown = without_credentials(url)
    path = folder / hashlib.sha256(shown.encode()).hexdigest()[:40]
    tag = path.with_suffix(".etag")
    try:
        known = tag.read_text(encoding="utf-8") if path.is_file() and tag.is_file() else ""
        with urllib.request.urlopen(_request(url, known), timeout=_TIME_LIMIT) as answer:  # noqa: S310
            content = answer.read(_MOST_BYTES + 1)
            if len(content) > _MOST_BYTES:
                raise StoreError(f"the advisories at `{shown}` are larger than {_MOST_BYTES >> 20} MB")
            # The tag last: with one, what is there is whole.
            tag.unlink(missing_ok=True)
            write_atomically(path, content)
            if found := answer.headers.get("ETag"):
                write_atomically(tag, found.encode())
    except urllib.error.HTTPError as error:
        if error.code != 304:
            raise StoreError(
                f"the advisories at `{shown}` cannot be had: {error.code} {error.reason}",
                hint="Check METAFLOW_CONDA_OSV_DATABASE or --database",
            ) from error
    except (OSError, ValueError) as error:
        raise StoreError(
            f"the advisories at `{shown}` cannot be had: {getattr(error, 'reason', None) or error}",
            hint="Check the network, or give a file",
        ) from error
    return path


def _request(url: str, known: str) -> urllib.request.Request:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    headers = {"User-Agent": "metaflow-netflix-extensions", **({"If-None-Match": known} if known else {})}
    if at:
        headers["Authorization"] = "Basic " + base64.b64encode(unquote(user).encode()).decode()
    return urllib.request.Request(parts._replace(netloc=host).geturl(), headers=headers)  # noqa: S310
