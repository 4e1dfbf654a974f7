"""What environments cost a run in which nothing changed: two steps, with `--environment=conda` and without.

The run without has the same steps, without decorators, in the interpreter that launches it. Once with steps that
import nothing, and once with steps that import pandas, of the same version on both sides.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from measure import alternate, flow_environment, report, scratch, took

from mfenv.testing.channel import built_channel

FLOW = """
from metaflow import FlowSpec, conda, step

class Two{name}(FlowSpec):
    {decorator}
    @step
    def start(self):
        {body}
        self.next(self.end)

    {decorator}
    @step
    def end(self):
        {body}

if __name__ == "__main__":
    Two{name}()
"""


def write_flow(folder: Path, name: str, decorator: str, body: str) -> Path:
    path = folder / f"two_{name.lower()}.py"
    path.write_text(FLOW.format(name=name, decorator=decorator, body=body))
    return path


def compare(folder: Path, title: str, *, packages: dict[str, str], body: str, rounds: int, with_path: str = "") -> None:
    ours = write_flow(folder, "Ours", f"@conda(libraries={packages!r})", body)
    plain = write_flow(folder, "Plain", "", body)
    environment = flow_environment(folder)
    plain_environment = environment | ({"PYTHONPATH": with_path} if with_path else {})
    results = alternate(
        {
            "no environment": partial(took, [sys.executable, str(plain), "run"], plain_environment, folder),
            "--environment=conda": partial(
                took, [sys.executable, str(ours), "--environment=conda", "run"], environment, folder
            ),
        },
        rounds=rounds,
    )
    report(title, results, base="no environment")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    pandas = built_channel().pandas_versions()[-1]
    with scratch() as folder:
        compare(folder, "Two steps that import nothing", packages={}, body="pass", rounds=rounds)
        beside = folder / "pandas"
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
        took([*uv, "--compile-bytecode", "--target", str(beside), f"pandas=={pandas}"], flow_environment(folder))
        compare(
            folder,
            f"Two steps that import pandas {pandas}",
            packages={"pandas": pandas},
            body="import pandas",
            rounds=rounds,
            with_path=str(beside),
        )


if __name__ == "__main__":
    main()
