"""conda's numpy and PyPI's pandas in one step: one environment that agrees with itself.

python examples/hello_mixed.py --environment=conda run
"""

from metaflow import FlowSpec, conda, pypi, step


class HelloMixed(FlowSpec):
    """pandas 2.1.4 needs a numpy before 2, so that is what conda is asked for, although it has a newer one."""

    @conda(packages={"numpy": ""})
    @pypi(packages={"pandas": "2.1.4"})
    @step
    def start(self):
        import numpy
        import pandas

        print(f"start runs with numpy {numpy.__version__} and pandas {pandas.__version__}")
        assert pandas.__version__ == "2.1.4"
        assert numpy.__version__ < "2"
        self.next(self.end)

    @step
    def end(self):
        print("end needs nothing")


if __name__ == "__main__":
    HelloMixed()
