"""How long a mixed environment takes to resolve here, and with conda-lock, where a conda program is on PATH.

conda-lock comes from the package index, by way of uv; the conda program that it needs does not.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from environments import settle_channel, wiring_in
from measure import Took, alternate, report, scratch, took

from mfenv.resolve.backends.uv import find_uv
from mfenv.testing.channel import built_channel
from pypi import request, resolve

PROGRAMS = ("micromamba", "mamba", "conda")
CONDA = ("numpy", "boto3", "flask", "httpx", "rich")
PYPI = ("pandas", "fastapi", "pytest", "openpyxl")


def with_conda_lock(program: str, folder: Path) -> Took:
    """Have conda-lock solve the same packages from the same channel."""
    channel = built_channel()
    (folder / "environment.yml").write_text(
        "\n".join(
            [
                f"channels: [{channel.url()}]",
                f"platforms: [{channel.subdir}]",
                "dependencies:",
                f"  - python={channel.running}",
                *(f"  - {name}" for name in CONDA),
                "  - pip:",
                *(f"    - {name}" for name in PYPI),
            ]
        )
    )
    command = [find_uv(), "tool", "run", "--from", "conda-lock>=2.1", "conda-lock", "lock", "--conda", program]
    command += ["--file", "environment.yml", "--lockfile", "conda-lock.yml"]
    return took(command, dict(os.environ), folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        print(f"Nothing to compare with: none of {', '.join(PROGRAMS)} is on PATH, and conda-lock needs one.")
        return
    settle_channel()
    with scratch() as folder:
        wiring = wiring_in(folder / "local", folder / "store")
        asked = request(wiring, dict.fromkeys(PYPI, ""), CONDA)
        results = alternate(
            {
                "conda-lock": lambda: with_conda_lock(program, folder),
                "resolve": lambda: resolve(wiring, asked),
            },
            rounds=options.rounds,
        )
        report(f"A mixed environment, conda-lock with {Path(program).name}", results, base="conda-lock")
        wiring.worker.close()


if __name__ == "__main__":
    main()
