from __future__ import annotations

from typing import Any

import pytest

from perdure.engine import client, native_client
from support.invocations import LambdaContext


@pytest.fixture(autouse=True)
def _choose_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test choose its client: the process keeps the first."""
    monkeypatch.setattr(client, "_default", None)


@pytest.fixture
def native() -> Any:
    """Make a native client of what the environment says."""

    def make(context: Any = None) -> native_client.NativeClient:
        core, why = native_client.find()
        assert core is not None, why
        return native_client.NativeClient(core, context or LambdaContext())

    return make
