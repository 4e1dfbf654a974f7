"""Attestations of conda packages, inside the helper process. Nothing else of this package runs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rattler import Channel, Client, Publisher, RepoDataRecord, TrustedRoot, VerificationPolicy, verify_attestation
from rattler.exceptions import AttestationError, GatewayError, InvalidUrlError

from mfenv.domain.digest import Json
from mfenv.io.secrets import with_credentials, without_secrets
from mfenv.io.worker_main import Emit
from mfenv.resolve.backends.rattler_worker import reach


async def locate(payload: Mapping[str, Any], emit: Emit) -> Json:  # noqa: ARG001
    """Tell where the channels ``names`` are: name to address."""
    return {name: Channel(name).base_url.rstrip("/") for name in payload["names"]}


async def attested(payload: Mapping[str, Any], emit: Emit) -> Json:  # noqa: ARG001
    """Verify attestations of ``packages`` (CEP 27, found as CEP 50 has it): sha256 to ``{"identity"}`` or ``{"why"}``.

    One of ``publishers``, identities with ``*`` for any text, must have signed; none there: anybody. The trust anchors
    are those that py-rattler brings, so that the answer is the same wherever it is asked for.
    """
    root = TrustedRoot.embedded()
    found: dict[str, Json] = {}
    for package in payload["packages"]:
        record = await _record(package, payload)
        if record is None:
            found[package["sha256"]] = {"why": "its channel does not have it any more"}
        else:
            found[package["sha256"]] = await _verified(record, reach(payload)[1], payload, root)
    return found


async def _record(package: Mapping[str, Any], payload: Mapping[str, Any]) -> RepoDataRecord | None:
    """Return what the channel's index has of a package today, if it is the same file."""
    channel = Channel(with_credentials(package["channel"], payload["secret_urls"]))
    try:
        rows = await reach(payload)[0].query([channel], [package["subdir"]], [package["name"]], recursive=False)
    except (GatewayError, InvalidUrlError):
        return None
    records: Iterable[RepoDataRecord] = (record for row in rows for record in row)
    return next((each for each in records if each.sha256 and each.sha256.hex() == package["sha256"]), None)


async def _verified(record: RepoDataRecord, client: Client, payload: Mapping[str, Any], root: TrustedRoot) -> Json:
    why = ""
    for identity in payload["publishers"] or [None]:
        policy = VerificationPolicy.require(Publisher(identity=identity))
        try:
            outcome = await verify_attestation(record, policy, client, root)
        except AttestationError as error:
            why = " ".join(without_secrets(str(error), payload["secret_urls"]).split())
        else:
            # Required, so it is there.
            assert outcome.attestation is not None
            return {"identity": outcome.attestation.identity or ""}
    return {"why": why}
