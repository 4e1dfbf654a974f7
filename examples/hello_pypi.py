"""Two steps with PyPI packages; Python comes from conda.

python examples/hello_pypi.py --environment=pypi run
"""

from metaflow import FlowSpec, pypi, step


class HelloPypi(FlowSpec):
    """Each step asserts that it got the packages it asked for."""

    @pypi(packages={"requests": ">=2.21", "tabulate": "0.9.0"})
    @step
    def start(self):
        import requests
        import tabulate

        print(f"start runs with requests {requests.__version__} and tabulate {tabulate.__version__}")
        assert tabulate.__version__ == "0.9.0"
        self.next(self.end)

    @pypi(packages={"tabulate": "0.8.10"})
    @step
    def end(self):
        import tabulate

        print(f"end runs with tabulate {tabulate.__version__}")
        assert tabulate.__version__ == "0.8.10"


if __name__ == "__main__":
    HelloPypi()
