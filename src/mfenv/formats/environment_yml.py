"""environment.yml: conda's file of an environment, with two keys of our own (``pypi-indices`` and ``sys``).

It is YAML, read by ruamel.yaml as plain values. What stands under ``pip`` are lines of a requirements file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mfenv.domain.channel import Channel, credentials_in
from mfenv.domain.index import PackageIndex, index_secret
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import system_version
from mfenv.domain.python import PythonConstraint
from mfenv.domain.spec import Place, SpecLayer
from mfenv.errors import InvalidSpec
from mfenv.formats import requirements_txt
from mfenv.formats.problems import Problems
from mfenv.formats.written import Written, joined
from mfenv.formats.yaml_text import Node, parse

_KEYS = ("name", "prefix", "channels", "dependencies", "pypi-indices", "sys", "variables", "platforms", "category")
_IGNORED = frozenset({"name", "prefix", "platforms", "category"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SYSTEM = re.compile(r"(?P<name>__\w+)(?:\s*={1,2}\s*|\s+)(?P<version>[^\s=<>!~,|].*)")
# A package's, and not that of the channel before its name; or the path of a file.
_ADDRESS = re.compile(r"://(?!\S*::)(?![^\[]*\]$)|^[.~/](?!.*::)|\.(conda|tar\.bz2)(#\w*)?$")
_MARKED = re.compile(r"^(?P<file>.*?):(?P<line>\d+):\d+: (?P<rest>.*)$", re.DOTALL)


def load(text: str, *, shown: str, folder: Path) -> Written:
    """Read the text of an environment file that is called `shown` in messages; its paths are relative to `folder`.

    ``nodefaults`` among the channels means nothing here: no channel is searched that is not named. ``defaults`` is
    refused: it stands for a list in conda's own configuration, and py-rattler (0.28) would search a channel of that
    name. Variables are texts as they are written: ``1.10`` and ``yes`` stay what they are. Raises `InvalidSpec` with a
    line for everything that is wrong.
    """
    problems = Problems(shown)
    root = parse(text, shown=shown)
    found = _File(problems=problems, shown=shown, folder=folder).load(root)
    problems.raise_if_any()
    return found


def _shown(text: str) -> str:
    return re.sub(r"://[^/\s]*@", "://", text)


def _is_plain(*texts: str) -> bool:
    return all(re.fullmatch(r"[\w.*-]+", text) for text in texts)


def _searched(channel: Channel, where: str) -> Channel:
    if channel.location != "defaults":
        return channel
    raise InvalidSpec(
        f"{where}: `defaults` is no channel: it stands for a list that only conda's configuration has",
        hint="Write the channels of that list (`conda config --show default_channels` prints them), or leave it out",
    )


def _channel_in(text: str) -> str:
    """Return the address of a channel as it was written in a match spec."""
    found = re.search(r"[\[,]\s*channel\s*=\s*[\"']?([^\"',\]\s]+)", text)
    return found[1] if found else text.rpartition("::")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    problems: Problems
    shown: str
    folder: Path

    def load(self, root: Node) -> Written:
        found = Written(layer=SpecLayer())
        if root.value is None:
            return found
        readers = {
            "channels": self._channel,
            "dependencies": self._dependency,
            "pypi-indices": self._index,
            "sys": self._system,
        }
        for key, node in self._entries(root, "keys such as `channels` and `dependencies`"):
            where = self._where(node)
            with self.problems.noted():
                if key in _IGNORED:
                    continue
                if key == "variables":
                    found = joined(found, self._variables(node), where=where)
                    continue
                if key not in readers:
                    raise self._unknown(key, self.problems.where(*node.key))
            if key not in readers:
                continue
            for item in self._items(node, key):
                with self.problems.noted():
                    found = joined(found, readers[key](item), where=self._where(item))
        return found

    def _where(self, node: Node) -> str:
        return self.problems.where(node.line, node.column)

    def _entries(self, node: Node, what: str) -> Iterator[tuple[str, Node]]:
        with self.problems.noted():
            yield from node.entries(self._where(node), what)

    def _items(self, node: Node, key: str) -> Iterator[Node]:
        with self.problems.noted():
            if key == "sys" and isinstance(node.value, dict):
                yield node
                return
            yield from node.items(self._where(node), f"a list of `{key}`")

    @staticmethod
    def _unknown(key: str, where: str) -> InvalidSpec:
        close = difflib.get_close_matches(key, _KEYS, n=1)
        return InvalidSpec(
            f"{where}: the key `{_shown(key)}` is not known",
            hint=f"Did you mean `{close[0]}`?" if close else f"Known are {', '.join(f'`{known}`' for known in _KEYS)}",
        )

    def _channel(self, node: Node) -> Written:
        text = node.text(self._where(node), "a channel")
        if text == "nodefaults":
            return Written(layer=SpecLayer())
        channel = _searched(Channel.parse(text, where=self._where(node), relative_to=self.folder), self._where(node))
        credentials = credentials_in(text, channel)
        place = self._place(node, str(channel))
        return Written(
            layer=SpecLayer(channels=(channel,), places=((f"channel:{channel}", place),)),
            channel_credentials=(credentials,) if credentials else (),
        )

    def _index(self, node: Node) -> Written:
        text = node.text(self._where(node), "the address of an index")
        index = PackageIndex.parse(text, where=self._where(node), relative_to=self.folder)
        secret = index_secret(text, index)
        return Written(layer=SpecLayer(indexes=(index,)), index_secrets=(secret,) if secret else ())

    def _dependency(self, node: Node) -> Written:
        where = self._where(node)
        if isinstance(node.value, dict):
            return self._nested(node)
        text = node.text(where, "a package, such as `numpy>=1.26`")
        if _ADDRESS.search(text):
            raise InvalidSpec(
                f"{where}: the address of a package cannot stand here",
                hint="Put addresses of conda packages into a file of the kind `@EXPLICIT`, "
                "and those of Python packages under `pip`",
            )
        spec = MatchSpec.from_text(text, where=where, relative_to=self.folder)
        credentials = credentials_in(_channel_in(text), _searched(spec.channel, where)) if spec.channel else None
        place = self._place(node, str(spec))
        if spec.name == "python":
            return self._python(spec, where, place)
        return Written(
            layer=SpecLayer(conda=(spec,), places=((spec.name, place),)),
            channel_credentials=(credentials,) if credentials else (),
        )

    @staticmethod
    def _python(spec: MatchSpec, where: str, place: Place) -> Written:
        if spec.build or spec.channel:
            raise InvalidSpec(
                f"{where}: for Python only the version can be chosen, not a build or a channel",
                hint="The first of `channels` that has Python is where it comes from",
            )
        if spec.version == "*":
            return Written(layer=SpecLayer())
        # In conda's words `python==3.11` is 3.11.0, which nobody means.
        python = PythonConstraint.parse(spec.version, where=where)
        return Written(layer=SpecLayer(python=python, places=(("python", place),)))

    def _nested(self, node: Node) -> Written:
        found = Written(layer=SpecLayer())
        for key, inner in self._entries(node, "`pip` or `sys`"):
            if key not in {"pip", "sys"}:
                version = inner.value if isinstance(inner.value, str) else ""
                raise InvalidSpec(
                    f"{self.problems.where(*inner.key)}: the key `{_shown(key)}` is not known among the dependencies",
                    hint="Known are `pip` and `sys`"
                    + (f"; a version stands behind `=`: `{key}={version}`" if _is_plain(key, version) else ""),
                )
            for item in self._items(inner, key):
                with self.problems.noted():
                    one = self._pip(item) if key == "pip" else self._system(item)
                    found = joined(found, one, where=self._where(item))
        return found

    def _pip(self, node: Node) -> Written:
        where = self._where(node)
        text = node.text(where, "a line of a requirements file")
        try:
            found = requirements_txt.load(text, shown=self.shown, folder=self.folder)
        except InvalidSpec as error:
            raise InvalidSpec(self._moved(error.message, node), hint=error.hint) from error
        places = tuple(
            (name, self._place(node, place.text) if place.owner.startswith(f"{self.shown}:") else place)
            for name, place in found.layer.places
        )
        return replace(found, layer=replace(found.layer, places=places))

    def _moved(self, message: str, node: Node) -> str:
        """Say of problems of the line that is in this file where in this file it is."""
        lines = []
        for line in message.splitlines():
            found = _MARKED.match(line)
            is_here = found and found["file"] == self.shown
            lines.append(f"{self._where(node)}: {found['rest']}" if found and is_here else line)
        return "\n".join(lines)

    def _system(self, node: Node) -> Written:
        where = self._where(node)
        if isinstance(node.value, dict):
            pairs = [
                (key, inner.text(self._where(inner), "a version, such as `12.4`"), self._where(inner))
                for key, inner in node.entries(where, "virtual packages")
            ]
        else:
            text = _shown(node.text(where, "a virtual package, such as `__cuda==12.4`").strip())
            found = _SYSTEM.fullmatch(text)
            if not found:
                raise InvalidSpec(
                    f"{where}: `{text}` is not one version of a virtual package",
                    hint="Say what the machines have, for example `__cuda==12.4`",
                )
            pairs = [(found["name"], found["version"], where)]
        return Written(
            layer=SpecLayer(
                system=tuple((name, system_version(name, text, where=place)) for name, text, place in pairs)
            )
        )

    def _variables(self, node: Node) -> Written:
        pairs = []
        for name, inner in node.entries(self._where(node), "names with values"):
            where = self._where(inner)
            if not _VARIABLE.fullmatch(name):
                raise InvalidSpec(
                    f"{self.problems.where(*inner.key)}: `{_shown(name)}` cannot be the name of a variable",
                    hint="Write letters, digits and `_`, with no digit in front",
                )
            pairs.append((name, inner.text(where, "a text")))
        return Written(layer=SpecLayer(variables=tuple(pairs)))

    def _place(self, node: Node, text: str) -> Place:
        return Place(owner=f"{self.shown}:{node.line}", text=text)
