"""What having this package installed costs `import metaflow`, in processor time.

Two virtual environments that differ in this package and what it brings; and the one that has it once more, with
Metaflow told to look for extensions nowhere.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

from measure import alternate, report, scratch, took

ROOT = Path(__file__).parents[1]


def virtual_environment(folder: Path, *requirements: str) -> str:
    took([sys.executable, "-m", "venv", "--without-pip", str(folder)], os.environ)
    python = str(folder / "bin" / "python")
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    took([*uv, *requirements], os.environ)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    metaflow = f"metaflow=={version('metaflow')}"
    with scratch() as folder:
        without = virtual_environment(folder / "without", metaflow)
        # By way of a source distribution: a wheel that is built in place leaves a `build` folder behind.
        took([sys.executable, "-m", "uv", "build", "--quiet", "--out-dir", str(folder / "dist"), str(ROOT)], os.environ)
        (wheel,) = (folder / "dist").glob("*.whl")
        having = virtual_environment(folder / "having", metaflow, str(wheel))
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("METAFLOW_", "PYTHON"))
        }
        environment["METAFLOW_HOME"] = str(folder / "configuration")
        nowhere = environment | {"METAFLOW_EXTENSIONS_SEARCH_DIRS": str(folder / "nowhere")}
        results = alternate(
            {
                "not installed": partial(took, [without, "-c", "import metaflow"], environment),
                "installed": partial(took, [having, "-c", "import metaflow"], environment),
                "installed, not looked for": partial(took, [having, "-c", "import metaflow"], nowhere),
            },
            rounds=rounds,
        )
    report(f"`import metaflow` ({metaflow})", results, base="not installed")


if __name__ == "__main__":
    main()
