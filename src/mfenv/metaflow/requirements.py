"""From decorators to values: what a flow and its steps ask for. Pure, but for the decorators' own attributes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mfenv.domain.channel import Channel, ChannelCredentials, credentials_in, without_credentials
from mfenv.domain.cutoff import check_cutoff
from mfenv.domain.index import IndexSecret, PackageIndex, index_secret, secrets_in
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.python import PythonConstraint
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import Place, SpecLayer, combine
from mfenv.errors import InvalidSpec

CONDA_NAMES = frozenset({"conda", "conda_base"})
PYPI_NAMES = frozenset({"pypi", "pypi_base"})
SYSTEM_NAMES = frozenset({"sys_packages", "sys_packages_base"})
_GPU_NAMES = frozenset({"resources", "batch", "kubernetes"})


SYSTEM_PACKAGES = ("__cuda", "__glibc", "__osx", "__archspec")
"""Virtual packages that a step may set."""


def wants_gpu(decorators: Iterable[WrittenDecorator]) -> bool:
    """Tell whether a step is to run on a machine with a GPU."""
    return any(
        decorator.name in _GPU_NAMES and decorator.attributes.get("gpu") not in (None, 0, "0", "")
        for decorator in decorators
    )


def forget_credentials(decorators: Iterable[WrittenDecorator]) -> None:
    """Take credentials out of what was written: Metaflow keeps it as part of each run's graph.

    To be called when `Reader` has read them.
    """
    for decorator in decorators:
        if decorator.name not in CONDA_NAMES | PYPI_NAMES:
            continue
        for key in ("channels", "extra_indices"):
            value = decorator.attributes.get(key)
            if isinstance(value, str):
                decorator.attributes[key] = _without_credentials(value)
            elif isinstance(value, Sequence):
                decorator.attributes[key] = [_without_credentials(x) if isinstance(x, str) else x for x in value]
        for key in ("packages", "libraries"):
            packages = decorator.attributes.get(key)
            if isinstance(packages, Mapping) and any("://" in f"{name}{text}" for name, text in packages.items()):
                decorator.attributes[key] = {
                    _without_credentials(str(name)): _without_credentials(_text(text))
                    for name, text in packages.items()
                }


def _without_credentials(text: str) -> str:
    return re.sub(r"(?<=://)([^/\s]*@|([^/\s]*)/t/[^/\s]+(?=/|$))", r"\2", text)


class WrittenDecorator(Protocol):
    """What is needed of a Metaflow decorator."""

    name: str
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads the decorators of one level; `owner` is "flow `F`" or "step `s`", `folder` that of the flow file."""

    owner: str
    folder: Path

    def layer(self, decorators: Iterable[WrittenDecorator]) -> SpecLayer:
        """Return what this level asks for. Raises `InvalidSpec` naming owner, decorator, key and text."""
        layer = SpecLayer()
        for decorator in decorators:
            if decorator.name in CONDA_NAMES:
                layer = combine(layer, self._conda(decorator), owner=self.owner)
            elif decorator.name in PYPI_NAMES:
                layer = combine(layer, self._pypi(decorator), owner=self.owner)
            elif decorator.name in SYSTEM_NAMES:
                layer = combine(layer, self._system(decorator), owner=self.owner)
        return layer

    def _pypi(self, decorator: WrittenDecorator) -> SpecLayer:
        requirements: dict[str, Requirement] = {}
        places: dict[str, Place] = {}
        for name, constraint in self._mapping(decorator, "packages").items():
            place = self._place(decorator, f'packages={{"{name}": "{constraint}"}}')
            requirement = Requirement.parse(str(name), _text(constraint), where=str(place), relative_to=self.folder)
            requirements[f"{requirement.name};{requirement.marker}"] = requirement
            places[requirement.name] = place
        conda_only: dict[str, MatchSpec] = {}
        for name, constraint in self._mapping(decorator, "conda_only").items():
            place = self._place(decorator, f'conda_only={{"{name}": "{constraint}"}}')
            spec = MatchSpec.parse(str(name), _text(constraint), where=str(place))
            conda_only[spec.name] = spec
            places[spec.name] = place
        where = str(self._place(decorator, "extra_indices=[...]"))
        return SpecLayer(
            python=self._python(decorator, places),
            pypi=tuple(requirements.values()),
            conda_only=tuple(conda_only.values()),
            indexes=tuple(
                PackageIndex.parse(text, where=where, relative_to=self.folder) for text in self._indices(decorator)
            ),
            exclude_newer=self._exclude_newer(decorator),
            disabled=self._disabled(decorator),
            places=tuple(places.items()),
        )

    def _system(self, decorator: WrittenDecorator) -> SpecLayer:
        system = {}
        for name, version in self._mapping(decorator, "packages").items():
            place = self._place(decorator, f'packages={{"{name}": "{version}"}}')
            if name not in SYSTEM_PACKAGES:
                raise InvalidSpec(
                    f"{place}: `{name}` is not a virtual package that can be set",
                    hint=f"Those are {', '.join(f'`{known}`' for known in SYSTEM_PACKAGES)}",
                )
            version = _text(version).lstrip("=").strip()
            if not re.fullmatch(r"\d+(\.\d+)*(=.+)?", version):
                raise InvalidSpec(f"{place}: `{version}` is not a version", hint='Write for example {"__cuda": "12.4"}')
            system[str(name)] = version
        return SpecLayer(system=tuple(system.items()), disabled=self._disabled(decorator))

    def _python(
        self, decorator: WrittenDecorator, places: dict[str, Place], among: MatchSpec | None = None
    ) -> PythonConstraint | None:
        """Return the Python that the decorator asks for, in `python=` or else as one `among` its packages.

        A step's Python has to win over its flow's, in whichever of the two ways each is written.
        """
        value = decorator.attributes.get("python")
        if value in (None, ""):
            if among is None or among.version == "*":
                return None
            return PythonConstraint.parse(among.version, where=str(places["python"]))
        # How ``--with conda:python=3.10`` arrives.
        shown = "3.10" if isinstance(value, float) and value == 3.1 else value
        places["python"] = self._place(decorator, f'python="{shown}"')
        return PythonConstraint.parse(value, where=str(places["python"]))

    def _exclude_newer(self, decorator: WrittenDecorator) -> str:
        value = decorator.attributes.get("exclude_newer")
        where = str(self._place(decorator, f'exclude_newer="{value}"'))
        return check_cutoff(str(value), where=where) if value else ""

    def _conda(self, decorator: WrittenDecorator) -> SpecLayer:
        packages: dict[str, MatchSpec] = {}
        places: dict[str, Place] = {}
        # `packages` is standard Metaflow's newer word; it wins, as there.
        for key in ("libraries", "packages"):
            for name, constraint in self._mapping(decorator, key).items():
                place = self._place(decorator, f'{key}={{"{without_credentials(str(name))}": "{constraint}"}}')
                spec = MatchSpec.parse(str(name), _text(constraint), where=str(place), relative_to=self.folder)
                if spec.name == "python" and (spec.build or spec.channel):
                    raise InvalidSpec(
                        f"{place}: for Python only the version can be chosen, not a build or a channel",
                        hint="The first of `channels` that has Python is where it comes from",
                    )
                packages[spec.name] = spec
                places[spec.name] = place
        channels = []
        for text in self._channels(decorator):
            place = self._place(decorator, "channels=[...]")
            channel = Channel.parse(text, where=str(place), relative_to=self.folder)
            places[f"channel:{channel}"] = self._place(decorator, f'channels=["{channel}"]')
            channels.append(channel)
        return SpecLayer(
            python=self._python(decorator, places, packages.get("python")),
            conda=tuple(packages.values()),
            channels=tuple(channels),
            exclude_newer=self._exclude_newer(decorator),
            disabled=self._disabled(decorator),
            places=tuple(places.items()),
        )

    def channel_credentials(self, decorators: Iterable[WrittenDecorator]) -> list[ChannelCredentials]:
        """Return the credentials in the URLs of channels that this level names, for packages too."""
        found = [
            credentials_in(text, Channel.parse(text, where=self.owner, relative_to=self.folder))
            for decorator in decorators
            if decorator.name in CONDA_NAMES
            for text in (*self._channels(decorator), *self._pinned_channel_texts(decorator))
        ]
        return [credentials for credentials in found if credentials]

    def index_secrets(self, decorators: Iterable[WrittenDecorator]) -> list[IndexSecret]:
        """Return the credentials in the URLs of indexes that this level names."""
        found = [
            index_secret(text, PackageIndex.parse(text, where=self.owner, relative_to=self.folder))
            for decorator in decorators
            if decorator.name in PYPI_NAMES
            for text in self._indices(decorator)
        ]
        addresses = [
            secret
            for decorator in decorators
            if decorator.name in PYPI_NAMES
            for name, constraint in self._mapping(decorator, "packages").items()
            for secret in secrets_in(f"{name} {_text(constraint)}")
        ]
        return [*(secret for secret in found if secret), *addresses]

    def _place(self, decorator: WrittenDecorator, text: str) -> Place:
        # A requirement may hold an address with credentials.
        shown = re.sub(r"://[^/\s]*@", "://", text)
        return Place(owner=self.owner, text=f"@{decorator.name}({shown})")

    def _mapping(self, decorator: WrittenDecorator, key: str) -> Mapping[str, Any]:
        value = decorator.attributes.get(key) or {}
        if not isinstance(value, Mapping):
            raise InvalidSpec(
                f"{self.owner}, @{decorator.name}({key}=...): expected names with versions, found `{value!r}`",
                hint=f'Write @{decorator.name}({key}={{"numpy": ">=1.26"}})'
                + (f', or --with \'{decorator.name}:{key}={{"numpy": ">=1.26"}}\'' if isinstance(value, str) else ""),
            )
        return value

    def _texts(self, decorator: WrittenDecorator, key: str, example: str) -> list[str]:
        value = decorator.attributes.get(key) or []
        # A single one that somebody forgot to put into a list is no list of letters.
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
            what = "channels" if key == "channels" else "indexes"
            raise InvalidSpec(
                f"{self.owner}, @{decorator.name}({key}=...): expected a list of {what}, found `{value!r}`",
                hint=f'Write @{decorator.name}({key}=["{example}"])',
            )
        return list(texts)

    def _channels(self, decorator: WrittenDecorator) -> list[str]:
        return self._texts(decorator, "channels", "conda-forge")

    def _indices(self, decorator: WrittenDecorator) -> list[str]:
        return self._texts(decorator, "extra_indices", "https://host/simple")

    def _pinned_channel_texts(self, decorator: WrittenDecorator) -> list[str]:
        names = [str(name) for key in ("libraries", "packages") for name in self._mapping(decorator, key)]
        return [name.rpartition("::")[0] for name in names if "::" in name]

    def _disabled(self, decorator: WrittenDecorator) -> bool | None:
        value = decorator.attributes.get("disabled")
        if value is None or isinstance(value, bool):
            return value
        text = str(value).strip().lower()
        if text in {"true", "false", "1", "0"}:
            return text in {"true", "1"}
        raise InvalidSpec(f"{self.owner}, @{decorator.name}(disabled={value!r}): expected True or False")


def _text(constraint: object) -> str:
    """Return a constraint as text; ``--with conda:...`` turns what looks like a number into one."""
    return "" if constraint is None else str(constraint)
