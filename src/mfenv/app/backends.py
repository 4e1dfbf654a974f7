"""What resolves and installs, by its name in settings: our own, and what other packages bring.

Another package names a function in an entry point (PyPA specification "Entry points") of the group of a `Role`:

    [project.entry-points."mfenv.conda_resolvers"]
    approved = "our_policy:resolver"

The function gets `Parts`, and returns what the role is for. Nothing of it is imported before its name is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mfenv.errors import InvalidSpec, ToolNotFound
from mfenv.io.secrets import without_secrets

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from mfenv.io.process import ProcessRunner

Backend = TypeVar("Backend")


# Without slots: a generic class cannot be frozen and have them, and be made as `Parts[X](...)` (Python 3.11).
@dataclass(frozen=True, kw_only=True)
class Parts(Generic[Backend]):
    """What a backend of another package may use."""

    default: Callable[[], Backend]
    """Gives the backend that would be used by default, to ask it and change or check what it says."""
    runner: ProcessRunner
    """Runs programs, which end when the run does."""
    cache: Path
    """A folder of its own, which need not exist, for what it wants to keep."""
    secret_urls: Mapping[str, str]
    """URLs with credentials by the places that they are for; never to be printed or stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a backend is for."""

    setting: str
    """The setting that chooses one, without ``METAFLOW_``."""
    group: str
    """The group of entry points by which other packages bring one."""
    own: tuple[str, ...]
    """The names of ours; the first is the default."""

    @property
    def known(self) -> tuple[str, ...]:
        """All names that can be chosen."""
        return (*self.own, *(found.name for found in self._found() if found.name not in self.own))

    def choice(self, text: str | None) -> str:
        """Return the name that a setting chooses; ``null`` is ``none``. Raises `InvalidSpec` with those there are."""
        name = (text or "").strip() or self.own[0]
        own = "none" if name.lower() == "null" else name.lower()
        if own in self.own:
            return own
        # Others' are looked for only where it is not ours; their names are theirs to write.
        if name not in (known := self.known):
            *most, last = (f"`{good}`" for good in known)
            raise InvalidSpec(
                f"METAFLOW_{self.setting}: `{name}` is not known",
                hint=f"Set it to {', '.join(most)} or {last}" if most else f"Set it to {last}",
            )
        return name

    def make(self, name: str, parts: Parts[Any]) -> Any:
        """Return the backend of another package.

        Raises `ToolNotFound` when that package does not give it, or several packages have one of that name.
        """
        entry, *others = (found for found in self._found() if found.name == name)
        if others:
            packages = " and ".join(f"`{_package_of(found)}`" for found in (entry, *others))
            raise ToolNotFound(
                f"METAFLOW_{self.setting}: several packages bring `{name}`: {packages}", hint="Uninstall all but one"
            )
        try:
            return entry.load()(parts)
        except Exception as error:
            reason = " ".join(without_secrets(str(error), parts.secret_urls).split()) or type(error).__name__
            raise ToolNotFound(
                f"METAFLOW_{self.setting}: `{name}` of the package `{_package_of(entry)}` cannot be used: {reason}",
                hint=f"Mend that package, or set it to `{self.own[0]}`",
            ) from error

    def _found(self) -> list[EntryPoint]:
        # It takes longer to import than all of settings.
        from importlib.metadata import entry_points

        return sorted(entry_points(group=self.group), key=lambda found: found.name)


def _package_of(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.value


CONDA_RESOLVER = Role(
    setting="CONDA_DEPENDENCY_RESOLVER",
    group="mfenv.conda_resolvers",
    own=("rattler", "mamba", "conda", "micromamba"),
)
"""Chooses conda packages: a `mfenv.resolve.base.Resolver`."""
PYPI_RESOLVER = Role(setting="CONDA_PYPI_DEPENDENCY_RESOLVER", group="mfenv.pypi_resolvers", own=("uv", "pip", "none"))
"""Chooses PyPI packages: a `mfenv.resolve.pypi.PypiResolver`."""
MIXED_RESOLVER = Role(
    setting="CONDA_MIXED_DEPENDENCY_RESOLVER", group="mfenv.mixed_resolvers", own=("hybrid", "conda-lock", "none")
)
"""Chooses conda and PyPI packages that are asked for together: a `mfenv.resolve.base.Resolver`."""
CONDA_INSTALLER = Role(setting="CONDA_INSTALLER", group="mfenv.conda_installers", own=("rattler",))
"""Links conda packages: a `mfenv.hydrate.conda.CondaLinker`; their files are brought and checked by ours."""
ROLES = (CONDA_RESOLVER, PYPI_RESOLVER, MIXED_RESOLVER, CONDA_INSTALLER)
