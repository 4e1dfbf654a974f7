"""A network with nothing in it but a loopback, where some ports lead to this machine's loopback.

Linux only: a network namespace, as of ``network_namespaces(7)``. It belongs to a thread of the process that this
module is when it is run; a socket stays in the namespace that it was made in, so the same process listens inside and
connects outside. Without root, all of it is in a user namespace (``user_namespaces(7)``).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from mfenv.errors import ToolNotFound

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A namespace that is there."""

    enter: tuple[str, ...]
    """The words before a command that put it there."""
    process: subprocess.Popen[str]

    def open(self, port: int) -> None:
        """Have this machine's loopback `port` answer inside, under the same number; it may do so already."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{port}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer == f"{port}\n", f"the network said {answer!r}"


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Have a network until the end of the block, or of this process. Raises `ToolNotFound` where there can be none."""
    nsenter = tool("nsenter")
    with subprocess.Popen(
        [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        place = process.stdout.readline().strip()
        if not place:
            raise ToolNotFound(
                "Network namespaces cannot be made here", hint="Run this as root, or allow unprivileged user namespaces"
            )
        user = () if os.geteuid() == 0 else (f"--user=/proc/{process.pid}/ns/user", "--preserve-credentials")
        yield Network(enter=(nsenter, *user, f"--net={place}"), process=process)
        # It waits for this: whoever is killed closes it, too.
        process.stdin.close()


def tool(name: str) -> str:
    """Return the path of a program of util-linux or coreutils. Raises `ToolNotFound`."""
    found = shutil.which(name, path=os.pathsep.join([*os.get_exec_path(), "/usr/sbin", "/sbin"]))
    if found is None:
        raise ToolNotFound(f"`{name}` is not there", hint="Install `util-linux` and `coreutils` with the system's tool")
    return found


# ------------------------------------------------------------- in the process


def _unshare(flags: int) -> None:
    # `os.unshare` came with Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _become_root() -> None:
    """Be root in a user namespace of its own."""
    user, group = os.geteuid(), os.getegid()
    _unshare(CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(text)


class _Inside(threading.Thread):
    """Is in the namespace, and makes sockets there."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.is_there = threading.Event()
        self.wanted: list[int] = []
        self.made: list[socket.socket] = []
        self.turn = threading.Condition()

    def run(self) -> None:
        _unshare(CLONE_NEWNET)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            request = struct.pack("16sh14x", b"lo", 0)
            _, flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))
        self.is_there.set()
        while True:
            with self.turn:
                self.turn.wait_for(lambda: bool(self.wanted))
                self.made.append(socket.create_server(("127.0.0.1", self.wanted.pop()), backlog=512))
                self.turn.notify_all()

    def listen(self, port: int) -> socket.socket:
        with self.turn:
            self.wanted.append(port)
            self.turn.notify_all()
            self.turn.wait_for(lambda: bool(self.made))
            return self.made.pop()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while part := await reader.read(1 << 20):
            writer.write(part)
            await writer.drain()
        writer.write_eof()


async def _serve(inside: _Inside) -> None:
    loop = asyncio.get_running_loop()
    servers: dict[int, asyncio.Server] = {}

    async def lead(port: int) -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError), contextlib.closing(writer):
                there, back = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
                with contextlib.closing(back):
                    await asyncio.gather(_carry(reader, back), _carry(there, writer))

        listener = await loop.run_in_executor(None, inside.listen, port)
        servers[port] = await asyncio.start_server(connected, sock=listener, limit=1 << 20)

    while line := await loop.run_in_executor(None, sys.stdin.readline):
        if int(line) not in servers:
            await lead(int(line))
        print(line.strip(), flush=True)
    # At once: there is nothing to keep, and connections that are still open would be complained of.
    os._exit(0)


def _main() -> None:
    if os.geteuid() != 0:
        _become_root()
    inside = _Inside()
    inside.start()
    if inside.is_there.wait(10):
        print(f"/proc/{os.getpid()}/task/{inside.native_id}/ns/net", flush=True)
        asyncio.run(_serve(inside))


if __name__ == "__main__":
    _main()
