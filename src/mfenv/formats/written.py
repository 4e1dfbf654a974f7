"""What a file of requirements holds, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass

from mfenv.domain.channel import ChannelCredentials
from mfenv.domain.index import IndexSecret
from mfenv.domain.spec import SpecLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a file asks for, and the credentials that its addresses held, apart from it."""

    layer: SpecLayer
    channel_credentials: tuple[ChannelCredentials, ...] = ()
    index_secrets: tuple[IndexSecret, ...] = ()
