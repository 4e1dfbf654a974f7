"""Two steps, two versions of pandas, one flow.

python examples/hello_conda.py --environment=conda run
"""

import os

from metaflow import FlowSpec, conda, step

# Any two versions that your channels have; the demo chooses from what the local channel holds.
PANDAS_A = os.environ.get("HELLO_PANDAS_A", "2.1.4")
PANDAS_B = os.environ.get("HELLO_PANDAS_B", "2.2.3")


class HelloConda(FlowSpec):
    """Each step asserts that it got the pandas it asked for."""

    @conda(libraries={"pandas": PANDAS_A})
    @step
    def start(self):
        import pandas

        print(f"start runs with pandas {pandas.__version__}")
        assert pandas.__version__ == PANDAS_A
        self.next(self.end)

    @conda(libraries={"pandas": PANDAS_B})
    @step
    def end(self):
        import pandas

        print(f"end runs with pandas {pandas.__version__}")
        assert pandas.__version__ == PANDAS_B


if __name__ == "__main__":
    HelloConda()
