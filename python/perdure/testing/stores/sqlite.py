"""Executions in an SQLite file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from perdure.local.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from perdure.local.machine.limits import Limits

__all__ = ["SQLiteExecutionStore"]

_FILE = "durable-executions.db"


class SQLiteExecutionStore(SqliteStore):
    """Executions in an SQLite file, which is open while a runner uses it; several may, one after another.

    Args:
        db_path: The file; it is made if it is not there, and so are the folders around it.

    Raises:
        StoreError: As of `SqliteStore`.

    """

    def __init__(self, db_path: str | PathLike[str]) -> None:
        Path(db_path).parent.mkdir(parents=True, exist_ok=True)
        super().__init__(db_path)
        self.close()

    @classmethod
    def create_and_initialize(cls, db_path: str | PathLike[str] | None = None) -> Self:
        """Make a store in a file, by default ``durable-executions.db`` in this folder."""
        return cls(_FILE if db_path is None else db_path)

    def open(self, limits: Limits, retry_delay: Callable[[int], float]) -> None:
        """Open the file for a runner, and read it."""
        super().__init__(self.path)
        super().open(limits, retry_delay)
