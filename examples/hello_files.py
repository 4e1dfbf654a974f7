"""Two steps whose environments are written in files beside the flow.

    python hello_files.py --environment=conda run

`conda_packages.yml` is for the first step, `pypi_packages.txt` for the second.
"""

from metaflow import FlowSpec, conda, pypi, step


class HelloFiles(FlowSpec):
    """Says which versions its steps run with."""

    @conda(file="conda_packages.yml")
    @step
    def start(self):
        """Run in what the environment file says, variables included."""
        import os

        import itsdangerous

        print(f"start runs with itsdangerous {itsdangerous.__version__} and GREETING={os.environ['GREETING']}")
        self.next(self.end)

    @pypi(file="pypi_packages.txt")
    @step
    def end(self):
        """Run in what the requirements file says."""
        from importlib import metadata

        print(f"end runs with tabulate {metadata.version('tabulate')}")


if __name__ == "__main__":
    HelloFiles()
