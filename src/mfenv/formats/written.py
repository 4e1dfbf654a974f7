"""What a file of requirements holds, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass

from mfenv.domain.channel import ChannelCredentials
from mfenv.domain.index import IndexSecret
from mfenv.domain.spec import SpecLayer, combine


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a file asks for, and the credentials that its addresses held, apart from it."""

    layer: SpecLayer
    channel_credentials: tuple[ChannelCredentials, ...] = ()
    index_secrets: tuple[IndexSecret, ...] = ()


def joined(first: Written, second: Written, *, where: str) -> Written:
    """Put two parts of a file together; what they ask for has to agree. Raises `InvalidSpec` naming `where`."""
    return Written(
        layer=combine(first.layer, second.layer, owner=where),
        channel_credentials=(*first.channel_credentials, *second.channel_credentials),
        index_secrets=(*first.index_secrets, *second.index_secrets),
    )
