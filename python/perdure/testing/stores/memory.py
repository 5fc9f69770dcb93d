"""Executions in memory."""

from __future__ import annotations

from perdure.local.store.memory import MemoryStore

__all__ = ["InMemoryExecutionStore"]


class InMemoryExecutionStore(MemoryStore):
    """Executions in memory, for as long as the process lives."""
