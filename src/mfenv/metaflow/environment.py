"""The environments `conda` and `pypi`: Metaflow's hooks, handed on to the use cases.

Python 3.7 syntax: see `mfenv.metaflow`.
"""

from __future__ import annotations

from typing import Any

from metaflow.metaflow_environment import MetaflowEnvironment

ENTER = "conda_env_internal"


class CondaEnvironment(MetaflowEnvironment):
    """Every step in an environment of its own.

    Each process of a run makes one of these; only the launching one ever does anything with it.
    """

    TYPE = "conda"

    def __init__(self, flow: Any) -> None:
        """Remember the flow; nothing is read or started here."""
        super().__init__(flow)
        self._flow = flow
        self._datastore_type = "local"
        self._launch: Any = None
        self.is_task = False
        """Whether this process runs a task, in its environment."""

    def validate_environment(self, echo: Any, datastore_type: str) -> None:
        """Remember the datastore's type; every task calls this."""
        self._datastore_type = datastore_type

    def decospecs(self) -> tuple[str, ...]:
        """Put every step into its environment, decorated or not."""
        return (ENTER, *super().decospecs())

    def pylint_config(self) -> list[str]:
        """Leave imports alone: what a step imports need not be installed here."""
        return [*super().pylint_config(), "--disable=F0401"]

    def init_environment(self, echo: Any) -> None:
        """Lock the environments of all steps. Called when a flow is launched, deployed or packaged."""
        super().init_environment(echo)
        self.launch(echo).lock()

    def add_to_package(self) -> list[tuple[Any, ...]]:
        """Ship this flow's locks, and no others, with its code."""
        files = super().add_to_package()
        return [*files, *(self._launch.files_for_package() if self._launch else ())]

    @classmethod
    def get_client_info(cls, flow_name: str, metadata: Any) -> Any:
        """Tell of the environment of a task that has a code package; Metaflow's client asks."""
        from mfenv.metaflow.client import environment_info

        return environment_info(flow_name, metadata)

    def get_package_commands(
        self, code_package_url: str, datastore_type: str, code_package_metadata: Any = None
    ) -> list[str]:
        """Return what a remote task's shell does first: the code comes, and the step's environment is entered."""
        theirs = super().get_package_commands(code_package_url, datastore_type, code_package_metadata)
        if self._launch is not None:
            # A deployment: from here on, nobody may come back to this machine.
            self._launch.publish()
        from mfenv.metaflow.remote import package_commands

        return package_commands(
            theirs,
            url=code_package_url,
            datastore_type=datastore_type,
            install=self._get_install_dependencies_cmd(datastore_type),
            download=self._get_download_code_package_cmd(code_package_url, datastore_type),
        )

    def bootstrap_commands(self, step_name: str, datastore_type: str) -> list[str]:
        """Enter the environment of a step whose name waits for parameters; all others are entered before."""
        theirs = list(super().bootstrap_commands(step_name, datastore_type))
        if self._launch is None or not self._launch.waits_for_parameters(step_name):
            return theirs
        from mfenv.metaflow.remote import ENTER_LATE

        return [*theirs, ENTER_LATE]

    def executable(self, step_name: str, default: Any = None) -> str:
        """Return the interpreter of a step's remote tasks: that of its environment, if it has one."""
        image = super().executable(step_name, default)
        if self.is_task:
            # Its PATH begins with the environment.
            return str(image)
        return "${METAFLOW_MFENV_PYTHON:-%s}" % image

    def launch(self, echo: Any) -> Any:
        """Return what this process knows about the environments of the flow that it launches."""
        if self._launch is None:
            from mfenv.metaflow.launch import Launch

            self._launch = Launch(
                self._flow, self, self._datastore_type, echo, force=getattr(self, "_force_rebuild", False)
            )
        return self._launch


class PyPIEnvironment(CondaEnvironment):
    """The same under its other name: which packages come from where is said by the decorators."""

    TYPE = "pypi"
