"""SQLite connections, followed from their opening to their closing.

From CPython 3.13 on, a connection that nobody closed is warned of when it is collected: in whatever test runs then.
Here it is found in the test that has opened it, on every version.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


def follow(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """Return the list that every connection opened from now on is added to."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def followed(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        opened.append(connection)
        return connection

    monkeypatch.setattr(sqlite3, "connect", followed)
    return opened


def is_open(connection: sqlite3.Connection) -> bool:
    """Tell whether a connection has not been closed."""
    try:
        _ = connection.in_transaction, connection.total_changes
    except sqlite3.ProgrammingError:
        return False
    return True
