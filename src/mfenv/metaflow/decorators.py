"""What a user writes: `@conda`, `@pypi`, `@named_env`, `@sys_packages`, and the same for whole flows.

The decorators only hold what was written. It is read where a flow is launched, after Metaflow has evaluated
configurations and mutators. Python 3.7 syntax: see `mfenv.metaflow`.
"""

from __future__ import annotations

from typing import Any

from metaflow.decorators import FlowDecorator, StepDecorator
from metaflow.metaflow_environment import InvalidEnvironmentException

OUR_ENVIRONMENTS = ("conda", "pypi")

_FILES: dict[str, Any] = {"file": None, "groups": [], "optional_dependencies": []}
# Old spellings: see `mfenv.metaflow.spellings`.
_OLD: dict[str, Any] = {"sources": [], "name": None, "pathspec": None, "fetch_at_exec": None}

_CONDA: dict[str, Any] = {
    "packages": {},
    "libraries": {},
    "channels": [],
    "python": None,
    **_FILES,
    "exclude_newer": None,
    "disabled": None,
    "pip_packages": {},
    "pip_sources": [],
    **_OLD,
    "parsed_from": None,
}
_PYPI: dict[str, Any] = {
    "packages": {},
    "conda_only": {},
    "extra_indices": [],
    "extras": [],
    "python": None,
    **_FILES,
    "exclude_newer": None,
    "disabled": None,
    **_OLD,
    "parsed_from": None,
}
_NAMED: dict[str, Any] = {"name": None, "pathspec": None, "fetch_at_exec": None, "disabled": None}
_SYSTEM: dict[str, Any] = {"packages": {}, "disabled": None}


def _needs_environment(decorator: Any, environment: Any) -> InvalidEnvironmentException:
    return InvalidEnvironmentException(
        "The @%s decorator asks for an environment, and this flow was started with --environment=%s. "
        "Start it with --environment=conda." % (decorator.name, environment.TYPE)
    )


class _RequirementStepDecorator(StepDecorator):
    # Of the class: in a flow's file a decorator can be written several times.
    allow_multiple = True
    _environment: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Hold what was written."""
        super().__init__(*args, **kwargs)
        # Of the instance: what `--with` and mutators add yields to, or replaces, what is there, as Metaflow has it.
        self.allow_multiple = False

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


class _Refusal(_RequirementStepDecorator):
    """Stands in a step for a decorator of its flow: those are not told when a run begins."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class _RequirementFlowDecorator(FlowDecorator):
    allow_multiple = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Hold what was written."""
        super().__init__(*args, **kwargs)
        self.allow_multiple = False

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
        """Have every step refuse to run in no environment, as its own decorators do."""
        if environment.TYPE not in OUR_ENVIRONMENTS:
            for step in flow:
                step.decorators.append(_Refusal(self.name))


class CondaStepDecorator(_RequirementStepDecorator):
    """
    Specifies the conda packages of the step.

    What `@conda_base` says for the flow holds as well; of a package that both name, the step's word counts.

    Parameters
    ----------
    packages : Dict[str, str], default {}
        Names and versions. A name can have a channel before it (`conda-forge::numpy`). A version is exact (`1.26.4`),
        a constraint (`>=1.26,<2`), `version=build`, or nothing; a marker can follow
        (`>=1; sys_platform == 'linux'`).
    libraries : Dict[str, str], default {}
        The same under its older name; both may be given, and `packages` counts where they name the same.
    channels : List[str], default []
        Channels to search, the most important first, before the configured ones.
    python : str, optional, default None
        Version of Python: `3.11` (any 3.11), `3.11.7` or `>=3.10,<3.12`. If not given, the
        version that launches the flow.
    file : str, optional, default None
        Path of a file with requirements, relative to the file of the flow: `requirements.txt`, `environment.yml`,
        `pyproject.toml`, `pixi.toml`; or a lock file that is taken as it is: `pylock.toml`, `uv.lock`, `pixi.lock`,
        `conda-lock.yml`, an `@EXPLICIT` list.
    groups : List[str], default []
        Which dependency groups of the file to take besides; for pixi, the environment.
    optional_dependencies : List[str], default []
        Which optional dependencies (extras) of the file's project to take besides.
    exclude_newer : str, optional, default None
        Leave out what was published after this date (`2025-01-31`), or less than this long ago (`30 days`).
    disabled : bool, optional, default None
        If True, the step runs in the interpreter that launches the flow.
    pip_packages : Dict[str, str], default {}
        Deprecated: write `@pypi(packages=...)`.
    pip_sources : List[str], default []
        Deprecated: write `@pypi(extra_indices=...)`.
    sources : List[str], default []
        Deprecated: write `channels`.
    name : str, optional, default None
        Deprecated: write `@named_env(name=...)`.
    pathspec : str, optional, default None
        Deprecated: write `@named_env(pathspec=...)`.
    fetch_at_exec : bool, optional, default None
        Deprecated: write `@named_env(fetch_at_exec=...)`.
    parsed_from : str, optional, default None
        What the arguments were read from; the parsers for `Config` put it in.
    """

    name = "conda"
    defaults = _CONDA


class PyPIStepDecorator(_RequirementStepDecorator):
    """
    Specifies the PyPI packages of the step.

    What `@pypi_base` says for the flow holds as well; of a package that both name, the step's word counts. Beside
    `@conda`, the step has packages of both.

    Parameters
    ----------
    packages : Dict[str, str], default {}
        Names, perhaps with extras (`requests[socks]`), and versions: exact (`2.31.0`), a specifier (`>=2.21`), nothing,
        or an address: a URL, `git+https://...`, the path of a folder.
    conda_only : Dict[str, str], default {}
        Conda packages that have nothing to do with Python, such as `ffmpeg`, and their versions.
    extra_indices : List[str], default []
        Indexes to search before the default one, the most important first.
    extras : List[str], default []
        Options of the resolver, with or without their two dashes: `pre`, `prerelease=...`, `no-index`,
        `find-links=...`, `only-binary=...`, `no-binary=...`, `resolution=...`, `trusted-host=...`.
    python : str, optional, default None
        Version of Python: `3.11` (any 3.11), `3.11.7` or `>=3.10,<3.12`. If not given, the
        version that launches the flow.
    file : str, optional, default None
        Path of a file with requirements, relative to the file of the flow: `requirements.txt`, `environment.yml`,
        `pyproject.toml`, `pixi.toml`; or a lock file that is taken as it is: `pylock.toml`, `uv.lock`, `pixi.lock`,
        `conda-lock.yml`, an `@EXPLICIT` list.
    groups : List[str], default []
        Which dependency groups of the file to take besides; for pixi, the environment.
    optional_dependencies : List[str], default []
        Which optional dependencies (extras) of the file's project to take besides.
    exclude_newer : str, optional, default None
        Leave out what was published after this date (`2025-01-31`), or less than this long ago (`30 days`).
    disabled : bool, optional, default None
        If True, the step runs in the interpreter that launches the flow.
    sources : List[str], default []
        Deprecated: write `extra_indices`.
    name : str, optional, default None
        Deprecated: write `@named_env(name=...)`.
    pathspec : str, optional, default None
        Deprecated: write `@named_env(pathspec=...)`.
    fetch_at_exec : bool, optional, default None
        Deprecated: write `@named_env(fetch_at_exec=...)`.
    parsed_from : str, optional, default None
        What the arguments were read from; the parsers for `Config` put it in.
    """

    name = "pypi"
    defaults = _PYPI


class PipStepDecorator(_RequirementStepDecorator):
    """
    Deprecated: write `@pypi`.

    Parameters
    ----------
    packages : Dict[str, str], default {}
        Names, perhaps with extras (`requests[socks]`), and versions: exact (`2.31.0`), a specifier (`>=2.21`), nothing,
        or an address: a URL, `git+https://...`, the path of a folder.
    conda_only : Dict[str, str], default {}
        Conda packages that have nothing to do with Python, such as `ffmpeg`, and their versions.
    extra_indices : List[str], default []
        Indexes to search before the default one, the most important first.
    extras : List[str], default []
        Options of the resolver, with or without their two dashes: `pre`, `prerelease=...`, `no-index`,
        `find-links=...`, `only-binary=...`, `no-binary=...`, `resolution=...`, `trusted-host=...`.
    python : str, optional, default None
        Version of Python: `3.11` (any 3.11), `3.11.7` or `>=3.10,<3.12`. If not given, the
        version that launches the flow.
    file : str, optional, default None
        Path of a file with requirements, relative to the file of the flow: `requirements.txt`, `environment.yml`,
        `pyproject.toml`, `pixi.toml`; or a lock file that is taken as it is: `pylock.toml`, `uv.lock`, `pixi.lock`,
        `conda-lock.yml`, an `@EXPLICIT` list.
    groups : List[str], default []
        Which dependency groups of the file to take besides; for pixi, the environment.
    optional_dependencies : List[str], default []
        Which optional dependencies (extras) of the file's project to take besides.
    exclude_newer : str, optional, default None
        Leave out what was published after this date (`2025-01-31`), or less than this long ago (`30 days`).
    disabled : bool, optional, default None
        If True, the step runs in the interpreter that launches the flow.
    sources : List[str], default []
        Deprecated: write `extra_indices`.
    name : str, optional, default None
        Deprecated: write `@named_env(name=...)`.
    pathspec : str, optional, default None
        Deprecated: write `@named_env(pathspec=...)`.
    fetch_at_exec : bool, optional, default None
        Deprecated: write `@named_env(fetch_at_exec=...)`.
    parsed_from : str, optional, default None
        What the arguments were read from; the parsers for `Config` put it in.
    """

    name = "pip"
    defaults = _PYPI


class NamedEnvStepDecorator(_RequirementStepDecorator):
    """
    Names the environment that the step runs in, or that `@conda` and `@pypi` build upon.

    Parameters
    ----------
    name : str, optional, default None
        Name of the environment: `team/project/env:tag`; without a tag, `latest`. `@{VARIABLE}` stands for a variable of
        the process, or for one of the run: see the page on named environments.
    pathspec : str, optional, default None
        A step of an earlier run, `Flow/Run/Step`, whose environment to take; `latest` can stand for the run.
    fetch_at_exec : bool, optional, default None
        If True, the environment is looked up when the task starts, not when the flow is launched or deployed. Nothing
        can be built upon it then.
    disabled : bool, optional, default None
        If True, the step runs in the interpreter that launches the flow.
    """

    name = "named_env"
    defaults = _NAMED


class SystemPackagesStepDecorator(_RequirementStepDecorator):
    """
    Says what the machines that run the step have, where that is not what is set for all.

    Parameters
    ----------
    packages : Dict[str, str], default {}
        Virtual packages and their versions: `__cuda`, `__glibc`, `__osx`, `__archspec`.
    disabled : bool, optional, default None
        If True, the step runs in the interpreter that launches the flow.
    """

    name = "sys_packages"
    defaults = _SYSTEM


class CondaFlowDecorator(_RequirementFlowDecorator):
    """
    Specifies the conda packages of all steps of the flow.

    Use `@conda_base` for what all steps need and `@conda` for what one step needs besides or instead.

    Parameters
    ----------
    packages : Dict[str, str], default {}
        Names and versions. A name can have a channel before it (`conda-forge::numpy`). A version is exact (`1.26.4`),
        a constraint (`>=1.26,<2`), `version=build`, or nothing; a marker can follow
        (`>=1; sys_platform == 'linux'`).
    libraries : Dict[str, str], default {}
        The same under its older name; both may be given, and `packages` counts where they name the same.
    channels : List[str], default []
        Channels to search, the most important first, before the configured ones.
    python : str, optional, default None
        Version of Python: `3.11` (any 3.11), `3.11.7` or `>=3.10,<3.12`. If not given, the
        version that launches the flow.
    file : str, optional, default None
        Path of a file with requirements, relative to the file of the flow: `requirements.txt`, `environment.yml`,
        `pyproject.toml`, `pixi.toml`; or a lock file that is taken as it is: `pylock.toml`, `uv.lock`, `pixi.lock`,
        `conda-lock.yml`, an `@EXPLICIT` list.
    groups : List[str], default []
        Which dependency groups of the file to take besides; for pixi, the environment.
    optional_dependencies : List[str], default []
        Which optional dependencies (extras) of the file's project to take besides.
    exclude_newer : str, optional, default None
        Leave out what was published after this date (`2025-01-31`), or less than this long ago (`30 days`).
    disabled : bool, optional, default None
        If True, steps that do not ask for packages run in the interpreter that launches the flow.
    pip_packages : Dict[str, str], default {}
        Deprecated: write `@pypi_base(packages=...)`.
    pip_sources : List[str], default []
        Deprecated: write `@pypi_base(extra_indices=...)`.
    sources : List[str], default []
        Deprecated: write `channels`.
    name : str, optional, default None
        Deprecated: write `@named_env_base(name=...)`.
    pathspec : str, optional, default None
        Deprecated: write `@named_env_base(pathspec=...)`.
    fetch_at_exec : bool, optional, default None
        Deprecated: write `@named_env_base(fetch_at_exec=...)`.
    parsed_from : str, optional, default None
        What the arguments were read from; the parsers for `Config` put it in.
    """

    name = "conda_base"
    defaults = _CONDA


class PyPIFlowDecorator(_RequirementFlowDecorator):
    """
    Specifies the PyPI packages of all steps of the flow.

    Use `@pypi_base` for what all steps need and `@pypi` for what one step needs besides or instead.

    Parameters
    ----------
    packages : Dict[str, str], default {}
        Names, perhaps with extras (`requests[socks]`), and versions: exact (`2.31.0`), a specifier (`>=2.21`), nothing,
        or an address: a URL, `git+https://...`, the path of a folder.
    conda_only : Dict[str, str], default {}
        Conda packages that have nothing to do with Python, such as `ffmpeg`, and their versions.
    extra_indices : List[str], default []
        Indexes to search before the default one, the most important first.
    extras : List[str], default []
        Options of the resolver, with or without their two dashes: `pre`, `prerelease=...`, `no-index`,
        `find-links=...`, `only-binary=...`, `no-binary=...`, `resolution=...`, `trusted-host=...`.
    python : str, optional, default None
        Version of Python: `3.11` (any 3.11), `3.11.7` or `>=3.10,<3.12`. If not given, the
        version that launches the flow.
    file : str, optional, default None
        Path of a file with requirements, relative to the file of the flow: `requirements.txt`, `environment.yml`,
        `pyproject.toml`, `pixi.toml`; or a lock file that is taken as it is: `pylock.toml`, `uv.lock`, `pixi.lock`,
        `conda-lock.yml`, an `@EXPLICIT` list.
    groups : List[str], default []
        Which dependency groups of the file to take besides; for pixi, the environment.
    optional_dependencies : List[str], default []
        Which optional dependencies (extras) of the file's project to take besides.
    exclude_newer : str, optional, default None
        Leave out what was published after this date (`2025-01-31`), or less than this long ago (`30 days`).
    disabled : bool, optional, default None
        If True, steps that do not ask for packages run in the interpreter that launches the flow.
    sources : List[str], default []
        Deprecated: write `extra_indices`.
    name : str, optional, default None
        Deprecated: write `@named_env_base(name=...)`.
    pathspec : str, optional, default None
        Deprecated: write `@named_env_base(pathspec=...)`.
    fetch_at_exec : bool, optional, default None
        Deprecated: write `@named_env_base(fetch_at_exec=...)`.
    parsed_from : str, optional, default None
        What the arguments were read from; the parsers for `Config` put it in.
    """

    name = "pypi_base"
    defaults = _PYPI


class PipFlowDecorator(_RequirementFlowDecorator):
    """
    Deprecated: write `@pypi_base`.

    Parameters
    ----------
    packages : Dict[str, str], default {}
        Names, perhaps with extras (`requests[socks]`), and versions: exact (`2.31.0`), a specifier (`>=2.21`), nothing,
        or an address: a URL, `git+https://...`, the path of a folder.
    conda_only : Dict[str, str], default {}
        Conda packages that have nothing to do with Python, such as `ffmpeg`, and their versions.
    extra_indices : List[str], default []
        Indexes to search before the default one, the most important first.
    extras : List[str], default []
        Options of the resolver, with or without their two dashes: `pre`, `prerelease=...`, `no-index`,
        `find-links=...`, `only-binary=...`, `no-binary=...`, `resolution=...`, `trusted-host=...`.
    python : str, optional, default None
        Version of Python: `3.11` (any 3.11), `3.11.7` or `>=3.10,<3.12`. If not given, the
        version that launches the flow.
    file : str, optional, default None
        Path of a file with requirements, relative to the file of the flow: `requirements.txt`, `environment.yml`,
        `pyproject.toml`, `pixi.toml`; or a lock file that is taken as it is: `pylock.toml`, `uv.lock`, `pixi.lock`,
        `conda-lock.yml`, an `@EXPLICIT` list.
    groups : List[str], default []
        Which dependency groups of the file to take besides; for pixi, the environment.
    optional_dependencies : List[str], default []
        Which optional dependencies (extras) of the file's project to take besides.
    exclude_newer : str, optional, default None
        Leave out what was published after this date (`2025-01-31`), or less than this long ago (`30 days`).
    disabled : bool, optional, default None
        If True, steps that do not ask for packages run in the interpreter that launches the flow.
    sources : List[str], default []
        Deprecated: write `extra_indices`.
    name : str, optional, default None
        Deprecated: write `@named_env_base(name=...)`.
    pathspec : str, optional, default None
        Deprecated: write `@named_env_base(pathspec=...)`.
    fetch_at_exec : bool, optional, default None
        Deprecated: write `@named_env_base(fetch_at_exec=...)`.
    parsed_from : str, optional, default None
        What the arguments were read from; the parsers for `Config` put it in.
    """

    name = "pip_base"
    defaults = _PYPI


class NamedEnvFlowDecorator(_RequirementFlowDecorator):
    """
    Names the environment that all steps of the flow run in, or that `@conda_base` and `@pypi_base` build upon.

    Parameters
    ----------
    name : str, optional, default None
        Name of the environment: `team/project/env:tag`; without a tag, `latest`. `@{VARIABLE}` stands for a variable of
        the process, or for one of the run: see the page on named environments.
    pathspec : str, optional, default None
        A step of an earlier run, `Flow/Run/Step`, whose environment to take; `latest` can stand for the run.
    fetch_at_exec : bool, optional, default None
        If True, the environment is looked up when the task starts, not when the flow is launched or deployed. Nothing
        can be built upon it then.
    disabled : bool, optional, default None
        If True, steps that do not ask for packages run in the interpreter that launches the flow.
    """

    name = "named_env_base"
    defaults = _NAMED


class SystemPackagesFlowDecorator(_RequirementFlowDecorator):
    """
    Says what the machines that run the flow have, where that is not what is set for all.

    Parameters
    ----------
    packages : Dict[str, str], default {}
        Virtual packages and their versions: `__cuda`, `__glibc`, `__osx`, `__archspec`.
    disabled : bool, optional, default None
        If True, steps that do not ask for packages run in the interpreter that launches the flow.
    """

    name = "sys_packages_base"
    defaults = _SYSTEM
