"""A real conda channel, built from the interpreters and the wheels of one machine, and a server for it.

For tests that need packages which install and run, where no channel can be reached:

    channel = built_channel()
    with ChannelServer(channel.root) as server:
        server.channel_url("conda-forge")

How it is made and what is in it: ``docs/how-to/local-channel.md``.
"""

from mfenv.testing.channel.build import NoInterpreterError, build_channel, built_channel
from mfenv.testing.channel.layout import EXTRA, HOSTILE, MAIN, TAMPERED, LocalChannel
from mfenv.testing.channel.server import ChannelServer, Credentials, Fault, ServerStatistics

__all__ = [
    "EXTRA",
    "HOSTILE",
    "MAIN",
    "TAMPERED",
    "ChannelServer",
    "Credentials",
    "Fault",
    "LocalChannel",
    "NoInterpreterError",
    "ServerStatistics",
    "build_channel",
    "built_channel",
]
