"""The settings of a policy."""

from __future__ import annotations

import pytest

from mfenv.app import settings
from mfenv.domain.policy import Attestations, Denial, Policy
from mfenv.errors import InvalidSpec


def policy(**values: str) -> Policy:
    return settings.read(values.get, {"HOME": "/nowhere"}).policy


def test_by_default_everything_is_allowed() -> None:
    assert policy() == Policy()


def test_all_rules_are_read() -> None:
    assert policy(
        CONDA_ALLOWED_CHANNELS="conda-forge, https://me:secret@channels.example/ours/",
        CONDA_ALLOWED_INDEXES='["PyPI", "https://me:secret@index.example/simple/"]',
        CONDA_DENIED_PACKAGES="left-pad; pypi:Requests<2.32,!=2.31 ;conda: openssl >=1,<3",
        CONDA_MINIMUM_PACKAGE_AGE="2 weeks",
        CONDA_REQUIRE_ATTESTATION="All",
        CONDA_ATTESTATION_PUBLISHERS="GitHub:our-org/*, https://github.com/our-org/*",
    ) == Policy(
        allowed_channels=("conda-forge", "https://channels.example/ours"),
        allowed_indexes=("pypi", "https://index.example/simple"),
        denied=(
            Denial(name="left-pad"),
            Denial(name="requests", constraint="<2.32,!=2.31", side="pypi"),
            Denial(name="openssl", constraint=">=1,<3", side="conda"),
        ),
        minimum_age="2 weeks",
        attestations=Attestations.ALL,
        publishers=("GitHub:our-org/*", "https://github.com/our-org/*"),
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("CONDA_ALLOWED_CHANNELS", "conda forge", "`conda forge` is neither a channel name nor a URL"),
        ("CONDA_ALLOWED_INDEXES", "pipy", "`pipy` is not the address of a package index"),
        ("CONDA_ALLOWED_INDEXES", '["pypi"', '`["pypi"` is not a list as JSON has it'),
        ("CONDA_DENIED_PACKAGES", "six = 1", "`six = 1` is neither a package nor versions of one"),
        ("CONDA_DENIED_PACKAGES", "npm:six", "`npm:six` is neither a package nor versions of one"),
        ("CONDA_MINIMUM_PACKAGE_AGE", "2026-01-01", "`2026-01-01` is not a length of time"),
        ("CONDA_MINIMUM_PACKAGE_AGE", "a while", "`a while` is not a length of time"),
        ("CONDA_REQUIRE_ATTESTATION", "yes", "`yes` is not known"),
    ],
)
def test_what_cannot_be_read_names_its_setting(name: str, text: str, message: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        policy(**{name: text})
    assert refused.value.message == f"METAFLOW_{name}: {message}"
    assert refused.value.hint
