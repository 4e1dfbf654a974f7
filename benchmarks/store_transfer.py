"""How long a hundred files take to S3 and back: through our store, and through Metaflow's own S3 client.

The server is moto's, on loopback, in a process of its own: the same for both, and with fewer bytes per second than
either of them could take. So one part is against it as it is, and one where each answer waits, as over a network.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from measure import Took, alternate, report, scratch, took_here

from mfenv.testing.object_stores import s3_client, s3_server

SIZES = {"1 MB": 1 << 20, "50 KB": 50 << 10}
FILES = 100
DELAYS = ("0", "0.05")
BUCKET = "bench"
METAFLOW = "Metaflow's S3"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--delay", type=float, help="seconds that each answer waits")
    given = parser.parse_args()
    if given.delay is None:
        # Metaflow reads its endpoint once, when it is imported.
        for delay in DELAYS:
            command = [sys.executable, __file__, "--rounds", str(given.rounds), "--delay", delay]
            subprocess.run(command, check=True)
        return
    with s3_server(delay=given.delay) as port, scratch() as folder:
        os.environ |= {
            "METAFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "METAFLOW_USER": "benchmark",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        s3_client(port).create_bucket(Bucket=BUCKET)
        for name, size in SIZES.items():
            title = f"{FILES} files of {name}, each answer after {given.delay * 1000:.0f} ms"
            _compare(title, _files(folder / name, size), folder, given.rounds)


def _files(folder: Path, size: int) -> dict[str, Path]:
    folder.mkdir()
    files = {f"{folder.name}/{number}": folder / str(number) for number in range(FILES)}
    for path in files.values():
        path.write_bytes(os.urandom(size))
    return files


def _compare(title: str, files: Mapping[str, Path], folder: Path, rounds: int) -> None:
    from metaflow.plugins.datatools.s3 import S3

    from mfenv.metaflow.datastore import store_at

    def our_up() -> Took:
        return took_here(lambda: store_at("s3", f"s3://{BUCKET}/ours").upload(files))

    def our_down() -> Took:
        with tempfile.TemporaryDirectory(dir=folder) as into:
            wanted = {key: Path(into, path.name) for key, path in files.items()}
            return took_here(lambda: _check(store_at("s3", f"s3://{BUCKET}/ours").download(wanted)))

    def metaflow_up() -> Took:
        with S3(s3root=f"s3://{BUCKET}/theirs", tmproot=str(folder)) as s3:
            return took_here(lambda: s3.put_files([(key, str(path)) for key, path in files.items()]))

    def metaflow_down() -> Took:
        with S3(s3root=f"s3://{BUCKET}/theirs", tmproot=str(folder)) as s3:
            return took_here(lambda: _check(s3.get_many(list(files))))

    report(f"{title}, up", alternate({METAFLOW: metaflow_up, "our store": our_up}, rounds=rounds), base=METAFLOW)
    report(f"{title}, down", alternate({METAFLOW: metaflow_down, "our store": our_down}, rounds=rounds), base=METAFLOW)


def _check(came: object) -> None:
    assert len(came) == FILES  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
