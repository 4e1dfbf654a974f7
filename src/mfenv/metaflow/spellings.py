"""Old spellings of decorators and their arguments: what is written today instead, and the line that says so.

Everything else reads the new spelling only: a flow gets the same request, whichever way it is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mfenv.domain.requirement import key_and_constraint
from mfenv.errors import InvalidSpec

_ALIASES = {"pip": "pypi", "pip_base": "pypi_base"}
_NAMED = ("name", "pathspec", "fetch_at_exec")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A decorator in today's spelling; `shown` is the name and, by key, the key that the user wrote."""

    name: str
    attributes: Mapping[str, Any]
    shown: str
    shown_keys: Mapping[str, str]

    def key(self, key: str) -> str:
        """Return the key that the user wrote for `key`."""
        return self.shown_keys.get(key, key)


def modern(name: str, attributes: Mapping[str, Any], *, owner: str) -> tuple[Wish, ...]:
    """Return a decorator in today's spelling: itself, and the others that its old arguments stand for.

    Raises `InvalidSpec` when an old argument cannot be read.
    """
    today = _ALIASES.get(name, name)
    base = "_base" if today.endswith("_base") else ""
    mine = dict(attributes)
    wishes = []
    if named := {key: mine.pop(key) for key in _NAMED if today != f"named_env{base}" and key in mine}:
        wishes.append(_wish(f"named_env{base}", named, name))
    sources = mine.pop("sources", None)
    if today == f"conda{base}":
        packages = _pip_packages(mine.pop("pip_packages", None), f"{owner}, @{name}(pip_packages=...)")
        indices = mine.pop("pip_sources", None)
        if packages or indices:
            keys = {"packages": "pip_packages", "extra_indices": "pip_sources"}
            wishes.append(_wish(f"pypi{base}", {"packages": packages, "extra_indices": indices}, name, keys))
        key = "channels"
    else:
        key = "extra_indices"
    if sources:
        mine[key] = [*_listed(sources), *_listed(mine.get(key))]
    return (_wish(today, mine, name, {key: "sources"} if sources else {}), *wishes)


def _wish(name: str, attributes: Mapping[str, Any], shown: str, keys: Mapping[str, str] | None = None) -> Wish:
    return Wish(name=name, attributes=attributes, shown=shown, shown_keys=keys or {})


def _listed(value: Any) -> Sequence[Any]:
    # One that somebody forgot to put into a list; anything else is refused where lists are read.
    return value if isinstance(value, Sequence) and not isinstance(value, str) else [value] if value else []


def _pip_packages(value: Any, where: str) -> Any:
    """Read the list form, ``["tensorflow==2.10.0"]``, as the mapping that it stands for."""
    if value is None or isinstance(value, Mapping):
        return value
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(text, str) for text in value):
        raise InvalidSpec(
            f"{where}: expected names with versions, found `{value!r}`",
            hint='Write @pypi(packages={"requests": ">=2.21"})',
        )
    return dict(key_and_constraint(text) for text in value)


_REPLACEMENTS = {
    ("conda", "pip_packages"): "@pypi{base}(packages={{...}})",
    ("conda", "pip_sources"): "@pypi{base}(extra_indices=[...])",
    ("conda", "sources"): "@conda{base}(channels=[...])",
    ("pypi", "sources"): "@pypi{base}(extra_indices=[...])",
}


def deprecations(name: str, attributes: Mapping[str, Any], *, owner: str) -> list[str]:
    """Return a line for each old spelling in a decorator, naming the one that replaces it."""
    today = _ALIASES.get(name, name)
    kind, base = today.removesuffix("_base"), "_base" if today.endswith("_base") else ""
    lines = [f"{owner}: @{name} is deprecated, write @{today}"] if name in _ALIASES else []
    if kind not in {"conda", "pypi"}:
        return lines
    parsed = attributes.get("parsed_from")
    for key in ("pip_packages", "pip_sources", "sources", *_NAMED):
        if attributes.get(key) in (None, [], {}, "", False):
            continue
        # What a file parser says of PyPI packages nobody spelt that way.
        if parsed and key in {"pip_packages", "pip_sources"}:
            continue
        template = _REPLACEMENTS.get((kind, key), f"@named_env{{base}}({key}=...)")
        lines.append(f"{owner}: @{name}({key}=...) is deprecated, write {template.format(base=base)}")
    return lines
