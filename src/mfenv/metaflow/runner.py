"""`Runner(...).environment()`: the environments of a flow's steps, from a program.

Imported with Metaflow's `Runner`: nothing else is loaded before a method is called. Python 3.7 syntax: see
`mfenv.metaflow`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mfenv.api import Environment


class EnvironmentCommands(object):
    """Resolves and shows the environments of a flow's steps, in a process of their own."""

    name = "environment"

    def __init__(self, runner: Any) -> None:
        """Know the `Runner`: its flow, options, working directory and environment variables."""
        self._runner = runner

    def resolve(
        self,
        *steps: str,
        arch: Any = None,
        alias: Any = None,
        force: bool = False,
        dry_run: bool = False,
        timeout: float = 1200,
    ) -> dict[str, dict[str, tuple[Environment | None, bool]]]:
        """Lock the environments of all steps, or of those named.

        Parameters
        ----------
        steps : str
            Names of steps.
        arch : str or list of str, optional
            Platforms, such as ``linux-64``; by default this machine's.
        alias : str or list of str, optional
            Names for the environment, where there is only one.
        force : bool, default False
            Solve anew, also what is known.
        dry_run : bool, default False
            Keep nothing; environments that would be new are None.
        timeout : float, default 1200
            Seconds.

        Returns
        -------
        dict
            By step, then by platform: the environment, and whether it was resolved for this call. Steps without an
            environment of their own are left out.

        Raises `RuntimeError` with what the command said.
        """
        options = [*_each("--arch", arch), *_each("--alias", alias)]
        options += ["--force"] * force + ["--dry-run"] * dry_run
        document = self._call("resolve", steps, options, timeout)
        from mfenv.api import Environment

        return {
            step: {
                platform: (Environment.from_dict(row["env"]) if "env" in row else None, row["newly_resolved"])
                for platform, row in rows.items()
            }
            for step, rows in document.items()
        }

    def show(self, *steps: str, local_only: bool = False, timeout: float = 60) -> dict[str, dict[str, Any]]:
        """Return what is known of the environment of each step, or of those named; resolves nothing.

        Each row has ``is_disabled``, ``is_fetch_at_exec``, ``from_env_name``, ``requested_hash``,
        ``requested_packages``, ``requested_sources``, ``state`` (a list of words), ``why``, ``error``, ``env_id`` and
        ``env``: an `mfenv.Environment`, or None. `timeout` is in seconds. Raises `RuntimeError` with what the command
        said.
        """
        document = self._call("show", steps, ["--local-only"] * local_only, timeout)
        from mfenv.api import Environment

        return {
            step: dict(row, env=Environment.from_dict(row["env"]) if row["env"] else None)
            for step, row in document.items()
        }

    def _call(self, command: str, steps: Any, options: list[str], timeout: float) -> Any:
        import subprocess

        runner = self._runner
        with tempfile.TemporaryDirectory(prefix="mfenv-runner-") as folder:
            output = os.path.join(folder, "output.json")
            arguments = [*self._program(), "environment", command, *steps, *options, "--output", output]
            try:
                done = subprocess.run(
                    arguments,
                    env=runner.env_vars,
                    cwd=runner.cwd,
                    capture_output=True,
                    text=True,
                    timeout=timeout,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"`environment {command}` did not end within {timeout} seconds") from None
            if runner.show_output and done.stderr:
                print(done.stderr, end="")
            if done.returncode:
                said = (done.stderr or done.stdout).strip()
                raise RuntimeError(f"`environment {command}` ended with code {done.returncode}\n{said}")
            with open(output, encoding="utf-8") as file:
                return json.load(file)

    def _program(self) -> list[str]:
        """Return the command line of the flow with the options that the `Runner` was given."""
        options = dict(self._runner.top_level_kwargs)
        options.setdefault("environment", "conda")
        # Metaflow knows how its own options are written: what it would call to run the flow, without that command.
        command = [str(word) for word in self._runner.api(**options).run()]
        return [sys.executable, *command[: len(command) - 1 - command[::-1].index("run")]]


def _each(option: str, values: Any) -> list[str]:
    values = [values] if isinstance(values, str) else values or []
    return [word for value in values for word in (option, value)]
