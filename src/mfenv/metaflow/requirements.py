"""From decorators to values: what a flow and its steps ask for. Pure, but for the decorators' own attributes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from mfenv.app.files import FileWish
from mfenv.domain.base import LockFile, NamedBase, PathspecBase
from mfenv.domain.channel import Channel, ChannelCredentials, credentials_in, without_credentials
from mfenv.domain.cutoff import check_cutoff
from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import IndexSecret, PackageIndex, index_secret, secrets_in
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, system_version
from mfenv.domain.python import PythonConstraint
from mfenv.domain.reference import check_form
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import Place, SpecLayer, combine
from mfenv.errors import EnvironmentsError, InvalidSpec
from mfenv.formats.written import Written
from mfenv.metaflow.spellings import Wish, deprecations, modern

_KINDS = frozenset({"conda", "pypi", "pip", "named_env", "sys_packages"})
NAMES = _KINDS | {f"{kind}_base" for kind in _KINDS}
"""The decorators that say something about environments."""

_GPU_NAMES = frozenset({"resources", "batch", "kubernetes"})


def wants_gpu(decorators: Iterable[WrittenDecorator]) -> bool:
    """Tell whether a step is to run on a machine with a GPU."""
    return any(
        decorator.name in _GPU_NAMES and decorator.attributes.get("gpu") not in (None, 0, "0", "")
        for decorator in decorators
    )


def remote_platform(decorators: Iterable[WrittenDecorator], commands: Iterable[str]) -> Platform | None:
    """Return the platform of the machines that a step is sent to; None for a step that runs where it is launched.

    `commands` names the decorators that send steps away. Metaflow's own, and those of others who follow it, say so
    themselves (``supports_conda_environment``), and for which platform (``target_platform``; 2.16 to 2.19). Raises
    `InvalidSpec` for a platform that is not known.
    """
    names = frozenset(commands)
    for decorator in decorators:
        if decorator.name in names or getattr(decorator, "supports_conda_environment", False):
            written = getattr(decorator, "target_platform", None) or Platform.LINUX_64.value
            return Platform.parse(str(written), where=f"the platform of @{decorator.name}")
    return None


def forget_credentials(decorators: Iterable[WrittenDecorator]) -> None:
    """Take credentials out of what was written: Metaflow keeps it as part of each run's graph.

    To be called when `Reader` has read them.
    """
    for decorator in decorators:
        if decorator.name not in NAMES:
            continue
        for key in ("channels", "extra_indices", "sources", "pip_sources", "extras"):
            value = decorator.attributes.get(key)
            if isinstance(value, str):
                decorator.attributes[key] = _without_credentials(value)
            elif isinstance(value, Sequence):
                decorator.attributes[key] = [_without_credentials(x) if isinstance(x, str) else x for x in value]
        for key in ("packages", "libraries", "pip_packages"):
            packages = decorator.attributes.get(key)
            if isinstance(packages, Mapping) and any("://" in f"{name}{text}" for name, text in packages.items()):
                decorator.attributes[key] = {
                    _without_credentials(str(name)): _without_credentials(_text(text))
                    for name, text in packages.items()
                }
            elif isinstance(packages, Sequence) and not isinstance(packages, str):
                decorator.attributes[key] = [_without_credentials(str(text)) for text in packages]


def _without_credentials(text: str) -> str:
    return re.sub(r"(?<=://)([^/\s]*@|([^/\s]*)/t/[^/\s]+(?=/|$))", r"\2", text)


class WrittenDecorator(Protocol):
    """What is needed of a Metaflow decorator."""

    name: str
    attributes: dict[str, Any]


def no_files(_wish: FileWish) -> Written:
    """Read no files: for those who only want to know what decorators themselves say."""
    return Written(layer=SpecLayer())


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one level asks for, the credentials that its addresses held, and what to tell the user of its spelling."""

    layer: SpecLayer = field(default_factory=SpecLayer)
    channel_credentials: tuple[ChannelCredentials, ...] = ()
    index_secrets: tuple[IndexSecret, ...] = ()
    deprecations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads the decorators of one level; `owner` is "flow `F`" or "step `s`", `folder` that of the flow file."""

    owner: str
    folder: Path
    read_file: Callable[[FileWish], Written] = no_files

    def layer(self, decorators: Iterable[WrittenDecorator]) -> SpecLayer:
        """Return what this level asks for. Raises `InvalidSpec` naming owner, decorator, key and text."""
        return self.read(decorators).layer

    def read(self, decorators: Iterable[WrittenDecorator]) -> Reading:
        """Return what this level asks for, in the order in which it is written, from top to bottom.

        Raises `InvalidSpec` naming owner, decorator, key and text.
        """
        written = [decorator for decorator in decorators if decorator.name in NAMES]
        # Python applies decorators from the bottom to the top; those of the command line come last.
        dynamic = [decorator for decorator in written if not getattr(decorator, "statically_defined", True)]
        ordered = [*(one for one in reversed(written) if one not in dynamic), *dynamic]
        layer, channels, indexes, notes = SpecLayer(), list[ChannelCredentials](), list[IndexSecret](), list[str]()
        for decorator in ordered:
            notes += deprecations(decorator.name, decorator.attributes, owner=self.owner)
            for wish in modern(decorator.name, decorator.attributes, owner=self.owner):
                file = self._file(wish)
                for one in (file.layer, self._layer(wish)):
                    layer = combine(layer, one, owner=self.owner)
                channels += [*file.channel_credentials, *self._channel_credentials(wish)]
                indexes += [*file.index_secrets, *self._index_secrets(wish)]
        return Reading(
            layer=layer,
            channel_credentials=tuple(dict.fromkeys(channels)),
            index_secrets=tuple(dict.fromkeys(indexes)),
            deprecations=tuple(dict.fromkeys(notes)),
        )

    def _layer(self, wish: Wish) -> SpecLayer:
        readers = {"conda": self._conda, "pypi": self._pypi, "named_env": self._named, "sys_packages": self._system}
        return readers[wish.name.removesuffix("_base")](wish)

    def _file(self, wish: Wish) -> Written:
        value = wish.attributes.get("file")
        groups, optional = (tuple(self._texts(wish, key, "train")) for key in ("groups", "optional_dependencies"))
        if not value:
            if groups or optional:
                key = "groups" if groups else "optional_dependencies"
                raise InvalidSpec(
                    f"{self._place(wish, f'{key}=...')}: there is no file to take them of",
                    hint=f'Name it: @{wish.shown}(file="pyproject.toml", {key}=[...])',
                )
            return Written(layer=SpecLayer())
        place = self._place(wish, f'file="{value}"')
        path = Path(self.folder, Path(str(value)).expanduser())
        try:
            found = self.read_file(FileWish(path=path, shown=str(value), groups=groups, optional_dependencies=optional))
        except EnvironmentsError as error:
            raise InvalidSpec(f"{place}:\n{error.message}", hint=error.hint, output=error.output) from error
        places = {name: Place(owner=str(place), text=str(where)) for name, where in found.layer.places}
        if isinstance(found.layer.base, LockFile):
            places["base"] = place
        return replace(found, layer=replace(found.layer, places=tuple(places.items())))

    def _named(self, wish: Wish) -> SpecLayer:
        name, pathspec = (wish.attributes.get(key) for key in ("name", "pathspec"))
        if name and pathspec:
            place = self._place(wish, f'name="{name}", pathspec="{pathspec}"')
            raise InvalidSpec(
                f"{place}: only one environment can be named",
                hint="Leave `name` or `pathspec` out",
            )
        places = {}
        if text := name or pathspec:
            places["base"] = self._place(wish, f'{"name" if name else "pathspec"}="{text}"')
            check_form(str(text), is_pathspec=bool(pathspec), where=str(places["base"]))
        base = NamedBase(text=str(name)) if name else PathspecBase(text=str(pathspec)) if pathspec else None
        return SpecLayer(
            base=base,
            fetch_at_exec=self._truth(wish, "fetch_at_exec"),
            disabled=self._truth(wish, "disabled"),
            places=tuple(places.items()),
        )

    def _conda(self, wish: Wish) -> SpecLayer:
        packages: dict[str, MatchSpec] = {}
        places: dict[str, Place] = {}
        # `packages` is standard Metaflow's newer word; it wins, as there.
        for key in ("libraries", "packages"):
            for name, constraint in self._mapping(wish, key).items():
                shown = without_credentials(str(name))
                place = self._place(wish, f'{wish.key(key)}={{"{shown}": "{constraint}"}}')
                spec = MatchSpec.parse(str(name), _text(constraint), where=str(place), relative_to=self.folder)
                if spec.name == "python" and (spec.build or spec.channel):
                    raise InvalidSpec(
                        f"{place}: for Python only the version can be chosen, not a build or a channel",
                        hint="The first of `channels` that has Python is where it comes from",
                    )
                packages[spec.name] = spec
                places[spec.name] = place
        channels = []
        for text in self._channels(wish):
            place = self._place(wish, f"{wish.key('channels')}=[...]")
            channel = Channel.parse(text, where=str(place), relative_to=self.folder)
            places[f"channel:{channel}"] = self._place(wish, f'{wish.key("channels")}=["{channel}"]')
            channels.append(channel)
        return SpecLayer(
            python=self._python(wish, places, packages.get("python")),
            conda=tuple(packages.values()),
            channels=tuple(channels),
            exclude_newer=self._exclude_newer(wish),
            disabled=self._truth(wish, "disabled"),
            places=tuple(places.items()),
        )

    def _pypi(self, wish: Wish) -> SpecLayer:
        requirements: dict[str, Requirement] = {}
        places: dict[str, Place] = {}
        for name, constraint in self._mapping(wish, "packages").items():
            place = self._place(wish, f'{wish.key("packages")}={{"{name}": "{constraint}"}}')
            requirement = Requirement.parse(str(name), _text(constraint), where=str(place), relative_to=self.folder)
            requirements[f"{requirement.name};{requirement.marker}"] = requirement
            places[requirement.name] = place
        conda_only: dict[str, MatchSpec] = {}
        for name, constraint in self._mapping(wish, "conda_only").items():
            place = self._place(wish, f'conda_only={{"{name}": "{constraint}"}}')
            spec = MatchSpec.parse(str(name), _text(constraint), where=str(place))
            conda_only[spec.name] = spec
            places[spec.name] = place
        where = str(self._place(wish, f"{wish.key('extra_indices')}=[...]"))
        return SpecLayer(
            python=self._python(wish, places),
            pypi=tuple(requirements.values()),
            conda_only=tuple(conda_only.values()),
            indexes=tuple(
                PackageIndex.parse(text, where=where, relative_to=self.folder) for text in self._indices(wish)
            ),
            flags=self._flags(wish),
            exclude_newer=self._exclude_newer(wish),
            disabled=self._truth(wish, "disabled"),
            places=tuple(places.items()),
        )

    def _flags(self, wish: Wish) -> tuple[ResolverFlag, ...]:
        texts = self._texts(wish, "extras", "pre")
        where = [str(self._place(wish, f'extras=["{without_credentials(text)}"]')) for text in texts]
        flags = (ResolverFlag.parse(t, where=w, relative_to=self.folder) for t, w in zip(texts, where, strict=True))
        return tuple(dict.fromkeys(flags))

    def _system(self, wish: Wish) -> SpecLayer:
        system = {}
        for name, version in self._mapping(wish, "packages").items():
            place = self._place(wish, f'packages={{"{name}": "{version}"}}')
            system[str(name)] = system_version(str(name), _text(version), where=str(place))
        return SpecLayer(system=tuple(system.items()), disabled=self._truth(wish, "disabled"))

    def _python(self, wish: Wish, places: dict[str, Place], among: MatchSpec | None = None) -> PythonConstraint | None:
        """Return the Python that the decorator asks for, in `python=` or else as one `among` its packages.

        A step's Python has to win over its flow's, in whichever of the two ways each is written.
        """
        value = wish.attributes.get("python")
        if value in (None, ""):
            if among is None or among.version == "*":
                return None
            return PythonConstraint.parse(among.version, where=str(places["python"]))
        # How ``--with conda:python=3.10`` arrives.
        shown = "3.10" if isinstance(value, float) and value == 3.1 else value
        places["python"] = self._place(wish, f'python="{shown}"')
        return PythonConstraint.parse(value, where=str(places["python"]))

    def _exclude_newer(self, wish: Wish) -> str:
        value = wish.attributes.get("exclude_newer")
        where = str(self._place(wish, f'exclude_newer="{value}"'))
        return check_cutoff(str(value), where=where) if value else ""

    def _channel_credentials(self, wish: Wish) -> list[ChannelCredentials]:
        """Return the credentials in the URLs of channels, for packages too."""
        if wish.name not in {"conda", "conda_base"}:
            return []
        names = [str(name) for key in ("libraries", "packages") for name in self._mapping(wish, key)]
        pinned = [name.rpartition("::")[0] for name in names if "::" in name]
        found = [
            credentials_in(text, Channel.parse(text, where=self.owner, relative_to=self.folder))
            for text in (*self._channels(wish), *pinned)
        ]
        return [credentials for credentials in found if credentials]

    def _index_secrets(self, wish: Wish) -> list[IndexSecret]:
        """Return the credentials in the URLs of indexes and packages."""
        if wish.name not in {"pypi", "pypi_base"}:
            return []
        found = [
            index_secret(text, PackageIndex.parse(text, where=self.owner, relative_to=self.folder))
            for text in self._indices(wish)
        ]
        addresses = [
            secret
            for text in (
                *(f"{name} {_text(constraint)}" for name, constraint in self._mapping(wish, "packages").items()),
                *self._texts(wish, "extras", "pre"),
            )
            for secret in secrets_in(text)
        ]
        return [*(secret for secret in found if secret), *addresses]

    def _place(self, wish: Wish, text: str) -> Place:
        # A requirement may hold an address with credentials.
        shown = re.sub(r"://[^/\s]*@", "://", text)
        return Place(owner=self.owner, text=f"@{wish.shown}({shown})")

    def _mapping(self, wish: Wish, key: str) -> Mapping[str, Any]:
        value = wish.attributes.get(key) or {}
        shown = wish.key(key)
        if not isinstance(value, Mapping):
            raise InvalidSpec(
                f"{self.owner}, @{wish.shown}({shown}=...): expected names with versions, found `{value!r}`",
                hint=f'Write @{wish.shown}({shown}={{"numpy": ">=1.26"}})'
                + (f', or --with \'{wish.shown}:{shown}={{"numpy": ">=1.26"}}\'' if isinstance(value, str) else ""),
            )
        return value

    def _texts(self, wish: Wish, key: str, example: str) -> list[str]:
        value = wish.attributes.get(key) or []
        # A single one that somebody forgot to put into a list is no list of letters.
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
            raise InvalidSpec(
                f"{self.owner}, @{wish.shown}({wish.key(key)}=...): expected a list of {_LISTS[key]}, "
                f"found `{value!r}`",
                hint=f'Write @{wish.shown}({wish.key(key)}=["{example}"])',
            )
        return list(texts)

    def _channels(self, wish: Wish) -> list[str]:
        return self._texts(wish, "channels", "conda-forge")

    def _indices(self, wish: Wish) -> list[str]:
        return self._texts(wish, "extra_indices", "https://host/simple")

    def _truth(self, wish: Wish, key: str) -> bool | None:
        value = wish.attributes.get(key)
        if value is None or isinstance(value, bool):
            return value
        text = str(value).strip().lower()
        if text in {"true", "false", "1", "0"}:
            return text in {"true", "1"}
        raise InvalidSpec(f"{self.owner}, @{wish.shown}({key}={value!r}): expected True or False")


_LISTS = {
    "channels": "channels",
    "extra_indices": "indexes",
    "extras": "options of the resolver",
    "groups": "groups",
    "optional_dependencies": "optional dependencies",
}


def _text(constraint: object) -> str:
    """Return a constraint as text; ``--with conda:...`` turns what looks like a number into one."""
    return "" if constraint is None else str(constraint)
