"""From decorators to values: what a flow and its steps ask for. Pure, but for the decorators' own attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mfenv.domain.channel import Channel, ChannelCredentials, credentials_in, without_credentials
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.python import PythonConstraint
from mfenv.domain.spec import Place, SpecLayer
from mfenv.errors import InvalidSpec

CONDA_NAMES = frozenset({"conda", "conda_base"})
PYPI_NAMES = frozenset({"pypi", "pypi_base"})


class WrittenDecorator(Protocol):
    """What is needed of a Metaflow decorator."""

    name: str
    attributes: Mapping[str, Any]


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
                layer = self._conda(decorator)
            elif decorator.name in PYPI_NAMES and any(decorator.attributes.values()):
                raise InvalidSpec(
                    f"{self.owner}, @{decorator.name}: PyPI packages are not supported by this version yet",
                    hint="Ask for the conda packages of the same projects with @conda",
                )
        return layer

    def _conda(self, decorator: WrittenDecorator) -> SpecLayer:
        attributes = decorator.attributes
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
        python = None
        # A step's Python has to win over its flow's, in whichever of the two ways each is written.
        if (among := packages.get("python")) and among.version != "*":
            python = PythonConstraint.parse(among.version, where=str(places["python"]))
        if attributes.get("python") not in (None, ""):
            places["python"] = self._place(decorator, f'python="{attributes["python"]}"')
            python = PythonConstraint.parse(attributes["python"], where=str(places["python"]))
        channels = []
        for text in self._channel_texts(decorator):
            place = self._place(decorator, "channels=[...]")
            channel = Channel.parse(text, where=str(place), relative_to=self.folder)
            places[f"channel:{channel}"] = self._place(decorator, f'channels=["{channel}"]')
            channels.append(channel)
        return SpecLayer(
            python=python,
            conda=tuple(packages.values()),
            channels=tuple(channels),
            disabled=self._disabled(decorator),
            places=tuple(places.items()),
        )

    def credentials(self, decorators: Iterable[WrittenDecorator]) -> list[ChannelCredentials]:
        """Return the credentials in the URLs of channels that this level names, for packages too."""
        found = [
            credentials_in(text, Channel.parse(text, where=self.owner, relative_to=self.folder))
            for decorator in decorators
            if decorator.name in CONDA_NAMES
            for text in (*self._channel_texts(decorator), *self._pinned_channel_texts(decorator))
        ]
        return [credentials for credentials in found if credentials]

    def _place(self, decorator: WrittenDecorator, text: str) -> Place:
        return Place(owner=self.owner, text=f"@{decorator.name}({text})")

    def _mapping(self, decorator: WrittenDecorator, key: str) -> Mapping[str, Any]:
        value = decorator.attributes.get(key) or {}
        if not isinstance(value, Mapping):
            raise InvalidSpec(
                f"{self.owner}, @{decorator.name}({key}=...): expected names with versions, found `{value!r}`",
                hint=f'Write @{decorator.name}({key}={{"numpy": ">=1.26"}})'
                + (f', or --with \'{decorator.name}:{key}={{"numpy": ">=1.26"}}\'' if isinstance(value, str) else ""),
            )
        return value

    def _channel_texts(self, decorator: WrittenDecorator) -> list[str]:
        value = decorator.attributes.get("channels") or []
        # A single channel that somebody forgot to put into a list is no list of letters.
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
            raise InvalidSpec(
                f"{self.owner}, @{decorator.name}(channels=...): expected a list of channels, found `{value!r}`",
                hint=f'Write @{decorator.name}(channels=["conda-forge"])',
            )
        return list(texts)

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
