"""The official SDK, made quick enough to be asked often."""

from __future__ import annotations

import logging

import pytest
from aws_durable_execution_sdk_python import state


@pytest.fixture(autouse=True)
def _swift_official_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the official SDK's threads notice at once what they poll for, and keep both SDKs' logs out of the report."""
    monkeypatch.setattr(state, "_STOP_SIGNAL_POLL_SECONDS", 0.001)
    monkeypatch.setattr(state, "_BLOCKED_CALLER_WAIT_SECONDS", 0.0001)
    for name in ("aws_durable_execution_sdk_python", "perdure"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.CRITICAL)
        logging.getLogger(name).manager._clear_cache()
