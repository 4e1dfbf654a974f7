"""The index of a channel: ``repodata.json``, its compressed form and its shards, by py-rattler.

Runs in a process of its own, which ends without cleaning up: py-rattler 0.28 crashes in some of the runs
when the interpreter shuts down.
"""

from __future__ import annotations

import asyncio
import json
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


async def _index(channel: Path) -> None:
    from rattler.index import index_fs

    await index_fs(channel, write_zst=False, write_shards=False, force=True)
    for repodata in channel.glob("*/repodata.json"):
        _publish_at_build_time(repodata)
    await index_fs(channel, write_zst=True, write_shards=True, force=False)


def _publish_at_build_time(repodata: Path) -> None:
    """Make every record's ``indexed_timestamp`` its ``timestamp``; the indexer keeps what it finds there.

    The indexer writes the present, which solvers prefer when they are given a cut-off date: all of a new
    channel would be too young for any date in the past.
    """
    content = json.loads(repodata.read_text(encoding="utf-8"))
    for section in ("packages", "packages.conda"):
        for record in content[section].values():
            record["indexed_timestamp"] = record["timestamp"]
    repodata.write_text(json.dumps(content), encoding="utf-8")


def _main(channel: Path) -> int:
    try:
        asyncio.run(_index(channel))
    except Exception as error:  # noqa: BLE001 - the process boundary: the parent raises it again
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    status = _main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
