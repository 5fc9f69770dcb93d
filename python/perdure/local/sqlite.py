"""Executions in an SQLite file: what was acknowledged is there after any crash of the process.

One transaction holds everything a call has changed, in however many executions. The file belongs to one process at a
time: SQLite's exclusive lock is held for as long as the store is open, and the operating system lets go of it when
the process dies. With `synchronous="NORMAL"`, in WAL mode, a commit survives the death of the process; surviving the
loss of power as well takes `"FULL"`, which waits for the disk.
"""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

from perdure.local import history, snapshot
from perdure.local.clock import from_millis, to_millis

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from datetime import datetime
    from os import PathLike

    from perdure.local.history import Event
    from perdure.local.limits import Limits
    from perdure.local.machine import Execution
    from perdure.local.store import Position, Query, Summary

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x50455244  # "PERD"
_SCHEMA = """
CREATE TABLE executions (
    key INTEGER PRIMARY KEY,
    arn TEXT NOT NULL UNIQUE,
    function TEXT NOT NULL,
    version TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER,
    expires INTEGER,
    state TEXT NOT NULL,
    UNIQUE (function, name)
);
CREATE INDEX executions_by_start ON executions (function, started, key);
CREATE INDEX executions_running ON executions (key) WHERE ended IS NULL;
CREATE INDEX executions_by_expiry ON executions (expires) WHERE expires IS NOT NULL;
CREATE TABLE operations (
    position INTEGER PRIMARY KEY,
    execution INTEGER NOT NULL,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    note TEXT,
    UNIQUE (execution, id)
);
CREATE TABLE events (
    execution INTEGER NOT NULL,
    number INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (execution, number)
) WITHOUT ROWID;
"""
_SAVE = """
INSERT INTO executions (key, arn, function, version, name, status, started, ended, expires, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET status = excluded.status, ended = excluded.ended, expires = excluded.expires,
    state = excluded.state
"""
_SAVE_OPERATION = """
INSERT INTO operations (execution, id, body, note) VALUES (?, ?, ?, ?)
ON CONFLICT (execution, id) DO UPDATE SET body = excluded.body, note = excluded.note
"""
_dumps = json.JSONEncoder(separators=(",", ":")).encode


class StoreError(Exception):
    """The database cannot be used; the message says why, and what to do."""


class SqliteStore:
    """Executions in a file. Finished ones are read when somebody asks for them; the others are in memory, too.

    Args:
        path: the file; it is made if it is not there.
        synchronous: SQLite's pragma of that name: `NORMAL` or `FULL`.

    Raises:
        StoreError: another process uses the file, a newer perdure has written it, or it is no database of perdure's.

    """

    evicts = True

    def __init__(self, path: str | PathLike[str], *, synchronous: str = "NORMAL") -> None:
        if synchronous not in ("NORMAL", "FULL"):
            raise ValueError(f"synchronous must be NORMAL or FULL, not {synchronous!r}.")
        self.path = path
        self._live: dict[str, Execution] = {}
        self._names: dict[tuple[str, str], Execution] = {}
        self._functions: dict[str, tuple[int, str]] = {}
        self._limits: Limits
        self._retry_delay: Callable[[int], float]
        try:
            self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        except sqlite3.OperationalError as problem:
            raise StoreError(f"{path} cannot be opened: {problem}.") from problem
        try:
            self._prepare(synchronous)
        except BaseException:
            self._db.close()
            raise
        self._next_key = self._one("SELECT coalesce(max(key), 0) + 1 FROM executions")

    def _prepare(self, synchronous: str) -> None:
        """Take the lock, and make or check the schema."""
        run = self._db.execute
        try:
            run("PRAGMA locking_mode = EXCLUSIVE")
            run("BEGIN EXCLUSIVE")
            version, application = self._one("PRAGMA user_version"), self._one("PRAGMA application_id")
            tables = self._one("SELECT count(*) FROM sqlite_master")
            if (tables or version) and application != _APPLICATION_ID:
                raise StoreError(f"{self.path} is an SQLite database, but none of perdure's; give another file.")
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"{self.path} was written by a newer perdure (schema {version}, this one knows up to "
                    f"{SCHEMA_VERSION}); update perdure, or give another file."
                )
            if not tables:
                for statement in _SCHEMA.split(";"):
                    run(statement)
                run(f"PRAGMA application_id = {_APPLICATION_ID}")
                run(f"PRAGMA user_version = {SCHEMA_VERSION}")
            run("COMMIT")
            run("PRAGMA journal_mode = WAL")
            run(f"PRAGMA synchronous = {synchronous}")
        except sqlite3.OperationalError as problem:
            if "locked" in str(problem):
                raise StoreError(
                    f"{self.path} is in use by another process; stop that one first, or give another file."
                ) from problem
            raise StoreError(f"{self.path} cannot be used: {problem}.") from problem
        except sqlite3.DatabaseError as problem:
            raise StoreError(f"{self.path} is not an SQLite database: {problem}.") from problem

    def open(self, limits: Limits, retry_delay: Callable[[int], float]) -> None:
        """Read the executions that have not ended."""
        self._limits, self._retry_delay = limits, retry_delay
        for row in self._db.execute(
            "SELECT key, arn, function, state FROM executions WHERE ended IS NULL ORDER BY key"
        ):
            execution = self._load(*row)
            self._live[execution.arn] = execution
            self._names[row[2], execution.name] = execution

    def add(self, execution: Execution, function: str) -> None:
        """Take a new execution; `commit` writes it."""
        self._functions[execution.arn] = (self._next_key, function)
        self._next_key += 1
        self._live[execution.arn] = execution
        self._names[function, execution.name] = execution

    def get(self, arn: str) -> Execution | None:
        """Return an execution by its ARN."""
        execution = self._live.get(arn)
        if execution is not None:
            return execution
        row = self._db.execute("SELECT key, arn, function, state FROM executions WHERE arn = ?", (arn,)).fetchone()
        return None if row is None else self._load(*row)

    def find(self, function: str, name: str) -> Execution | None:
        """Return the execution of a function that bears a name."""
        execution = self._names.get((function, name))
        if execution is not None:
            return execution
        row = self._db.execute(
            "SELECT key, arn, function, state FROM executions WHERE function = ? AND name = ?", (function, name)
        ).fetchone()
        return None if row is None else self._load(*row)

    def running(self) -> Iterable[Execution]:
        """Return the executions that have not ended, oldest first."""
        return [execution for execution in self._live.values() if not execution.terminal]

    def commit(self, executions: Collection[Execution]) -> None:
        """Write what has changed in these executions, in one transaction."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for execution in executions:
                self._write(execution)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        for execution in executions:
            execution.unsaved.clear()
            execution.log.clear()
            if execution.terminal and not execution.invoking:
                self._live.pop(execution.arn, None)
                known = self._functions.pop(execution.arn, None)
                if known is not None:
                    self._names.pop((known[1], execution.name), None)

    def delete(self, arn: str) -> None:
        """Forget an execution and its history."""
        row = self._db.execute("SELECT key FROM executions WHERE arn = ?", (arn,)).fetchone()
        if row is None:
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute("DELETE FROM executions WHERE key = ?", row)
            self._db.execute("DELETE FROM operations WHERE execution = ?", row)
            self._db.execute("DELETE FROM events WHERE execution = ?", row)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def history(self, execution: Execution, first: int, last: int) -> list[Event]:
        """Return events by their numbers."""
        rows = self._db.execute(
            "SELECT body FROM events WHERE execution = ? AND number BETWEEN ? AND ? ORDER BY number",
            (self._key(execution.arn)[0], first, last),
        )
        return [snapshot.from_plain(json.loads(body)) for (body,) in rows]

    def page(self, query: Query, size: int) -> tuple[list[Summary], Position | None]:
        """Return a page of summaries."""
        order, beyond = ("ASC", ">") if query.oldest_first else ("DESC", "<")
        conditions, values = ["function = ?"], [query.function]
        optional: list[tuple[str, list[Any] | None]] = [
            ("version = ?", None if query.version is None else [query.version]),
            ("name = ?", None if query.name is None else [query.name]),
            (f"status IN ({','.join('?' * len(query.statuses))})", sorted(query.statuses) or None),
            ("started > ?", None if query.after is None else [to_millis(query.after)]),
            ("started < ?", None if query.before is None else [_millis_up(query.before)]),
            (f"(started, key) {beyond} (?, ?)", None if query.position is None else list(query.position)),
        ]
        for condition, given in optional:
            if given is not None:
                conditions.append(condition)
                values += given
        rows = self._db.execute(
            "SELECT arn, name, status, started, ended, key FROM executions "  # noqa: S608 - only our own words
            f"WHERE {' AND '.join(conditions)} ORDER BY started {order}, key {order} LIMIT ?",
            (*values, size + 1),
        ).fetchall()
        page = [_summary(*row[:5]) for row in rows[:size]]
        return page, (rows[size - 1][3], rows[size - 1][5]) if len(rows) > size else None

    def expired(self, now: datetime) -> list[str]:
        """Return the ARNs of the executions whose retention has ended."""
        return [arn for (arn,) in self._db.execute("SELECT arn FROM executions WHERE expires <= ?", (to_millis(now),))]

    def next_expiry(self) -> datetime | None:
        """Return when the next retention ends."""
        millis = self._one("SELECT min(expires) FROM executions WHERE expires IS NOT NULL")
        return None if millis is None else from_millis(millis)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    # -- rows ------------------------------------------------------------------------------------------------------

    def _one(self, statement: str) -> Any:
        return self._db.execute(statement).fetchone()[0]

    def _key(self, arn: str) -> tuple[int, str]:
        known = self._functions.get(arn)
        if known is None:
            known = self._db.execute("SELECT key, function FROM executions WHERE arn = ?", (arn,)).fetchone()
        return known

    def _write(self, execution: Execution) -> None:
        key, function = self._key(execution.arn)
        expires = execution.expires_at
        row = (
            key,
            execution.arn,
            function,
            execution.version,
            execution.name,
            execution.shown_status,
            to_millis(execution.started_at),
            None if execution.ended_at is None else to_millis(execution.ended_at),
            None if expires is None else to_millis(expires),
            _dumps(snapshot.dump(execution)),
        )
        self._db.execute(_SAVE, row)
        operations, notes = execution.operations, execution.notes
        self._db.executemany(
            _SAVE_OPERATION,
            [
                (key, id_, _dumps(snapshot.to_plain(operations[id_])), _dumps(notes[id_]) if id_ in notes else None)
                for id_ in execution.unsaved
            ],
        )
        self._db.executemany(
            "INSERT INTO events (execution, number, body) VALUES (?, ?, ?)",
            [(key, record.number, _dumps(snapshot.to_plain(history.render(record)))) for record in execution.log],
        )

    def _load(self, key: int, arn: str, function: str, state: str) -> Execution:
        rows = self._db.execute("SELECT body, note FROM operations WHERE execution = ? ORDER BY position", (key,))
        operations = [
            (snapshot.from_plain(json.loads(body)), None if note is None else json.loads(note)) for body, note in rows
        ]
        execution = snapshot.load(arn, json.loads(state), operations, self._limits, self._retry_delay)
        if not execution.terminal:
            self._functions[arn] = (key, function)
        return execution


def _millis_up(moment: datetime) -> int:
    """Return Unix milliseconds such that `started < millis` means that the start was before the moment."""
    millis = to_millis(moment)
    return millis if from_millis(millis) == moment else millis + 1


def _summary(arn: str, name: str, status: str, started: int, ended: int | None) -> Summary:
    described: Summary = {
        "DurableExecutionArn": arn,
        "DurableExecutionName": name,
        "FunctionArn": arn.partition("/durable-execution/")[0],
        "Status": status,
        "StartTimestamp": from_millis(started),
    }
    if ended is not None:
        described["EndTimestamp"] = from_millis(ended)
    return described
