"""What a user writes: `@conda`, `@conda_base` and their relatives.

The decorators only hold what was written. It is read where a flow is launched, after Metaflow has evaluated
configurations and mutators. Python 3.7 syntax: see `mfenv.metaflow`.
"""

from __future__ import annotations

from typing import Any

from metaflow.decorators import FlowDecorator, StepDecorator
from metaflow.metaflow_environment import InvalidEnvironmentException

OUR_ENVIRONMENTS = ("conda", "pypi")

_CONDA: dict[str, Any] = {
    "packages": {},
    "libraries": {},
    "channels": [],
    "python": None,
    "exclude_newer": None,
    "disabled": None,
}
_PYPI: dict[str, Any] = {
    "packages": {},
    "conda_only": {},
    "extra_indices": [],
    "python": None,
    "exclude_newer": None,
    "disabled": None,
}
_SYSTEM: dict[str, Any] = {"packages": {}, "disabled": None}


def _needs_environment(decorator: Any, environment: Any) -> InvalidEnvironmentException:
    return InvalidEnvironmentException(
        "The @%s decorator asks for an environment, and this flow was started with --environment=%s. "
        "Start it with --environment=conda." % (decorator.name, environment.TYPE)
    )


class _RequirementStepDecorator(StepDecorator):
    _environment: Any = None

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
        """Remember the environment: `dump` and the like run without one, and must not fail here."""
        self._environment = environment

    def runtime_init(self, flow: Any, graph: Any, package: Any, run_id: Any) -> None:
        """Refuse to run in no environment what asked for one."""
        if self._environment is not None and self._environment.TYPE not in OUR_ENVIRONMENTS:
            raise _needs_environment(self, self._environment)


class CondaStepDecorator(_RequirementStepDecorator):
    """
    Specifies the Conda environment for the step.

    Information in this decorator will augment any attributes set in the `@conda_base` flow-level
    decorator: you can set common packages there and use `@conda` for what is particular to a step.

    Parameters
    ----------
    packages : Dict[str, str], default {}
        Packages to use for this step. The key is the name of the package, perhaps with a channel before it
        (`conda-forge::numpy`), the value a version (`1.26.4`), a constraint (`>=1.26,<2`) or nothing.
    libraries : Dict[str, str], default {}
        The same under its older name; both may be given.
    channels : List[str], default []
        Channels to search, the most important first, before the configured ones.
    python : str, optional, default None
        Version of Python: `3.11` (any 3.11), `3.11.7` or `>=3.10,<3.12`. If not given, the
        version that launches the flow.
    exclude_newer : str, optional, default None
        Leave out what was published after this date (`2025-01-31`), or less than this long ago (`30 days`).
    disabled : bool, default False
        If set to True, the step runs in the interpreter that launches the flow.
    """

    name = "conda"
    defaults = _CONDA


class PyPIStepDecorator(_RequirementStepDecorator):
    """
    Specifies PyPI packages for the step.

    Parameters
    ----------
    packages : Dict[str, str], default {}
        Packages to use for this step and their versions.
    extra_indices : List[str], default []
        Indexes to search before the default one, the most important first.
    python : str, optional, default None
        Version of Python; if not given, the version that launches the flow.
    conda_only : Dict[str, str], default {}
        Conda packages that have nothing to do with Python, such as `ffmpeg`, and their versions.
    exclude_newer : str, optional, default None
        Leave out what was published after this date (`2025-01-31`), or less than this long ago (`30 days`).
    disabled : bool, default False
        If set to True, the step runs in the interpreter that launches the flow.
    """

    name = "pypi"
    defaults = _PYPI


class SystemPackagesStepDecorator(_RequirementStepDecorator):
    """
    Says what the machines that run the step have, where that is not what is set for all.

    Parameters
    ----------
    packages : Dict[str, str], default {}
        Virtual packages and their versions: `__cuda`, `__glibc`, `__osx`, `__archspec`.
    disabled : bool, optional, default None
        As for `@conda`.
    """

    name = "sys_packages"
    defaults = _SYSTEM


class _RequirementFlowDecorator(FlowDecorator):
    def flow_init(
        self,
        flow: Any,
        graph: Any,
        environment: Any,
        flow_datastore: Any,
        metadata: Any,
        logger: Any,
        echo: Any,
        options: Any,
    ) -> None:
        """Nothing is done before the flow is launched."""


class CondaFlowDecorator(_RequirementFlowDecorator):
    """
    Specifies the Conda environment for all steps of the flow.

    Use `@conda_base` for what all steps need and `@conda` for what one step needs besides or instead.

    Parameters
    ----------
    packages : Dict[str, str], default {}
        Packages to use for this flow: see `@conda`.
    libraries : Dict[str, str], default {}
        The same under its older name; both may be given.
    channels : List[str], default []
        Channels to search, behind those of the step.
    python : str, optional, default None
        Version of Python; if not given, the version that launches the flow.
    exclude_newer : str, optional, default None
        Leave out what was published after this date (`2025-01-31`), or less than this long ago (`30 days`).
    disabled : bool, default False
        If set to True, steps that do not ask for packages run in the interpreter that launches the flow.
    """

    name = "conda_base"
    defaults = _CONDA


class PyPIFlowDecorator(_RequirementFlowDecorator):
    """
    Specifies PyPI packages for all steps of the flow.

    Parameters
    ----------
    packages : Dict[str, str], default {}
        Packages to use for this flow and their versions.
    extra_indices : List[str], default []
        Indexes to search before the default one, the most important first.
    python : str, optional, default None
        Version of Python; if not given, the version that launches the flow.
    conda_only : Dict[str, str], default {}
        Conda packages that have nothing to do with Python, such as `ffmpeg`, and their versions.
    exclude_newer : str, optional, default None
        Leave out what was published after this date (`2025-01-31`), or less than this long ago (`30 days`).
    disabled : bool, default False
        If set to True, steps that do not ask for packages run in the interpreter that launches the flow.
    """

    name = "pypi_base"
    defaults = _PYPI


class SystemPackagesFlowDecorator(_RequirementFlowDecorator):
    """
    Says what the machines that run the flow have, where that is not what is set for all.

    Parameters
    ----------
    packages : Dict[str, str], default {}
        Virtual packages and their versions: `__cuda`, `__glibc`, `__osx`, `__archspec`.
    disabled : bool, optional, default None
        As for `@conda_base`.
    """

    name = "sys_packages_base"
    defaults = _SYSTEM
