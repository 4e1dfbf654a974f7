"""`@resolved_uv` and `@resolved_req`: all steps of a flow in the environment that a project is locked to.

They are imported with `metaflow` itself. Python 3.7 syntax: see `mfenv.metaflow`.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from metaflow import FlowMutator
from metaflow.exception import MetaflowException

_KINDS = ("conda", "pypi", "pip", "named_env", "sys_packages")
_FLOW_DECORATORS = frozenset("%s_base" % kind for kind in _KINDS)
_ARGUMENTS = {"path", "use_flow_dir", "groups", "optional_dependencies"}


class ConflictingEnvironments(MetaflowException):
    """A flow says twice what its environment is."""

    headline = "Invalid environment"


class _Resolved(FlowMutator):
    _files: tuple[str, ...] = ()
    _lock = ""

    def init(self, *args: Any, **kwargs: Any) -> None:
        """Hold what was written."""
        if args or set(kwargs) - _ARGUMENTS:
            unknown = ", ".join(sorted(set(kwargs) - _ARGUMENTS)) or repr(args[0])
            raise ConflictingEnvironments(
                "@%s: `%s` is not one of its arguments\n\nhint: Those are %s"
                % (self._word(), unknown, ", ".join(sorted(_ARGUMENTS)))
            )
        if kwargs.get("path") is not None and kwargs.get("use_flow_dir") is not None:
            raise ConflictingEnvironments("@%s: `path` and `use_flow_dir` cannot both be given" % self._word())
        self._options = kwargs

    def pre_mutate(self, mutable_flow: Any) -> None:
        """Give all steps the environment of the lock file."""
        from mfenv.metaflow.enter import ENVIRONMENT_ID

        # A task has its environment already, and need not have the file.
        if ENVIRONMENT_ID in os.environ:
            return
        self._refuse_others(mutable_flow)
        folder = self._folder()
        choices = {key: list(self._options.get(key) or []) for key in ("groups", "optional_dependencies")}
        file = os.path.join(folder, self._lock)
        mutable_flow.add_decorator("pypi_base", deco_kwargs=dict(choices, file=file, **self._more(folder)))

    def _more(self, folder: str) -> dict[str, Any]:
        return {}

    @classmethod
    def _word(cls) -> str:
        return cls.__name__

    def _refuse_others(self, mutable_flow: Any) -> None:
        found = ["@%s" % spec[0] for spec in mutable_flow.decorator_specs if spec[0] in _FLOW_DECORATORS]
        for name, step in mutable_flow.steps:
            found += ["@%s of step `%s`" % (spec[0], name) for spec in step.decorator_specs if spec[0] in _KINDS]
        if found:
            raise ConflictingEnvironments(
                "@%s says what all steps run in, but there is %s as well\n\nhint: Leave one of them out"
                % (self._word(), ", ".join(found))
            )

    def _folder(self) -> str:
        """Return the nearest folder upwards that has one of the files; it has to have all."""
        start = self._options.get("path")
        if start is None:
            of_flow = self._options.get("use_flow_dir")
            is_cwd = of_flow is not None and not of_flow
            start = os.getcwd() if is_cwd else os.path.dirname(os.path.abspath(sys.argv[0]))
        start = folder = os.path.abspath(start)
        while True:
            found = [name for name in self._files if os.path.isfile(os.path.join(folder, name))]
            if found:
                break
            above = os.path.dirname(folder)
            if above == folder:
                raise ConflictingEnvironments(
                    "@%s: there is no %s in `%s` or above it\n\nhint: Give its folder as `path`"
                    % (self._word(), " and ".join(self._files), start)
                )
            folder = above
        missing = [name for name in self._files if name not in found]
        if missing:
            raise ConflictingEnvironments(
                "@%s: `%s` has %s, but no %s" % (self._word(), folder, " and ".join(found), " and ".join(missing))
            )
        return folder


class resolved_uv(_Resolved):  # noqa: N801  (written as a decorator)
    """
    Runs all steps of the flow in the environment that a project is locked to by `uv.lock`.

    Parameters
    ----------
    path : str, optional, default None
        Folder to look for `uv.lock` and `pyproject.toml` in, and above it.
    use_flow_dir : bool, optional, default None
        If False, look in the working directory; otherwise, without `path`, in the folder of the flow's file.
    groups : List[str], default []
        Dependency groups to take besides.
    optional_dependencies : List[str], default []
        Optional dependencies (extras) of the project to take besides.
    """

    _files = ("uv.lock", "pyproject.toml")
    _lock = "uv.lock"

    def init(self, *args: Any, **kwargs: Any) -> None:
        """Hold what was written: Metaflow calls it only where a class has it itself."""
        super().init(*args, **kwargs)

    def _more(self, folder: str) -> dict[str, Any]:
        """Take the Python that uv would."""
        try:
            with open(os.path.join(folder, ".python-version"), encoding="utf-8") as file:
                version = file.read().strip()
        except OSError:
            return {}
        digits = version.replace("cpython-", "").replace("cpython@", "")
        return {"python": digits} if digits[:1].isdigit() else {}


class resolved_req(_Resolved):  # noqa: N801
    """
    Runs all steps of the flow in the environment of a `requirements.txt` that was made from a `requirements.in`.

    Parameters
    ----------
    path : str, optional, default None
        Folder to look for the two files in, and above it.
    use_flow_dir : bool, optional, default None
        If False, look in the working directory; otherwise, without `path`, in the folder of the flow's file.
    """

    _files = ("requirements.txt", "requirements.in")
    _lock = "requirements.txt"

    def init(self, *args: Any, **kwargs: Any) -> None:
        """Hold what was written."""
        super().init(*args, **kwargs)

    def _more(self, folder: str) -> dict[str, Any]:
        """Refuse a file that nothing was locked by, and take the Python that the other file asks for."""
        with open(os.path.join(folder, self._lock), encoding="utf-8", errors="replace") as file:
            head = "".join(file.readlines()[:5])
        if "autogenerated" not in head:
            raise ConflictingEnvironments(
                "@%s: `requirements.txt` does not say in its first lines that it was autogenerated\n\n"
                "hint: Make it with `uv pip compile requirements.in -o requirements.txt`" % self._word()
            )
        from mfenv.metaflow.config_files import python_of_requirements

        python = python_of_requirements(os.path.join(folder, "requirements.in"))
        return {"python": python} if python else {}
