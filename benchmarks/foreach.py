"""Fifty tasks in one environment: a foreach with `--environment=conda` and without."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from measure import alternate, flow_environment, report, scratch, took

FLOW = """
from metaflow import FlowSpec, conda, step

class Fifty{name}(FlowSpec):
    @step
    def start(self):
        self.numbers = list(range({width}))
        self.next(self.work, foreach="numbers")

    @step
    def work(self):
        self.square = self.input ** 2
        self.next(self.join)

    @step
    def join(self, inputs):
        assert sum(each.square for each in inputs) == sum(n * n for n in range({width}))
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    Fifty{name}()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--width", type=int, default=50)
    options = parser.parse_args()
    with scratch() as folder:
        environment = flow_environment(folder)
        paths = {name: folder / f"fifty_{name.lower()}.py" for name in ("Plain", "Ours")}
        for name, path in paths.items():
            path.write_text(FLOW.format(name=name, width=options.width))
        results = alternate(
            {
                "no environment": partial(took, [sys.executable, str(paths["Plain"]), "run"], environment, folder),
                "--environment=conda": partial(
                    took, [sys.executable, str(paths["Ours"]), "--environment=conda", "run"], environment, folder
                ),
            },
            rounds=options.rounds,
        )
    report(f"A foreach of {options.width}", results, base="no environment")


if __name__ == "__main__":
    main()
