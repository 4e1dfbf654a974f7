"""Which Python an environment has."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mfenv.domain.matchspec import MatchSpec, parse_version_spec
from mfenv.errors import InvalidSpec

# Metaflow's own code, which runs in every task, needs this much (its vendored libraries, 2.16 to 2.19).
OLDEST_PYTHON = (3, 7)

_EXACT = re.compile(r"(==)?\s*([0-9]{1,9})(\.[0-9]+)?(\.[0-9]+)?([a-z]+[0-9]+)?")
_BOUND = re.compile(r"(==|!=|>=|<=|~=|>|<)?([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:\.[0-9a-z]+)?(\.\*)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonConstraint:
    """A constraint on the version of Python, in a conda version constraint's normal form."""

    version: str

    @classmethod
    def parse(cls, value: object, *, where: str) -> PythonConstraint:
        """Read ``3.11`` (any 3.11), ``3.11.7`` (that one) or a range such as ``>=3.10,<3.12``.

        A number is taken as its text; the float 3.1 is 3.10, which is how ``--with conda:python=3.10``
        arrives (no Metaflow runs on Python 3.1). Raises `InvalidSpec` naming `where`.
        """
        text = "3.10" if isinstance(value, float) and value == 3.1 else str(value).strip()
        exact = _EXACT.fullmatch(text)
        if exact and not exact.group(4):
            text = f"{exact.group(2)}{exact.group(3) or ''}.*"
        version = parse_version_spec(text, where=where)
        if version == "*":
            raise InvalidSpec(f"{where}: `{value}` is not a version of Python", hint='Write for example python="3.11"')
        if not _admits_a_usable_python(version):
            oldest = ".".join(map(str, OLDEST_PYTHON))
            raise InvalidSpec(
                f"{where}: Metaflow does not run on Python `{value}`",
                hint=f"Ask for Python {oldest} or later, or leave `python` out for the launching one",
            )
        return cls(version=version)

    @classmethod
    def minor(cls, major: int, minor: int) -> PythonConstraint:
        """Return the constraint for any patch release of ``major.minor``."""
        return cls(version=f"{major}.{minor}.*")

    def admits_minor(self, major: int, minor: int) -> bool:
        """Tell whether some release of ``major.minor`` fits; unusual constraints get the benefit of the doubt."""
        return any(
            all(_admits(part, (major, minor)) for part in alternative.split(","))
            for alternative in self.version.split("|")
        )

    def within(self, bound: PythonConstraint) -> PythonConstraint:
        """Return the constraint that holds where both do."""
        if self == bound:
            return self
        pairs = [
            (one.split(","), other.split(",")) for one in self.version.split("|") for other in bound.version.split("|")
        ]
        return PythonConstraint(version="|".join(dict.fromkeys(",".join(sorted({*a, *b})) for a, b in pairs)))

    @property
    def match_spec(self) -> MatchSpec:
        """The same as a requested package."""
        return MatchSpec(name="python", version=self.version)

    def __str__(self) -> str:
        return self.version


def _admits_a_usable_python(version: str) -> bool:
    """Tell whether some ``3.x`` that Metaflow runs on fits; unusual constraints get the benefit of the doubt."""
    candidates = [(3, minor) for minor in range(OLDEST_PYTHON[1], 100)]
    return any(
        any(all(_admits(part, candidate) for part in alternative.split(",")) for candidate in candidates)
        for alternative in version.split("|")
    )


def _admits(part: str, candidate: tuple[int, int]) -> bool:
    bound = _BOUND.match(part)
    if bound is None:
        return True
    operator, major, minor = bound.group(1) or "==", int(bound.group(2)), bound.group(3)
    wanted = (major,) if minor is None else (major, int(minor))
    shown = candidate[: len(wanted)]
    match operator:
        case "==" | "~=":
            return shown == wanted if operator == "==" else candidate >= wanted and candidate[0] == major
        case ">=" | ">":
            return shown >= wanted
        case "<=":
            return shown <= wanted
        case "<":
            # `<3.7` leaves nothing of 3.7; `<3.7.5` leaves 3.7.0.
            return shown < wanted or (shown == wanted and part.count(".") > 1)
        case _:
            return True
