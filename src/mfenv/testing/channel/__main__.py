"""The command line: ``python -m mfenv.testing.channel build`` and ``serve``."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mfenv.testing.channel.build import ALL, FEW, NoInterpreterError, PythonChoice, build_channel
from mfenv.testing.channel.server import ChannelServer, Credentials

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` name; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mfenv.testing.channel", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build the channel and print its folder")
    build.add_argument("--out", type=Path, help="the folder; by default one in the user's cache")
    build.add_argument("--pythons", default=FEW, help="`few`, `all`, or minor versions such as 3.11,3.12")
    build.add_argument("--force", action="store_true", help="build even when the channel is there")
    serve = commands.add_parser("serve", help="serve a folder on loopback and print its URL")
    serve.add_argument("root", type=Path, metavar="DIR")
    serve.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    serve.add_argument("--max-seconds", type=float, help="stop after so long; by default never")
    serve.add_argument("--user", help="ask for this user")
    serve.add_argument("--password", default="", help="and this password")
    options = parser.parse_args(arguments)
    return _build(options) if options.command == "build" else _serve(options)


def _build(options: argparse.Namespace) -> int:
    pythons: PythonChoice = options.pythons
    if options.pythons not in (FEW, ALL):
        pythons = tuple(options.pythons.split(","))
    try:
        root = build_channel(options.out, pythons=pythons, force=options.force)
    except NoInterpreterError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except subprocess.CalledProcessError:
        # What went wrong has been said by the process that builds.
        return 1
    sys.stdout.write(f"{root}\n")
    return 0


def _serve(options: argparse.Namespace) -> int:
    if not options.root.is_dir():
        sys.stderr.write(f"error: `{options.root}` is not a folder\n")
        return 2
    credentials = Credentials(user=options.user, password=options.password) if options.user else None
    with ChannelServer(options.root, port=options.port, credentials=credentials) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        try:
            server.wait(options.max_seconds)
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
