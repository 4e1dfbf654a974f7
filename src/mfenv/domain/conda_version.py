"""Versions as conda counts them, compared without a solver.

The order is CEP 33's and the constraints are CEP 29's, as py-rattler 0.28 reads them. They are implemented here because
whether a lock holds what is asked for has to be known where no solver is loaded, and no library serves: conda is not
on PyPI, py-rattler is what must not be loaded, and PyPI's own order (PEP 440) is another one (``1.0.1a`` is newer
than ``1.0.1_`` for conda, and no version for PyPI). A test holds this module against py-rattler.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from itertools import zip_longest

from mfenv.errors import InvalidSpec

# CEP 26 allows 64 characters.
_LONGEST = 256
_VERSION = re.compile(
    r"(?:(?P<epoch>[0-9]+)!)?(?P<main>[a-z0-9]+(?:[._-][a-z0-9]+)*_?)(?:\+(?P<local>[a-z0-9]+(?:[._-][a-z0-9]+)*_?))?"
)
_SEGMENT = re.compile(r"[a-z0-9]+_?$|[a-z0-9]+")
_RUN = re.compile(r"[0-9]+|[^0-9]+")
_OPERATOR = re.compile(r"(==|!=|>=|<=|~=|>|<)?(.*)")

# What stands for a part in comparisons: `dev` is before all words, words are before numbers, `post` is behind all.
_DEV, _WORD, _NUMBER, _POST = range(4)
Part = tuple[int, int, str]
Segment = tuple[Part, ...]
_ZERO: Part = (_NUMBER, 0, "")


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class CondaVersion:
    """A version literal (CEP 33); equal to another when neither is newer: ``1.1`` and ``1.1.0`` are."""

    segments: tuple[Segment, ...]
    """Of the main version, with the epoch in front."""
    local: tuple[Segment, ...] = ()

    @classmethod
    def parse(cls, text: str) -> CondaVersion:
        """Read a version. Raises `InvalidSpec`.

        >>> CondaVersion.parse("0.4.1+local") < CondaVersion.parse("0.4.1") < CondaVersion.parse("1!0.4.1")
        True
        """
        found = _VERSION.fullmatch(text.lower())
        # Dashes are underscores in an older spelling (CEP 33), and py-rattler takes no mixture.
        if not found or len(text) > _LONGEST or {"-", "_"} <= set(text.rstrip("_")):
            raise InvalidSpec(f"`{text}` is not a version by conda's rules (CEP 33)")
        epoch: Segment = ((_NUMBER, int(found["epoch"] or 0), ""),)
        return cls((epoch, *_segments(found["main"])), _segments(found["local"] or ""))

    def starts_with(self, prefix: CondaVersion) -> bool:
        """Tell whether ``prefix.*`` takes this version: `prefix`'s segments are the first of this one's.

        CEP 29 does not tell of local parts; py-rattler takes them as it does the main ones, each for itself.
        """
        return _begins(self.segments, prefix.segments) and _begins(self.local, prefix.local)

    def __eq__(self, other: object) -> bool:
        """Compare as CEP 33 has it."""
        return isinstance(other, CondaVersion) and not self < other and not other < self

    def __lt__(self, other: CondaVersion) -> bool:
        """Compare as CEP 33 has it: first without the local parts, then those."""
        for mine, theirs in ((self.segments, other.segments), (self.local, other.local)):
            for a, b in zip_longest(mine, theirs, fillvalue=(_ZERO,)):
                if _key(a, b) != _key(b, a):
                    return _key(a, b) < _key(b, a)
        return False

    __hash__ = None  # type: ignore[assignment]


def _begins(mine: tuple[Segment, ...], prefix: tuple[Segment, ...]) -> bool:
    return all(
        _fits(mine[index] if index < len(mine) else (_ZERO,), wanted, is_last=index + 1 in {len(mine), len(prefix)})
        for index, wanted in enumerate(prefix)
    )


def _fits(segment: Segment, wanted: Segment, *, is_last: bool) -> bool:
    """Compare segments; at the end of either version, more parts may follow: `1.0rc1` is a `1.0.*`, and a `1.0.0.*`."""
    return segment[: len(wanted)] == wanted if is_last else _same((segment,), (wanted,))


def _same(first: tuple[Segment, ...], second: tuple[Segment, ...]) -> bool:
    return all(_key(a, b) == _key(b, a) for a, b in zip_longest(first, second, fillvalue=(_ZERO,)))


def _key(segment: Segment, other: Segment) -> Segment:
    """Return `segment` with the zeros that it needs to be as long as `other`."""
    return (*segment, *([_ZERO] * (len(other) - len(segment))))


def _segments(text: str) -> tuple[Segment, ...]:
    return tuple(_segment(part) for part in _SEGMENT.findall(text))


def _segment(text: str) -> Segment:
    parts = tuple(_part(run) for run in _RUN.findall(text))
    return parts if text[0].isdigit() else (_ZERO, *parts)


def _part(text: str) -> Part:
    if text.isdigit():
        return (_NUMBER, int(text), "")
    return {"dev": (_DEV, 0, ""), "post": (_POST, 0, "")}.get(text, (_WORD, 0, text))


def admits(constraint: str, version: str) -> bool:
    """Tell whether a constraint in normal form (`mfenv.domain.matchspec.parse_version_spec`) takes `version`.

    Raises `InvalidSpec` when one of the two cannot be read.

    >>> admits(">=1.26,<3", "2.1"), admits("1.26.*|3.*", "2.1"), admits("~=1.4.2", "1.4.10")
    (True, False, True)
    """
    mine = CondaVersion.parse(version)
    return any(all(_takes(part, mine) for part in alternative.split(",")) for alternative in constraint.split("|"))


def _takes(part: str, version: CondaVersion) -> bool:
    if part == "*":
        return True
    found = _OPERATOR.fullmatch(part)
    assert found is not None  # every part of it is optional
    operator, text = found[1] or "==", found[2]
    wanted = CondaVersion.parse(text.removesuffix(".*"))
    if text.endswith(".*"):
        return version.starts_with(wanted) is (operator != "!=")
    match operator:
        case "==":
            return version == wanted
        case "!=":
            return version != wanted
        case ">=":
            return version >= wanted
        case "<=":
            return version <= wanted
        case ">":
            return version > wanted
        case "<":
            return version < wanted
        case _:
            # `~=0.5.3` is `>=0.5.3,0.5.*` (CEP 29, which does not tell of local parts).
            return (
                version >= wanted
                and _begins(version.segments, wanted.segments[:-1])
                and _begins(version.local, wanted.local)
            )
