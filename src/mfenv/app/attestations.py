"""Attestations of packages: who published them, verified.

PyPI's (PEP 740) by `pypi-attestations`, conda's (CEP 27) by py-rattler in the helper process. Both with the trust
anchors that these libraries bring: the answer needs nothing but the index or channel, and is the same everywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from mfenv.app.index_pages import IndexPages
from mfenv.app.policing import Checked
from mfenv.domain.locked import LockedCondaPackage, LockedPackage, LockedPypiPackage
from mfenv.errors import ToolNotFound
from mfenv.io.worker import Calls

_AT_ONCE = 8
_ACCEPT = "application/vnd.pypi.integrity.v1+json, application/json;q=0.5"


@dataclass(frozen=True, kw_only=True)
class AttestationVerifier:
    """Looks for attestations and verifies them. Called from any thread."""

    worker: Calls
    pages: IndexPages
    repodata: str
    """The folder of the channels' indexes."""
    secret_urls: Mapping[str, str]
    publishers: tuple[str, ...] = ()
    """Identities that may sign, with ``*`` for any text; empty: anybody."""

    def check(self, packages: Sequence[LockedPackage], indexes: Sequence[str]) -> list[Checked]:
        """Return what came of it, for each package; `indexes` are those that PyPI packages may be from, in order.

        Raises `ToolNotFound` where the library for PyPI's is not installed, `ResolutionFailed` when an index cannot be
        asked.
        """
        conda = [package for package in packages if isinstance(package, LockedCondaPackage)]
        wheels = [package for package in packages if isinstance(package, LockedPypiPackage)]
        return [*self._of_conda(conda), *self._of_pypi(wheels, indexes)]

    def locations(self, names: Iterable[str]) -> dict[str, str]:
        """Return where the channels of these names are."""
        found: dict[str, str] = self.worker.call("locate", {"names": list(names)})
        return found

    def _of_conda(self, packages: Sequence[LockedCondaPackage]) -> Iterator[Checked]:
        if not packages:
            return
        answer = self.worker.call(
            "attested",
            {
                "packages": [
                    {
                        "name": package.name,
                        "subdir": package.record.subdir,
                        "channel": package.record.channel,
                        "sha256": package.artifact.sha256,
                    }
                    for package in packages
                ],
                "publishers": list(self.publishers),
                "cache": self.repodata,
                "secret_urls": dict(self.secret_urls),
            },
        )
        for sha256, row in answer.items():
            yield Checked(sha256=sha256, publisher=row.get("identity", ""), why=row.get("why", ""))

    def _of_pypi(self, packages: Sequence[LockedPypiPackage], indexes: Sequence[str]) -> list[Checked]:
        if not packages:
            return []
        library = _library()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(lambda package: self._of_wheel(package, indexes, library), packages))

    def _of_wheel(self, package: LockedPypiPackage, indexes: Sequence[str], library: Any) -> Checked:
        sha256 = package.artifact.sha256
        if package.built_from:
            return Checked(sha256=sha256, why="it was built from source")
        for index in indexes:
            files = self.pages.files(index, package.name)
            listed = next((file for file in files if file.sha256 == sha256), None)
            if listed is None and files:
                break
            if listed is None:
                continue
            if not listed.provenance:
                return Checked(sha256=sha256, why="its index has none for it")
            document = self.pages.document(index, package.name, listed.provenance, _ACCEPT)
            return _verified(package, document or b"", self.publishers, library)
        return Checked(sha256=sha256, why="no index has this file")


def _library() -> Any:
    try:
        import pypi_attestations
    except ImportError as error:
        raise ToolNotFound(
            "METAFLOW_CONDA_REQUIRE_ATTESTATION: `pypi-attestations`, which verifies those of PyPI, is not installed",
            hint='Install it: `pip install "metaflow-netflix-extensions[attestations]"`',
        ) from error
    # It says on standard error that it works offline, which is what it is asked to.
    logging.getLogger("sigstore").setLevel(logging.ERROR)
    return pypi_attestations


def _verified(package: LockedPypiPackage, document: bytes, publishers: Sequence[str], library: Any) -> Checked:
    sha256 = package.artifact.sha256
    try:
        provenance = library.Provenance.model_validate_json(document)
        distribution = library.Distribution(name=package.artifact.file_name, digest=sha256)
    except ValueError as error:
        return Checked(sha256=sha256, why=f"what its index has is no provenance ({type(error).__name__})")
    why = "none says who published it"
    for bundle in provenance.attestation_bundles:
        publisher = identity_of(bundle.publisher.model_dump())
        if publishers and not any(fnmatchcase(publisher, allowed) for allowed in publishers):
            why = f"`{publisher}` is no publisher that is allowed"
            continue
        for attestation in bundle.attestations:
            try:
                kind, _ = attestation.verify(bundle.publisher, distribution, offline=True)
            except library.AttestationError as error:
                why = " ".join(str(error).split())
                continue
            if kind == library.AttestationType.PYPI_PUBLISH_V1.value:
                return Checked(sha256=sha256, publisher=publisher)
    return Checked(sha256=sha256, why=why)


def identity_of(publisher: Mapping[str, Any]) -> str:
    """Return the identity that a publisher (PEP 740) is compared by.

    >>> identity_of({"kind": "GitHub", "repository": "org/project", "workflow": "release.yml"})
    'GitHub:org/project/release.yml'
    """
    parts = {
        "GitHub": ("repository", "workflow"),
        "GitLab": ("repository", "workflow_filepath"),
        "Google": ("email",),
        "CircleCI": ("project_id", "pipeline_definition_id"),
    }.get(str(publisher.get("kind")), ())
    return f"{publisher.get('kind')}:" + "/".join(str(publisher.get(part) or "") for part in parts)
