"""How hard the properties are tried: the same examples in every run, and no more than a suite has time for."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "mfenv",
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("mfenv")
