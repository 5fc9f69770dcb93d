"""Hypothesis profiles: quick by default and in CI, deep for `make soak`. And what no test may leave behind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from support import connections

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUPPRESSED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]

settings.register_profile(
    "quick", max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=_SUPPRESSED
)
settings.register_profile("deep", max_examples=1_000, deadline=None, suppress_health_check=_SUPPRESSED)
settings.load_profile(os.environ.get("PERDURE_HYPOTHESIS", "quick"))


@pytest.fixture(autouse=True)
def _environment_is_as_before() -> Iterator[None]:
    """Take back what a test, or a command that ran in this process, has changed in the environment variables."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() | before.keys():
        if name != "PYTEST_CURRENT_TEST" and os.environ.get(name) != before.get(name):
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


@pytest.fixture(autouse=True)
def _connections_are_closed() -> Iterator[None]:
    """Fail a test at whose end a database that was opened is open still, by the code under test or by its own."""
    with pytest.MonkeyPatch.context() as patch:
        opened = connections.follow(patch)
        yield
    assert not [connection for connection in opened if connections.is_open(connection)]
