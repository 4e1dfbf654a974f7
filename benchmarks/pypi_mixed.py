"""How long it takes to resolve 40 conda packages and 30 PyPI packages together, when all indexes were read before.

Beside it: uv alone on the PyPI side (the floor), and the same with a version that has to be fed back to conda.
"""

from __future__ import annotations

import argparse

from environments import settle_channel, wiring_in
from measure import alternate, report, scratch

from pypi import known, locked, request, resolve, uv_alone

CONDA = ("numpy", "boto3", "flask", "httpx", "rich", "pyyaml", "psutil", "attrs", "joblib")
PYPI = ("pandas", "matplotlib", "fastapi", "sqlalchemy", "pyarrow", "seaborn", "pytest", "openpyxl", "aiohttp", "lxml")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    settle_channel()
    with scratch() as folder:
        wiring = wiring_in(folder / "local", folder / "store")
        asked = request(wiring, dict.fromkeys(PYPI, ""), CONDA)
        fed_back = request(wiring, dict.fromkeys(PYPI, "") | {"pandas": "2.1.4"}, CONDA)
        lock = locked(wiring, asked)
        locked(wiring, fed_back)
        results = alternate(
            {
                "uv alone": lambda: uv_alone(wiring, asked),
                "resolve": lambda: resolve(wiring, asked),
                "resolve, one feedback": lambda: resolve(wiring, fed_back),
                "second run": lambda: known(wiring, asked),
            },
            rounds=options.rounds,
        )
        title = f"{len(lock.packages)} conda packages and {len(lock.pypi)} PyPI packages together, caches warm"
        report(title, results, base="uv alone")
        wiring.worker.close()


if __name__ == "__main__":
    main()
