"""What of PyPI goes into the channel: sets of requirements, resolved together for each Python."""

from __future__ import annotations

from calendar import timegm
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from mfenv.testing.channel.package import DEFAULT_TIME, ArchiveFormat

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelSet:
    """Requirements that are resolved and fetched together for each Python that ``pythons`` takes.

    An optional set may be missing from the channel: when the index lacks a wheel for a Python.
    """

    requirements: tuple[str, ...]
    pythons: SpecifierSet
    optional: bool = True
    only_running: bool = False


def _set(requirements: str, pythons: str = "", *, optional: bool = True, only_running: bool = False) -> WheelSet:
    return WheelSet(
        requirements=tuple(requirements.split()),
        pythons=SpecifierSet(pythons),
        optional=optional,
        only_running=only_running,
    )


WHEEL_SETS: tuple[WheelSet, ...] = (
    _set(
        "requests boto3 click rich pyyaml jinja2 itsdangerous tqdm attrs packaging filelock tenacity "
        "tabulate cachetools importlib-metadata typing-extensions msgpack cffi psutil flask httpx "
        "certifi tzdata pytz python-dateutil six pip setuptools wheel tomli metaflow",
        optional=False,
    ),
    _set("pandas==1.5.3 numpy==1.24.4 six", "<3.12"),
    _set("pandas==2.0.3 numpy==1.24.4", "<3.9"),
    _set("pandas==2.1.4 numpy==1.26.4", ">=3.9,<3.13"),
    _set("pandas==2.2.3 numpy>=2", ">=3.9,<3.14"),
    _set("pandas==2.3.3 numpy>=2", ">=3.13"),
    _set("pandas>=3 numpy>=2", ">=3.11"),
    _set("requests==2.28.2 urllib3<2 itsdangerous==2.1.2 click==8.1.7 attrs==23.1.0 tqdm==4.65.0"),
    _set("itsdangerous==2.0.1 tqdm==4.64.1 attrs==22.2.0 six==1.16.0 idna==3.4"),
    _set("scikit-learn scipy joblib numpy>=2", ">=3.10", only_running=True),
)

# When these were released, for tests of cut-off dates. Others carry one fixed day.
RELEASE_DAYS: Mapping[tuple[str, str], tuple[int, int, int]] = {
    ("pandas", "1.5.3"): (2023, 1, 19),
    ("pandas", "2.0.3"): (2023, 6, 28),
    ("pandas", "2.1.4"): (2023, 12, 8),
    ("pandas", "2.2.3"): (2024, 9, 20),
    ("pandas", "2.3.3"): (2025, 9, 29),
    ("numpy", "1.24.4"): (2023, 6, 26),
    ("numpy", "1.26.4"): (2024, 2, 5),
    ("itsdangerous", "2.0.1"): (2021, 5, 18),
    ("itsdangerous", "2.1.2"): (2022, 3, 24),
    ("requests", "2.28.2"): (2023, 1, 12),
    ("click", "8.1.7"): (2023, 8, 17),
}

_BOTH_FORMATS = frozenset({"requests", "itsdangerous", "six", "urllib3", "idna", "prefixprobe"})
_ONLY_TAR_BZ2 = frozenset({"tabulate", "tenacity"})


def formats_of(name: str) -> tuple[ArchiveFormat, ...]:
    """Give the formats that package ``name`` comes in; most are ``.conda`` only."""
    if name in _ONLY_TAR_BZ2:
        return (ArchiveFormat.TAR_BZ2,)
    if name in _BOTH_FORMATS:
        return (ArchiveFormat.CONDA, ArchiveFormat.TAR_BZ2)
    return (ArchiveFormat.CONDA,)


def release_time(name: str, version: str) -> int:
    """Give when ``version`` of ``name`` was released, in seconds since the epoch."""
    day = RELEASE_DAYS.get((name, version))
    return timegm((*day, 0, 0, 0)) if day else DEFAULT_TIME
