"""The settings that say what is allowed. Each raises `InvalidSpec` naming the one that cannot be read."""

from __future__ import annotations

import json
import re

from mfenv.domain.channel import Channel
from mfenv.domain.cutoff import check_cutoff
from mfenv.domain.index import PackageIndex
from mfenv.domain.matchspec import parse_version_spec
from mfenv.domain.policy import DEFAULT_INDEX, Attestations, Denial
from mfenv.errors import InvalidSpec

_DENIAL = re.compile(
    r"(?:(?P<side>conda|pypi)\s*:\s*)?(?P<name>[A-Za-z0-9_][A-Za-z0-9._-]*)\s*(?P<constraint>(?:[<>=!~]=?|===).+)?"
)
_AGO = re.compile(r"\d+\s*(hour|day|week)s?", re.IGNORECASE)


def channels(text: str | None) -> tuple[str, ...]:
    """Read the channels that are allowed, without credentials."""
    where = "METAFLOW_CONDA_ALLOWED_CHANNELS"
    return tuple(str(Channel.parse(each, where=where)) for each in _list(where, text))


def indexes(text: str | None) -> tuple[str, ...]:
    """Read the package indexes that are allowed, without credentials."""
    where = "METAFLOW_CONDA_ALLOWED_INDEXES"
    return tuple(
        DEFAULT_INDEX if each.lower() == DEFAULT_INDEX else str(PackageIndex.parse(each, where=where))
        for each in _list(where, text)
    )


def denials(text: str | None) -> tuple[Denial, ...]:
    """Read the packages that are denied."""
    return tuple(map(_denial, _list("METAFLOW_CONDA_DENIED_PACKAGES", text, between=";")))


def _list(where: str, text: str | None, *, between: str = ",") -> list[str]:
    """Read a JSON list of texts, or texts between `between`."""
    text = (text or "").strip()
    if text.startswith("["):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise InvalidSpec(
                f"{where}: `{text}` is not a list as JSON has it",
                hint=f'Write `["one", "other"]`, or `one{between} other`',
            ) from error
        return [str(each).strip() for each in found if str(each).strip()]
    return [each.strip() for each in text.split(between) if each.strip()]


def _denial(text: str) -> Denial:
    found = _DENIAL.fullmatch(text)
    constraint = (found["constraint"] or "").strip() if found else ""
    if found is None or not (not constraint or _is_version_constraint(constraint, found["side"] or "")):
        raise InvalidSpec(
            f"METAFLOW_CONDA_DENIED_PACKAGES: `{text}` is neither a package nor versions of one",
            hint="Write `name`, `name<2`, `pypi:name==1.4` or `conda:name>=3,<4`, with `;` between several",
        )
    return Denial(name=found["name"].lower(), constraint=constraint, side=found["side"] or "")


def _is_version_constraint(text: str, side: str) -> bool:
    """Tell whether each side that it is for can read it."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        if side != "conda":
            SpecifierSet(text)
        if side != "pypi":
            parse_version_spec(text, where="")
    except (InvalidSpecifier, InvalidSpec):
        return False
    return True


def age(text: str | None) -> str:
    """Read how long packages must have been published."""
    if not text:
        return ""
    if not _AGO.fullmatch(text.strip()):
        raise InvalidSpec(
            f"METAFLOW_CONDA_MINIMUM_PACKAGE_AGE: `{text}` is not a length of time",
            hint="Write `12 hours`, `7 days` or `2 weeks`",
        )
    return check_cutoff(text, where="METAFLOW_CONDA_MINIMUM_PACKAGE_AGE")


def attestations(text: str | None) -> Attestations:
    """Read which packages need an attestation."""
    name = (text or "none").strip().lower()
    try:
        return Attestations("none" if name == "null" else name)
    except ValueError:
        good = ", ".join(f"`{each.value}`" for each in Attestations)
        raise InvalidSpec(
            f"METAFLOW_CONDA_REQUIRE_ATTESTATION: `{text}` is not known", hint=f"Set it to one of {good}"
        ) from None
