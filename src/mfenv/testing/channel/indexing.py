"""The index of a channel: ``repodata.json``, its compressed form and its shards, by py-rattler.

Runs in a process of its own, which ends without cleaning up: py-rattler 0.28 crashes in some of the runs
when the interpreter shuts down.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path


def index_channel(channel: Path) -> None:
    """Index every subdir of the folder ``channel`` anew. Raises ``RuntimeError`` with the tool's words."""
    (channel / "noarch").mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mfenv.testing.channel.indexing", str(channel)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"`{channel}` cannot be indexed: {answer.stderr.strip()}")


def _main(channel: Path) -> int:
    from rattler.index import index_fs

    try:
        asyncio.run(index_fs(channel, write_zst=True, write_shards=True, force=True))
    except Exception as error:  # noqa: BLE001 - the process boundary: the parent raises it again
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    status = _main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
