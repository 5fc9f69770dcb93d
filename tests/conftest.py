"""Hypothesis profiles: quick by default and in CI, deep for `make soak`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_SUPPRESSED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]

settings.register_profile(
    "quick", max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=_SUPPRESSED
)
settings.register_profile("deep", max_examples=1_000, deadline=None, suppress_health_check=_SUPPRESSED)
settings.load_profile(os.environ.get("PERDURE_HYPOTHESIS", "quick"))
