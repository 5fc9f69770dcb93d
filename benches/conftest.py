"""Benches print one short table each; `benches/table.py` compares whole invocations with the official SDK."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a bench take as long as it needs on a busy machine, but not for ever."""
    for item in items:
        item.add_marker(pytest.mark.timeout(300))
