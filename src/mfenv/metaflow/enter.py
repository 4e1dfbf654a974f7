"""The internal step decorator: points a task at its environment.

It has no arguments, so that nothing of it has to travel on command lines. Python 3.7 syntax: see `mfenv.metaflow`.
"""

from __future__ import annotations

import os
from typing import Any

from metaflow.decorators import StepDecorator
from metaflow.metadata_provider import MetaDatum

from mfenv.metaflow.decorators import OUR_ENVIRONMENTS
from mfenv.metaflow.environment import ENTER

ENVIRONMENT_ID = "METAFLOW_MFENV_ENVIRONMENT_ID"
"""Carries request id, lock id and platform from the launch to the task, as a JSON list."""


class EnterEnvironment(StepDecorator):
    """Runs the step's tasks in the interpreter of the step's environment."""

    name = ENTER
    _environment: Any = None
    _flow_datastore: Any = None
    _step = ""

    def step_init(
        self,
        flow: Any,
        graph: Any,
        step_name: str,
        decorators: Any,
        environment: Any,
        flow_datastore: Any,
        logger: Any,
    ) -> None:
        """Remember the environment."""
        if environment.TYPE in OUR_ENVIRONMENTS:
            self._environment = environment
            self._flow_datastore = flow_datastore
            self._step = step_name

    def runtime_init(self, flow: Any, graph: Any, package: Any, run_id: Any) -> None:
        """Begin to make the environments; the first of a flow's steps does it for all."""
        if self._environment is not None:
            self._environment.launch(None).begin(package, str(run_id))

    def runtime_step_cli(
        self,
        cli_args: Any,
        retry_count: int,
        max_user_code_retries: int,
        ubf_context: Any,
    ) -> None:
        """Start the task in its own interpreter; waits for that environment if it is still in the making."""
        if self._environment is not None:
            self._environment.launch(None).enter(self._step, cli_args, self._flow_datastore)

    def task_pre_step(
        self,
        step_name: str,
        task_datastore: Any,
        metadata: Any,
        run_id: Any,
        task_id: Any,
        flow: Any,
        graph: Any,
        retry_count: int,
        max_user_code_retries: int,
        ubf_context: Any,
        inputs: Any,
    ) -> None:
        """Note which environment the task runs in, for whoever asks later."""
        if self._environment is not None:
            self._environment.is_task = True
        # Taken out: a flow that this task starts has an environment of its own, or none.
        environment_id = os.environ.pop(ENVIRONMENT_ID, "")
        if environment_id:
            tags = ["attempt_id:%s" % retry_count]
            datum = MetaDatum(field="conda_env_id", value=environment_id, type="conda_env_id", tags=tags)
            metadata.register_metadata(run_id, step_name, task_id, [datum])

    def runtime_finished(self, exception: Any) -> None:
        """Clear away what only this run needed."""
        if self._environment is not None:
            self._environment.launch(None).finish(is_done=exception is None)
