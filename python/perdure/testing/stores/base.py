"""The kinds of stores."""

from __future__ import annotations

from enum import Enum

from perdure.local.store import Store as ExecutionStore

__all__ = ["ExecutionStore", "StoreType"]


class StoreType(Enum):
    """Where executions are kept."""

    MEMORY = "memory"
    FILESYSTEM = "filesystem"
    SQLITE = "sqlite"
