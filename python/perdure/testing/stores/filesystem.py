"""Executions in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from perdure.testing.stores.sqlite import SQLiteExecutionStore

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["FileSystemExecutionStore"]

_FOLDER = ".durable_executions"
_FILE = "executions.db"


class FileSystemExecutionStore(SQLiteExecutionStore):
    """Executions in a folder, in one SQLite file there. The official one writes a JSON file for each.

    Args:
        storage_dir: The folder; it is made if it is not there.

    """

    def __init__(self, storage_dir: str | PathLike[str]) -> None:
        super().__init__(Path(storage_dir) / _FILE)

    @classmethod
    def create(cls, storage_dir: str | PathLike[str] | None = None) -> Self:
        """Make a store in a folder, by default ``.durable_executions`` in this one."""
        return cls(_FOLDER if storage_dir is None else storage_dir)
