"""Bills of materials: CycloneDX 1.6 as JSON, written by cyclonedx-python-lib.

Packages have their purls (``pkg:conda``, ``pkg:pypi``), digests, addresses and licences, and who needs whom.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from mfenv.domain.dependencies import Key
from mfenv.domain.difference import Side
from mfenv.domain.locked import LockedEnvironment

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

    from mfenv.formats.writers.content import Content

_LONG_AGO = datetime(1980, 1, 1, tzinfo=timezone.utc)
_SPACE = uuid.UUID("6f0f9c5e-8f0e-5b0a-9d5b-0d6f1c6d2f11")


def losses(lock: LockedEnvironment) -> Iterator[str]:  # noqa: ARG001
    """Say what the format cannot hold: a bill names everything."""
    return iter(())


def dump(content: Content) -> str:
    """Return the file; the same text for the same environment, so its serial number and time tell nothing."""
    # Loaded here: it brings much, and nobody else wants it.
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    lock = content.only
    root = Component(name=content.title, type=ComponentType.APPLICATION, bom_ref=lock.id, version=lock.id)
    bom = Bom(serial_number=uuid.uuid5(_SPACE, lock.id))
    bom.metadata.timestamp = _LONG_AGO
    bom.metadata.component = root
    found = {**_conda(lock), **_wheels(content)}
    for component in found.values():
        bom.components.add(component)
    bom.register_dependency(root, list(found.values()))
    for key, needs in content.needs(lock).items():
        bom.register_dependency(found[key], [found[need.package] for need in needs if need.package != key])
    return json.dumps(json.loads(JsonV1Dot6(bom).output_as_string()), indent=2, sort_keys=True) + "\n"


def _component(
    name: str, version: str, kind: str, qualifiers: dict[str, str], sha256: str, url: str, licence: str
) -> Component:
    from cyclonedx.factory.license import LicenseFactory
    from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    purl = PackageURL(type=kind, name=name, version=version, qualifiers=qualifiers)
    digest = HashType(alg=HashAlgorithm.SHA_256, content=sha256)
    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        bom_ref=purl.to_string(),
        purl=purl,
        hashes=[digest],
        licenses=[LicenseFactory().make_from_string(licence)] if licence else [],
        external_references=[
            ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(url), hashes=[digest])
        ],
    )


def _conda(lock: LockedEnvironment) -> dict[Key, Component]:
    return {
        (Side.CONDA, package.name): _component(
            package.name,
            package.version,
            "conda",
            {
                "build": package.record.build,
                "channel": package.record.channel,
                "subdir": package.record.subdir,
                "type": "conda" if package.artifact.file_name.endswith(".conda") else "tar.bz2",
            },
            package.artifact.sha256,
            package.artifact.url,
            package.record.license or "",
        )
        for package in lock.packages
    }


def _wheels(content: Content) -> dict[Key, Component]:
    return {
        (Side.PYPI, package.name): _component(
            package.name,
            package.version,
            "pypi",
            {"file_name": package.artifact.file_name},
            package.artifact.sha256,
            # Where a wheel was built from tells more than where it lay.
            package.built_from or package.artifact.url,
            content.metadata(package).license,
        )
        for package in content.only.pypi
    }
