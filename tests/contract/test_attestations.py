"""Attestations that real publishers signed are verified, and nothing else is taken for one."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from mfenv.app import settings
from mfenv.app.policing import Checked
from mfenv.app.request import request_of
from mfenv.app.wiring import Wiring
from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import CondaRecord
from mfenv.domain.spec import SpecLayer
from mfenv.errors import PolicyViolation
from mfenv.testing.channel import ChannelServer, built_channel
from mfenv.testing.index import IndexFolder

SIGNED = Path(__file__).parents[1] / "data" / "attestations"
WHEEL = "circleci_sign_publish_example-0.0.1.dev137-py3-none-any.whl"
PROJECT = "circleci-sign-publish-example"
PUBLISHER_KIND = "CircleCI:"
SIDECAR = SIGNED / "actionlint-1.7.12-h60d57d3_0.conda.sigs"


@dataclass(frozen=True)
class Index:
    """An index with the signed wheel, and what its provenance is."""

    folder: IndexFolder
    server: ChannelServer
    home: Path

    def publish(self, provenance: bytes | None) -> None:
        shutil.copy(SIGNED / WHEEL, self.folder.folder / "files")
        address = ""
        if provenance is not None:
            (self.folder.folder / "files" / f"{WHEEL}.provenance").write_bytes(provenance)
            address = f"../../files/{WHEEL}.provenance"
        self.folder.publish(PROJECT, self.folder.folder / "files" / WHEEL, provenance=address)

    def wiring(self, **values: str) -> Wiring:
        known: Mapping[str, str] = {
            "CONDA_CHANNELS": built_channel().url(),
            "CONDA_LOCAL_PATH": str(self.home / "local"),
            "CONDA_DEFAULT_PYPI_SOURCE": f"{self.server.url}/index/simple",
            "CONDA_REQUIRE_ATTESTATION": "pypi",
            **values,
        }
        return Wiring(settings.read(known.get, {"HOME": str(self.home)}), project=self.home / "project")

    def resolve(self, **values: str) -> LockedEnvironment:
        wiring = self.wiring(**values)
        request = request_of(
            SpecLayer(pypi=(Requirement.parse(PROJECT, "==0.0.1.dev137", where="test"),)),
            wiring.settings,
            Platform.host(),
            default_python=PythonConstraint.minor(*map(int, built_channel().running.split("."))),
            needs=(),
            base=None,
        )
        try:
            (outcome,) = wiring.locker("me").resolve([request]).values()
        finally:
            wiring.close()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    root = tmp_path / "served"
    root.mkdir()
    folder = IndexFolder(root)
    with ChannelServer(root) as server:
        yield Index(folder, server, tmp_path / "home")


def signed() -> bytes:
    return (SIGNED / f"{WHEEL}.provenance").read_bytes()


def test_a_signed_wheel_is_allowed_and_its_publisher_is_noted(index: Index) -> None:
    index.publish(signed())
    lock = index.resolve()
    (note,) = index.wiring().locks.notes(lock.id)
    assert isinstance(note.policy, dict)
    (publisher,) = note.policy["publishers"].values()
    assert publisher.startswith(PUBLISHER_KIND)
    assert note.policy["rules"] == {"attestations": "pypi"}


def test_a_wheel_without_attestation_is_refused(index: Index) -> None:
    index.publish(None)
    with pytest.raises(PolicyViolation) as refused:
        index.resolve()
    assert refused.value.message == (
        f"the policy does not allow `{PROJECT} 0.0.1.dev137`: no attestation of it is verified: its index has none for it "
        "(METAFLOW_CONDA_REQUIRE_ATTESTATION)"
    )


def test_an_attestation_of_other_bytes_is_refused(index: Index) -> None:
    """The signature stays right; what it signs is another file."""
    index.publish(signed())
    path = index.folder.folder / "files" / WHEEL
    path.write_bytes(path.read_bytes() + b"\0")
    page = index.folder.folder / "simple" / PROJECT / "index.html"
    page.unlink()
    index.folder.publish(PROJECT, path, provenance=f"../../files/{WHEEL}.provenance")
    with pytest.raises(PolicyViolation, match="does not match distribution digest"):
        index.resolve()


@pytest.mark.parametrize("kind", ["statement", "signature"])
def test_a_changed_attestation_is_refused(index: Index, kind: str) -> None:
    document = json.loads(signed())
    envelope = document["attestation_bundles"][0]["attestations"][0]["envelope"]
    content = bytearray(base64.b64decode(envelope[kind]))
    content[len(content) // 2] ^= 1
    envelope[kind] = base64.b64encode(bytes(content)).decode()
    index.publish(json.dumps(document).encode())
    with pytest.raises(PolicyViolation, match="no attestation of it is verified: "):
        index.resolve()


@pytest.mark.parametrize("document", [b"", b"[]", b'{"version": 1}'])
def test_what_is_no_provenance_is_refused(index: Index, document: bytes) -> None:
    index.publish(document)
    with pytest.raises(PolicyViolation, match="what its index has is no provenance"):
        index.resolve()


def test_only_publishers_that_are_allowed_count(index: Index) -> None:
    index.publish(signed())
    with pytest.raises(PolicyViolation, match=f"`{PUBLISHER_KIND}.*` is no publisher that is allowed"):
        index.resolve(CONDA_ATTESTATION_PUBLISHERS="GitHub:our-org/*")
    assert index.resolve(CONDA_ATTESTATION_PUBLISHERS=f"{PUBLISHER_KIND}*").pypi


# ---------------------------------------------------------------------- conda


@dataclass(frozen=True)
class Conda:
    """A channel with a package whose attestation is real; the package's bytes are not needed to verify it."""

    root: Path
    home: Path

    def publish(self, sidecar: bytes | None, *, sha256: str | None = None) -> LockedCondaPackage:
        (bundle,) = json.loads(SIDECAR.read_bytes())
        (subject,) = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))["subject"]
        file_name, digest = subject["name"], sha256 or subject["digest"]["sha256"]
        record = {
            "name": "actionlint",
            "version": "1.7.12",
            "build": "h60d57d3_0",
            "build_number": 0,
            "depends": [],
            "sha256": digest,
            "size": 1,
            "subdir": "linux-64",
        }
        folder = self.root / "signed" / "linux-64"
        folder.mkdir(parents=True)
        (self.root / "signed" / "noarch").mkdir()
        if sidecar is not None:
            at = hashlib.sha256(sidecar).hexdigest()
            record["attestations_sha256"] = at
            (folder / f"{file_name}.sigs.{at}").write_bytes(sidecar)
        for subdir, packages in (("linux-64", {file_name: record}), ("noarch", {})):
            content = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": packages}
            (self.root / "signed" / subdir / "repodata.json").write_text(json.dumps(content))
        return LockedCondaPackage(
            record=CondaRecord(
                name="actionlint",
                version="1.7.12",
                build="h60d57d3_0",
                build_number=0,
                subdir="linux-64",
                channel="",
            ),
            artifact=LockedArtifact(file_name=file_name, url="", size=1, sha256=digest),
        )

    def check(self, package: LockedCondaPackage) -> Checked:
        with ChannelServer(self.root) as server:
            known = {"CONDA_LOCAL_PATH": str(self.home)}
            wiring = Wiring(settings.read(known.get, {"HOME": str(self.home)}), project=self.home / "project")
            located = LockedCondaPackage(
                record=CondaRecord(
                    name=package.name,
                    version=package.version,
                    build=package.record.build,
                    build_number=0,
                    subdir="linux-64",
                    channel=server.channel_url("signed"),
                ),
                artifact=package.artifact,
            )
            try:
                (checked,) = wiring.attestations.check([located], [])
            finally:
                wiring.close()
        return checked


@pytest.fixture
def conda(tmp_path: Path) -> Conda:
    return Conda(tmp_path / "served", tmp_path / "home")


def test_a_signature_for_another_channel_does_not_count(conda: Conda) -> None:
    """The signature is right, and says which channel it is for: not this one."""
    (bundle,) = json.loads(SIDECAR.read_bytes())
    predicate = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))["predicate"]
    checked = conda.check(conda.publish(SIDECAR.read_bytes()))
    assert checked.publisher == ""
    assert predicate["targetChannel"] in checked.why


def test_a_changed_signature_does_not_count(conda: Conda) -> None:
    bundles = json.loads(SIDECAR.read_bytes())
    signature = bundles[0]["dsseEnvelope"]["signatures"][0]
    content = bytearray(base64.b64decode(signature["sig"]))
    content[-1] ^= 1
    signature["sig"] = base64.b64encode(bytes(content)).decode()
    checked = conda.check(conda.publish(json.dumps(bundles).encode()))
    assert checked.publisher == ""
    assert "passed verification: - bundle 0: " in checked.why
    assert "targets channel" not in checked.why


def test_a_signature_of_another_package_does_not_count(conda: Conda) -> None:
    checked = conda.check(conda.publish(SIDECAR.read_bytes(), sha256="0" * 64))
    assert checked.publisher == ""
    assert "artifact hash does not match any subject in attestation" in checked.why


def test_a_package_without_attestation_has_none(conda: Conda) -> None:
    checked = conda.check(conda.publish(None))
    assert "no attestations are advertised" in checked.why
